"""Documents copied to a workspace's file store and back, over the API and a stand-in's Drive: of any size in flat
memory, once though attempts break off or workers die, and with plain words where it cannot be done."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from core.errors import ProviderUnavailable
from core.ids import uuid7
from documents import tasks
from documents.models import Document, DocumentCopy
from documents.services import copying
from documents.storage import store
from documents.storage.local import LocalStore
from documents.tests.factories import PDF, fetch, make_document, objects
from integrations.models import Integration
from integrations.providers.drive.resumable import CHUNK_BYTES
from simulator.process import Simulator, running
from simulator.tests.drive_api import DOCUMENT, DriveTruth
from workspaces.models import Role
from workspaces.tests.fixtures import Actor, make_actor

pytestmark = pytest.mark.django_db

V1 = "/api/v1/integrations/documents"
ADA = "ada@drive.example"
ENTITY = {"entityType": "contact", "entityId": 42}
BIG = bytes(range(256)) * (2 * CHUNK_BYTES // 256) + b"tail"


@pytest.fixture(scope="module")
def vendors() -> Iterator[Simulator]:
    with running() as found:
        yield found


@pytest.fixture
def truth(vendors: Simulator, settings: Any, tmp_path: Path) -> DriveTruth:
    """An empty Drive, and the settings that lead there."""
    settings.DATA_DIR = tmp_path
    vendors.reset(seed=1)
    for name, value in vendors.env().items():
        setattr(settings, name, value.split(",") if name == "EGRESS_ALLOW_CIDRS" else value)
    vendors.create_account("google", ADA, name="Ada")
    return DriveTruth(vendors, ADA)


@pytest.fixture
def actions(admin: Actor, truth: DriveTruth) -> str:
    """Where the actions of the workspace's Drive are."""
    tokens = truth.tokens()
    credentials = {"accessToken": tokens["access_token"], "refreshToken": tokens["refresh_token"]}
    made = Integration.objects.create(
        workspace=admin.workspace, name="Files", type="CLOUD_STORAGE", has_credentials=True,
        credentials={"credentials": credentials},
    )  # fmt: skip
    return f"/api/integrations/{made.pk}/actions"


def begun(answer: Any) -> str:
    """The address of the copy."""
    assert answer.status_code == 202, answer.content
    run = answer.json()["result"]["run"]
    assert run["status"] == "queued"
    return f"{V1}/copies/{run['id']}"


def error(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def work() -> None:
    """What is due, and what waits, as if its time had come."""
    DocumentCopy.objects.filter(status="queued").update(next_attempt_at=Now())
    for copy_id in copying.due():
        tasks.run_copy(str(copy_id))


def files(truth: DriveTruth) -> list[dict[str, Any]]:
    return list(truth.look()["files"])


# --- there --------------------------------------------------------------------------------------------------------


def test_document_is_copied_there_whole_and_under_its_name(admin: Actor, actions: str, truth: DriveTruth) -> None:
    document = make_document(admin, content=BIG, in_store=True, file_name="Übersicht.bin", content_type="text/csv")
    folder = truth.folder("Customers")
    key = {"Idempotency-Key": "copy 1"}
    given = {"documentId": str(document.pk), "folderId": folder}
    first, again = (admin.client.post(f"{actions}/copy_document", given, headers=key) for _ in range(2))
    address = begun(first)
    assert again.json() == first.json()
    work()
    copy = admin.client.get(address).json()
    assert (copy["status"], copy["done"], copy["total"], copy["lastError"]) == ("done", len(BIG), len(BIG), None)
    [file] = [item for item in files(truth) if item["name"] == "Übersicht.bin"]
    assert (copy["file"]["id"], copy["file"]["contentType"]) == (file["id"], "text/csv")
    assert truth.content(file["id"]) == BIG


def test_copy_there_that_broke_off_is_tried_again_and_makes_one_file(
    admin: Actor, actions: str, truth: DriveTruth, vendors: Simulator
) -> None:
    document = make_document(admin, content=BIG, in_store=True)
    address = begun(admin.client.post(f"{actions}/copy_document", {"documentId": str(document.pk)}))
    vendors.fault("status", operation="drive.upload", status=503)
    work()
    waiting = admin.client.get(address).json()
    assert (waiting["status"], waiting["attempts"]) == ("queued", 1)
    assert waiting["lastError"]["code"] in ("provider_unavailable", "provider_outcome_unknown")
    assert waiting["nextAttemptAt"]
    vendors.clear_faults()
    work()
    assert admin.client.get(address).json()["status"] == "done"
    assert [truth.content(item["id"]) for item in files(truth)] == [BIG]


def test_copy_there_whose_worker_died_after_the_upload_makes_one_file(
    admin: Actor, actions: str, truth: DriveTruth
) -> None:
    document = make_document(admin, content=PDF, in_store=True)
    address = begun(admin.client.post(f"{actions}/copy_document", {"documentId": str(document.pk)}))

    class Killed(BaseException):
        pass

    def die(*_: object, **__: object) -> None:
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DocumentCopy, "finish", die)
        with pytest.raises(Killed):
            work()
    assert len(files(truth)) == 1
    assert admin.client.get(address).json()["status"] == "running"
    assert copying.due() == [], "its lease still runs"
    DocumentCopy.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    work()
    assert admin.client.get(address).json()["status"] == "done"
    assert len(files(truth)) == 1


