"""Where documents meet the rest of the product: attachments of mail become documents, documents go along with mail, and
what a vendor renders is kept. With a store that is down, a quota that is used up, foreign ids, and everything twice."""

from __future__ import annotations

import email
import email.policy
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

from core.errors import ProviderUnavailable
from core.ids import uuid7
from documents.models import Document, DocumentUsage, Removal
from documents.services import keeping
from documents.storage import store
from documents.storage.local import LocalStore
from documents.tests.factories import PDF, fetch, make_document, objects
from documents.tests.test_scanning import EICAR, daemon  # noqa: F401 - a fixture
from email_sync.models import Attachment, Draft, Submission
from email_sync.providers import MAIL_PROVIDERS
from email_sync.services import submissions
from email_sync.tests.conftest import Account
from email_sync.tests.contract import mail
from email_sync.tests.factories import connect
from email_sync.tests.memory import Memory
from integrations.models import Event, Integration
from simulator.process import Simulator, running
from workspaces.models import AuditEvent, Role
from workspaces.tests.fixtures import Actor, make_actor

pytestmark = pytest.mark.django_db

V1 = "/api/v1/integrations"
ENTITY = {"entityType": "contact", "entityId": "42"}
LETTER = {"to": ["bob@example.com"], "subject": "As promised", "body": "See the file."}


