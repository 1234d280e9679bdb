"""Documents in S3 through the whole API, a client's bytes past the product: LocalStack 4.4.0, over real HTTP."""

from __future__ import annotations

import logging
from datetime import timedelta
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from django.utils import timezone

from core.ids import uuid7
from documents import keys
from documents.files import DocumentFiles
from documents.models import Document, Removal
from documents.services import reaping, removals
from documents.storage.s3 import S3Store
from documents.storage.s3_writing import PART
from documents.tests.factories import PDF, V1, begin
from documents.tests.test_document_states import a_day_goes_by
from integrations.services.files import Brought
from workspaces.tests.fixtures import Actor

pytestmark = [pytest.mark.services, pytest.mark.django_db]

SECRET = "kanari-s3-secret-key-0123456789abcdef"


@pytest.fixture(autouse=True)
def _in_s3(store: S3Store, settings: Any) -> None:
    settings.DOCUMENT_STORAGE = "s3"


def send(upload: dict[str, Any], content: bytes = PDF) -> httpx.Response:
    """As `upload` says: a PUT, or a form with the file last."""
    if upload["method"] == "PUT":
        return httpx.put(upload["url"], content=content, headers=upload["headers"], timeout=30)
    return httpx.post(upload["url"], data=upload["fields"], files={"file": ("a", content)}, timeout=30)


def objects(store: S3Store) -> set[str]:
    return set(store.keys("", older_than=timezone.now() + timedelta(days=1)))


@pytest.mark.parametrize(
    "announced", [{}, {"size": None, "sha256": None}, {"sha256": None}], ids=["all", "none", "size"]
)
def test_document_goes_its_whole_way(member: Actor, store: S3Store, announced: dict[str, Any]) -> None:
    before = objects(store)
    begun = begin(member, PDF, **announced)
    assert begun["upload"]["method"] == ("POST" if "size" in announced else "PUT")
    assert send(begun["upload"]).status_code in (200, 204)
    address = f"{V1}/{begun['document']['id']}"
    for _ in range(2):
        confirmed = member.client.post(f"{address}/confirm")
        assert confirmed.status_code == 200, confirmed.content
    ready = confirmed.json()
    assert (ready["status"], ready["size"], ready["sha256"]) == ("ready", len(PDF), sha256(PDF).hexdigest())
    assert [row["id"] for row in member.client.get(V1).json()["data"]] == [ready["id"]]
    link = member.client.get(f"{address}/download").json()["url"]
    got = httpx.get(link, timeout=30)
    assert (got.status_code, got.content) == (200, PDF)
    assert got.headers["content-disposition"].startswith('attachment; filename="contract.pdf"')
    there = member.client.get(f"{address}/download?redirect=true")
    assert there.status_code == 302
    assert httpx.get(there.headers["Location"], timeout=30).content == PDF
    assert member.client.post(f"{address}/archive").json()["status"] == "archived"
    assert member.client.delete(address).status_code == 204
    assert httpx.get(link, timeout=30).status_code == 404
    assert objects(store) == before


def test_upload_address_changes_nothing_after_confirm(member: Actor, store: S3Store) -> None:
    begun = begin(member, PDF)
    send(begun["upload"])
    address = f"{V1}/{begun['document']['id']}"
    member.client.post(f"{address}/confirm")
    assert send(begun["upload"]).status_code == 200, "it is still good, for nothing"
    link = member.client.get(f"{address}/download").json()["url"]
    assert httpx.get(link, timeout=30).content == PDF
    Removal.objects.update(due_at=timezone.now())
    removals.work()
    assert not [key for key in objects(store) if "/up/" in key and begun["document"]["id"] in key]


@pytest.mark.parametrize(
    ("content", "sent", "code"),
    [
        (PDF + b"!", 403, "upload_missing"),  # longer than announced: the store takes nothing
        (b"!" * len(PDF), 400, "upload_missing"),  # other bytes than announced
        (None, None, "upload_missing"),
    ],
    ids=["longer", "other", "nothing"],
)
def test_what_was_not_announced_is_refused_by_the_store_and_cannot_be_confirmed(
    member: Actor, content: bytes | None, sent: int | None, code: str
) -> None:
    begun = begin(member, PDF)
    if content is not None:
        assert send(begun["upload"], content).status_code == sent
    answer = member.client.post(f"{V1}/{begun['document']['id']}/confirm")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, code)


