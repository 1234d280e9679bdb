"""The IMAP connection: log-in, TLS, and what becomes of a server's refusals and silences."""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
import time
from typing import Any

import pytest

from core.errors import (
    EgressRefused,
    NotConfigured,
    ProviderAuthError,
    ProviderError,
    ProviderRateLimited,
    ProviderRejected,
    ProviderUnavailable,
    RemoteMissing,
)
from email_sync.providers.base import MailAccount
from email_sync.providers.imap import Imap, connection
from email_sync.records import RemoteFolder, Stream
from email_sync.tests.scripted import HANG_UP, Rule, ScriptedImap, account

INBOX = Stream("INBOX", RemoteFolder("INBOX", "INBOX", "inbox"))
EXPLAINED = base64.b64encode(b'{"status":"401","schemes":"bearer"}')


@pytest.fixture(autouse=True)
def _loopback_is_open(settings: Any) -> None:
    settings.EGRESS_ALLOW_CIDRS = ["127.0.0.0/8"]


def folders_of(*rules: Rule, greeting: bytes = b"* OK ready\r\n", **imap: object) -> list[RemoteFolder]:
    with ScriptedImap(*rules, greeting=greeting) as server, Imap(account(server.port, **imap)) as provider:
        return provider.folders()


# --- refused log-ins ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (b"NO [AUTHENTICATIONFAILED] Invalid credentials", ProviderAuthError),
        (b"NO [AUTHORIZATIONFAILED] No such mailbox", ProviderAuthError),
        (b"NO [EXPIRED] Change your password", ProviderAuthError),
        (b"NO Login failed.", ProviderAuthError),
        (b"NO [ALERT] Please log in via your web browser", ProviderAuthError),
        (b"NO [UNAVAILABLE] Temporary authentication failure", ProviderUnavailable),
        (b"NO [ALERT] Too many simultaneous connections. (Failure)", ProviderRateLimited),
        (b"NO [LIMIT] Rate limit hit", ProviderRateLimited),
        (b"NO [CONTACTADMIN] Your account is locked", ProviderRejected),
        (b"NO [PRIVACYREQUIRED] Use TLS", ProviderRejected),
    ],
)
def test_login_refused_says_what_follows_in_the_servers_words(words: bytes, error: type[ProviderError]) -> None:
    with pytest.raises(error) as refusal:
        folders_of((r"\(", b"%T " + words + b"\r\n"))
    assert refusal.type is error
    assert refusal.value.message == words.decode().partition(" ")[2].rpartition("] ")[2]


def test_login_refused_shows_no_password() -> None:
    with pytest.raises(ProviderAuthError) as refusal:
        folders_of((r"\(", b"%T NO password=hunter2 is wrong\r\n"))
    assert "hunter2" not in str(refusal.value)


def test_login_by_xoauth2_answers_the_explanation_so_that_the_refusal_comes() -> None:
    capable: Rule = ("CAPABILITY", b"* CAPABILITY IMAP4rev1 AUTH=XOAUTH2\r\n%T OK done\r\n")
    with ScriptedImap(
        capable,
        ("AUTHENTICATE XOAUTH2", b"+ \r\n"),
        (r"\(\w", b"+ " + EXPLAINED + b"\r\n"),
        (r"\(\)", b"%T NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)\r\n"),
    ) as server:
        with Imap(account(server.port, token="ya29.token")) as provider, pytest.raises(ProviderAuthError):
            provider.folders()
        given = base64.b64decode(server.seen[2].strip("()"))
    assert given == b"user=ada\x01auth=Bearer ya29.token\x01\x01"


def test_login_by_oauthbearer_answers_the_explanation_with_its_own_byte() -> None:
    with ScriptedImap(
        ("AUTHENTICATE OAUTHBEARER", b"+ \r\n"),
        (r"\(AQ==\)", b"%T NO [AUTHENTICATIONFAILED] no\r\n"),
        (r"\(", b"+ " + EXPLAINED + b"\r\n"),
    ) as server:
        with (
            Imap(account(server.port, token="tok", auth="oauthbearer", username="a=d,a")) as provider,
            pytest.raises(ProviderAuthError),
        ):
            provider.folders()
        given = base64.b64decode(server.seen[2].strip("()"))
        port = server.port
    assert given == b"n,a=a=3Dd=2Ca,\x01host=127.0.0.1\x01port=%d\x01auth=Bearer tok\x01\x01" % port


