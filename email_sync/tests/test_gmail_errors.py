"""What Gmail's refusals become, through the whole provider against a loopback server."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from core.errors import (
    CursorExpired,
    HubError,
    ProviderAuthError,
    ProviderOutcomeUnknown,
    ProviderRateLimited,
    ProviderRejected,
    ProviderUnavailable,
    RemoteMissing,
)
from email_sync.providers.gmail.provider import MAILBOX
from email_sync.records import OutgoingMail
from email_sync.tests.gmail_server import GmailServer, Reply, refusal

HTML = Reply(502, b"<html>Bad gateway</html>", {"content_type": "text/html"})
LETTER = OutgoingMail("m1@x.test", "ada@gmail.test", ("bob@x.test",), b"To: bob@x.test\r\n\r\nHello\r\n")


@pytest.fixture
def server(settings: Any) -> Iterator[GmailServer]:
    settings.EGRESS_ALLOW_CIDRS = ["127.0.0.0/8"]
    with GmailServer() as server:
        yield server


def error_of_labels(server: GmailServer, reply: Reply) -> HubError:
    """What `folders` raises when labels.list answers so."""
    server.on("GET", "/labels", reply)
    with pytest.raises(HubError) as caught:
        server.gmail().folders()
    return caught.value


def new_form(status: int, reason: str, code: str) -> Reply:
    """Google's newer error, with the reason among the details."""
    details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason}]
    return Reply(status, {"error": {"code": status, "message": "No.", "status": code, "details": details}})


@pytest.mark.parametrize(
    ("reply", "kind", "code"),
    [
        (refusal(401, "authError"), ProviderAuthError, "needs_reauth"),
        (Reply(401, b"<html></html>", {"content_type": "text/html"}), ProviderAuthError, "needs_reauth"),
        (refusal(403, "rateLimitExceeded"), ProviderRateLimited, "provider_rate_limited"),
        (refusal(403, "userRateLimitExceeded"), ProviderRateLimited, "provider_rate_limited"),
        (refusal(403, "quotaExceeded"), ProviderRateLimited, "provider_rate_limited"),
        (refusal(403, "dailyLimitExceeded"), ProviderRateLimited, "provider_rate_limited"),
        (new_form(403, "RATE_LIMIT_EXCEEDED", "PERMISSION_DENIED"), ProviderRateLimited, "provider_rate_limited"),
        (refusal(429, "rateLimitExceeded"), ProviderRateLimited, "provider_rate_limited"),
        (Reply(429, b"slow down", {"content_type": "text/plain"}), ProviderRateLimited, "provider_rate_limited"),
        (refusal(403, "insufficientPermissions"), ProviderRejected, "missing_scope"),
        (new_form(403, "ACCESS_TOKEN_SCOPE_INSUFFICIENT", "PERMISSION_DENIED"), ProviderRejected, "missing_scope"),
        (refusal(403, "accessNotConfigured"), ProviderRejected, "api_not_enabled"),
        (new_form(403, "SERVICE_DISABLED", "PERMISSION_DENIED"), ProviderRejected, "api_not_enabled"),
        (refusal(403, "domainPolicy"), ProviderRejected, "blocked_by_admin"),
        (refusal(400, "failedPrecondition", "Mail service not enabled"), ProviderRejected, "mailbox_unavailable"),
        (refusal(403, "forbidden", "Delegation denied"), ProviderRejected, "provider_rejected"),
        (refusal(404, "notFound"), RemoteMissing, "not_found"),
        (new_form(409, "", "ABORTED"), ProviderUnavailable, "provider_unavailable"),
        (refusal(500, "backendError"), ProviderUnavailable, "provider_unavailable"),
        (refusal(503, "backendError"), ProviderUnavailable, "provider_unavailable"),
        (HTML, ProviderUnavailable, "provider_unavailable"),
        (Reply(404, b"<html></html>", {"content_type": "text/html"}), ProviderUnavailable, "provider_unavailable"),
        (Reply(403, b"<html></html>", {"content_type": "text/html"}), ProviderUnavailable, "provider_unavailable"),
        (Reply(200, b"<html></html>", {"content_type": "text/html"}), ProviderUnavailable, "provider_unavailable"),
        (Reply(200, b'{"labels": [{"id": "INB'), ProviderUnavailable, "provider_unavailable"),
        (Reply(200, b"[" * 100_000), ProviderUnavailable, "provider_unavailable"),
        (Reply(200, ["a list"]), ProviderUnavailable, "provider_unavailable"),
        (Reply(200, {"labels": "text"}), ProviderUnavailable, "provider_unavailable"),
        (Reply(200, {"labels": [None]}), ProviderUnavailable, "provider_unavailable"),
        (Reply(200, {"labels": [{"name": "no id"}]}), ProviderUnavailable, "provider_unavailable"),
        (Reply(200, {"labels": [{"id": 7}]}), ProviderUnavailable, "provider_unavailable"),
        (Reply(200, {"labels": [{"id": "a\u0000b"}]}), ProviderUnavailable, "provider_unavailable"),
    ],
)
def test_check_refusal_or_garbage_becomes_the_error_that_decides(
    server: GmailServer, reply: Reply, kind: type[HubError], code: str
) -> None:
    error = error_of_labels(server, reply)
    assert type(error) is kind
    assert error.code == code


