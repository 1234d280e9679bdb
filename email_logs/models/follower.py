"""Where those who follow the entries of a table are (`services.following`), and what of its days is final."""

from __future__ import annotations

import uuid

from django.db import models

from core.ids import uuid7

NOWHERE = uuid.UUID(int=0)


class DayCount(models.Model):
    """How far the counts by day of a table have followed its entries."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    table = models.OneToOneField("email_logs.EmailLogTable", on_delete=models.CASCADE, related_name="day_count")
    transaction = models.BigIntegerField(default=0)
    entry_id = models.UUIDField(default=NOWHERE)
    """The last entry that was counted, in the order of (transaction, id)."""
    final_before = models.DateField(null=True, blank=True)
    """Entries of days before were removed, or are about to be: their counts stay as they are."""
