"""Documents that go along with a workspace's mail (`POST /api/email/send`): whose, in which state, how large, and while
the store is down. Mailboxes' own mail is `test_document_joins`'s."""

from __future__ import annotations

import base64
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.errors import ProviderUnavailable
from core.ids import uuid7
from documents.models import Document
from documents.storage.local import LocalStore
from documents.tests.factories import PDF, make_document
from email_logs.models import EmailLogEntry, OutgoingEmail
from email_logs.tests import postbox
from email_logs.tests.postbox import Postbox, entry, provider, send, time_passes
from simulator.process import Simulator, running
from workspaces.tests.fixtures import Actor, make_actor

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _own_store(settings: Any, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path


@pytest.fixture(autouse=True)
def _postboxes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    postbox.register(monkeypatch)
    yield
    postbox.forget()


def contract(actor: Actor, **columns: Any) -> Document:
    content = columns.pop("content", PDF)
    values = {"file_name": "contract.pdf", "content_type": "application/pdf", **columns}
    return make_document(actor, content=content, in_store=True, **values)


def enclosed(*documents: Any) -> list[dict[str, str]]:
    return [{"documentId": str(getattr(document, "pk", document))} for document in documents]


def taken() -> list[tuple[str, str, bytes]]:
    [(_, mail)] = Postbox.taken
    return [(file.file_name, file.content_type, base64.b64decode(file.content)) for file in mail.attachments]


def error(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def test_documents_go_along_in_the_order_given_and_are_logged_as_other_files(admin: Actor) -> None:
    provider(admin)
    colleagues = contract(make_actor(workspace=admin.workspace), file_name="Übersicht.pdf")
    inline = {"fileName": "a.txt", "contentType": "text/plain", "contentBase64": "YQ=="}
    answer = send(admin.client, attachments=[inline, *enclosed(colleagues)])
    assert (answer.status_code, answer.json()["status"]) == (201, "accepted"), answer.content
    assert taken() == [("a.txt", "text/plain", b"a"), ("Übersicht.pdf", "application/pdf", PDF)]
    assert entry().attachments == 2


@pytest.mark.parametrize("size", [0, 1, 2, 3, 700])
def test_document_of_any_length_arrives_whole(admin: Actor, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    provider(admin)
    content = bytes(number % 251 for number in range(size))
    monkeypatch.setattr("documents.storage.local.CHUNK", 64)
    send(admin.client, attachments=enclosed(contract(admin, content=content)))
    assert taken() == [("contract.pdf", "application/pdf", content)]


def test_document_that_is_deleted_later_is_in_the_mail_that_waited(admin: Actor) -> None:
    provider(admin)
    document = contract(admin)
    Postbox.script.append(ProviderUnavailable("Postbox is away."))
    assert send(admin.client, attachments=enclosed(document)).json()["status"] == "queued"
    assert admin.client.delete(f"/api/v1/integrations/documents/{document.pk}").status_code == 204
    time_passes()
    assert (entry().state, taken()) == ("accepted", [("contract.pdf", "application/pdf", PDF)])


def test_mail_with_a_document_under_the_same_key_is_one_mail(admin: Actor) -> None:
    provider(admin)
    document, other = contract(admin), contract(admin)
    first, again = (send(admin.client, "a key", attachments=enclosed(document)) for _ in range(2))
    assert first.json() == again.json()
    assert error(send(admin.client, "a key", attachments=enclosed(other))) == (409, "idempotency_key_reused")
    assert len(Postbox.taken) == 1


@pytest.mark.parametrize("state", ["pending", "rejected", "archived"])
def test_document_that_is_not_ready_is_refused_without_an_entry(admin: Actor, state: str) -> None:
    provider(admin)
    answer = send(admin.client, attachments=enclosed(make_document(admin, status=state)))
    assert error(answer) == (422, "document_unusable")
    words = f"This document is {state}; it has to be ready."
    assert answer.json()["error"]["fields"] == {"attachments.0.documentId": [words]}
    assert not EmailLogEntry.objects.exists()


def test_document_of_another_workspace_is_answered_as_an_unknown_one(admin: Actor) -> None:
    provider(admin)
    answers = [send(admin.client, attachments=enclosed(one)) for one in (contract(make_actor()), uuid7())]
    seen = [{**answer.json()["error"], "requestId": ""} for answer in answers]
    assert seen[0] == seen[1]
    assert error(answers[0]) == (422, "document_unusable")
    assert (Postbox.asked, EmailLogEntry.objects.count()) == ([], 0)


def test_member_sends_no_document_by_the_workspaces_mail(member: Actor, admin: Actor) -> None:
    provider(admin)
    assert send(member.client, attachments=enclosed(contract(member))).status_code == 403


@pytest.mark.parametrize(
    "item",
    [
        {"documentId": "no-id"},
        {"documentId": None},
        {"documentId": 7},
        {"documentId": ["x"]},
        {"documentId": str(uuid7()), "fileName": "a.txt", "contentBase64": "YQ=="},
    ],
    ids=["word", "nothing", "number", "list", "both"],
)
def test_document_id_that_is_none_names_the_field(admin: Actor, item: dict[str, Any]) -> None:
    provider(admin)
    answer = send(admin.client, attachments=[{"fileName": "a.txt", "contentBase64": "YQ=="}, item])
    assert answer.status_code == 400, answer.content
    assert list(answer.json()["error"]["fields"]) == ["attachments.1.documentId"]


def test_documents_too_large_together_are_refused_before_one_is_read(
    admin: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider(admin)
    monkeypatch.setattr(LocalStore, "read", lambda *_, **__: pytest.fail("it was read"))
    half = contract(admin, size=400)
    inline = {"fileName": "a.txt", "contentBase64": "A" * 600}
    for attachments in (enclosed(half, half), [inline, *enclosed(half)]):
        answer = send(admin.client, attachments=attachments)
        assert (answer.status_code, list(answer.json()["error"]["fields"])) == (400, ["attachments"])
    answer = send(admin.client, attachments=enclosed(half), to=["nobody"])
    assert (answer.status_code, list(answer.json()["error"]["fields"])) == (400, ["to"])
    assert not EmailLogEntry.objects.exists()


def test_document_while_the_store_is_down_sends_nothing_and_can_be_sent_later(admin: Actor) -> None:
    provider(admin)
    attachments = enclosed(contract(admin))

    def away(*_: object, **__: object) -> Any:
        raise ProviderUnavailable("The disk is away.")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LocalStore, "read", away)
        answer = send(admin.client, "a key", attachments=attachments)
        assert error(answer) == (503, "storage_unavailable")
    assert (Postbox.asked, EmailLogEntry.objects.count(), OutgoingEmail.objects.count()) == ([], 0, 0)
    assert send(admin.client, "a key", attachments=attachments).status_code == 201


def test_document_is_in_memory_no_larger_than_its_base64_a_few_times(
    admin: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As much as a file that comes with the request: the row keeps the mail sealed."""
    monkeypatch.setattr(Postbox, "most_attached", 20_000_000)
    provider(admin)
    size = 6_000_000
    peaks = []
    inline = {"fileName": "a.bin", "contentBase64": base64.b64encode(b"x" * size).decode()}
    document = contract(admin, content=b"x" * size, content_type="application/x-bench")
    for attachments in ([inline], enclosed(document)):
        tracemalloc.start()
        assert send(admin.client, attachments=attachments).status_code == 201
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] * 1.2


@pytest.fixture(scope="module")
def simulator_process() -> Iterator[Simulator]:
    with running() as simulator:
        yield simulator


@pytest.mark.parametrize("type", ["EMAIL_PROVIDER", "EMAIL_PROVIDER_ALT"])
def test_mail_with_a_document_is_taken_by_the_vendor(
    admin: Actor, simulator_process: Simulator, settings: Any, type: str
) -> None:
    simulator_process.reset(seed=1)
    for name, value in simulator_process.env().items():
        setattr(settings, name, value.split(",") if name == "EGRESS_ALLOW_CIDRS" else value)
    key = {"EMAIL_PROVIDER": "re_key", "EMAIL_PROVIDER_ALT": "SG.key"}[type]
    simulator_process.control("POST", "/resend/keys", {"key": "re_key"})
    simulator_process.control("POST", "/resend/domains", {"name": "mail.example"})
    simulator_process.control("POST", "/sendgrid/keys", {"key": "SG.key"})
    simulator_process.control("POST", "/sendgrid/senders", {"sender": "mail.example"})
    provider(admin, type, key=key)
    answer = send(admin.client, attachments=enclosed(contract(admin)))
    assert answer.status_code == 201, answer.content
    assert len(simulator_process.sent(subject="Hello")) == 1
