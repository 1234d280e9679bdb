"""Bodies: JSON only, strict, capped, bounded."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st
from rest_framework.exceptions import ParseError

from core.api.parsers import parse_json

pytestmark = pytest.mark.urls("core.tests.api_urls")


def post(client: Client, body: bytes | str, content_type: str = "application/json") -> Any:
    return client.generic("POST", "/api/raw", body, content_type=content_type)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        ('{"a": [1, 2.5, true, null, "grüße 🌍"]}', {"a": [1, 2.5, True, None, "grüße 🌍"]}),
        ("\ufeff{}", {}),
        ('"text"', "text"),
        ("[]", []),
        ('{"a": 1, "a": 2}', {"a": 2}),
        ('"\\ud83c\\udf0d"', "🌍"),
        ("9223372036854775807", 2**63 - 1),
        (" \n{} ", {}),
    ],
)
def test_body_strict_json_is_read(client: Client, body: str, value: Any) -> None:
    assert post(client, body).json() == {"data": value}


def test_body_empty_is_an_empty_object(client: Client) -> None:
    assert post(client, b"").json() == {"data": {}}


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"nonsense",
        b"{'a': 1}",
        b'{"a": NaN}',
        b"[Infinity]",
        b"-Infinity",
        b"1e999",
        b"9223372036854775808",
        b"1" * 5000,
        b"\xff\xfe",
        b'"\xed\xa0\x80"',
        b'"\\ud800"',
        b'{"\\udc00": 1}',
        b'"a\\u0000b"',
        b'{"a\\u0000": 1}',
        b"[1,]",
        b"{} {}",
        b'"\x01"',
        b"[" * 33 + b"]" * 33,
        b'{"a":' * 40 + b"1" + b"}" * 40,
        b"[" * 100_000,
        b" ",
    ],
)
def test_body_other_than_strict_json_is_malformed(client: Client, body: bytes) -> None:
    response = post(client, body)
    assert (response.status_code, response.json()["error"]["code"]) == (400, "bad_request")


def test_body_deepest_allowed_nesting_is_read(client: Client) -> None:
    assert post(client, b"[" * 32 + b"]" * 32).status_code == 200


@pytest.mark.parametrize("size", [1000, 1001])
def test_body_size_is_capped(client: Client, settings: Any, size: int) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    response = post(client, b'"' + b"a" * (size - 2) + b'"')
    if size <= 1000:
        assert response.status_code == 200
    else:
        assert (response.status_code, response.json()["error"]["code"]) == (413, "too_large")


@pytest.mark.parametrize(
    "kind", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain", "application/xml"]
)
def test_body_of_another_type_is_unsupported(client: Client, kind: str) -> None:
    response = post(client, b"a=1", kind)
    assert (response.status_code, response.json()["error"]["code"]) == (415, "unsupported_media_type")


@given(st.binary(max_size=80))
def test_parse_json_any_bytes_are_a_value_or_malformed(body: bytes) -> None:
    with contextlib.suppress(ParseError):
        parse_json(body)
