"""Messages the provider lists and does not give, or not whole."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from core.ids import uuid7
from integrations.models import Connection


class Unfetched(models.Model):
    """A message that could not be fetched while others could: set aside, so that it does not stop its page for ever,
    and tried again later and later (`services.refilling`). Where the provider gave what is around its body, a `Message`
    with a defect stands for it meanwhile. Counted as missing by the coverage check."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="unfetched", db_index=False)
    remote_id = models.TextField()
    stream = models.CharField(max_length=500)
    reason = models.TextField()
    """The provider's words."""
    attempts = models.PositiveIntegerField(default=1)
    next_attempt_at = models.DateTimeField()
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("connection", "remote_id"), name="unfetched_one_per_remote_id"),)
        indexes = (models.Index(fields=("connection", "stream"), name="unfetched_stream"),)