def test_worker_that_lost_its_lease_stops_sending_and_decides_nothing(
    admin: Actor, actions: str, truth: DriveTruth, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = make_document(admin, content=BIG, in_store=True)
    address = begun(admin.client.post(f"{actions}/copy_document", {"documentId": str(document.pk)}))
    read, parts = LocalStore.read, list[int]()

    def overtaken(self: LocalStore, key: str, **how: Any) -> Iterator[bytes]:
        parts.append(how["start"])
        DocumentCopy.objects.update(fence=99)
        return read(self, key, **how)

    monkeypatch.setattr(LocalStore, "read", overtaken)
    work()
    assert parts == [0]
    copy = admin.client.get(address).json()
    assert (copy["status"], copy["lastError"]) == ("running", None)
    assert files(truth) == []


def test_copy_there_while_the_store_is_down_waits(
    admin: Actor, actions: str, truth: DriveTruth, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = make_document(admin, content=PDF, in_store=True)
    address = begun(admin.client.post(f"{actions}/copy_document", {"documentId": str(document.pk)}))

    def fail(*_: object, **__: object) -> Any:
        raise ProviderUnavailable("The disk is away.")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LocalStore, "read", fail)
        work()
    waiting = admin.client.get(address).json()
    assert (waiting["status"], waiting["lastError"]["code"]) == ("queued", "storage_unavailable")
    work()
    assert admin.client.get(address).json()["status"] == "done"


def test_copy_there_that_is_refused_ends_with_the_vendors_words(admin: Actor, actions: str, truth: DriveTruth) -> None:
    document = make_document(admin, content=PDF, in_store=True)
    given = {"documentId": str(document.pk), "folderId": "nobodys-folder"}
    address = begun(admin.client.post(f"{actions}/copy_document", given))
    work()
    copy = admin.client.get(address).json()
    assert (copy["status"], copy["attempts"]) == ("failed", 1)
    assert "nobodys-folder" in copy["lastError"]["message"]


def test_copy_of_what_is_no_document_or_not_ready_is_refused_at_once(admin: Actor, actions: str) -> None:
    foreign = make_document(make_actor(role=Role.OWNER), in_store=True)
    archived = make_document(admin, status="archived")
    answers = [
        admin.client.post(f"{actions}/copy_document", {"documentId": str(pk)})
        for pk in (foreign.pk, uuid7(), "7", archived.pk)
    ]
    assert [error(answer) for answer in answers] == [(422, "document_unusable")] * 4
    seen = [answer.json()["error"]["fields"] for answer in answers]
    assert seen[0] == seen[1] == seen[2] != seen[3]
    assert DocumentCopy.objects.count() == 0


def test_document_deleted_before_its_copy_ends_it(admin: Actor, actions: str) -> None:
    document = make_document(admin, content=PDF, in_store=True)
    address = begun(admin.client.post(f"{actions}/copy_document", {"documentId": str(document.pk)}))
    admin.client.delete(f"{V1}/{document.pk}")
    work()
    copy = admin.client.get(address).json()
    assert (copy["status"], copy["lastError"]["code"], copy["documentId"]) == ("failed", "document_unusable", None)


def test_copy_of_a_document_whose_object_is_gone_ends(admin: Actor, actions: str, truth: DriveTruth) -> None:
    document = make_document(admin, content=PDF, in_store=True)
    address = begun(admin.client.post(f"{actions}/copy_document", {"documentId": str(document.pk)}))
    store().delete(document.key)
    work()
    copy = admin.client.get(address).json()
    assert (copy["status"], copy["lastError"]["code"]) == ("failed", "document_unusable")
    assert files(truth) == []


def test_copy_by_a_disabled_integration_is_409_and_ends_one_under_way(admin: Actor, actions: str) -> None:
    document = make_document(admin, content=PDF, in_store=True)
    given = {"documentId": str(document.pk)}
    address = begun(admin.client.post(f"{actions}/copy_document", given))
    Integration.objects.update(enabled=False)
    assert error(admin.client.post(f"{actions}/copy_document", given)) == (409, "integration_disabled")
    work()
    assert admin.client.get(address).json()["lastError"]["code"] == "integration_disabled"


# --- from there ---------------------------------------------------------------------------------------------------


def test_file_is_saved_as_a_document_of_an_entity(admin: Actor, actions: str, truth: DriveTruth) -> None:
    item = truth.put("Figures.bin", BIG)
    address = begun(admin.client.post(f"{actions}/save_document", {"fileId": item["id"], **ENTITY}))
    work()
    copy = admin.client.get(address).json()
    assert (copy["status"], copy["done"], copy["total"]) == ("done", len(BIG), len(BIG))
    document = admin.client.get(f"{V1}/{copy['documentId']}").json()
    assert (document["fileName"], document["entityId"], document["status"]) == ("Figures.bin", "42", "ready")
    assert document["sha256"] == sha256(BIG).hexdigest()
    assert document["uploadedBy"]["id"] == str(admin.user.pk)
    assert fetch(admin.client.get(f"{V1}/{document['id']}/download").json()["url"]).body == BIG


def test_page_of_the_vendors_own_is_saved_as_it_is_exported(admin: Actor, actions: str, truth: DriveTruth) -> None:
    item = truth.put("Plan", mime_type=DOCUMENT, exports={"application/pdf": PDF})
    address = begun(admin.client.post(f"{actions}/save_document", {"fileId": item["id"], **ENTITY}))
    work()
    document = Document.objects.get(pk=admin.client.get(address).json()["documentId"])
    assert (document.content_type, document.size) == ("application/pdf", len(PDF))


def test_copy_from_there_whose_worker_died_is_one_document(admin: Actor, actions: str, truth: DriveTruth) -> None:
    item = truth.put("a.pdf", PDF, mime_type="application/pdf")
    address = begun(admin.client.post(f"{actions}/save_document", {"fileId": item["id"], **ENTITY}))

    class Killed(BaseException):
        pass

    def die(*_: object, **__: object) -> None:
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DocumentCopy, "finish", die)
        with pytest.raises(Killed):
            work()
    DocumentCopy.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    work()
    assert admin.client.get(address).json()["documentId"] == str(Document.objects.get().pk)
    assert len(objects()) == 1


