"""What a store that checks signatures and policies refuses of what we signed: LocalStack 4.4.0, over real HTTP."""

from __future__ import annotations

import base64
import hashlib
import json
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from django.utils import timezone

from core.errors import ProviderError, RemoteMissing
from documents.storage.base import Upload
from documents.storage.s3 import S3Store
from documents.storage.s3_writing import PART
from documents.tests.conftest import BUCKET, ORIGIN

pytestmark = pytest.mark.services

PDF = b"%PDF-1.7 a letter"
OTHER = b"%PDF-1.7 another"
LATER = timedelta(minutes=5)


@pytest.fixture
def key() -> str:
    return f"{uuid.uuid4()}/up/{uuid.uuid4()}"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def put(store: S3Store, key: str, *, size: int = len(PDF), digest: str = "", life: timedelta = LATER) -> Upload:
    return store.upload(
        key,
        content_type="application/pdf",
        size=size,
        sha256=digest,
        max_bytes=1000,
        expires_at=timezone.now() + life,
    )


def form(store: S3Store, key: str, *, digest: str = "") -> Upload:
    return store.upload(
        key, content_type="application/pdf", size=None, sha256=digest, max_bytes=40, expires_at=timezone.now() + LATER
    )


def send(upload: Upload, content: bytes, url: str = "", **more: str) -> httpx.Response:
    return httpx.put(url or upload.url, content=content, headers={**upload.headers, **more}, timeout=30)


def post(upload: Upload, content: bytes, **changed: str) -> httpx.Response:
    fields = {**(upload.fields or {}), **changed}
    return httpx.post(upload.url, data=fields, files={"file": ("a.pdf", content, "application/pdf")}, timeout=30)


def content(store: S3Store, key: str) -> bytes:
    return b"".join(store.read(key))


# --- PUT ------------------------------------------------------------------------------------------------------------


def test_put_what_was_announced_arrives_with_its_hash(store: S3Store, key: str) -> None:
    assert send(put(store, key, digest=sha256(PDF)), PDF).status_code == 200
    seen = store.stat(key)
    assert seen is not None
    assert (seen.size, seen.content_type, seen.sha256) == (len(PDF), "application/pdf", sha256(PDF))


Change = Callable[[Upload], dict[str, Any]]
PUT_REFUSALS: dict[str, tuple[Change, int]] = {
    "longer": (lambda upload: {"content": PDF + b"!"}, 403),
    "shorter": (lambda upload: {"content": PDF[:-1]}, 403),
    "another type": (lambda upload: {"content": PDF, "Content-Type": "text/html"}, 403),
    "other bytes": (lambda upload: {"content": b"!" * len(PDF)}, 400),
    "other bytes with their own hash": (
        lambda upload: {
            "content": b"!" * len(PDF),
            "x-amz-checksum-sha256": base64.b64encode(hashlib.sha256(b"!" * len(PDF)).digest()).decode(),
        },
        403,
    ),
    "another key": (lambda upload: {"content": PDF, "url": upload.url.replace("/up/", "/doc/")}, 403),
    "another signature": (lambda upload: {"content": PDF, "url": upload.url[:-4] + "0000"}, 403),
    "a longer life": (
        lambda upload: {"content": PDF, "url": upload.url.replace("X-Amz-Expires=", "X-Amz-Expires=9")},
        403,
    ),
}


@pytest.mark.parametrize(("change", "status"), PUT_REFUSALS.values(), ids=PUT_REFUSALS)
def test_put_what_was_not_announced_is_refused(store: S3Store, key: str, change: Change, status: int) -> None:
    upload = put(store, key, digest=sha256(PDF))
    assert send(upload, **change(upload)).status_code == status
    assert store.stat(key) is None
    assert store.stat(key.replace("/up/", "/doc/")) is None


def test_put_without_the_announced_hash_is_refused(store: S3Store, key: str) -> None:
    upload = put(store, key, digest=sha256(PDF))
    answer = httpx.put(upload.url, content=PDF, headers={"Content-Type": "application/pdf"}, timeout=30)
    assert answer.status_code == 403
    assert store.stat(key) is None


def test_put_after_the_url_expired_is_refused(store: S3Store, key: str) -> None:
    """Signed in the past: what is refused is a date, so nobody needs to wait for it."""
    upload = put(store, key)
    with pytest.MonkeyPatch.context() as patch:
        hour_ago = timezone.now() - timedelta(hours=1)
        patch.setattr("botocore.auth.get_current_datetime", lambda *_, **__: hour_ago.replace(tzinfo=None))
        upload = put(store, key)
    answer = send(upload, PDF)
    assert answer.status_code == 403
    assert "expired" in answer.text
    assert store.stat(key) is None


def test_get_with_the_url_of_an_upload_is_refused(store: S3Store, key: str) -> None:
    upload = put(store, key)
    assert send(upload, PDF).status_code == 200
    assert httpx.get(upload.url, headers=upload.headers, timeout=30).status_code == 403


# --- POST -----------------------------------------------------------------------------------------------------------


