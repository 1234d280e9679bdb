"""Mail on its way out of the product as a file, or into it from one."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from core.ids import uuid7
from core.work_files import FilePiece, FileWork
from integrations.models import Connection


class TransferKind(models.TextChoices):
    """Which way."""

    EXPORT = "export"
    IMPORT = "import"


class MailTransfer(FileWork):
    """The work of one export or import. Its file is in `TransferChunk`s, so that any worker on any machine can go on
    with it, a chunk commits together with the place it ends at, and a purge of the connection covers it."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="mail_transfers")
    kind = models.CharField(max_length=10, choices=TransferKind.choices)
    received = models.BooleanField(default=True)
    """False while an upload comes in."""
    position = models.TextField(blank=True, default="")
    """Export: remote id of the last message written."""
    offset = models.PositiveBigIntegerField(default=0)
    """Import: where in the file the next message begins."""
    total = models.PositiveIntegerField(null=True)
    """Messages; None where an import cannot know yet."""
    done = models.PositiveIntegerField(default=0)
    rebuilt = models.PositiveIntegerField(default=0)
    """Export: of those, messages written from what is stored."""
    stored = models.PositiveIntegerField(default=0)
    skipped = models.PositiveIntegerField(default=0)
    """Import: messages that were here already."""
    refused = models.PositiveIntegerField(default=0)
    problems = models.JSONField(default=list)
    """[[number of the message, reason], …], the first hundred."""
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ("-created_at", "-id")
        indexes = (
            models.Index(fields=("next_attempt_at",), condition=Q(status="queued"), name="mailtransfer_due"),
            models.Index(fields=("lease_until",), condition=Q(status="running"), name="mailtransfer_leases"),
        )


class TransferChunk(FilePiece):
    """A piece of a transfer's file."""

    transfer = models.ForeignKey(MailTransfer, on_delete=models.CASCADE, related_name="pieces", db_index=False)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("transfer", "number"), name="transferchunk_one_per_number"),)


class ImportedSource(models.Model):
    """The bytes of an imported message: no provider has them, so attachments and exports come from here."""

    message = models.OneToOneField(
        "email_sync.Message", primary_key=True, on_delete=models.CASCADE, related_name="imported_source"
    )
    raw = models.BinaryField()
