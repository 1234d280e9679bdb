"""How much a workspace stores, kept with each document's row (`counted`), and where that ends.

Whoever changes a document's share holds its row, then the usage's: in this order everywhere.
"""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import connection as database

from core.errors import Conflict
from documents.models import Document, DocumentUsage

_ADD = """
INSERT INTO documents_documentusage (workspace_id, size) VALUES (%s, %s)
ON CONFLICT (workspace_id) DO UPDATE SET size = documents_documentusage.size + EXCLUDED.size
RETURNING size
"""


class QuotaExceeded(Conflict):
    """409: the workspace stores as much as it may."""

    default_code = "quota_exceeded"


def check(workspace_id: uuid.UUID, size: int) -> None:
    """QuotaExceeded where so many bytes more would not go in now: told before anybody fetches them."""
    used = DocumentUsage.objects.filter(workspace=workspace_id).values_list("size", flat=True).first() or 0
    _refuse_beyond(used + size, size)


def take(document: Document, size: int) -> None:
    """From now on it takes so much; the caller saves the row. QuotaExceeded where that is more than there is."""
    more = size - document.counted
    if not more:
        return
    _refuse_beyond(_add(document.workspace_id, more), more)
    document.counted = size


def _refuse_beyond(used: int, more: int) -> None:
    """`used` would be taken with `more` of them new. Giving back is never refused."""
    most = settings.DOCUMENT_QUOTA_BYTES
    if 0 < most < used and more > 0:
        raise QuotaExceeded(
            f"The workspace may store {most:,} bytes and {used - more:,} are taken; this needs {more:,} more."
        )


def _add(workspace_id: uuid.UUID, more: int) -> int:
    with database.cursor() as cursor:
        cursor.execute(_ADD, [workspace_id, more])
        return int(cursor.fetchone()[0])
