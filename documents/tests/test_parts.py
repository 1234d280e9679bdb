"""Uploads in parts: what is listed and signed, the state table of sent × fault × confirm, what is left in the end.
LocalStack 4.4.0, over real HTTP, takes parts and checks their signed lengths."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from hashlib import sha256
from typing import Any

import httpx
import pytest
from django.db import connections
from django.utils import timezone

from core.errors import ProviderUnavailable
from core.ids import uuid7
from documents import keys
from documents.models import Document, DocumentUsage, Removal
from documents.services import checking, confirming, reading, reaping, removals
from documents.storage import s3_writing
from documents.storage.s3 import S3Store
from documents.tests.factories import V1, begin, objects, work
from documents.tests.test_document_states import outcome, settle_down
from integrations.models import Event
from workspaces.tests.fixtures import Actor

pytestmark = [pytest.mark.services, pytest.mark.django_db]

MIB = 1024**2
LARGE = b"%PDF-1.7\n" + b"0123456789abcdef" * (10 * MIB // 16) + b"the end"
"""Three parts of 5 MiB, the last one small."""
PART = 5 * MIB


@pytest.fixture(autouse=True)
def _in_s3(store: S3Store, settings: Any) -> Iterator[None]:
    settings.DOCUMENT_STORAGE = "s3"
    settings.DOCUMENT_PARTS_FROM_BYTES = settings.DOCUMENT_PART_BYTES = PART
    yield
    for key in store.keys("", older_than=timezone.now() + timedelta(days=1)):
        store.delete(key)
    for key, upload_id in unfinished(store):
        store.abort(key, upload_id)


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have these operations of the store fail; called without any, it works again."""
    names = ("parts", "join", "promote", "stat", "read", "begin_parts", "abort")
    whole = {name: getattr(S3Store, name) for name in names}

    def fail(*_: object, **__: object) -> Any:
        raise ProviderUnavailable("The store is away.")

    def broken(*failing: str) -> None:
        for name, method in whole.items():
            monkeypatch.setattr(S3Store, name, fail if name in failing else method)

    return broken


def unfinished(store: S3Store) -> list[tuple[str, str]]:
    return list(store.unfinished(older_than=timezone.now() + timedelta(days=1)))


def send(part: dict[str, Any], content: bytes = LARGE) -> int:
    body = content[part["start"] : part["start"] + part["size"]]
    return httpx.put(part["url"], content=body, headers=part["headers"], timeout=60).status_code


def parts_of(actor: Actor, document_id: str) -> dict[str, Any]:
    answer = actor.client.get(f"{V1}/{document_id}/parts")
    assert answer.status_code == 200, answer.content
    return answer.json()


# --- the whole way --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("announced", [{}, {"sha256": None}], ids=["with hash", "without"])
def test_large_file_goes_its_whole_way_in_parts(member: Actor, store: S3Store, announced: dict[str, Any]) -> None:
    begun = begin(member, LARGE, **announced)
    upload, document_id = begun["upload"], begun["document"]["id"]
    assert (upload["partSize"], upload["partCount"], upload["missing"]) == (PART, 3, 3)
    assert [(part["number"], part["start"], part["size"]) for part in upload["parts"]] == [
        (1, 0, PART), (2, PART, PART), (3, 2 * PART, len(LARGE) - 2 * PART),
    ]  # fmt: skip
    assert DocumentUsage.objects.get().size == len(LARGE), "the quota counts it from the beginning"
    assert [send(part) for part in upload["parts"]] == [200, 200, 200]
    assert parts_of(member, document_id)["missing"] == 0
    for _ in range(2):
        answer = member.client.post(f"{V1}/{document_id}/confirm")
        assert answer.status_code == 200, answer.content
    ready = answer.json()
    assert (ready["status"], ready["size"], ready["sha256"]) == ("ready", len(LARGE), sha256(LARGE).hexdigest())
    link = member.client.get(f"{V1}/{document_id}/download").json()["url"]
    assert httpx.get(link, timeout=60).content == LARGE
    assert outcome(member.client.get(f"{V1}/{document_id}/parts")) == (409, "not_pending")
    assert unfinished(store) == []
    settle_down(member)


