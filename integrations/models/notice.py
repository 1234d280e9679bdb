"""A mail to a workspace's owners about something that broke or works again. Written by `services.notices`, which keeps
the newest of each integration; sent by `services.notice_sending`."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from core.ids import uuid7
from core.work import WorkRow


class Notice(WorkRow):
    """One mail to say once. A row before it is sent, as every mail."""

    KEPT = 50
    """Of an integration, beside those that are still to be sent."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace = models.ForeignKey("workspaces.Workspace", on_delete=models.CASCADE, related_name="+")
    integration = models.ForeignKey("integrations.Integration", on_delete=models.CASCADE, related_name="notices")
    subject = models.CharField(max_length=255)
    text = models.TextField()
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        indexes = (models.Index(fields=("status", "next_attempt_at"), name="notice_due"),)