def test_what_is_not_what_it_is_said_to_be_is_rejected_and_its_object_goes(member: Actor, store: S3Store) -> None:
    before = objects(store)
    program = b"MZ\x00\x01 a program"
    begun = begin(member, program)
    assert send(begun["upload"], program).status_code == 200
    answer = member.client.post(f"{V1}/{begun['document']['id']}/confirm")
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "type_mismatch")
    assert objects(store) == before


@pytest.mark.parametrize("size", [0, 10, PART, 2 * PART + 7])
def test_file_that_the_product_brings_is_kept_and_read_in_parts(member: Actor, store: S3Store, size: int) -> None:
    content = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    chunks = (content[start : start + 100_000] for start in range(0, size, 100_000))
    brought = Brought("a.bin", "application/x-bench", "contact", "42", chunks, size=size, origin=f"test:{size}")
    kept = DocumentFiles().keep(workspace=member.workspace, by=member.user, brought=brought)
    file = DocumentFiles().find(workspace=member.workspace, document_id=kept.document_id, field="x")
    assert b"".join(file.read(0, None)) == content
    assert b"".join(file.read(3, 9)) == content[3:9]
    assert Document.objects.get().sha256 == sha256(content).hexdigest()
    assert not Removal.objects.exists()


def test_file_that_breaks_off_leaves_no_object_and_no_parts(member: Actor, store: S3Store) -> None:
    before = objects(store)

    def breaking() -> Any:
        yield b"x" * PART
        yield b"x" * PART
        raise ConnectionError("the sender is gone")

    brought = Brought("a.bin", "application/x-bench", "contact", "42", breaking())
    with pytest.raises(ConnectionError):
        DocumentFiles().keep(workspace=member.workspace, by=member.user, brought=brought)
    assert objects(store) == before
    assert "Uploads" not in store._client.list_multipart_uploads(Bucket=store._bucket)
    assert not Removal.objects.exists()


def test_reaper_goes_through_the_bucket(member: Actor, store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a day leaves: a document, an upload nobody confirmed, objects no row names, something of others."""
    monkeypatch.setattr(reaping, "ORPHAN_AGE", -timedelta(hours=1))
    before = objects(store)
    kept, unconfirmed = begin(member, PDF), begin(member, PDF)
    for begun in (kept, unconfirmed):
        assert send(begun["upload"]).status_code == 200
    member.client.post(f"{V1}/{kept['document']['id']}/confirm")
    orphans = [make(member.workspace.pk, uuid7()) for make in (keys.final_key, keys.upload_key)]
    for key in (*orphans, "somebody/elses"):
        store.write(key, [b"x"], content_type="text/plain")
    row = Document.objects.get(pk=kept["document"]["id"])
    waiting = Document.objects.get(pk=unconfirmed["document"]["id"])
    assert reaping.remove_orphans() == 2
    removals.work()
    assert objects(store) - before == {row.key, waiting.upload_key, "somebody/elses"}
    a_day_goes_by()
    assert objects(store) - before == {row.key, "somebody/elses"}
    assert list(Document.objects.values_list("status", flat=True)) == ["ready"]


def test_store_that_refuses_what_we_sign_or_is_gone_is_said_without_the_secret(
    member: Actor, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Also at DEBUG, where the SDK tells what it asks: neither the secret nor an address that somebody could use."""
    caplog.set_level(logging.DEBUG)
    settings.S3_ACCESS_KEY_ID, settings.S3_SECRET_ACCESS_KEY = "a-key-id", SECRET
    begun = begin(member, PDF)
    assert send(begun["upload"]).status_code == 403
    address = f"{V1}/{begun['document']['id']}"
    settings.S3_ENDPOINT_URL = "http://127.0.0.1:1"
    confirmed, config = member.client.post(f"{address}/confirm"), member.client.get(f"{V1}/config")
    assert (confirmed.status_code, config.json()["check"]["ok"]) == (503, False)
    said = f"{confirmed.content.decode()} {config.content.decode()} {caplog.text}"
    signature = parse_qs(urlsplit(begun["upload"]["url"]).query)["X-Amz-Signature"][0]
    assert "127.0.0.1:1" in said, "the log was written"
    assert [secret for secret in (SECRET, signature) if secret in said] == []