def test_client_that_forgot_everything_sends_what_is_missing(member: Actor, store: S3Store) -> None:
    begun = begin(member, LARGE)
    document_id = begun["document"]["id"]
    assert send(begun["upload"]["parts"][1]) == 200
    answer = member.client.post(f"{V1}/{document_id}/confirm")
    assert outcome(answer) == (409, "upload_missing")
    assert answer.json()["error"]["missingParts"] == [1, 3]
    listed = parts_of(member, document_id)
    assert [part["number"] for part in listed["parts"]] == [1, 3]
    assert [send(part) for part in listed["parts"]] == [200, 200]
    assert member.client.post(f"{V1}/{document_id}/confirm").json()["status"] == "ready"
    settle_down(member)


def test_small_file_goes_in_parts_where_it_is_asked_for(member: Actor) -> None:
    begun = begin(member, b"%PDF-1.7 small", parts=True)
    [part] = begun["upload"]["parts"]
    assert begun["upload"]["url"] == part["url"], "one part is the whole file"
    assert send(part, b"%PDF-1.7 small") == 200
    assert member.client.post(f"{V1}/{begun['document']['id']}/confirm").json()["status"] == "ready"
    settle_down(member)


def test_addresses_are_few_at_a_time(member: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("documents.services.in_parts.LISTED", 2)
    begun = begin(member, LARGE)
    assert [part["number"] for part in begun["upload"]["parts"]] == [1, 2]
    assert [send(part) for part in begun["upload"]["parts"]] == [200, 200]
    listed = parts_of(member, begun["document"]["id"])
    assert ([part["number"] for part in listed["parts"]], listed["missing"]) == ([3], 1)


def test_file_beyond_what_one_request_copies_is_copied_in_ranges_and_read_for_its_hash(
    member: Actor, store: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(S3Store, "largest_request", 6 * MIB)
    monkeypatch.setattr(s3_writing, "COPIED", PART)
    begun = begin(member, LARGE, sha256=None)
    assert [send(part) for part in begun["upload"]["parts"]] == [200, 200, 200]
    ready = member.client.post(f"{V1}/{begun['document']['id']}/confirm").json()
    assert (ready["status"], ready["sha256"]) == ("ready", sha256(LARGE).hexdigest())
    key = Document.objects.get().key
    assert store._client.head_object(Bucket=store._bucket, Key=key)["ETag"].endswith('-3"'), "it was three ranges"
    assert b"".join(store.read(key)) == LARGE
    settle_down(member)
    assert unfinished(store) == []


# --- looked at by a worker ------------------------------------------------------------------------------------------


@pytest.fixture
def in_background(settings: Any) -> None:
    settings.DOCUMENT_CHECK_AT_ONCE_BYTES = PART


@pytest.mark.usefixtures("in_background")
def test_parts_are_joined_and_looked_at_in_the_background(member: Actor, broken: Callable[..., None]) -> None:
    begun = begin(member, LARGE)
    address = f"{V1}/{begun['document']['id']}"
    assert [send(part) for part in begun["upload"]["parts"][:2]] == [200, 200]
    answer = member.client.post(f"{address}/confirm")
    assert (outcome(answer), answer.json()["error"]["missingParts"]) == ((409, "upload_missing"), [3])
    assert send(begun["upload"]["parts"][2]) == 200
    broken("parts")
    assert outcome(member.client.post(f"{address}/confirm")) == (503, "storage_unavailable")
    broken()
    assert outcome(member.client.post(f"{address}/confirm")) == (202, "")
    for fault in ("join", "promote", "read"):
        broken(fault)
        work()
        assert member.client.get(address).json()["confirmation"]["lastError"]["code"] == "storage_unavailable"
    assert outcome(member.client.get(f"{address}/parts")) == (409, "not_pending")
    broken()
    work()
    ready = member.client.post(f"{address}/confirm")
    assert (ready.status_code, ready.json()["sha256"]) == (200, sha256(LARGE).hexdigest())
    assert Event.objects.filter(type="document.uploaded").count() == 1
    settle_down(member)


@pytest.mark.usefixtures("in_background")
def test_reaper_that_comes_while_a_worker_copies_ends_neither_upload_nor_copy(
    member: Actor, store: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(S3Store, "largest_request", 6 * MIB)
    monkeypatch.setattr(s3_writing, "COPIED", PART)
    monkeypatch.setattr(reaping, "ORPHAN_AGE", -timedelta(hours=1))
    begun = begin(member, LARGE, sha256=None)
    assert [send(part) for part in begun["upload"]["parts"]] == [200, 200, 200]
    address, seen = f"{V1}/{begun['document']['id']}", []
    assert outcome(member.client.post(f"{address}/confirm")) == (202, "")
    told = checking.Pulse.__call__

    def meanwhile(pulse: checking.Pulse, count: int) -> None:
        told(pulse, count)
        if member.client.get(address).json()["confirmation"]["stage"] == "copying":
            seen.append(count)
            Removal.objects.filter(key__contains="/up/").update(due_at=timezone.now())
            removals.work()
            reaping.give_up_old()
            reaping.remove_orphans()

    monkeypatch.setattr(checking.Pulse, "__call__", meanwhile)
    work()
    assert seen == [PART, PART, len(LARGE) - 2 * PART], "three ranges"
    assert member.client.get(address).json()["status"] == "ready"
    assert b"".join(store.read(Document.objects.get().key)) == LARGE
    settle_down(member)


@pytest.mark.usefixtures("in_background")
def test_upload_in_parts_that_went_away_while_it_waited_is_given_back(member: Actor, store: S3Store) -> None:
    begun = begin(member, LARGE)
    for part in begun["upload"]["parts"]:
        send(part)
    address, row = f"{V1}/{begun['document']['id']}", Document.objects.get()
    assert outcome(member.client.post(f"{address}/confirm")) == (202, "")
    store.abort(row.upload_key, row.upload_id)
    work()
    found = member.client.get(address).json()
    assert (found["status"], found["confirmation"]["lastError"]["code"]) == ("pending", "upload_missing")
    assert outcome(member.client.post(f"{address}/confirm")) == (409, "upload_missing")
    settle_down(member)


# --- what is signed -------------------------------------------------------------------------------------------------

CHANGES: dict[str, Callable[[dict[str, Any]], tuple[str, bytes]]] = {
    "longer": lambda part: (part["url"], b"x" * (part["size"] + 1)),
    "shorter": lambda part: (part["url"], b"x" * (part["size"] - 1)),
    "another number": lambda part: (part["url"].replace("partNumber=1", "partNumber=9"), b"x" * part["size"]),
    "another key": lambda part: (part["url"].replace("/up/", "/doc/"), b"x" * part["size"]),
    "the whole object": lambda part: (part["url"].replace("partNumber=1&", ""), b"x" * part["size"]),
}


def answered(url: str, body: bytes) -> int:
    """The status. LocalStack may answer before it read all of what it refuses, and read no further: ask again."""
    for _ in range(3):
        with suppress(httpx.WriteTimeout):
            return httpx.put(url, content=body, timeout=20).status_code
    raise AssertionError("The store took nothing, three times.")


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_part_that_was_not_signed_for_is_refused(
    member: Actor, change: Callable[[dict[str, Any]], tuple[str, bytes]]
) -> None:
    begun = begin(member, LARGE)
    url, body = change(begun["upload"]["parts"][0])
    assert answered(url, body) == 403
    assert parts_of(member, begun["document"]["id"])["missing"] == 3
    assert objects() == []


def test_whole_file_sent_to_where_one_request_would_go_is_refused(member: Actor) -> None:
    """What a client does that knows no parts."""
    begun = begin(member, LARGE)
    upload, content = begun["upload"], LARGE[: PART + 1]  # of more the store hangs up before it is read
    answer = httpx.request(upload["method"], upload["url"], content=content, headers=upload["headers"], timeout=60)
    assert answer.status_code == 403
    assert parts_of(member, begun["document"]["id"])["missing"] == 3


def test_address_of_a_part_changes_nothing_after_confirm(member: Actor, store: S3Store) -> None:
    begun = begin(member, LARGE)
    for part in begun["upload"]["parts"]:
        send(part)
    member.client.post(f"{V1}/{begun['document']['id']}/confirm")
    last = begun["upload"]["parts"][-1]  # the short one: of more the store hangs up before it is read
    assert send(last, b"!" * len(LARGE)) == 404
    assert b"".join(store.read(Document.objects.get().key)) == LARGE


# --- the state table ------------------------------------------------------------------------------------------------

OTHER = LARGE[:-1] + b"!"
SENT: dict[str, tuple[bytes, tuple[int, ...]]] = {
    "nothing": (LARGE, ()),
    "not all": (LARGE, (0, 2)),
    "all": (LARGE, (0, 1, 2)),
    "other bytes": (OTHER, (0, 1, 2)),
}
CONFIRMED = {"nothing": (409, "upload_missing"), "not all": (409, "upload_missing"), "all": (200, ""),
             "other bytes": (422, "hash_mismatch")}  # fmt: skip
FAULTS = {
    "none": (),
    "down for the list": ("parts",),
    "down while joined": ("join",),
    "down for the copy": ("promote",),
    "down while looking": ("stat",),
    "breaks off while read": ("read",),
    "killed after joining": (),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("sent", SENT)
def test_confirm_of_parts_while_the_store_is_so(
    member: Actor, store: S3Store, broken: Callable[..., None], sent: str, fault: str
) -> None:
    begun = begin(member, LARGE)
    address = f"{V1}/{begun['document']['id']}"
    content, numbers = SENT[sent]
    for number in numbers:
        assert send(begun["upload"]["parts"][number], content) == 200
    whole = len(numbers) == 3
    broken(*FAULTS[fault])
    if fault == "killed after joining" and whole:
        row = Document.objects.get()
        store.join(row.upload_key, row.upload_id, store.parts(row.upload_key, row.upload_id))
        assert parts_of(member, begun["document"]["id"])["missing"] == 0
    met = fault == "down for the list" or (whole and bool(FAULTS[fault]))
    first = outcome(member.client.post(f"{address}/confirm"))
    assert first == ((503, "storage_unavailable") if met else CONFIRMED[sent])
    broken()
    for _ in range(2):
        assert outcome(member.client.post(f"{address}/confirm")) == CONFIRMED[sent]
    states = {"all": "ready", "other bytes": "rejected"}
    assert member.client.get(address).json()["status"] == states.get(sent, "pending")
    assert Event.objects.filter(type="document.uploaded").count() == (1 if sent == "all" else 0)
    settle_down(member)
    assert unfinished(store) == []


@pytest.mark.parametrize("sent", SENT)
@pytest.mark.parametrize("confirmed", [False, True], ids=["unconfirmed", "confirmed"])
def test_delete_of_an_upload_in_parts_leaves_nothing(member: Actor, store: S3Store, sent: str, confirmed: bool) -> None:
    begun = begin(member, LARGE)
    address = f"{V1}/{begun['document']['id']}"
    content, numbers = SENT[sent]
    for number in numbers:
        send(begun["upload"]["parts"][number], content)
    if confirmed:
        member.client.post(f"{address}/confirm")
    assert member.client.delete(address).status_code == 204
    assert outcome(member.client.get(f"{address}/parts")) == (404, "not_found")
    settle_down(member)
    assert (objects(), unfinished(store)) == ([], [])


def test_upload_in_parts_that_nobody_confirms_is_aborted_also_after_the_store_was_down(
    member: Actor, store: S3Store, broken: Callable[..., None]
) -> None:
    begun = begin(member, LARGE)
    send(begun["upload"]["parts"][0])
    Removal.objects.update(due_at=timezone.now())
    broken("abort")
    assert removals.work() == 0
    assert len(unfinished(store)) == 1
    broken()
    settle_down(member)
    assert unfinished(store) == []


def test_part_sent_again_while_the_parts_are_joined_is_503_and_then_counts(
    member: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = begin(member, LARGE, sha256=None)
    parts = begun["upload"]["parts"]
    for part in parts:
        send(part)
    listed = S3Store.parts

    def and_again(*given: Any) -> Any:
        found = listed(*given)
        assert send(parts[2], OTHER) == 200
        return found

    address = f"{V1}/{begun['document']['id']}/confirm"
    with monkeypatch.context() as patch:
        patch.setattr(S3Store, "parts", and_again)
        assert outcome(member.client.post(address)) == (503, "storage_unavailable")
    assert member.client.post(address).json()["sha256"] == sha256(OTHER).hexdigest()
    settle_down(member)


def test_upload_that_the_store_gave_up_says_so(member: Actor, store: S3Store) -> None:
    begun = begin(member, LARGE)
    row = Document.objects.get()
    store.abort(row.upload_key, row.upload_id)
    assert outcome(member.client.get(f"{V1}/{row.pk}/parts")) == (409, "upload_missing")
    confirmed = member.client.post(f"{V1}/{row.pk}/confirm")
    assert outcome(confirmed) == (409, "upload_missing")
    assert "Begin a new one" in confirmed.json()["error"]["message"]
    assert send(begun["upload"]["parts"][0]) == 404
    settle_down(member)


@pytest.mark.django_db(transaction=True)
def test_many_confirms_of_parts_at_once_are_one(member: Actor) -> None:
    begun = begin(member, LARGE)
    for part in begun["upload"]["parts"]:
        send(part)
    row = reading.find(workspace=member.workspace, document_id=Document.objects.get().pk)
    together, found = threading.Barrier(4), []

    def confirm() -> None:
        try:
            together.wait()
            found.append(confirming.confirm(document=row, by=member.user).status)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=confirm) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["ready"] * 4
    assert Event.objects.filter(type="document.uploaded").count() == 1
    assert objects() == [Document.objects.get().key]
    settle_down(member)


# --- beginning ------------------------------------------------------------------------------------------------------


def body(**changes: Any) -> dict[str, Any]:
    return {"fileName": "a.pdf", "contentType": "application/pdf", "entityType": "account", "entityId": 1, **changes}


def test_upload_in_parts_while_the_store_is_down_is_503_and_nothing_is_begun(
    member: Actor, broken: Callable[..., None]
) -> None:
    broken("begin_parts")
    assert outcome(member.client.post(f"{V1}/upload", body(size=PART + 1))) == (503, "storage_unavailable")
    assert member.client.post(f"{V1}/upload", body(size=PART)).status_code == 201, "in one request nobody is asked"
    assert not Document.objects.exclude(upload_id="").exists()


def test_upload_in_parts_beyond_the_quota_is_refused_before_and_after_it_is_begun(
    member: Actor, store: S3Store, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.DOCUMENT_QUOTA_BYTES = PART
    assert outcome(member.client.post(f"{V1}/upload", body(size=PART + 1))) == (409, "quota_exceeded")
    monkeypatch.setattr("documents.services.quota.check", lambda *_: None)  # as if another upload took it just then
    assert outcome(member.client.post(f"{V1}/upload", body(size=PART + 1))) == (409, "quota_exceeded")
    assert (Document.objects.count(), unfinished(store)) == (0, [])


def test_parts_grow_where_they_would_be_too_many(member: Actor, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.DOCUMENT_MAX_BYTES = 10 * 1024**4
    monkeypatch.setattr(S3Store, "most_parts", 100)
    upload = member.client.post(f"{V1}/upload", body(size=1000 * MIB + 1)).json()["upload"]
    assert (upload["partSize"], upload["partCount"]) == (11 * MIB, 91)
    answer = member.client.post(f"{V1}/upload", body(size=5 * 1024**4 + 1))
    assert (outcome(answer), list(answer.json()["error"]["fields"])) == ((413, "too_large"), ["size"])


def test_uploads_in_parts_that_no_row_names_are_aborted(member: Actor, store: S3Store) -> None:
    begin(member, LARGE)
    [kept] = unfinished(store)
    nobodys = keys.upload_key(member.workspace.pk, uuid7())
    for key in (nobodys, "not/ours"):
        store.begin_parts(key, content_type="text/plain")
    reaping.remove_orphans()
    assert len(unfinished(store)) == 3, "they are young"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reaping, "ORPHAN_AGE", -timedelta(hours=1))
        reaping.remove_orphans()
    left = unfinished(store)
    assert kept in left
    assert sorted(key for key, _ in left) == sorted([kept[0], "not/ours"])