def test_post_any_length_up_to_the_limit_arrives(store: S3Store, key: str) -> None:
    assert post(form(store, key, digest=sha256(PDF)), PDF).status_code == 204
    seen = store.stat(key)
    assert seen is not None
    assert (seen.size, seen.content_type) == (len(PDF), "application/pdf")


def _wider(upload: Upload) -> dict[str, str]:
    policy = json.loads(base64.b64decode((upload.fields or {})["policy"]))
    policy["conditions"][0][2] = 10**9
    return {"policy": base64.b64encode(json.dumps(policy).encode()).decode()}


POST_REFUSALS: dict[str, tuple[bytes, Callable[[Upload], dict[str, str]]]] = {
    "longer than the limit": (b"%PDF-" + b"!" * 40, lambda upload: {}),
    "another type": (PDF, lambda upload: {"Content-Type": "text/html"}),
    "another key": (PDF, lambda upload: {"key": (upload.fields or {})["key"].replace("/up/", "/doc/")}),
}


@pytest.mark.parametrize(("sent", "change"), POST_REFUSALS.values(), ids=POST_REFUSALS)
def test_post_outside_the_policy_is_refused(
    store: S3Store, key: str, sent: bytes, change: Callable[[Upload], dict[str, str]]
) -> None:
    upload = form(store, key)
    assert post(upload, sent, **change(upload)).status_code in (400, 403)
    assert store.stat(key) is None
    assert store.stat(key.replace("/up/", "/doc/")) is None


def test_post_other_bytes_than_announced_are_refused(store: S3Store, key: str) -> None:
    assert post(form(store, key, digest=sha256(PDF)), OTHER).status_code == 400


def test_post_policy_is_signed_as_a_whole(store: S3Store, key: str) -> None:
    """LocalStack does not check the signature of a form, so we do: a wider policy has another signature than ours."""
    upload = form(store, key)
    fields = upload.fields or {}
    wider = _wider(upload)["policy"]
    assert _signature("test", fields, fields["policy"]) == fields["x-amz-signature"]
    assert _signature("test", fields, wider) != fields["x-amz-signature"]


def _signature(secret: str, fields: Any, policy: str) -> str:
    """docs.aws.amazon.com/AmazonS3/latest/API/sigv4-UsingHTTPPOST.html"""
    import hmac

    value = f"AWS4{secret}".encode()
    for step in fields["x-amz-credential"].split("/")[1:]:
        value = hmac.digest(value, step.encode(), "sha256")
    return hmac.digest(value, policy.encode(), "sha256").hex()


# --- afterwards -----------------------------------------------------------------------------------------------------


def test_promote_an_old_url_changes_nothing_of_the_document(store: S3Store, key: str) -> None:
    upload = put(store, key)
    assert send(upload, PDF).status_code == 200
    final = key.replace("/up/", "/doc/")
    store.promote(key, final)
    assert send(upload, b"!" * len(PDF)).status_code == 200
    assert content(store, final) == PDF
    store.delete(key)
    assert content(store, final) == PDF


def test_promote_the_store_hashes_what_came_without_a_hash(store: S3Store, key: str) -> None:
    assert send(put(store, key), PDF).status_code == 200
    store.promote(key, final := key.replace("/up/", "/doc/"))
    seen = store.stat(final)
    assert seen is not None
    assert (seen.size, seen.sha256, seen.content_type) == (len(PDF), sha256(PDF), "application/pdf")


def test_promote_nothing_uploaded_is_missing(store: S3Store, key: str) -> None:
    with pytest.raises(RemoteMissing):
        store.promote(key, key.replace("/up/", "/doc/"))


def test_delete_twice_is_once(store: S3Store, key: str) -> None:
    store.write(key, [PDF], content_type="application/pdf")
    store.delete(key)
    store.delete(key)
    assert store.stat(key) is None
    with pytest.raises(RemoteMissing):
        content(store, key)


def test_read_any_range_is_exact(store: S3Store, key: str) -> None:
    store.write(key, [PDF], content_type="application/pdf")
    for start in (0, 1, len(PDF) - 1, len(PDF), len(PDF) + 5):
        for end in (None, 0, 1, 5, len(PDF), len(PDF) + 5):
            assert b"".join(store.read(key, start=start, end=end)) == PDF[start:end], (start, end)


def test_read_an_empty_object_is_empty(store: S3Store, key: str) -> None:
    store.write(key, [], content_type="text/plain")
    assert content(store, key) == b""


def test_write_many_parts_are_one_object(store: S3Store, key: str) -> None:
    piece = bytes(range(256)) * 4096
    pieces = PART * 2 // len(piece) + 1
    store.write(key, (piece for _ in range(pieces)), content_type="application/zip")
    seen = store.stat(key)
    assert seen is not None
    assert (seen.size, seen.sha256, seen.content_type) == (len(piece) * pieces, "", "application/zip")
    assert hashlib.sha256(content(store, key)).hexdigest() == sha256(piece * pieces)


def test_write_a_source_that_breaks_leaves_nothing(store: S3Store, key: str) -> None:
    def breaking() -> Iterator[bytes]:
        yield b"!" * (PART * 2)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        store.write(key, breaking(), content_type="application/pdf")
    assert store.stat(key) is None
    assert list(store.unfinished(older_than=timezone.now() + LATER)) == []


