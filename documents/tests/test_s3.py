"""What is signed for an S3-compatible store, which settings count, and what its refusals become. Enforcement is
`test_s3_enforcement`'s, against a store that enforces."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.utils import timezone

from core.errors import NotConfigured, ProviderError, ProviderUnavailable, RemoteMissing, TooLarge
from core.tests.servers import LoopbackServer, answer
from documents.storage import s3_client
from documents.storage.base import Part, Upload
from documents.storage.s3 import S3Store

SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
LATER = timedelta(minutes=5)


@pytest.fixture(autouse=True)
def _bucket(settings: Any) -> None:
    settings.S3_BUCKET, settings.S3_REGION = "documents", "eu-central-1"
    settings.S3_ENDPOINT_URL = settings.S3_PUBLIC_ENDPOINT_URL = ""
    settings.S3_ACCESS_KEY_ID, settings.S3_SECRET_ACCESS_KEY = "AKIAEXAMPLE", SECRET


@pytest.fixture
def refusing(settings: Any) -> Iterator[Any]:
    """`refusing(status, code)`: a store that answers everything so."""
    servers: list[LoopbackServer] = []

    def begin(status: int, code: str) -> LoopbackServer:
        words = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>of {SECRET}</Message></Error>".encode()

        def script(line: Any, request: bytes) -> bool:
            line.sendall(answer(status, b"" if request.startswith(b"HEAD") else words, content_type="application/xml"))
            return not request.startswith(b"HEAD")

        servers.append(LoopbackServer(script))
        settings.S3_ENDPOINT_URL = servers[-1].url
        return servers[-1]

    yield begin
    for server in servers:
        server.stop()


def upload(*, size: int | None = 5, digest: str = "", most: int = 100) -> Upload:
    return S3Store().upload(
        "w/up/d",
        content_type="application/pdf",
        size=size,
        sha256=digest,
        max_bytes=most,
        expires_at=timezone.now() + LATER,
    )


def test_upload_a_known_size_signs_length_type_and_hash() -> None:
    made = upload(digest="ab" * 32)
    query = parse_qs(urlsplit(made.url).query)
    assert made.method == "PUT"
    assert query["X-Amz-SignedHeaders"] == ["content-length;content-type;host;x-amz-checksum-sha256"]
    assert query["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
    assert 290 <= int(query["X-Amz-Expires"][0]) <= 300
    assert made.headers == {
        "Content-Type": "application/pdf",
        "x-amz-checksum-sha256": base64.b64encode(bytes.fromhex("ab" * 32)).decode(),
    }


def test_upload_an_unknown_size_signs_one_key_one_type_and_a_range() -> None:
    made = upload(size=None)
    assert made.method == "POST"
    assert made.fields is not None
    conditions = json.loads(base64.b64decode(made.fields["policy"]))["conditions"]
    assert ["content-length-range", 0, 100] in conditions
    assert {"key": "w/up/d"} in conditions
    assert {"bucket": "documents"} in conditions
    assert {"Content-Type": "application/pdf"} in conditions


def test_upload_more_than_one_request_carries_is_refused_at_once() -> None:
    with pytest.raises(TooLarge, match="5368709120"):
        upload(size=5 * 1024**3 + 1, most=10**12)
    fields = upload(size=None, most=10**12).fields
    assert fields is not None
    assert ["content-length-range", 0, 5 * 1024**3] in json.loads(base64.b64decode(fields["policy"]))["conditions"]


def test_part_signs_its_upload_number_and_length() -> None:
    made = S3Store().part("w/up/d", "an-upload", 3, size=7, expires_at=timezone.now() + LATER)
    query = parse_qs(urlsplit(made.url).query)
    assert (made.method, made.headers, query["partNumber"], query["uploadId"]) == ("PUT", {}, ["3"], ["an-upload"])
    assert query["X-Amz-SignedHeaders"] == ["content-length;host"]
    assert 290 <= int(query["X-Amz-Expires"][0]) <= 300


@pytest.mark.parametrize(
    ("endpoint", "bucket", "origin", "path"),
    [
        ("", "documents", "https://documents.s3.eu-central-1.amazonaws.com", "/w/up/d"),
        ("", "docs.example.org", "https://s3.eu-central-1.amazonaws.com", "/docs.example.org/w/up/d"),
        ("https://minio.example.org:9000", "documents", "https://minio.example.org:9000", "/documents/w/up/d"),
    ],
)
def test_upload_goes_where_the_bucket_is(settings: Any, endpoint: str, bucket: str, origin: str, path: str) -> None:
    settings.S3_ENDPOINT_URL, settings.S3_BUCKET = endpoint, bucket
    made = urlsplit(upload().url)
    assert (f"{made.scheme}://{made.netloc}", made.path) == (origin, path)
    assert S3Store().public_endpoint == origin


def test_upload_is_signed_for_the_endpoint_that_browsers_use(settings: Any) -> None:
    settings.S3_ENDPOINT_URL, settings.S3_PUBLIC_ENDPOINT_URL = "http://minio:9000", "https://files.example.org"
    assert upload().url.startswith("https://files.example.org/documents/w/up/d?")
    assert upload(size=None).url == "https://files.example.org/documents"


def test_client_nothing_of_the_machine_counts(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_PROFILE": "nobody",
        "AWS_SESSION_TOKEN": "of-somebody-else",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1",
        "AWS_ACCESS_KEY_ID": "another",
        "AWS_DEFAULT_REGION": "us-west-2",
        "HTTPS_PROXY": "http://127.0.0.1:1",
    }.items():
        monkeypatch.setenv(name, value)
    made = upload().url
    assert made.startswith("https://documents.s3.eu-central-1.amazonaws.com/")
    assert "AKIAEXAMPLE%2F" in made
    assert "Security-Token" not in made


@pytest.mark.parametrize("absent", s3_client.NEEDED)
def test_store_without_a_setting_names_it(settings: Any, absent: str) -> None:
    setattr(settings, absent, "")
    assert S3Store().check() == (False, f"Documents are to be stored in S3, but {absent} is not set.")
    with pytest.raises(NotConfigured, match=absent):
        _ = S3Store().public_endpoint


REFUSALS = [
    (403, "AccessDenied", ProviderError, "s3:GetObject"),
    (404, "NoSuchBucket", ProviderError, "S3_BUCKET"),
    (403, "SignatureDoesNotMatch", ProviderError, "S3_SECRET_ACCESS_KEY"),
    (403, "InvalidAccessKeyId", ProviderError, "S3_ACCESS_KEY_ID"),
    (403, "RequestTimeTooSkewed", ProviderError, "clock"),
    (400, "AuthorizationHeaderMalformed", ProviderError, "S3_REGION"),
    (503, "SlowDown", ProviderUnavailable, "busy"),
    (500, "InternalError", ProviderUnavailable, "busy"),
    (502, "", ProviderUnavailable, "busy"),
    (429, "TooMany", ProviderUnavailable, "busy"),
    (404, "NoSuchKey", RemoteMissing, ""),
    (418, "Something<b>", ProviderError, "refused this: Something"),
]


@pytest.mark.parametrize(("status", "code", "kind", "words"), REFUSALS, ids=[f"{r[0]} {r[1]}" for r in REFUSALS])
def test_refusals_are_said_in_our_words(
    refusing: Any, status: int, code: str, kind: type[ProviderError], words: str
) -> None:
    refusing(status, code.replace("<b>", ""))
    with pytest.raises(ProviderError) as caught:
        list(S3Store().read("w/doc/d"))
    assert type(caught.value) is kind
    assert words in caught.value.message
    assert SECRET not in caught.value.message
    assert caught.value.__cause__ is None


def test_stat_a_head_without_a_body_is_understood(refusing: Any) -> None:
    refusing(404, "")
    assert S3Store().stat("w/doc/d") is None
    refusing(403, "")
    with pytest.raises(ProviderError, match="s3:ListBucket"):
        S3Store().stat("w/doc/d")


def test_store_that_is_not_there_is_unavailable(settings: Any) -> None:
    settings.S3_ENDPOINT_URL = "http://127.0.0.1:1"
    for attempt in (
        lambda: S3Store().stat("w/doc/d"),
        lambda: list(S3Store().read("w/doc/d")),
        lambda: S3Store().write("w/doc/d", [b"x"], content_type="text/plain"),
        lambda: S3Store().promote("w/up/d", "w/doc/d"),
        lambda: S3Store().delete("w/doc/d"),
        lambda: list(S3Store().keys("w/", older_than=timezone.now())),
        lambda: S3Store().begin_parts("w/up/d", content_type="text/plain"),
        lambda: S3Store().parts("w/up/d", "1"),
        lambda: S3Store().join("w/up/d", "1", [Part(1, 1, "x")]),
        lambda: S3Store().abort("w/up/d", "1"),
        lambda: list(S3Store().unfinished(older_than=timezone.now())),
        lambda: S3Store().promote("w/up/d", "w/doc/d", size=5 * 1024**3 + 1),
    ):
        with pytest.raises(ProviderUnavailable):
            attempt()
    assert S3Store().check() == (False, "The store of documents could not be reached at S3_ENDPOINT_URL.")


def test_read_an_answer_that_breaks_off_is_unavailable(settings: Any) -> None:
    def script(line: Any, request: bytes) -> None:
        line.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nonly this")

    server = LoopbackServer(script)
    settings.S3_ENDPOINT_URL = server.url
    try:
        with pytest.raises(ProviderUnavailable):
            list(S3Store().read("w/doc/d"))
    finally:
        server.stop()


def test_promote_where_a_store_cannot_hash_it_copies_all_the_same(settings: Any) -> None:
    def script(line: Any, request: bytes) -> bool:
        if b"x-amz-checksum-algorithm" in request.lower():
            line.sendall(answer(501, b"<Error><Code>NotImplemented</Code></Error>", content_type="application/xml"))
        else:
            line.sendall(answer(200, b"<CopyObjectResult><ETag>x</ETag></CopyObjectResult>"))
        return True

    server = LoopbackServer(script)
    settings.S3_ENDPOINT_URL = server.url
    try:
        S3Store().promote("w/up/d", "w/doc/d")
    finally:
        server.stop()
    assert b"x-amz-checksum-algorithm" not in server.requests[-1].lower()


def test_secrets_are_in_no_repr_error_or_log(refusing: Any, caplog: pytest.LogCaptureFixture) -> None:
    store = S3Store()
    made = upload()
    signature = parse_qs(urlsplit(made.url).query)["X-Amz-Signature"][0]
    with caplog.at_level(logging.INFO):
        refusing(403, "SignatureDoesNotMatch")
        ok, words = S3Store().check()
    assert not ok
    shown = f"{store!r} {made!r} {vars(store)!r} {words} {caplog.text}"
    assert SECRET not in shown
    assert signature not in shown
