"""The console's pages of documents and of their copies."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from core.ids import uuid7
from documents.models import Document, DocumentCopy
from documents.tests.factories import fetch, make_document, objects
from integrations.models import Integration
from workspaces.tests.fixtures import Actor, make_actor

pytestmark = pytest.mark.django_db


@pytest.fixture
def console(owner: Actor) -> Client:
    client = Client()
    type(owner.user).objects.filter(pk=owner.user.pk).update(is_staff=True)
    client.force_login(owner.user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def page(row: Document, name: str = "change") -> str:
    arguments: dict[str, Any] = {"args": (row.pk,)} if name == "change" else {"kwargs": {"object_id": str(row.pk)}}
    return reverse(f"admin:documents_document_{name}", **arguments)


def test_list_shows_documents_and_is_narrowed_by_state(console: Client, member: Actor) -> None:
    make_document(member, file_name="plan.txt")
    make_document(member, file_name="bad.exe", status="rejected", reason="infected", reason_text="Eicar")
    address = reverse("admin:documents_document_changelist")
    assert "plan.txt" in console.get(address).content.decode()
    text = console.get(address, {"status__exact": "rejected"}).content.decode()
    assert "bad.exe" in text
    assert "plan.txt" not in text


def test_detail_leads_to_the_file(console: Client, member: Actor) -> None:
    row = make_document(member, content=b"Hello", in_store=True)
    text = console.get(page(row)).content.decode()
    url = text.split("/documents/content/")[1].split('"')[0]
    assert fetch(f"/api/v1/integrations/documents/content/{url}").body == b"Hello"


def test_delete_and_archive_go_the_way_of_the_api(console: Client, member: Actor) -> None:
    row = make_document(member, in_store=True)
    console.post(page(row, "archive"), {"_form_submitted": "on"})
    row.refresh_from_db()
    assert row.status == "archived"
    console.get(page(row, "remove"))
    assert Document.objects.exists()
    console.post(page(row, "remove"), {"_form_submitted": "on"})
    assert not Document.objects.exists()
    assert objects() == []


# --- copies -------------------------------------------------------------------------------------------------------


def make_copy(actor: Actor, document: Document | None = None, **columns: Any) -> DocumentCopy:
    drive = Integration.objects.create(workspace=actor.workspace, name="Our Drive", type="CLOUD_STORAGE")
    there = {"action": "copy_document", "given": {"documentId": str(document.pk)}} if document else {}
    here = {"action": "save_document", "given": {"fileId": "drive-file-1"}}
    values = {"integration": drive, "document": document, "started_by": actor.user, **(there or here), **columns}
    return DocumentCopy.objects.create(**values)


def copy_page(row: DocumentCopy, name: str = "change") -> str:
    return reverse(f"admin:documents_documentcopy_{name}", args=(row.pk,))


def test_copies_are_listed_with_state_progress_and_reason(console: Client, member: Actor) -> None:
    document = make_document(member, file_name="plan.txt")
    make_copy(member, document, status="running", done=3 * 1024**2, total=12 * 1024**2, attempts=1)
    make_copy(member, status="failed", error_code="too_large", error_message="A document has at most 5 bytes.")
    text = console.get(reverse("admin:documents_documentcopy_changelist")).content.decode()
    for words in ("To the file store", "plan.txt", "Our Drive", "3.0\xa0MB of 12.0\xa0MB (25 %)", "Running"):
        assert words in text, words
    for words in ("To documents", "drive-file-1", "A document has at most 5 bytes. (too_large)", "Failed"):
        assert words in text, words


def test_copy_that_waits_says_why_and_until_when_and_keeps_itself_fresh(console: Client, member: Actor) -> None:
    document = make_document(member, file_name="plan.txt")
    row = make_copy(
        member, document, done=1, total=4, attempts=2, error_code="provider_unavailable", error_message="Drive is away."
    )
    live = copy_page(row, "live")
    page, part = console.get(copy_page(row)).content.decode(), console.get(live).content.decode()
    assert f'data-refresh-url="{live}"' in page
    for words in ("Waits to be tried again", "Drive is away.", 'value="25"', 'data-refresh-seconds="2"'):
        assert words in page, words
        assert words in part, words
    assert f"next attempt {row.next_attempt_at:%Y-%m-%d}" in part
    DocumentCopy.objects.update(status="done", error_code="", error_message="")
    ended = console.get(live).content.decode()
    assert 'data-refresh-seconds="60"' in ended
    assert "<progress" not in ended


def test_document_shows_its_copies(console: Client, member: Actor) -> None:
    document = make_document(member)
    rows = [make_copy(member, document, status=status) for status in ("done", "failed")]
    rows[1].error_message = "Drive is full."
    rows[1].save()
    text = console.get(page(document)).content.decode()
    assert "Drive is full." in text
    assert [copy_page(row) in text for row in rows] == [True, True]


def test_copy_of_another_workspace_is_as_an_unknown_one(console: Client) -> None:
    foreign = make_copy(make_actor())
    unknown = DocumentCopy(pk=uuid7())
    assert [console.get(copy_page(row, "live")).status_code for row in (foreign, unknown)] == [404, 404]
