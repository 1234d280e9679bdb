"""What exports and imports have in common: their rows, their files in chunks, ending and forgetting them.

Called by the views and by `exporting` and `importing`, which do the work. A file is served to its user only and goes
when it expires.
"""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction
from django.db.models import F, QuerySet
from django.db.models.functions import Now

from core.work import ACTIVE, WorkStatus
from email_sync.models import MailTransfer, TransferChunk, TransferKind
from integrations.models import Connection
from workspaces.models import User, Workspace

CHUNK_BYTES = 1024 * 1024
KEEP_DAYS = 7
"""How long the file of an export is kept."""
REMEMBER_DAYS = 30
"""How long the row of one that ended is."""


def of(*, user: User, workspace: Workspace, kind: TransferKind) -> QuerySet[MailTransfer]:
    """The caller's own, newest first."""
    own = Connection.objects.of(user=user, workspace=workspace)
    return MailTransfer.objects.filter(connection__in=own, kind=kind)


def read(transfer: MailTransfer, offset: int, size: int) -> bytes:
    """So many bytes of an uploaded file from `offset` on; fewer at its end."""
    first, last = offset // CHUNK_BYTES, (offset + size - 1) // CHUNK_BYTES
    pieces = TransferChunk.objects.filter(transfer=transfer, number__range=(first, last)).order_by("number")
    data = b"".join(bytes(piece) for piece in pieces.values_list("data", flat=True))
    begin = offset - first * CHUNK_BYTES
    return data[begin : begin + size]


def end(transfer: MailTransfer) -> None:
    """End one that is under way, its row stays with how far it came; forget one that has ended. What was imported
    stays."""
    with transaction.atomic():
        active = MailTransfer.objects.filter(pk=transfer.pk, status__in=ACTIVE)
        cancelled = active.update(
            status=WorkStatus.FAILED,
            fence=F("fence") + 1,
            lease_until=None,
            finished_at=Now(),
            error_code="cancelled",
            error_message="It was cancelled.",
        )
        TransferChunk.objects.filter(transfer=transfer).delete()
        if not cancelled:
            MailTransfer.objects.filter(pk=transfer.pk).delete()


def forget_old() -> None:
    """Files that expired, uploads that broke off, and rows of long ago. Called daily."""
    ended = MailTransfer.objects.exclude(status__in=ACTIVE)
    TransferChunk.objects.filter(transfer__in=ended.filter(expires_at__lt=Now())).delete()
    ended.filter(finished_at__lt=Now() - timedelta(days=REMEMBER_DAYS)).delete()
    MailTransfer.objects.filter(received=False, created_at__lt=Now() - timedelta(days=1)).delete()


def due(limit: int = 100) -> list[object]:
    """Work to ring: waiting, or left by a worker that died."""
    return MailTransfer.objects.filter(received=True).to_ring(limit)


def kind_of(transfer_id: str) -> TransferKind | None:
    """Which way it goes; None where it is gone."""
    row = MailTransfer.objects.filter(pk=transfer_id).first()
    return None if row is None else TransferKind(row.kind)
