"""Sending by SMTP: what every ending of the conversation means."""

from __future__ import annotations

import ssl
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core import egress
from core.errors import (
    EgressRefused,
    ProviderAuthError,
    ProviderError,
    ProviderOutcomeUnknown,
    ProviderRateLimited,
    ProviderRejected,
    ProviderUnavailable,
)
from email_sync.providers.imap import Imap, smtp
from email_sync.records import OutgoingMail, SentMail
from email_sync.tests.certificates import certificate
from email_sync.tests.scripted import ScriptedLines, account
from email_sync.tests.smtp_sink import SmtpSink

MIME = b"From: ada@x.test\r\nMessage-ID: <letter@x.test>\r\nSubject: hi\r\n\r\nBody\r\n.\r\n..dots\r\n"
LETTER = OutgoingMail("letter@x.test", "ada@x.test", ("bob@x.test", "carol@x.test"), MIME)


@pytest.fixture(autouse=True)
def _loopback_is_open(settings: Any) -> None:
    settings.EGRESS_ALLOW_CIDRS = ["127.0.0.0/8"]


def sent(port: int, mail: OutgoingMail = LETTER, **options: Any) -> SentMail:
    with Imap(account(port, **options)) as provider:
        return provider.send(mail)


# --- taken ----------------------------------------------------------------------------------------------------


def test_send_hands_over_the_exact_bytes_to_every_recipient() -> None:
    with SmtpSink() as sink:
        result = sent(sink.port)
    assert result == SentMail(message_id="letter@x.test", filed=False)
    assert sink.received == [(frozenset({"bob@x.test", "carol@x.test"}), MIME)]


def test_send_with_some_recipients_refused_names_them() -> None:
    with SmtpSink() as sink:
        sink.refusals["bob@x.test"] = "550 5.1.1 No such user"
        result = sent(sink.port)
    assert result.refused == ("bob@x.test",)
    assert [recipients for recipients, _ in sink.received] == [frozenset({"carol@x.test"})]


@pytest.mark.parametrize(
    ("greeting", "filed"),
    [
        (b"220 smtp.gmail.com ESMTP x - gsmtp", True),
        (b"220 AM0.outlook.office365.com Microsoft ESMTP MAIL Service ready", True),
        (b"220 mx.x.test Microsoft ESMTP MAIL Service ready", False),
        (b"220 mx.x.test ESMTP Postfix", False),
    ],
)
def test_send_knows_servers_that_file_the_copy_themselves(greeting: bytes, filed: bool) -> None:
    ok = b"250 OK\r\n"
    replies = (greeting + b"\r\n", ok, ok, ok, ok, b"354 go\r\n", b"." + ok, b"221 bye\r\n")
    with ScriptedLines(*replies) as server:
        assert sent(server.port).filed is filed


def test_send_with_bare_line_ends_sends_proper_ones() -> None:
    with SmtpSink() as sink:
        sent(sink.port, replace(LETTER, mime=b"Subject: x\n\na\rb\nc"))
    assert sink.received[0][1] == b"Subject: x\r\n\r\na\r\nb\r\nc\r\n"


# --- log-in ---------------------------------------------------------------------------------------------------


def test_send_logs_in_with_passwords_of_any_script() -> None:
    with SmtpSink(users={"ada": "pässwörd"}) as sink:
        sent(sink.port, secret="pässwörd")
    assert sink.logged_in == ["PLAIN ada"]


def test_send_logs_in_by_login_where_that_is_all_there_is() -> None:
    with SmtpSink(users={"ada": "secret"}, auth_exclude_mechanism=["PLAIN", "XOAUTH2", "OAUTHBEARER"]) as sink:
        sent(sink.port)
    assert sink.logged_in == ["LOGIN ada"]


@pytest.mark.parametrize("mechanism", ["xoauth2", "oauthbearer"])
def test_send_logs_in_with_an_access_token(mechanism: str) -> None:
    with SmtpSink(tokens={"tok": "ada"}) as sink:
        sent(sink.port, token="tok", auth=mechanism)
    assert sink.logged_in == [f"{mechanism.upper()} ada"]


@pytest.mark.parametrize("mechanism", ["xoauth2", "oauthbearer"])
def test_send_with_a_refused_token_does_not_hang(mechanism: str) -> None:
    with SmtpSink(tokens={"tok": "ada"}) as sink, pytest.raises(ProviderAuthError, match="not accepted"):
        sent(sink.port, token="old", auth=mechanism)


