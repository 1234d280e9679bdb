"""Documents for tests of every app, and what a client does with an upload."""

from __future__ import annotations

from datetime import timedelta
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

from django.db.models.functions import Now
from django.utils import timezone
from rest_framework.test import APIClient

from core.ids import uuid7
from core.work import WorkStatus
from documents import keys, tasks
from documents.models import STORED, Confirmation, Document, DocumentStatus
from documents.services import confirming
from documents.storage import store
from workspaces.tests.fixtures import Actor

V1 = "/api/v1/integrations/documents"
PDF = b"%PDF-1.7\n% a contract\n"


def make_document(actor: Actor, *, content: bytes = b"Hello", in_store: bool = False, **columns: Any) -> Document:
    """A ready one of this actor's, as a row; `in_store`: and as an object."""
    pk = uuid7()
    values: dict[str, Any] = {
        "workspace": actor.workspace, "uploaded_by": actor.user, "file_name": "hello.txt",
        "content_type": "text/plain", "size": len(content), "sha256": sha256(content).hexdigest(),
        "status": DocumentStatus.READY, "entity_type": "contact", "entity_id": "42", "confirmed_at": timezone.now(),
        "key": keys.final_key(actor.workspace.pk, pk), **columns,
    }  # fmt: skip
    if values["status"] == DocumentStatus.ARCHIVED:
        values.setdefault("archived_at", timezone.now())
    if values["status"] not in STORED:
        values["key"] = ""
    made = Document.objects.create(id=pk, **values)
    if in_store:
        store().write(made.key, [content], content_type=made.content_type)
    made.refresh_from_db()
    return made


def begin(actor: Actor, content: bytes = PDF, **changes: Any) -> dict[str, Any]:
    """What `documents/upload` answers for this content, announced whole; `size=None` leaves that out."""
    body = {
        "fileName": "contract.pdf", "contentType": "application/pdf", "entityType": "account", "entityId": 1,
        "size": len(content), "sha256": sha256(content).hexdigest(), **changes,
    }  # fmt: skip
    answer = actor.client.post(f"{V1}/upload", {name: value for name, value in body.items() if value is not None})
    assert answer.status_code == 201, answer.content
    return answer.json()


def send(begun: dict[str, Any], content: bytes = PDF, **headers: Any) -> Any:
    """Send it as `upload` says, as a client without any token."""
    upload = begun["upload"]
    assert upload["method"] == "PUT"
    headers.setdefault("CONTENT_LENGTH", str(len(content)))  # the test client leaves it out of an empty body
    return APIClient().generic(
        "PUT", path_of(upload["url"]), content, content_type=upload["headers"]["Content-Type"], **headers
    )


def path_of(url: str) -> str:
    """What the test client takes of an address."""
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def fetch(url: str, **headers: str) -> Any:
    """A download, whole; its body is `body`."""
    answer = APIClient().get(path_of(url), headers=headers)
    answer.body = b"".join(answer) if answer.streaming else answer.content
    return answer


def uploaded(actor: Actor, content: bytes = PDF, **changes: Any) -> dict[str, Any]:
    """A document that was sent and confirmed, as the API shows it."""
    begun = begin(actor, content, **changes)
    assert send(begun, content).status_code == 204
    answer = actor.client.post(f"{V1}/{begun['document']['id']}/confirm")
    assert answer.status_code == 200, answer.content
    return answer.json()


def work() -> None:
    """Workers look at every upload that waits for it, as if its time had come."""
    Confirmation.objects.filter(status=WorkStatus.QUEUED).update(next_attempt_at=Now())
    for pk in confirming.due():
        tasks.run_confirmation(str(pk))


def objects() -> list[str]:
    """Every key in the store."""
    return list(store().keys("", older_than=timezone.now() + timedelta(days=1)))