@pytest.fixture(autouse=True)
def _own_store(settings: Any, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path


@pytest.fixture
def account(member: Actor, monkeypatch: pytest.MonkeyPatch) -> Account:
    """The member's mailbox, in memory."""
    made = Account(connect(member, "ada@contract.test"))
    monkeypatch.setitem(MAIL_PROVIDERS._loaded, Memory.key, Memory)
    monkeypatch.setattr(Memory, "mailboxes", {made.connection.account_email: made.box})
    return made


def attached(account: Account, content: bytes = PDF) -> tuple[str, Attachment]:
    """A mail with this file, synced; where its attachment is."""
    account.box.append(mail("file", attachment=content), "inbox")
    account.sync()
    part = Attachment.objects.get(message__connection=account.connection)
    return f"{V1}/email/{part.message_id}/attachments/{part.pk}/save", part


def error(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def nothing_is_left() -> None:
    assert Document.objects.count() == 0
    assert objects() == []
    assert not Removal.objects.exists()
    assert set(DocumentUsage.objects.values_list("size", flat=True)) <= {0}


def down(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    def fail(*_: object, **__: object) -> Any:
        raise ProviderUnavailable("The disk is away.")

    for name in names:
        monkeypatch.setattr(LocalStore, name, fail)


# --- an attachment becomes a document -----------------------------------------------------------------------------


def test_attachment_is_saved_as_a_document_of_an_entity(account: Account, member: Actor) -> None:
    address, _ = attached(account)
    answer = member.client.post(address, ENTITY)
    assert answer.status_code == 201, answer.content
    saved = answer.json()
    assert (saved["status"], saved["fileName"], saved["size"]) == ("ready", "file.bin", len(PDF))
    assert saved["contentType"] == "application/pdf", "nothing was claimed, so it is what it looks like"
    assert (saved["entityType"], saved["entityId"]) == ("contact", "42")
    assert saved["uploadedBy"]["id"] == str(member.user.pk)
    assert member.client.get(f"{V1}/documents/{saved['id']}").json() == saved
    link = member.client.get(f"{V1}/documents/{saved['id']}/download").json()["url"]
    assert fetch(link).body == PDF
    assert Event.objects.filter(type="document.uploaded").count() == 1
    assert AuditEvent.objects.get(action="document.kept").changes == {"fileName": "file.bin", "from": "email"}
    assert DocumentUsage.objects.get().size == len(PDF)
    assert not Removal.objects.exists()


def test_attachment_saved_twice_is_one_document_of_each_entity(account: Account, member: Actor) -> None:
    address, _ = attached(account)
    first, again = (member.client.post(address, ENTITY) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    assert member.client.post(address, {"entityType": "deal", "entityId": 7}).status_code == 201
    assert (Document.objects.count(), len(objects())) == (2, 2)
    member.client.delete(f"{V1}/documents/{first.json()['id']}")
    assert member.client.post(address, ENTITY).status_code == 201, "deleted, it may be saved again"


@pytest.mark.django_db(transaction=True)
def test_attachment_saved_by_many_at_once_is_one_document(account: Account, member: Actor) -> None:
    address, _ = attached(account)
    gate, answers = threading.Barrier(4), list[Any]()
    write = LocalStore.write

    def together(self: LocalStore, *given: Any, **how: Any) -> None:
        write(self, *given, **how)
        gate.wait(10)  # each has written its object before one of them has its row

    def save() -> None:
        answers.append(member.client.post(address, ENTITY))
        connections.close_all()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LocalStore, "write", together)
        threads = [threading.Thread(target=save) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 201]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert (Document.objects.count(), len(objects())) == (1, 1)
    assert DocumentUsage.objects.get().size == len(PDF)
    assert not Removal.objects.exists()


@pytest.mark.parametrize("broken", [("write",), ("stat",), ("write", "delete")], ids="-".join)
def test_attachment_while_the_store_is_down_is_503_and_can_be_saved_later(
    account: Account,
    member: Actor,
    broken: tuple[str, ...],
) -> None:
    address, _ = attached(account)
    with pytest.MonkeyPatch.context() as patch:
        down(patch, *broken)
        answer = member.client.post(address, ENTITY)
        assert error(answer) == (503, "storage_unavailable")
        assert answer.headers["Retry-After"]
    assert Document.objects.count() == 0
    assert member.client.post(address, ENTITY).status_code == 201


def test_attachment_beyond_the_quota_or_too_large_is_refused_before_it_is_fetched(
    account: Account,
    member: Actor,
    settings: Any,
) -> None:
    address, part = attached(account)
    calls = len(account.box.calls)
    settings.DOCUMENT_QUOTA_BYTES = part.size - 1
    assert error(member.client.post(address, ENTITY)) == (409, "quota_exceeded")
    settings.DOCUMENT_QUOTA_BYTES, settings.DOCUMENT_MAX_BYTES = 0, part.size - 1
    assert error(member.client.post(address, ENTITY)) == (413, "too_large")
    assert "attachment" not in account.box.calls[calls:]
    nothing_is_left()


def test_attachment_larger_than_its_mail_said_is_refused_all_the_same(
    account: Account,
    member: Actor,
    settings: Any,
) -> None:
    address, _ = attached(account, PDF * 100)
    Attachment.objects.update(size=1)
    settings.DOCUMENT_QUOTA_BYTES = 500
    assert error(member.client.post(address, ENTITY)) == (409, "quota_exceeded")
    settings.DOCUMENT_QUOTA_BYTES, settings.DOCUMENT_MAX_BYTES = 0, 500
    assert error(member.client.post(address, ENTITY)) == (413, "too_large")
    nothing_is_left()


@pytest.mark.parametrize(
    ("claimed", "content", "code"),
    [
        ("image/png", b"MZ\x00\x01 a program", "type_mismatch"),
        ("application/pdf", b"<html><script>alert(1)</script>", "type_mismatch"),
    ],
)
def test_attachment_that_is_not_what_it_is_said_to_be_is_refused(
    account: Account,
    member: Actor,
    claimed: str,
    content: bytes,
    code: str,
) -> None:
    address, _ = attached(account, content)
    Attachment.objects.update(content_type=claimed)
    assert error(member.client.post(address, ENTITY)) == (422, code)
    nothing_is_left()


def test_attachment_of_a_type_that_is_not_taken_is_refused(
    account: Account,
    member: Actor,
    settings: Any,
) -> None:
    address, _ = attached(account, b"just words")
    settings.DOCUMENT_ALLOWED_TYPES = ["application/pdf"]
    answer = member.client.post(address, ENTITY)
    assert (answer.status_code, set(answer.json()["error"]["fields"])) == (400, {"contentType"})
    nothing_is_left()


def test_attachment_that_is_infected_is_refused_with_the_scanners_word(
    account: Account,
    member: Actor,
    daemon: Any,  # noqa: F811
) -> None:
    address, _ = attached(account, EICAR)
    daemon(b"stream: Eicar-Test-Signature FOUND\0")
    answer = member.client.post(address, ENTITY)
    assert error(answer) == (422, "infected")
    assert "Eicar-Test-Signature" in answer.json()["error"]["message"]
    nothing_is_left()


def test_attachment_while_the_scanner_is_away_is_503_and_nothing_is_kept(
    account: Account,
    member: Actor,
    settings: Any,
    tmp_path: Path,
) -> None:
    address, _ = attached(account)
    settings.CLAMAV_URL = f"unix://{tmp_path}/nobody.ctl"
    assert error(member.client.post(address, ENTITY)) == (503, "storage_unavailable")
    nothing_is_left()


def test_attachment_whose_mailbox_is_away_is_the_mailboxs_error_and_not_the_stores(
    account: Account,
    member: Actor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    address, _ = attached(account)

    def away(*_: object) -> bytes:
        raise ProviderUnavailable("The mail server does not answer.")

    monkeypatch.setattr(Memory, "attachment", away)
    answer = member.client.post(address, ENTITY)
    assert error(answer) == (502, "provider_unavailable")
    assert "mail server" in answer.json()["error"]["message"]
    nothing_is_left()


def test_attachment_of_a_mail_that_is_gone_is_409(account: Account, member: Actor) -> None:
    address, part = attached(account)
    account.box.remove(part.message.remote_id)
    assert error(member.client.post(address, ENTITY)) == (409, "removed")
    nothing_is_left()


def test_attachment_of_a_colleagues_mail_is_404_as_an_unknown_one(account: Account, member: Actor) -> None:
    """Also an owner's: what somebody saves, the whole workspace may read."""
    address, part = attached(account)
    owner = make_actor(workspace=member.workspace, role=Role.OWNER)
    foreign = owner.client.post(address, ENTITY)
    unknown = owner.client.post(f"{V1}/email/{uuid7()}/attachments/{part.pk}/save", ENTITY)
    assert error(foreign) == error(unknown) == (404, "not_found")


def test_attachment_for_no_entity_names_the_field(account: Account, member: Actor) -> None:
    address, _ = attached(account)
    answer = member.client.post(address, {"entityType": "contact"})
    assert (answer.status_code, set(answer.json()["error"]["fields"])) == (400, {"entityId"})


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("\u202egpj.exe", "gpj.exe"),
        ("", "attachment"),
        ("...", "attachment"),
        ("a" * 400 + ".pdf", "a" * 180 + "…" + "a" * 15 + ".pdf"),
    ],
    ids=["path", "turned", "none", "dots", "long"],
)
def test_attachment_with_an_odd_name_is_saved_under_a_fit_one(
    account: Account,
    member: Actor,
    given: str,
    kept: str,
) -> None:
    address, _ = attached(account)
    Attachment.objects.update(file_name=given)
    assert member.client.post(address, ENTITY).json()["fileName"] == kept


def test_process_that_dies_while_it_keeps_a_file_leaves_what_the_reaper_takes(
    account: Account,
    member: Actor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    address, _ = attached(account)

    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keeping, "_accept", die)
        patch.setattr(keeping.removals, "abandon", lambda key: None)
        with pytest.raises(Killed):
            member.client.post(address, ENTITY)
    assert objects() == list(Removal.objects.values_list("key", flat=True)), "one object, and its removal is noted"
    assert member.client.post(address, ENTITY).status_code == 201


# --- a document goes along with a mail ----------------------------------------------------------------------------


def files_of(mime: bytes) -> list[tuple[str, str, bytes]]:
    parsed = email.message_from_bytes(mime, policy=email.policy.default)
    return [
        (part.get_filename() or "", part.get_content_type(), part.get_payload(decode=True))
        for part in parsed.iter_attachments()  # type: ignore[attr-defined]
    ]


def contract_pdf(actor: Actor, **columns: Any) -> Document:
    values = {"file_name": "contract.pdf", "content_type": "application/pdf", **columns}
    return make_document(actor, content=PDF, in_store=True, **values)


def test_documents_go_along_with_a_mail_in_the_order_given(account: Account, member: Actor) -> None:
    document = contract_pdf(make_actor(workspace=member.workspace), file_name="Übersicht.pdf")
    given = [
        {"fileName": "a.txt", "contentType": "text/plain", "contentBase64": "YQ=="},
        {"documentId": str(document.pk)},
    ]
    answer = member.client.post(f"{V1}/email/send", LETTER | {"attachments": given})
    assert (answer.status_code, answer.json()["status"]) == (201, "sent"), answer.content
    [sent] = account.box.outbox
    assert files_of(sent.mime) == [("a.txt", "text/plain", b"a"), ("Übersicht.pdf", "application/pdf", PDF)]
    assert Submission.objects.get().attachment_count == 2


def test_document_of_a_mail_with_a_time_is_sent_as_it_was_then(account: Account, member: Actor) -> None:
    document = contract_pdf(member)
    given = LETTER | {"attachments": [{"documentId": str(document.pk)}], "undoSeconds": 60}
    assert member.client.post(f"{V1}/email/send", given).json()["status"] == "scheduled"
    assert member.client.delete(f"{V1}/documents/{document.pk}").status_code == 204
    submissions.settle(Submission.objects.get().pk)
    Submission.objects.update(next_attempt_at="2020-01-01T00:00:00Z")
    submissions.settle(Submission.objects.get().pk)
    assert files_of(account.box.outbox[0].mime) == [("contract.pdf", "application/pdf", PDF)]


def test_document_goes_along_with_a_mail_that_is_passed_on(account: Account, member: Actor) -> None:
    _, part = attached(account, b"the original's")
    given = LETTER | {"attachments": [{"documentId": str(contract_pdf(member).pk)}]}
    answer = member.client.post(f"{V1}/email/send", given | {"forwardOfId": str(part.message_id)})
    assert answer.status_code == 201, answer.content
    names = [(name, content) for name, _, content in files_of(account.box.outbox[0].mime)]
    assert names == [("file.bin", b"the original's"), ("contract.pdf", PDF)]


@pytest.mark.parametrize("state", ["pending", "rejected", "archived"])
def test_document_that_is_not_ready_goes_along_with_nothing(
    account: Account,
    member: Actor,
    state: str,
) -> None:
    document = make_document(member, status=state)
    for method, address in (("post", "email/send"), ("post", "email/drafts")):
        body = LETTER | {"attachments": [{"documentId": str(document.pk)}]}
        answer = getattr(member.client, method)(f"{V1}/{address}", body)
        assert error(answer) == (422, "document_unusable")
        assert answer.json()["error"]["fields"] == {
            "attachments.0.documentId": [f"This document is {state}; it has to be ready."]
        }
    assert (Submission.objects.count(), Draft.objects.count(), account.box.outbox) == (0, 0, [])


def test_document_of_another_workspace_is_answered_as_an_unknown_one(account: Account, member: Actor) -> None:
    foreign = contract_pdf(make_actor(role=Role.OWNER))
    answers = []
    for document_id in (foreign.pk, uuid7()):
        body = LETTER | {"attachments": [{"documentId": str(document_id)}]}
        answers.append(member.client.post(f"{V1}/email/send", body))
    seen = [{**answer.json()["error"], "requestId": ""} for answer in answers]
    assert seen[0] == seen[1]
    assert error(answers[0]) == (422, "document_unusable")
    assert account.box.outbox == []


def test_document_too_large_for_the_provider_is_refused_before_it_is_read(
    account: Account,
    member: Actor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    document = contract_pdf(member, size=30 * 1024**2)
    down(monkeypatch, "read")
    answer = member.client.post(f"{V1}/email/send", LETTER | {"attachments": [{"documentId": str(document.pk)}]})
    assert error(answer) == (413, "too_large")
    assert answer.json()["error"]["limit"] == Memory.max_mail_bytes


def test_document_while_the_store_is_down_sends_nothing_and_can_be_sent_later(
    account: Account,
    member: Actor,
) -> None:
    body = LETTER | {"attachments": [{"documentId": str(contract_pdf(member).pk)}]}
    headers = {"Idempotency-Key": "one mail"}
    with pytest.MonkeyPatch.context() as patch:
        down(patch, "read")
        assert error(member.client.post(f"{V1}/email/send", body, headers=headers)) == (503, "storage_unavailable")
    assert Submission.objects.count() == 0
    for _ in range(2):
        assert member.client.post(f"{V1}/email/send", body, headers=headers).status_code == 201
    assert len(account.box.outbox) == 1


def test_document_whose_object_is_gone_is_said(account: Account, member: Actor) -> None:
    document = contract_pdf(member)
    store().delete(document.key)
    answer = member.client.post(f"{V1}/email/send", LETTER | {"attachments": [{"documentId": str(document.pk)}]})
    assert error(answer) == (422, "document_unusable")


@pytest.mark.parametrize(
    ("attachment", "field"),
    [
        ({"documentId": "7"}, "attachments.0.documentId"),
        ({"documentId": str(uuid7()), "fileName": "a.txt"}, "attachments.0.documentId"),
        ({"contentBase64": "YQ=="}, "attachments.0.fileName"),
        ({"fileName": "a.txt"}, "attachments.0.contentBase64"),
        ({}, "attachments.0.fileName"),
    ],
)
def test_attachment_that_is_neither_file_nor_document_names_the_field(
    account: Account,
    member: Actor,
    attachment: dict[str, str],
    field: str,
) -> None:
    answer = member.client.post(f"{V1}/email/send", LETTER | {"attachments": [attachment]})
    assert (answer.status_code, set(answer.json()["error"]["fields"])) == (400, {field})


def test_draft_keeps_a_copy_of_a_document_and_sends_it(account: Account, member: Actor) -> None:
    document, second = contract_pdf(member), contract_pdf(member, file_name="second.pdf")
    body = LETTER | {"attachments": [{"documentId": str(document.pk)}]}
    draft = member.client.post(f"{V1}/email/drafts", body).json()
    assert [(file["fileName"], file["size"]) for file in draft["attachments"]] == [("contract.pdf", len(PDF))]
    changed = member.client.patch(
        f"{V1}/email/drafts/{draft['id']}", {"attachments": [{"documentId": str(second.pk)}]}
    ).json()
    assert [file["fileName"] for file in changed["attachments"]] == ["contract.pdf", "second.pdf"]
    member.client.delete(f"{V1}/documents/{document.pk}")
    assert member.client.post(f"{V1}/email/drafts/{draft['id']}/send", {}).status_code == 201
    assert [name for name, _, _ in files_of(account.box.outbox[0].mime)] == ["contract.pdf", "second.pdf"]


# --- what a vendor renders ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def vendors() -> Iterator[Simulator]:
    with running() as found:
        yield found


@pytest.fixture
def simulator(vendors: Simulator, settings: Any) -> Simulator:
    settings.EGRESS_ALLOW_CIDRS = ["127.0.0.0/8"]
    vendors.reset(seed=1)
    return vendors


def engine(admin: Actor, simulator: Simulator) -> str:
    """Where a document engine renders, and the id of its template."""
    simulator.control("PATCH", "/carbone", {"keys": ["a-good-key"]})
    made = Integration.objects.create(
        workspace=admin.workspace, name="Docs", type="DOCUMENT_ENGINE", has_credentials=True,
        config={"baseUrl": f"{simulator.base_url}/carbone"}, credentials={"credentials": {"apiKey": "a-good-key"}},
    )  # fmt: skip
    return f"/api/integrations/{made.pk}/actions/render"


def template(simulator: Simulator) -> dict[str, Any]:
    made = simulator.control("POST", "/carbone/templates", {"text": "Invoice {d.number}"})
    given = {"templateId": str(made["id"] or made["versionId"]), "data": {"number": 17}, "convertTo": "pdf"}
    return given | {"reportName": "Invoice {d.number}"} | ENTITY


def renders(simulator: Simulator) -> int:
    return len(simulator.control("GET", "/carbone")["renders"])


def test_rendered_document_is_kept_with_its_entity(admin: Actor, simulator: Simulator) -> None:
    address, given = engine(admin, simulator), template(simulator)
    key = {"Idempotency-Key": "invoice 17"}
    answer, again = (admin.client.post(address, given, headers=key) for _ in range(2))
    assert answer.status_code == 200, answer.content
    assert set(answer.json()["result"]) == {"document"}
    document = answer.json()["result"]["document"]
    assert (document["fileName"], document["contentType"]) == ("Invoice 17.pdf", "application/pdf")
    assert (document["status"], document["entityId"]) == ("ready", "42")
    link = admin.client.get(f"{V1}/documents/{document['id']}/download").json()["url"]
    assert b"(Invoice 17) Tj" in fetch(link).body
    assert again.json() == answer.json()
    assert (renders(simulator), Document.objects.count()) == (1, 1)


@pytest.mark.parametrize(
    ("change", "field"),
    [({"entityId": None}, "entityId"), ({"entityType": "1 2"}, "entityType"), ({"convertTo": "exe"}, "convertTo")],
)
def test_render_for_no_entity_or_with_bad_input_costs_nothing(
    admin: Actor, simulator: Simulator, change: dict[str, Any], field: str
) -> None:
    address, given = engine(admin, simulator), template(simulator)
    answer = admin.client.post(address, {k: v for k, v in (given | change).items() if v is not None})
    assert (answer.status_code, set(answer.json()["error"]["fields"])) == (400, {field})
    assert renders(simulator) == 0


def test_render_that_could_not_be_kept_is_not_rendered(
    admin: Actor, simulator: Simulator, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, given = engine(admin, simulator), template(simulator)
    make_document(admin, content=b"x" * 100)
    settings.DOCUMENT_QUOTA_BYTES = 100
    DocumentUsage.objects.create(workspace=admin.workspace, size=100)
    assert error(admin.client.post(address, given)) == (409, "quota_exceeded")
    settings.DOCUMENT_QUOTA_BYTES = 0
    down(monkeypatch, "stat")
    assert error(admin.client.post(address, given)) == (503, "storage_unavailable")
    assert renders(simulator) == 0


def test_refused_render_keeps_nothing(admin: Actor, simulator: Simulator) -> None:
    address, given = engine(admin, simulator), template(simulator)
    answer = admin.client.post(address, given | {"templateId": "nobodys"})
    assert error(answer) == (422, "provider_rejected")
    nothing_is_left()


def test_types_say_what_an_action_that_brings_a_file_is_asked_with(member: Actor) -> None:
    types = {found["type"]: found for found in member.client.get("/api/integrations/types").json()["types"]}
    [render] = [action for action in types["DOCUMENT_ENGINE"]["actions"] if action["name"] == "render"]
    assert {"entityType", "entityId"} <= set(render["input"]["required"])
