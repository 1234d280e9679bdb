"""The trail's rows are readable, safe to print, and say on whose behalf."""

from __future__ import annotations

import pytest

from core.api import middleware
from workspaces.models import AuditEvent
from workspaces.services import audit
from workspaces.tests.factories import UserFactory, WorkspaceFactory

pytestmark = pytest.mark.django_db


def test_record_names_actor_target_and_request() -> None:
    user, workspace = UserFactory(), WorkspaceFactory()
    token = middleware._request_id.set("req-123")
    try:
        audit.record(by=user, workspace=workspace, action="thing.done", target=workspace, changes={"name": "x"})
    finally:
        middleware._request_id.reset(token)
    event = AuditEvent.objects.get()
    assert (event.actor, event.actor_email, event.workspace) == (user, user.email, workspace)
    assert (event.object_type, event.object_id, event.request_id) == ("workspace", str(workspace.pk), "req-123")


def test_record_by_the_system_has_no_actor() -> None:
    event = audit.record(by=None, workspace=WorkspaceFactory(), action="thing.done")
    assert (event.actor, event.actor_email, event.object_id) == (None, "", "")


@pytest.mark.parametrize("evil", ["a\r\nb", "a\x1b[31mb", "a\x00b", "a\u2028b", "a\u202eb", "a\x85b"])
def test_record_holds_no_control_characters(evil: str) -> None:
    audit.record(by=None, workspace=WorkspaceFactory(), action="x", changes={evil: [evil, {"deep": evil}]})
    changes = AuditEvent.objects.get().changes
    assert evil not in str(changes)
    assert all(text.isprintable() for text in (*changes, changes[next(iter(changes))][0]))


def test_record_cuts_long_texts() -> None:
    event = audit.record(by=None, workspace=WorkspaceFactory(), action="x", changes={"name": "y" * 10_000})
    assert len(event.changes["name"]) == audit.MAX_TEXT