@pytest.mark.parametrize(
    "body", [{"error": None}, {"error": {"errors": "x", "details": 3, "message": []}}, {}, {"error": "x"}]
)
def test_check_refusal_of_odd_form_is_still_a_refusal(server: GmailServer, body: object) -> None:
    assert isinstance(error_of_labels(server, Reply(403, body)), ProviderRejected)


def test_check_refusal_keeps_the_words_of_gmail(server: GmailServer) -> None:
    error = error_of_labels(server, refusal(400, "failedPrecondition", "Mail service not enabled"))
    assert "Mail service not enabled" in error.message


def test_check_missing_scope_says_what_to_do(server: GmailServer) -> None:
    assert "Connect the account again" in error_of_labels(server, refusal(403, "insufficientPermissions")).message


def test_check_disabled_api_says_what_the_operator_does(server: GmailServer) -> None:
    assert "The operator has to enable it" in error_of_labels(server, refusal(403, "accessNotConfigured")).message


def wait_of(server: GmailServer, reply: Reply) -> float:
    error = error_of_labels(server, reply)
    assert isinstance(error, ProviderRateLimited)
    return error.retry_after


def test_check_rate_limit_waits_as_the_header_says(server: GmailServer) -> None:
    assert wait_of(server, refusal(429, "rateLimitExceeded", retry_after="17")) == 17
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    assert 90 < wait_of(server, refusal(403, "rateLimitExceeded", retry_after=date)) <= 101


def test_check_rate_limit_waits_until_the_time_in_the_words(server: GmailServer) -> None:
    moment = (datetime.now(UTC) + timedelta(seconds=300)).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    words = f"User-rate limit exceeded.  Retry after {moment} (Mail sending)"
    assert 290 < wait_of(server, refusal(429, "userRateLimitExceeded", words)) <= 301


@pytest.mark.parametrize("words", ["Slow down.", "Retry after 2026-99-99T00:00:00Z", "Retry after a while"])
def test_check_rate_limit_without_a_time_waits_a_minute(server: GmailServer, words: str) -> None:
    assert wait_of(server, refusal(403, "userRateLimitExceeded", words)) == 60


def test_check_time_in_the_words_that_has_passed_waits_a_moment(server: GmailServer) -> None:
    assert wait_of(server, refusal(429, "rateLimitExceeded", "Retry after 2020-01-01T00:00:00Z")) == 1


def test_history_unknown_id_expires_the_cursor(server: GmailServer) -> None:
    for reply in (refusal(404, "notFound"), refusal(400, "invalidArgument")):
        server.on("GET", "/history", reply)
        with pytest.raises(CursorExpired):
            server.gmail().changes(MAILBOX, "12")


@pytest.mark.parametrize("reply", [HTML, Reply(404, b"<html></html>", {"content_type": "text/html"})])
def test_history_page_of_somebody_else_does_not_expire_the_cursor(server: GmailServer, reply: Reply) -> None:
    server.on("GET", "/history", reply)
    with pytest.raises(ProviderUnavailable):
        server.gmail().changes(MAILBOX, "12")


def test_history_of_a_disabled_mailbox_does_not_expire_the_cursor(server: GmailServer) -> None:
    server.on("GET", "/history", refusal(400, "failedPrecondition"))
    with pytest.raises(ProviderRejected):
        server.gmail().changes(MAILBOX, "12")


def test_list_ids_refused_page_token_expires_the_listing(server: GmailServer) -> None:
    server.on("GET", "/messages", refusal(400, "invalidArgument", "Invalid pageToken"))
    with pytest.raises(CursorExpired):
        server.gmail().list_ids(MAILBOX, "all:old", 10)


def test_send_without_an_answer_is_unknown(server: GmailServer) -> None:
    server.on("POST", "/messages/send", lambda _: None)
    with pytest.raises(ProviderOutcomeUnknown):
        server.gmail().send(LETTER)
    assert len(server.asked) == 1


@pytest.mark.parametrize("reply", [refusal(500, "backendError"), refusal(503, "backendError", retry_after="3"), HTML])
def test_send_answered_with_a_server_error_is_unknown(server: GmailServer, reply: Reply) -> None:
    server.on("POST", "/messages/send", reply)
    with pytest.raises(ProviderOutcomeUnknown):
        server.gmail().send(LETTER)


@pytest.mark.parametrize("body", [b'{"id": "18', b"", b"[1]"])
def test_send_accepted_with_garbage_is_unknown(server: GmailServer, body: bytes) -> None:
    server.on("POST", "/messages/send", Reply(200, body))
    with pytest.raises(ProviderOutcomeUnknown):
        server.gmail().send(LETTER)


def test_send_over_quota_was_not_taken(server: GmailServer) -> None:
    server.on("POST", "/messages/send", refusal(429, "rateLimitExceeded"))
    with pytest.raises(ProviderRateLimited):
        server.gmail().send(LETTER)


def test_send_refused_recipient_is_rejected_in_the_words_of_gmail(server: GmailServer) -> None:
    server.on("POST", "/messages/send", refusal(400, "invalidArgument", "Invalid To header"))
    with pytest.raises(ProviderRejected, match="Invalid To header"):
        server.gmail().send(LETTER)


def test_errors_never_carry_the_token(server: GmailServer) -> None:
    error = error_of_labels(server, refusal(403, "forbidden", "Token ya29.secret was refused"))
    assert "ya29.secret" not in str(error) + repr(server.gmail().account)