def test_login_without_sasl_quotes_names_and_passwords_of_any_script() -> None:
    with ScriptedImap(("CAPABILITY", b"* CAPABILITY IMAP4rev1\r\n%T OK done\r\n")) as server:
        with Imap(account(server.port, username='a"da', secret="pä\\ss")) as provider:
            provider.folders()
        assert 'LOGIN "a\\"da" "pä\\\\ss"' in server.seen


def test_login_without_sasl_sends_no_line_end() -> None:
    with ScriptedImap(("CAPABILITY", b"* CAPABILITY IMAP4rev1\r\n%T OK done\r\n")) as server:
        with Imap(account(server.port, secret="x\r\nA1 DELETE INBOX")) as provider, pytest.raises(ProviderAuthError):
            provider.folders()
        assert server.seen == ["CAPABILITY"]


def test_login_disabled_in_plain_text_says_so() -> None:
    with pytest.raises(ProviderRejected, match="TLS"):
        folders_of(("CAPABILITY", b"* CAPABILITY IMAP4rev1 LOGINDISABLED\r\n%T OK done\r\n"))


def test_login_at_a_server_that_wants_none_is_refused() -> None:
    with pytest.raises(ProviderRejected, match="log-in"):
        folders_of(greeting=b"* PREAUTH welcome\r\n")


def test_login_whose_answer_tells_the_capabilities_asks_no_more() -> None:
    told: Rule = (r"\(", b"%T OK [CAPABILITY IMAP4rev1 ID] welcome\r\n")
    with ScriptedImap(told) as server:
        with Imap(account(server.port)) as provider:
            provider.folders()
        assert [command.partition(" ")[0] for command in server.seen[3:]] == ["ID", "LIST", "LOGOUT"]


def test_login_sends_id_before_selecting_where_the_server_takes_one() -> None:
    with ScriptedImap(("CAPABILITY", b"* CAPABILITY IMAP4rev1 AUTH=PLAIN ID\r\n%T OK done\r\n")) as server:
        with Imap(account(server.port)) as provider:
            provider.folders()
        assert 'ID ("name" "Patchbay")' in server.seen


# --- where it may connect -------------------------------------------------------------------------------------


def test_connect_in_plain_text_outside_the_opened_networks_is_refused_before_anything_is_said(settings: Any) -> None:
    settings.EGRESS_ALLOW_CIDRS = []
    with ScriptedImap() as server:
        with Imap(account(server.port)) as provider, pytest.raises(EgressRefused):
            provider.folders()
        assert server.connections == 0


def test_connect_with_starttls_not_offered_sends_no_password() -> None:
    with ScriptedImap() as server:
        with Imap(account(server.port, security="starttls")) as provider, pytest.raises(ProviderRejected):
            provider.folders()
        assert server.seen == ["CAPABILITY"]


def test_connect_with_tls_to_a_server_without_it_is_unavailable() -> None:
    with pytest.raises(ProviderUnavailable):
        folders_of(security="tls")


def test_connect_to_a_closed_port_is_unavailable() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with Imap(account(taken.getsockname()[1])) as provider, pytest.raises(ProviderUnavailable):
            provider.folders()


@pytest.mark.parametrize("imap", [{"host": ""}, {"port": "993"}, {"security": "maybe"}, {"auth": "X\r\nY"}])
def test_connect_with_unusable_settings_is_not_configured(imap: dict[str, object]) -> None:
    with Imap(account(1, **imap)) as provider, pytest.raises(NotConfigured):
        provider.folders()


# --- failing servers ------------------------------------------------------------------------------------------


def test_greeting_that_is_a_bye_is_unavailable_in_the_servers_words() -> None:
    with pytest.raises(ProviderUnavailable, match="Too many connections"):
        folders_of(greeting=b"* BYE Too many connections" + b"\r\n" + HANG_UP)


