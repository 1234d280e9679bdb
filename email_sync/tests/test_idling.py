"""IDLE on one connection, against a small server that misbehaves as told."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from core import egress
from core.errors import ProviderAuthError, ProviderUnavailable, UnsupportedOperation
from email_sync.providers.base import MailAccount
from email_sync.providers.imap import idling
from email_sync.providers.imap.idling import Idle
from email_sync.tests.certificates import certificate
from email_sync.tests.idle_server import IdleServer

ADA = "ada@contract.test"


@pytest.fixture
def server(settings: Any) -> Iterator[IdleServer]:
    settings.EGRESS_ALLOW_CIDRS = ["127.0.0.0/8"]
    with IdleServer() as running:
        yield running


def idle_at(
    server: IdleServer, *, password: str = "secret", reissue_seconds: float = 60.0, security: str = "none"
) -> Idle:
    options = {"imap": {"host": "127.0.0.1", "port": server.port, "security": security}}
    account = MailAccount(ADA, settings=options, secrets={"imapPassword": password})
    return Idle(account, reissue_seconds=reissue_seconds)


def listen(listener: Idle, script: Coroutine[Any, Any, Any]) -> Any:
    async def run() -> Any:
        return await asyncio.wait_for(script, 10)

    try:
        return asyncio.run(run())
    finally:
        listener.close()


async def until_idle(server: IdleServer) -> None:
    while not await asyncio.to_thread(server.idle):
        await asyncio.sleep(0.01)


async def silent(listener: Idle, seconds: float = 0.2) -> bool:
    try:
        await asyncio.wait_for(listener.changed(), seconds)
    except TimeoutError:
        return True
    return False


@pytest.mark.parametrize(
    "line", [b"* 1 EXISTS", b"* 3 EXPUNGE", rb"* 2 FETCH (FLAGS (\Seen))", b"* VANISHED 4:6", b"* 1 exists"]
)
def test_changed_returns_when_the_server_tells_of_a_change(server: IdleServer, line: bytes) -> None:
    listener = idle_at(server)
    listener.open()

    async def script() -> bool:
        waiting = asyncio.create_task(listener.changed())
        await until_idle(server)
        server.tell(line)
        await waiting
        return await silent(listener)

    assert listen(listener, script())


@pytest.mark.parametrize("line", [b"* OK Still here", b"* 0 RECENT", b"* FLAGS ()", b"garbage", b"* 1 FETCHED", b""])
def test_changed_is_silent_about_everything_else(server: IdleServer, line: bytes) -> None:
    listener = idle_at(server)
    listener.open()

    async def script() -> bool:
        waiting = asyncio.create_task(silent(listener, 0.5))
        await until_idle(server)
        server.tell(line)
        return await waiting

    assert listen(listener, script())


def test_changed_over_tls_reads_all_that_was_unpacked(
    settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Many lines in one record, and the last one counts: the socket is readable only once."""
    settings.EGRESS_ALLOW_CIDRS = ["127.0.0.0/8"]
    files = certificate(tmp_path, "127.0.0.1")
    monkeypatch.setenv("SSL_CERT_FILE", str(files[0]))
    egress.tls_context.cache_clear()
    with IdleServer(tls=files) as server:
        listener = idle_at(server, security="tls", reissue_seconds=0.2)
        listener.open()

        async def script() -> None:
            assert await silent(listener, 0.5)
            waiting = asyncio.create_task(listener.changed())
            while not server.tell(b"* OK still here\r\n" * 800 + b"* 1 EXISTS"):
                await asyncio.sleep(0.01)
            await waiting

        listen(listener, script())
        assert server.log_ins == 1
    egress.tls_context.cache_clear()


def test_what_is_said_between_two_calls_is_not_lost_and_told_once(server: IdleServer) -> None:
    listener = idle_at(server)
    listener.open()

    async def script() -> bool:
        assert await silent(listener)
        for _ in range(5):
            server.tell(b"* 1 EXISTS")
        await asyncio.sleep(0.1)
        await listener.changed()
        return await silent(listener)

    assert listen(listener, script())


def test_idle_is_asked_for_again_before_it_ends(server: IdleServer) -> None:
    listener = idle_at(server, reissue_seconds=0.1)
    listener.open()

    async def script() -> None:
        assert await silent(listener, 0.6)
        waiting = asyncio.create_task(listener.changed())
        while not server.tell(b"* 2 EXISTS"):
            await asyncio.sleep(0.01)
        await waiting

    listen(listener, script())
    assert server.log_ins == 1


def test_server_that_does_not_answer_is_found_dead(server: IdleServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idling, "ANSWER_SECONDS", 0.2)
    server.answers_done = False
    listener = idle_at(server, reissue_seconds=0.1)
    listener.open()
    with pytest.raises(ProviderUnavailable, match="in time"):
        listen(listener, listener.changed())


@pytest.mark.parametrize(
    ("how", "words"),
    [
        (lambda server: server.hang_up(), "closed|broke"),
        (lambda server: server.tell(b"* BYE Going down"), "Going down"),
        (lambda server: server.tell(b"i1 OK enough"), "enough"),
        (lambda server: server.tell(b"x" * 40_000), "more than can be listened to"),
        (lambda server: server.tell(b"* OK fine\r\n" * 200_000), "more than can be listened to"),
    ],
    ids=["hang up", "bye", "ended", "long line", "flood"],
)
def test_connection_that_ends_is_an_error(server: IdleServer, how: Any, words: str) -> None:
    listener = idle_at(server)
    listener.open()

    async def script() -> None:
        waiting = asyncio.create_task(listener.changed())
        await until_idle(server)
        how(server)
        await waiting

    with pytest.raises(ProviderUnavailable, match=words):
        listen(listener, script())


def test_server_that_refuses_idle_is_an_error(server: IdleServer) -> None:
    server.refuses_idle = True
    listener = idle_at(server)
    listener.open()
    with pytest.raises(ProviderUnavailable, match="no idling"):
        listen(listener, listener.changed())


def test_open_without_idle_is_unsupported(server: IdleServer) -> None:
    server.capabilities = b"IMAP4rev1 AUTH=PLAIN"
    with pytest.raises(UnsupportedOperation):
        idle_at(server).open()


def test_open_with_a_wrong_password_is_refused(server: IdleServer) -> None:
    with pytest.raises(ProviderAuthError):
        idle_at(server, password="wrong").open()


def test_host_names_the_server() -> None:
    assert Idle.host({"imap": {"host": "Mail.Example.org"}}) == "mail.example.org"
    assert Idle.host({"imap": 5}) == Idle.host({}) == ""