def test_copy_from_there_that_breaks_off_leaves_nothing_and_is_tried_again(
    admin: Actor, actions: str, truth: DriveTruth, vendors: Simulator
) -> None:
    item = truth.put("a.bin", BIG)
    address = begun(admin.client.post(f"{actions}/save_document", {"fileId": item["id"], **ENTITY}))
    vendors.fault("status", operation="drive.files.get", status=503, skip=2)
    work()
    waiting = admin.client.get(address).json()
    assert (waiting["status"], waiting["lastError"]["code"]) == ("queued", "provider_unavailable")
    assert (Document.objects.count(), objects()) == (0, [])
    vendors.clear_faults()
    work()
    assert admin.client.get(address).json()["status"] == "done"
    assert Document.objects.get().size == len(BIG)


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [("DOCUMENT_MAX_BYTES", 100, "too_large"), ("DOCUMENT_QUOTA_BYTES", 100, "quota_exceeded")],
)
def test_file_that_may_not_be_a_document_is_not_fetched(
    admin: Actor,
    actions: str,
    truth: DriveTruth,
    vendors: Simulator,
    settings: Any,
    name: str,
    value: int,
    code: str,
) -> None:
    item = truth.put("a.bin", b"x" * 101)
    address = begun(admin.client.post(f"{actions}/save_document", {"fileId": item["id"], **ENTITY}))
    setattr(settings, name, value)
    work()
    copy = admin.client.get(address).json()
    assert (copy["status"], copy["lastError"]["code"]) == ("failed", code)
    assert len(vendors.ledger(operation="drive.files.get")) == 1, "its size was asked for and no byte of it"


