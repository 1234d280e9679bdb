"""The private address under which other programs read somebody's calendars."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from core.ids import uuid7
from workspaces.models import Membership


class Feed(models.Model):
    """One per member; it goes with the membership. `lookup` is public, of the secret only a hash is kept."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    membership = models.OneToOneField(Membership, on_delete=models.CASCADE, related_name="+")
    lookup = models.CharField(max_length=12, unique=True)
    digest = models.CharField(max_length=64)
    """SHA-256, hex, of the whole token: it holds 256 random bits, so a slow hash would add nothing."""
    shows_private = models.BooleanField(default=False)
    """Private events with all they say; else as busy blocks."""
    content = models.CharField(max_length=64, blank=True, default="")
    """Digest of what was last answered, so that `changed_at` is true."""
    changed_at = models.DateTimeField(db_default=Now())
    created_at = models.DateTimeField(db_default=Now())
    """When this address was made."""

    class Meta:
        constraints = (models.CheckConstraint(condition=Q(digest__regex="^[0-9a-f]{64}$"), name="feed_digest_format"),)

    def __str__(self) -> str:
        return self.fingerprint

    @property
    def fingerprint(self) -> str:
        """What is shown: it tells addresses apart and opens nothing."""
        return f"feed_{self.lookup}_****"