def test_send_with_a_refused_password_is_an_auth_error() -> None:
    with SmtpSink(users={"ada": "other"}) as sink, pytest.raises(ProviderAuthError):
        sent(sink.port)
    assert sink.received == []


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (b"535 5.7.8 Bad credentials", ProviderAuthError),
        (
            b"535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant",
            ProviderRejected,
        ),
        (b"454 4.7.0 Temporary authentication failure", ProviderRateLimited),
        (b"421 4.3.0 Try later", ProviderUnavailable),
    ],
)
def test_send_whose_log_in_is_refused_says_what_follows(reply: bytes, error: type[ProviderError]) -> None:
    hello = b"250-x.test\r\n250 AUTH PLAIN\r\n"
    with ScriptedLines(b"220 hi\r\n", hello, reply + b"\r\n") as server, pytest.raises(error) as refusal:
        sent(server.port)
    assert refusal.type is error


# --- refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "reply", "error"),
    [
        ("MAIL", "553 5.7.1 Sender address rejected: not owned by user", ProviderRejected),
        ("MAIL", "530 5.7.0 Authentication required", ProviderAuthError),
        ("MAIL", "450 4.7.1 Too many messages, slow down", ProviderRateLimited),
        ("MAIL", "451 4.3.0 Local error", ProviderUnavailable),
        ("DATA", "554 5.7.1 Message looks like spam", ProviderRejected),
        ("DATA", "552 5.3.4 Message too big", ProviderRejected),
        ("DATA", "451 4.7.1 Greylisted, come back later", ProviderRateLimited),
        ("DATA", "421 4.3.2 Shutting down", ProviderUnavailable),
    ],
)
def test_send_refused_says_what_follows_in_the_servers_words(at: str, reply: str, error: type[ProviderError]) -> None:
    with SmtpSink() as sink:
        sink.refusals[at] = reply
        with pytest.raises(error) as refusal:
            sent(sink.port)
    assert refusal.type is error
    assert reply[4:] in refusal.value.message
    assert sink.received == []


@pytest.mark.parametrize(
    ("first", "second", "error"),
    [
        ("550 5.1.1 No such user", "551 Not here", ProviderRejected),
        ("550 5.1.1 No such user", "450 4.2.1 Mailbox busy", ProviderUnavailable),
    ],
)
def test_send_with_every_recipient_refused_is_final_only_where_all_refusals_are(
    first: str, second: str, error: type[ProviderError]
) -> None:
    with SmtpSink() as sink:
        sink.refusals |= {"bob@x.test": first, "carol@x.test": second}
        with pytest.raises(error) as refusal:
            sent(sink.port)
    assert refusal.type is error
    assert sink.received == []


def test_send_of_a_mail_over_the_servers_limit_is_refused_before_it_leaves() -> None:
    with SmtpSink(data_size_limit=1000) as sink, pytest.raises(ProviderRejected, match="too large") as refusal:
        sent(sink.port, replace(LETTER, mime=b"Subject: x\r\n\r\n" + b"y" * 2000))
    assert refusal.value.code == "message_too_large"


def test_send_without_recipients_is_refused() -> None:
    with SmtpSink() as sink, pytest.raises(ProviderRejected):
        sent(sink.port, replace(LETTER, recipients=()))
    assert sink.received == []


# --- addresses ------------------------------------------------------------------------------------------------


def test_send_to_a_foreign_domain_uses_its_ascii_form() -> None:
    with SmtpSink(enable_SMTPUTF8=False) as sink:
        sent(sink.port, replace(LETTER, recipients=("bob@bücher.test",)))
    assert sink.received[0][0] == {"bob@xn--bcher-kva.test"}


def test_send_to_a_foreign_local_part_needs_smtputf8() -> None:
    mail = replace(LETTER, recipients=("jürgen@x.test", "bob@x.test"))
    with SmtpSink(enable_SMTPUTF8=False) as sink:
        assert sent(sink.port, mail).refused == ("jürgen@x.test",)
    with SmtpSink(enable_SMTPUTF8=True) as sink:
        assert sent(sink.port, mail).refused == ()
        assert "SMTPUTF8" in " ".join(sink.senders[0][1]).upper()
        assert sink.received[0][0] == {"jürgen@x.test", "bob@x.test"}


@pytest.mark.parametrize("sender", ["a>\r\nRCPT TO:<evil@x.test", "a b@x.test", "jürgen@x.test"])
def test_send_from_an_address_the_server_cannot_carry_is_refused(sender: str) -> None:
    with SmtpSink(enable_SMTPUTF8=False) as sink, pytest.raises(ProviderRejected):
        sent(sink.port, replace(LETTER, sender=sender))
    assert sink.received == []