def test_unfinished_parts_of_a_write_that_was_killed_are_found_and_aborted(store: S3Store, key: str) -> None:
    upload_id = store._client.create_multipart_upload(Bucket=BUCKET, Key=key)["UploadId"]
    assert list(store.unfinished(older_than=timezone.now() - LATER)) == []
    assert list(store.unfinished(older_than=timezone.now() + LATER)) == [(key, upload_id)]
    for _ in range(2):
        store.abort(key, upload_id)
    assert list(store.unfinished(older_than=timezone.now() + LATER)) == []


def test_keys_every_page_in_order(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("documents.storage.s3.PAGE", 2)
    workspace = str(uuid.uuid4())
    names = [f"{workspace}/doc/{number:04}" for number in range(5)]
    for name in names:
        store.write(name, [b"x"], content_type="text/plain")
    assert list(store.keys(f"{workspace}/", older_than=timezone.now() + LATER)) == names
    assert list(store.keys(f"{workspace}/", older_than=timezone.now() - LATER)) == []


# --- downloads ------------------------------------------------------------------------------------------------------


def download(store: S3Store, key: str, name: str = "letter.pdf", kind: str = "application/pdf", **more: Any) -> str:
    return store.download(key, file_name=name, content_type=kind, expires_at=timezone.now() + LATER, **more).url


def test_download_is_an_attachment_under_its_name(store: S3Store, key: str) -> None:
    store.write(key, [PDF], content_type="application/pdf")
    answer = httpx.get(download(store, key, "Grüße & Co.pdf"), timeout=30)
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, PDF, "application/pdf")
    assert answer.headers["content-disposition"].startswith("attachment; ")
    assert "filename*=UTF-8''Gr%C3%BC%C3%9Fe%20&%20Co.pdf" in answer.headers["content-disposition"]
    part = httpx.get(download(store, key), headers={"Range": "bytes=5-7"}, timeout=30)
    assert (part.status_code, part.content) == (206, PDF[5:8])


@pytest.mark.parametrize("kind", ["text/html", "image/svg+xml", "application/xhtml+xml", "text/javascript"])
def test_download_what_a_browser_could_run_goes_as_octets(store: S3Store, key: str, kind: str) -> None:
    store.write(key, [b"<script>alert(1)</script>"], content_type=kind)
    answer = httpx.get(download(store, key, "page.html", kind), timeout=30)
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment; ")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("attachment", "inline"),
        ("response-content-type=application%2Fpdf", "response-content-type=text%2Fhtml"),
        ("/up/", "/doc/"),
        ("X-Amz-Expires=", "X-Amz-Expires=9"),
    ],
)
def test_download_with_a_changed_address_is_refused(store: S3Store, key: str, old: str, new: str) -> None:
    store.write(key, [PDF], content_type="application/pdf")
    url = download(store, key)
    assert old in url
    assert httpx.get(url.replace(old, new), timeout=30).status_code == 403


# --- what is wrong with a store -------------------------------------------------------------------------------------


def test_check_a_store_that_works_says_so(store: S3Store, settings: Any) -> None:
    settings.CORS_ALLOWED_ORIGINS = [ORIGIN]
    ok, words = store.check()
    assert ok
    assert "browsers may upload" in words
    assert list(store.keys(".check/", older_than=timezone.now() + LATER)) == []


def test_check_an_origin_the_bucket_does_not_know_is_named(store: S3Store, settings: Any) -> None:
    settings.CORS_ALLOWED_ORIGINS = [ORIGIN, "https://other.example.org"]
    ok, words = store.check()
    assert not ok
    assert "Pages of https://other.example.org may not upload" in words
    assert "CORS rule" in words


def test_check_a_missing_bucket_is_said(store: S3Store, settings: Any) -> None:
    settings.S3_BUCKET = "nobody-made-this"
    assert S3Store().check() == (
        False,
        "There is no such bucket: create it, or correct S3_BUCKET or S3_ENDPOINT_URL.",
    )
    with pytest.raises(ProviderError, match="no such bucket"):
        S3Store().write("a/b", [PDF], content_type="application/pdf")


def test_check_a_clock_that_is_off_is_said(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    ahead = timezone.now() + timedelta(minutes=4)
    monkeypatch.setattr("documents.storage.s3_check.timezone.now", lambda: ahead)
    ok, words = store.check()
    assert not ok
    assert "behind ours: set the clock" in words


def test_public_endpoint_is_signed_for_and_the_other_is_called(
    store: S3Store, server: str, settings: Any, key: str
) -> None:
    settings.S3_PUBLIC_ENDPOINT_URL = server.replace("127.0.0.1", "localhost")
    made = S3Store()
    upload = put(made, key)
    assert made.public_endpoint == settings.S3_PUBLIC_ENDPOINT_URL
    assert upload.url.startswith(f"{settings.S3_PUBLIC_ENDPOINT_URL}/")
    assert send(upload, PDF).status_code == 200
    assert content(made, key) == PDF
    assert send(upload, PDF, url=upload.url.replace("localhost", "127.0.0.1")).status_code == 403
