"""Answers as values: decoding, strict JSON, waits, and which error a status means."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from core.errors import (
    ProviderAuthError,
    ProviderError,
    ProviderOutcomeUnknown,
    ProviderRateLimited,
    ProviderRejected,
    ProviderUnavailable,
    RemoteMissing,
)
from core.http import Response, parse_retry_after, raise_for_provider

NOW = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)


def response(
    status: int = 200, body: bytes | dict[str, Any] = b"", *, idempotent: bool = True, **headers: str
) -> Response:
    if isinstance(body, dict):
        headers.setdefault("content_type", "application/json; charset=utf-8")
        body = json.dumps(body).encode()
    named = httpx.Headers({name.replace("_", "-"): value for name, value in headers.items()})
    return Response(status, named, body, "https://api.example.com/v1", idempotent)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (301, ProviderRejected),
        (304, ProviderRejected),
        (400, ProviderRejected),
        (401, ProviderAuthError),
        (402, ProviderRejected),
        (403, ProviderRejected),
        (404, RemoteMissing),
        (405, ProviderRejected),
        (408, ProviderUnavailable),
        (409, ProviderRejected),
        (410, RemoteMissing),
        (412, ProviderRejected),
        (422, ProviderRejected),
        (425, ProviderUnavailable),
        (429, ProviderRateLimited),
        (500, ProviderUnavailable),
        (501, ProviderUnavailable),
        (502, ProviderUnavailable),
        (503, ProviderUnavailable),
        (504, ProviderUnavailable),
        (599, ProviderUnavailable),
    ],
)
def test_raise_for_provider_status_becomes_its_error(status: int, error: type[ProviderError]) -> None:
    with pytest.raises(error) as caught:
        raise_for_provider(response(status))
    assert type(caught.value) is error


@pytest.mark.parametrize("status", [200, 201, 202, 204, 206])
def test_raise_for_provider_success_is_given_back(status: int) -> None:
    answered = response(status)
    assert raise_for_provider(answered) is answered


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (500, ProviderOutcomeUnknown),
        (502, ProviderOutcomeUnknown),
        (504, ProviderOutcomeUnknown),
        (501, ProviderUnavailable),
        (503, ProviderUnavailable),
    ],
)
def test_raise_for_provider_failure_of_what_may_not_be_repeated_is_unknown(
    status: int, error: type[ProviderError]
) -> None:
    with pytest.raises(ProviderUnavailable) as caught:
        raise_for_provider(response(status, idempotent=False))
    assert type(caught.value) is error


@pytest.mark.parametrize("status", [429, 503])
def test_raise_for_provider_asked_wait_is_carried(status: int) -> None:
    with pytest.raises(ProviderRateLimited) as caught:
        raise_for_provider(response(status, retry_after="86400"))
    assert caught.value.retry_after == 86400


def test_raise_for_provider_wait_by_date_counts_from_the_answers_own_clock() -> None:
    with pytest.raises(ProviderRateLimited) as caught:
        raise_for_provider(
            response(429, retry_after="Fri, 20 Nov 2015 12:02:00 GMT", date="Fri, 20 Nov 2015 12:00:00 GMT")
        )
    assert caught.value.retry_after == 120


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("1", 1),
        (" 120 ", 120),
        ("2.5", 2.5),
        ("86400", 86400),
        ("99999999999", 7 * 86400),
        ("Fri, 20 Nov 2026 12:01:30 GMT", 90),
        ("Friday, 20-Nov-26 12:01:30 GMT", 90),
        ("Fri Nov 20 12:01:30 2026", 90),
        ("Fri, 20 Nov 2026 13:01:30 +0100", 90),
        ("Fri, 20 Nov 2020 12:00:00 GMT", 0),
        ("Fri, 20 Nov 2099 12:00:00 GMT", 7 * 86400),
        ("", 60),
        (None, 60),
        ("soon", 60),
        ("-5", 60),
        ("1e9", 60),
        ("\u0661", 60),
        ("nan", 60),
        ("inf", 60),
        ("Fri, 99 Nov 2026 12:01:30 GMT", 60),
        ("9" * 5000, 60),
    ],
)
def test_parse_retry_after_forms(value: str | None, seconds: float) -> None:
    assert parse_retry_after(value, now=NOW) == seconds


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"code": 403, "message": "Quota is spent"}},
        {"message": "Quota is spent", "name": "x"},
        {"error": "quota", "error_description": "Quota is spent"},
        {"errors": [{"message": "Quota is spent", "field": None}]},
        {"detail": "Quota is spent"},
        {"error": {"errors": [{"reason": "Quota is spent"}]}},
        {"error": "Quota is spent"},
    ],
)
def test_raise_for_provider_quotes_the_providers_words(body: dict[str, Any]) -> None:
    with pytest.raises(ProviderRejected) as caught:
        raise_for_provider(response(403, body), "Example")
    assert caught.value.message == "Example answered 403: Quota is spent"


@pytest.mark.parametrize("body", [b"<html><h1>nginx</h1></html>", b"{broken", b"[]", b"null", b"17", b"\xff\xfe", b""])
def test_raise_for_provider_body_without_words_is_not_quoted(body: bytes) -> None:
    for kind in ("text/html", "application/json"):
        with pytest.raises(ProviderUnavailable) as caught:
            raise_for_provider(response(502, body, content_type=kind), "Example")
        assert caught.value.message == "Example answered 502."


def test_raise_for_provider_quote_off_keeps_the_body_out() -> None:
    with pytest.raises(ProviderRejected) as caught:
        raise_for_provider(response(400, {"message": "inside news"}), quote=False)
    assert "inside" not in caught.value.message


def test_raise_for_provider_words_lose_secrets_and_control_characters() -> None:
    words = {
        "message": "bad\r\n\x1b[31m token ya29.a0AfB_secretsecret\x00 refresh_token=1//0gsecretsecretsecret "
        + "x" * 1000
    }
    with pytest.raises(ProviderRejected) as caught:
        raise_for_provider(response(400, words))
    message = caught.value.message
    assert "secret" not in message
    assert message.isprintable()
    assert len(message) < 400


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"{", b'{"a": NaN}', b'{"a": Infinity}', b"\xff", b"[" * 100_000, b"1" * 5000, b"{} {}"]
)
def test_response_json_garbage_is_unavailable(body: bytes) -> None:
    with pytest.raises(ProviderUnavailable, match=r"api\.example\.com"):
        response(200, body).json()


@pytest.mark.parametrize("body", [b"[]", b"1", b'"text"', b"null", b"garbage"])
def test_response_json_object_anything_else_is_unavailable(body: bytes) -> None:
    with pytest.raises(ProviderUnavailable):
        response(200, body).json_object()


@pytest.mark.parametrize(
    ("body", "kind", "text"),
    [
        ("grüße".encode(), "text/plain", "grüße"),
        ("grüße".encode("latin-1"), "text/plain; charset=ISO-8859-1", "grüße"),
        (b"\xff!", "text/plain", "\ufffd!"),
        (b"abc", "text/plain; charset=no-such", "abc"),
        (b"abc", 'text/plain; charset="utf-8"', "abc"),
    ],
)
def test_response_text_is_decoded_by_its_charset(body: bytes, kind: str, text: str) -> None:
    assert response(200, body, content_type=kind).text == text


def test_response_headers_ignore_case() -> None:
    assert response(200, etag='"1"').headers["ETag"] == '"1"'


def test_json_object_of_a_success_that_carries_an_error_is_no_answer() -> None:
    with pytest.raises(ProviderUnavailable, match="answered 200 with an error: Backend broke"):
        response(200, {"error": {"code": 500, "message": "Backend broke"}}).json_object()
    assert response(400, {"error": {"message": "No"}}).json_object() == {"error": {"message": "No"}}
    assert response(200, {"error": None, "id": "a"}).json_object()["id"] == "a"
