"""The IMAP provider against a real Dovecot: what the shared contract does not ask for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core import egress
from core.errors import (
    CursorExpired,
    EgressRefused,
    ProviderAuthError,
    ProviderUnavailable,
    RemoteMissing,
)
from email_sync.providers.base import MailAccount
from email_sync.providers.imap import Imap, fetching
from email_sync.records import INBOX, SENT, Stream
from email_sync.tests.certificates import certificate
from email_sync.tests.contract import ident, mail, message_id_of, outgoing
from email_sync.tests.dovecot import PASSWORD, Dovecot, missing
from email_sync.tests.smtp_sink import SmtpSink

pytestmark = pytest.mark.services


@pytest.fixture(autouse=True)
def _loopback_is_open(settings: Any) -> Iterator[None]:
    settings.EGRESS_ALLOW_CIDRS = ["127.0.0.0/8"]
    yield
    egress.tls_context.cache_clear()


@pytest.fixture(scope="module")
def sink() -> Iterator[SmtpSink]:
    with SmtpSink() as running:
        yield running


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return certificate(tmp_path_factory.mktemp("tls"), "127.0.0.1")


@pytest.fixture(scope="module")
def server(sink: SmtpSink, certificates: tuple[Path, Path]) -> Iterator[Dovecot]:
    if missing():
        pytest.fail(missing())
    running = Dovecot(tls=certificates, relay_port=sink.port).start()
    yield running
    running.stop()


@pytest.fixture
def user(server: Dovecot) -> str:
    return server.add_user()


def stream_of(provider: Imap, name: str) -> Stream:
    return next(stream for stream in provider.streams(provider.folders()) if stream.key == name)


def names_in(provider: Imap, stream: Stream) -> list[str]:
    ids = provider.list_ids(stream, "", 1000).remote_ids
    return [message_id_of(message) for message in provider.fetch(stream, ids)]


# --- connecting -----------------------------------------------------------------------------------------------


def test_check_of_a_good_account_tells_folders_and_capabilities(server: Dovecot, user: str) -> None:
    found = Imap.check(server.account(user))
    assert {folder.role for folder in found.folders} >= {INBOX, SENT}
    assert "QRESYNC" in found.capabilities


@pytest.mark.parametrize("side", ["imap", "smtp"])
def test_check_of_a_wrong_password_names_the_side(server: Dovecot, user: str, side: str) -> None:
    account = server.account(user)
    with pytest.raises(ProviderAuthError) as refusal:
        Imap.check(replace(account, secrets={**account.secrets, f"{side}Password": "wrong"}))
    assert list(refusal.value.fields) == [side]
    assert refusal.value.message


def test_check_of_a_server_that_may_not_be_reached_names_the_side(server: Dovecot, user: str, settings: Any) -> None:
    settings.EGRESS_ALLOW_CIDRS = []
    with pytest.raises(EgressRefused) as refusal:
        Imap.check(server.account(user))
    assert list(refusal.value.fields) == ["imap"]


@pytest.mark.parametrize("mechanism", ["xoauth2", "oauthbearer"])
def test_access_token_logs_in_at_both_servers(server: Dovecot, user: str, mechanism: str) -> None:
    server.tokens.grants[f"good-{user}"] = user
    assert Imap.check(server.account(user, token=f"good-{user}", auth=mechanism)).folders


@pytest.mark.parametrize("mechanism", ["xoauth2", "oauthbearer"])
@pytest.mark.parametrize("grant", ["", "somebody.else@contract.test"])
def test_access_token_that_is_not_this_users_is_refused_without_hanging(
    server: Dovecot, user: str, mechanism: str, grant: str
) -> None:
    server.tokens.grants[f"bad-{user}"] = grant
    with Imap(server.account(user, token=f"bad-{user}", auth=mechanism)) as provider, pytest.raises(ProviderAuthError):
        provider.folders()


def over_tls(server: Dovecot, user: str, security: str) -> MailAccount:
    port = server.imaps_port if security == "tls" else server.imap_port
    imap = {"host": "127.0.0.1", "port": port, "security": security, "username": user}
    return MailAccount(user, "", {"imap": imap}, {"imapPassword": PASSWORD})


@pytest.mark.parametrize("security", ["tls", "starttls"])
def test_tls_to_a_trusted_server_works(
    server: Dovecot, user: str, security: str, certificates: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates[0]))
    egress.tls_context.cache_clear()
    with Imap(over_tls(server, user, security)) as provider:
        assert provider.folders()


@pytest.mark.parametrize("security", ["tls", "starttls"])
def test_tls_to_an_untrusted_server_is_not_spoken_to(server: Dovecot, user: str, security: str) -> None:
    with Imap(over_tls(server, user, security)) as provider, pytest.raises(ProviderUnavailable, match="certificate"):
        provider.folders()


def test_mail_leaves_through_the_submission_server(server: Dovecot, user: str, sink: SmtpSink) -> None:
    letter = outgoing("through", user, bcc=("carol@contract.test",))
    with Imap(server.account(user)) as provider:
        result = provider.send(letter)
    assert (result.message_id, result.refused, result.filed) == (letter.message_id, (), False)
    assert sink.received[-1][0] == {"bob@contract.test", "carol@contract.test"}
    assert b"Message-ID: <through@contract.test>" in sink.received[-1][1]


# --- folders --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Büro & Söhne", 'quotes " and \\ back', "日本/深い", "a%b*c", "&-", "trailing "])
def test_folder_with_an_odd_name_is_synced_like_any_other(server: Dovecot, user: str, name: str) -> None:
    from imapclient import IMAPClient

    with IMAPClient("127.0.0.1", server.imap_port, ssl=False) as other:
        other.plain_login(user, PASSWORD)
        other.create_folder(name)
        other.append(name, mail("inside"))
    with Imap(server.account(user)) as provider:
        stream = stream_of(provider, name)
        assert names_in(provider, stream) == [ident("inside")]
        [remote_id] = provider.list_ids(stream, "", 10).remote_ids
        provider.set_flags([remote_id], read=True)
        state = provider.set_archived(remote_id, True)
        assert state is not None
        assert state.is_read


def test_folder_deleted_is_missing_and_made_again_is_another(server: Dovecot, user: str) -> None:
    with server.door(user) as door:
        door.create("Brief")
        door.append("Brief", None, None, mail("first"))
    with Imap(server.account(user)) as provider:
        stream = stream_of(provider, "Brief")
        cursor = provider.start_cursor(stream)
    with server.door(user) as door:
        door.delete("Brief")
    with Imap(server.account(user)) as provider:
        with pytest.raises(RemoteMissing):
            provider.changes(stream, cursor)
        assert "Brief" not in [folder.remote_id for folder in provider.folders()]
    with server.door(user) as door:
        door.create("Brief")
        door.append("Brief", None, None, mail("second"))
    with Imap(server.account(user)) as provider:
        with pytest.raises(CursorExpired):
            provider.changes(stream, cursor)
        assert names_in(provider, stream) == [ident("second")]


def test_tokens_of_a_listing_expire_with_the_uidvalidity(server: Dovecot, user: str) -> None:
    with server.door(user) as door:
        for number in range(4):
            door.append("INBOX", None, None, mail(f"m{number}"))
    with Imap(server.account(user)) as provider:
        stream = stream_of(provider, "INBOX")
        page = provider.list_ids(stream, "", 2)
    server.admin("mailbox", "update", "-u", user, "--uid-validity", "77", "INBOX")
    with Imap(server.account(user)) as provider:
        with pytest.raises(CursorExpired):
            provider.list_ids(stream, page.next_token, 2)
        assert list(provider.fetch(stream, page.remote_ids)) == []
        assert provider.set_flags(page.remote_ids, read=True) == frozenset()


# --- messages -------------------------------------------------------------------------------------------------


def test_fetch_of_messages_of_every_weight_is_exact(
    server: Dovecot, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "HUGE", 2_000_000)
    monkeypatch.setattr(fetching, "BEGINNING", 1_000)
    raws = {size: mail(f"size-{size}", body="x" * 70 + "\n" + ("y" * 70 + "\n") * (size // 71)) for size in
            (0, 1_000, 255_000, 300_000, 2_500_000)}  # fmt: skip
    with server.door(user) as door:
        for raw in raws.values():
            door.append("INBOX", None, None, raw)
    with Imap(server.account(user)) as provider:
        stream = stream_of(provider, "INBOX")
        found = {message_id_of(m): m for m in provider.fetch(stream, provider.list_ids(stream, "", 10).remote_ids)}
    assert [found[ident(f"size-{size}")].raw for size in (0, 1_000, 255_000, 300_000)] == list(raws.values())[:4]
    huge = found[ident("size-2500000")]
    assert huge.raw == raws[2_500_000][:1_000]
    assert huge.truncated
    assert huge.size == len(raws[2_500_000])


def test_fetch_sets_no_flag(server: Dovecot, user: str) -> None:
    with server.door(user) as door:
        door.append("INBOX", None, None, mail("unread", attachment=b"x"))
    with Imap(server.account(user)) as provider:
        stream = stream_of(provider, "INBOX")
        [remote_id] = provider.list_ids(stream, "", 10).remote_ids
        list(provider.fetch(stream, [remote_id]))
        provider.attachment(remote_id, "2")
    with Imap(server.account(user)) as provider:
        assert [state.is_read for states in provider.states(stream) for state in states] == [False]


def test_attachment_by_the_servers_part_is_the_same_as_by_our_own_parser(
    server: Dovecot, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = bytes(range(256)) * 50
    with server.door(user) as door:
        door.append("INBOX", None, None, mail("part", attachment=content))
    with Imap(server.account(user)) as provider:
        stream = stream_of(provider, "INBOX")
        [remote_id] = provider.list_ids(stream, "", 10).remote_ids
        assert provider.attachment(remote_id, "2") == content
        monkeypatch.setattr("email_sync.providers.imap.provider.WHOLE", 10)
        assert provider.attachment(remote_id, "2") == content
        with pytest.raises(RemoteMissing):
            provider.attachment(remote_id, "9")


# --- a server that goes and comes back ------------------------------------------------------------------------


def test_server_that_restarts_is_unavailable_and_then_goes_on(sink: SmtpSink) -> None:
    if missing():
        pytest.fail(missing())
    own = Dovecot().start()
    try:
        account = own.account(own.add_user(), sink=sink)
        with own.door(account.email) as door:
            door.append("INBOX", None, None, mail("kept"))
        with Imap(account) as provider:
            stream = stream_of(provider, "INBOX")
            cursor = provider.start_cursor(stream)
            own.halt()
            with pytest.raises(ProviderUnavailable):
                provider.changes(stream, cursor)
            with pytest.raises(ProviderUnavailable):
                provider.changes(stream, cursor)
            own.resume()
            assert provider.changes(stream, cursor).added == ()
            assert names_in(provider, stream) == [ident("kept")]
    finally:
        own.stop()


def test_find_sent_knows_a_copy_whose_message_id_the_server_changed(server: Dovecot, user: str) -> None:
    raw = mail("kept").replace(b"Message-ID:", b"X-Patchbay-Message-ID: <ours@contract.test>\r\nMessage-ID:", 1)
    with server.door(user) as door:
        door.append("Sent", None, None, raw)
    with Imap(server.account(user)) as provider:
        found = provider.find_sent("ours@contract.test")
        assert found is not None
        assert found.message_id == "kept@contract.test"
        assert provider.find_sent("urs@contract.test") is None