def test_file_that_is_not_what_it_is_said_to_be_is_refused(admin: Actor, actions: str, truth: DriveTruth) -> None:
    item = truth.put("a.pdf", b"MZ\x00\x01 a program", mime_type="application/pdf")
    address = begun(admin.client.post(f"{actions}/save_document", {"fileId": item["id"], **ENTITY}))
    work()
    assert admin.client.get(address).json()["lastError"]["code"] == "type_mismatch"
    assert (Document.objects.count(), objects()) == (0, [])


def test_file_of_no_entity_or_without_an_id_names_the_field(admin: Actor, actions: str) -> None:
    for given, field in (({"fileId": "x", "entityType": "contact"}, "entityId"), (ENTITY, "fileId")):
        answer = admin.client.post(f"{actions}/save_document", given)
        assert (answer.status_code, set(answer.json()["error"]["fields"])) == (400, {field})
    assert DocumentCopy.objects.count() == 0


# --- the work -----------------------------------------------------------------------------------------------------


def test_copy_is_given_up_after_some_attempts_and_when_its_workers_die(
    admin: Actor, actions: str, vendors: Simulator
) -> None:
    document = make_document(admin, content=PDF, in_store=True)
    address = begun(admin.client.post(f"{actions}/copy_document", {"documentId": str(document.pk)}))
    vendors.fault("status", operation="drive.files.generateIds", status=503)
    for _ in range(copying.MAX_ATTEMPTS):
        assert admin.client.get(address).json()["status"] == "queued"
        work()
    assert admin.client.get(address).json()["status"] == "failed"
    DocumentCopy.objects.update(status="running", lease_until=timezone.now() - timedelta(seconds=1))
    work()
    assert admin.client.get(address).json()["lastError"]["code"] == "crashed"


def test_copy_of_long_ago_is_forgotten_and_one_under_way_is_not(admin: Actor, actions: str) -> None:
    document = make_document(admin, content=PDF, in_store=True)
    old = begun(admin.client.post(f"{actions}/copy_document", {"documentId": str(document.pk)}))
    work()
    new = begun(admin.client.post(f"{actions}/copy_document", {"documentId": str(document.pk)}))
    DocumentCopy.objects.filter(status="done").update(finished_at=timezone.now() - timedelta(days=31))
    copying.forget_old()
    assert [admin.client.get(address).status_code for address in (old, new)] == [404, 200]


def test_copies_nobody_rang_for_are_rung_by_the_tick(
    admin: Actor, actions: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = make_document(admin, content=PDF, in_store=True)
    address = begun(admin.client.post(f"{actions}/copy_document", {"documentId": str(document.pk)}))
    rung = list[str]()
    monkeypatch.setattr(tasks.run_copy, "delay", rung.append)
    tasks.tick()
    assert rung == [address.rpartition("/")[2]]


def test_copies_are_for_admins_to_begin_and_for_members_to_see(admin: Actor, actions: str) -> None:
    member = make_actor(workspace=admin.workspace)
    document = make_document(member, content=PDF, in_store=True)
    given = {"documentId": str(document.pk)}
    assert error(member.client.post(f"{actions}/copy_document", given)) == (403, "permission_denied")
    address = begun(admin.client.post(f"{actions}/copy_document", given))
    assert member.client.get(address).json()["documentId"] == str(document.pk)
