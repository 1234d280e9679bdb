"""A log as a file that is made in the background: the work, and the file's pieces."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from core.ids import uuid7
from core.work import ACTIVE
from core.work_files import FilePiece, FileWork
from email_logs.models.entry import EmailLogTable


class EmailLogExport(FileWork):
    """What somebody asked for, what of it they saw then, and up to where it is written."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    table = models.ForeignKey(EmailLogTable, on_delete=models.CASCADE, related_name="exports", db_index=False)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    format = models.CharField(max_length=10)
    filters = models.JSONField(default=dict)
    """`Filters.given`."""
    oldest_first = models.BooleanField(default=False)
    until = models.DateTimeField()
    """What comes later is not in it; not included."""
    mailboxes = models.JSONField(null=True)
    """Of a log of users' own mailboxes: id → whether its mail is in it whole. Whoever sees less does not get it."""
    place = models.JSONField(null=True)
    """[sent_at, id] of the entry up to which the log was gone through."""
    written = models.JSONField(default=dict)
    """What the writer of the file goes on with."""
    total = models.PositiveBigIntegerField(null=True)
    """Rows there will be, about; None until they were counted."""
    done = models.PositiveBigIntegerField(default=0)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ("-created_at", "-id")
        constraints = (
            models.UniqueConstraint(
                fields=("table", "created_by"), condition=Q(status__in=ACTIVE), name="emaillogexport_one_under_way"
            ),
        )
        indexes = (
            models.Index(fields=("table", "created_at", "id"), name="emaillogexport_list"),
            models.Index(fields=("next_attempt_at",), condition=Q(status="queued"), name="emaillogexport_due"),
            models.Index(fields=("lease_until",), condition=Q(status="running"), name="emaillogexport_leases"),
            models.Index(fields=("expires_at",), name="emaillogexport_expires"),
        )


class ExportChunk(FilePiece):
    """A piece of the file."""

    export = models.ForeignKey(EmailLogExport, on_delete=models.CASCADE, related_name="pieces", db_index=False)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("export", "number"), name="exportchunk_one_per_number"),)