@pytest.mark.parametrize(
    "answer",
    [
        b"* BYE [UNAVAILABLE] Maintenance\r\n" + HANG_UP,
        HANG_UP,
        b"no imap at all\r\n",
        b"* LIST (",
        b"* LIST () NIL {99999999999}\r\n" + HANG_UP,
        b"* LIST () NIL {50}\r\nshort" + HANG_UP,
        b"* LIST () NIL {" + b"9" * 5000 + b"}\r\n",
    ],
)
def test_connection_that_breaks_is_unavailable_and_the_next_use_connects_anew(
    answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "OPERATION_SECONDS", 2.0)
    good = b'* LIST () "/" INBOX\r\n%T OK done\r\n'
    with ScriptedImap(("LIST", lambda before: good if before else answer)) as server:
        with Imap(account(server.port)) as provider:
            with pytest.raises(ProviderUnavailable) as lost:
                provider.folders()
            assert [folder.remote_id for folder in provider.folders()] == ["INBOX"]
        assert server.connections == 2
    assert "imap at all" not in lost.value.message


def test_connection_that_is_silent_is_unavailable_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "OPERATION_SECONDS", 0.2)
    began = time.monotonic()
    with pytest.raises(ProviderUnavailable, match="in time"):
        folders_of(("LIST", b""))
    assert time.monotonic() - began < 10


def test_answer_without_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "ANSWER_LIMIT", 100_000)
    with pytest.raises(ProviderUnavailable):
        folders_of(("LIST", b'* LIST () "/" INBOX\r\n' * 10_000 + b"%T OK done\r\n"))


def test_folder_that_is_gone_is_missing_though_the_server_only_says_no() -> None:
    with (
        ScriptedImap(("EXAMINE", b"%T NO Mailbox does not exist\r\n")) as server,
        Imap(account(server.port)) as provider,
        pytest.raises(RemoteMissing),
    ):
        provider.start_cursor(Stream("Gone", RemoteFolder("Gone", "Gone")))


def test_folder_that_is_listed_but_cannot_be_opened_is_unavailable() -> None:
    with (
        ScriptedImap(("EXAMINE", b"%T NO Internal error\r\n")) as server,
        Imap(account(server.port)) as provider,
        pytest.raises(ProviderUnavailable, match="Internal error"),
    ):
        provider.start_cursor(INBOX)


def test_close_never_raises() -> None:
    with ScriptedImap(("LOGOUT", HANG_UP)) as server:
        provider = Imap(account(server.port))
        provider.folders()
        provider.close()
        provider.close()
    Imap(MailAccount("a@b.test")).close()


def test_account_shows_no_secret() -> None:
    assert "hunter2" not in repr(account(1, secret="hunter2"))


# --- servers that hold on -------------------------------------------------------------------------------------


def test_server_that_accepts_and_never_greets_is_given_up_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "CONNECT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        begun = time.monotonic()
        with Imap(account(silent.getsockname()[1])) as provider, pytest.raises(ProviderUnavailable):
            provider.folders()
    assert time.monotonic() - begun < connection.OPERATION_SECONDS / 4


def test_server_that_never_answers_a_log_in_is_given_up_as_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "CONNECT_SECONDS", 0.2)
    begun = time.monotonic()
    with pytest.raises(ProviderUnavailable):
        folders_of(("AUTHENTICATE", b""))
    assert time.monotonic() - begun < connection.OPERATION_SECONDS / 4


def test_answer_that_drips_is_cut_off_however_steadily_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every byte comes in time, and the answer never ends."""
    monkeypatch.setattr(connection, "COMMAND_SECONDS", 0.4)

    begun = time.monotonic()
    with Dripping() as port, Imap(account(port)) as provider, pytest.raises(ProviderUnavailable):
        provider.folders()
    assert 0.3 < time.monotonic() - begun < 20


class Dripping:
    """A server that answers a LIST with one line every 50 ms, for ever."""

    def __enter__(self) -> int:
        self._server = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._serve, daemon=True).start()
        port: int = self._server.getsockname()[1]
        return port

    def __exit__(self, *_: object) -> None:
        self._server.close()

    def _serve(self) -> None:
        peer, _ = self._server.accept()
        with peer, peer.makefile("rwb", buffering=0) as lines, contextlib.suppress(OSError):
            lines.write(b"* OK ready\r\n")
            while line := lines.readline():
                tag, _, command = line.partition(b" ")
                while command.startswith(b"LIST"):
                    lines.write(b'* LIST () "/" INBOX\r\n')
                    time.sleep(0.05)
                lines.write(b"* CAPABILITY IMAP4rev1\r\n" + tag + b" OK done\r\n")
