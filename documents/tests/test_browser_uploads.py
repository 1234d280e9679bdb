"""A page in a real browser sends files by what the product signed: CORS, preflights, headers and forms as browsers do
them. Against the local store and against LocalStack's S3."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from documents.storage.s3 import S3Store
from documents.tests import browser, localstack
from documents.tests.factories import PDF, V1, begin
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.services

PART = 5 * 1024**2
LARGE = PDF + b"0123456789abcdef" * (PART // 16)
"""Two parts, the last one small."""


@pytest.fixture
def pages() -> Iterator[browser.Pages]:
    if not browser.program():
        pytest.skip("Chromium is not installed (Debian: chromium)")
    made = browser.Pages()
    yield made
    made.stop()


@pytest.mark.django_db(transaction=True)
def test_page_uploads_to_the_product_itself(
    pages: browser.Pages, member: Actor, live_server: Any, settings: Any, tmp_path: Path
) -> None:
    settings.PUBLIC_URL, settings.CORS_ALLOWED_ORIGINS = live_server.url, [pages.origin]
    begun = begin(member)
    wrong = begin(member)
    sent = [
        {**begun["upload"], "content": PDF.decode()},
        {**wrong["upload"], "content": PDF.decode() + "!"},
    ]
    assert pages.run(tmp_path, *sent)[0] == 204
    ready = member.client.post(f"{V1}/{begun['document']['id']}/confirm")
    assert (ready.status_code, ready.json()["sha256"]) == (200, sha256(PDF).hexdigest())
    assert member.client.post(f"{V1}/{wrong['document']['id']}/confirm").status_code in (409, 422)


@pytest.mark.django_db(transaction=True)
def test_page_goes_the_whole_way_with_the_local_store(
    pages: browser.Pages, member: Actor, live_server: Any, settings: Any, tmp_path: Path
) -> None:
    """Upload by PUT, confirm and download from a page of another origin; none of it from one that is not named."""
    settings.PUBLIC_URL, settings.CORS_ALLOWED_ORIGINS = live_server.url, ["https://crm.example"]
    steps = [_whole_way(member, live_server.url, size=len(PDF)), _whole_way(member, live_server.url)]
    assert all("TypeError" in str(result) for result in pages.run(tmp_path / "without", *steps))
    settings.CORS_ALLOWED_ORIGINS = [pages.origin]
    assert pages.run(tmp_path / "with", *steps) == [["PUT", True, "ready", True]] * 2


@pytest.mark.django_db(transaction=True)
def test_page_goes_the_whole_way_with_s3(
    pages: browser.Pages, member: Actor, live_server: Any, settings: Any, tmp_path: Path
) -> None:
    """As a PUT, where the size is known, and as a form."""
    settings.PUBLIC_URL, settings.CORS_ALLOWED_ORIGINS = live_server.url, [pages.origin]
    with _bucket(settings, tmp_path) as store:
        settings.DOCUMENT_STORAGE = "s3"
        _allow(store, pages.origin, "PUT", "POST", "GET")
        assert member.client.get(f"{V1}/config").json()["check"]["ok"] is True
        steps = [_whole_way(member, live_server.url, size=len(PDF)), _whole_way(member, live_server.url)]
        assert pages.run(tmp_path, *steps) == [["PUT", True, "ready", True], ["POST", True, "ready", True]]


def _whole_way(actor: Actor, url: str, **more: Any) -> dict[str, Any]:
    body = {"fileName": "a.pdf", "contentType": "application/pdf", "entityType": "account", "entityId": "1", **more}
    return {"api": f"{url}{V1}", "token": actor.token, "body": body, "content": PDF.decode()}


@contextmanager
def _bucket(settings: Any, folder: Path) -> Iterator[S3Store]:
    """Of a store that no page may use yet; browsers know it by another name than the product."""
    if not localstack.python():
        pytest.skip("LocalStack is not installed: run `make test-services`, which puts it into .venv/localstack")
    with localstack.running(folder) as url:
        settings.S3_ENDPOINT_URL, settings.S3_PUBLIC_ENDPOINT_URL = url, url.replace("127.0.0.1", "localhost")
        settings.S3_BUCKET, settings.S3_REGION = "browsers", "us-east-1"
        settings.S3_ACCESS_KEY_ID = settings.S3_SECRET_ACCESS_KEY = "test"
        store = S3Store()
        store._client.create_bucket(Bucket="browsers")
        yield store


def _allow(store: S3Store, origin: str, *methods: str) -> None:
    rule = {"AllowedOrigins": [origin], "AllowedMethods": list(methods), "AllowedHeaders": ["*"]}
    store._client.put_bucket_cors(Bucket="browsers", CORSConfiguration={"CORSRules": [rule]})


def test_page_uploads_to_s3_past_the_product(pages: browser.Pages, settings: Any, tmp_path: Path) -> None:
    with _bucket(settings, tmp_path) as store:
        signed = [_upload(store, key, size) for key, size in (("w/up/put", len(PDF)), ("w/up/post", None))]
        sent = [browser.as_json(upload, PDF) for upload in signed]
        refused = pages.run(tmp_path / "without", *sent)
        assert all("TypeError" in str(result) for result in refused), refused
        _allow(store, pages.origin, "PUT", "POST")
        assert pages.run(tmp_path / "with", *sent) == [200, 204]
        for key in ("w/up/put", "w/up/post"):
            store.promote(key, key.replace("/up/", "/doc/"))
            seen = store.stat(key.replace("/up/", "/doc/"))
            assert seen is not None
            assert seen.sha256 == sha256(PDF).hexdigest()
        upload_id = store.begin_parts("w/up/parts", content_type="application/pdf")
        sent = [{"parts": _parts(store, "w/up/parts", upload_id), "content": LARGE.decode()}]
        assert pages.run(tmp_path / "parts", *sent) == [[200, 200]]
        store.join("w/up/parts", upload_id, store.parts("w/up/parts", upload_id))
        store.promote("w/up/parts", "w/doc/parts", size=len(LARGE))
        assert b"".join(store.read("w/doc/parts")) == LARGE


def _parts(store: S3Store, key: str, upload_id: str) -> list[dict[str, Any]]:
    """As the API shows them."""
    shown = []
    for number, start in enumerate(range(0, len(LARGE), PART), start=1):
        size = min(PART, len(LARGE) - start)
        made = store.part(key, upload_id, number, size=size, expires_at=timezone.now() + timedelta(minutes=5))
        shown.append({"method": made.method, "url": made.url, "headers": made.headers, "start": start, "size": size})
    return shown


def _upload(store: S3Store, key: str, size: int | None) -> Any:
    return store.upload(
        key,
        content_type="application/pdf",
        size=size,
        sha256=sha256(PDF).hexdigest() if size else "",
        max_bytes=100_000,
        expires_at=timezone.now() + timedelta(minutes=5),
    )
