"""The console's page of documents."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from documents.models import Document
from documents.tests.factories import fetch, make_document, objects
from workspaces.tests.fixtures import Actor

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