# --- lost -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", ["MAIL", "RCPT", "354"])
def test_send_lost_before_the_final_dot_was_surely_not_taken(at: str) -> None:
    with SmtpSink() as sink:
        sink.drop_at = at
        with pytest.raises(ProviderUnavailable) as loss:
            sent(sink.port, replace(LETTER, mime=MIME + b"x" * 20_000_000))
    assert not isinstance(loss.value, ProviderOutcomeUnknown)
    assert sink.received == []


def test_send_lost_after_the_final_dot_is_unknown() -> None:
    with SmtpSink() as sink:
        sink.drop_at = "DATA"
        with pytest.raises(ProviderOutcomeUnknown):
            sent(sink.port)
    assert len(sink.received) == 1


@pytest.mark.parametrize("verdict", [b".", b".garbage\r\n", b".25", b".354 hm\r\n", b".250-" + b"x" * 9000 + b"\r\n"])
def test_send_whose_verdict_cannot_be_read_is_unknown(verdict: bytes) -> None:
    ok = b"250 OK\r\n"
    with ScriptedLines(b"220 hi\r\n", ok, ok, ok, ok, b"354 go\r\n", verdict) as server:
        with pytest.raises(ProviderOutcomeUnknown):
            sent(server.port)
        assert b".\r\n" in server.seen


def test_send_whose_verdict_does_not_come_is_unknown_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smtp, "VERDICT_SECONDS", 0.2)
    ok = b"250 OK\r\n"
    silent = (b"220 hi\r\n", ok, ok, ok, ok, b"354 go\r\n", b".", b"")
    with ScriptedLines(*silent) as server, pytest.raises(ProviderOutcomeUnknown):
        sent(server.port)


def test_send_accepted_by_a_server_that_then_hangs_up_is_taken() -> None:
    ok = b"250 OK\r\n"
    with ScriptedLines(b"220 hi\r\n", ok, ok, ok, ok, b"354 go\r\n", b"." + ok) as server:
        assert sent(server.port).refused == ()


@pytest.mark.parametrize(
    "greeting", [b"", b"554 5.7.1 Your address is blocked\r\n", b"421 Too many connections\r\n", b"what\r\n"]
)
def test_send_to_a_server_that_does_not_greet_was_not_taken(greeting: bytes) -> None:
    with (
        ScriptedLines(greeting) as server,
        pytest.raises((ProviderUnavailable, ProviderRejected, ProviderRateLimited)) as no,
    ):
        sent(server.port)
    assert not isinstance(no.value, ProviderOutcomeUnknown)


# --- where and how it connects --------------------------------------------------------------------------------


def test_send_in_plain_text_outside_the_opened_networks_is_refused(settings: Any) -> None:
    settings.EGRESS_ALLOW_CIDRS = []
    with SmtpSink() as sink, pytest.raises(EgressRefused):
        sent(sink.port)


def test_send_with_starttls_not_offered_sends_no_password() -> None:
    with ScriptedLines(b"220 hi\r\n", b"250-x\r\n250 AUTH PLAIN\r\n", b"221 bye\r\n") as server:
        with pytest.raises(ProviderRejected, match="STARTTLS"):
            sent(server.port, security="starttls")
        assert not [line for line in server.seen if line.startswith(b"AUTH")]


@pytest.fixture
def context(tmp_path: Path) -> ssl.SSLContext:
    """The server's side of TLS, with a certificate for 127.0.0.1 that nobody has reason to trust."""
    files = certificate(tmp_path, "127.0.0.1")
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(*files)
    return made


@pytest.fixture
def trusted(tmp_path: Path, context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine trusts that certificate."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
    egress.tls_context.cache_clear()


@pytest.fixture(autouse=True)
def _forget_trust() -> Any:
    yield
    egress.tls_context.cache_clear()


@pytest.mark.parametrize("security", ["tls", "starttls"])
def test_send_over_tls_to_a_trusted_server_arrives(security: str, context: ssl.SSLContext, trusted: None) -> None:
    options = {"ssl_context": context} if security == "tls" else {"tls_context": context, "require_starttls": True}
    with SmtpSink(**options) as sink:
        sent(sink.port, security=security)
        assert len(sink.received) == 1


@pytest.mark.parametrize("security", ["tls", "starttls"])
def test_send_over_tls_to_an_untrusted_server_is_not_attempted(security: str, context: ssl.SSLContext) -> None:
    options = {"ssl_context": context} if security == "tls" else {"tls_context": context}
    with SmtpSink(**options) as sink:
        with pytest.raises(ProviderUnavailable, match="certificate"):
            sent(sink.port, security=security)
        assert sink.received == []
