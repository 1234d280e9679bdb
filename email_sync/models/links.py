"""How conversations are joined to CRM entities: who takes part in them, and what people decided by hand."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from core.ids import uuid7
from entities.matching import MAX_KEY
from entities.models import EntityReference
from integrations.models import Connection


class ThreadParticipant(models.Model):
    """Somebody in a conversation, other than the mailbox's own account. Kept by the writer (`services.participants`)
    from the mails that timelines show, so matches are joined to mail when they are read."""

    pk = models.CompositePrimaryKey("thread", "address_key")
    thread = models.ForeignKey("email_sync.Thread", on_delete=models.CASCADE, related_name="+", db_index=False)
    connection = models.ForeignKey(
        Connection, on_delete=models.CASCADE, related_name="+", db_index=False, db_constraint=False
    )
    """The thread's; its foreign key holds both, and every page of mail inserts hundreds of these."""
    address_key = models.CharField(max_length=MAX_KEY)
    """`entities.matching.normalise` of the address."""
    domain = models.CharField(max_length=255)
    shown_at = models.DateTimeField(null=True)
    """The thread's: an entity's timeline is a range of an index, newest first, however many threads there are."""

    class Meta:
        indexes = (
            models.Index(fields=("connection", "address_key", "shown_at", "thread"), name="participant_address"),
            models.Index(
                fields=("connection", "domain", "shown_at", "thread"),
                include=("address_key",),
                name="participant_domain",
            ),
        )


class LinkKind(models.TextChoices):
    """What somebody decided. Either wins over all matches."""

    LINKED = "linked"
    UNLINKED = "unlinked"


class ThreadLink(EntityReference):
    """A decision made by hand: this conversation is about that entity, or is not. The newest one stands. It hangs on
    the thread, whose row survives a resync, a reconnect and new remote ids; a merge takes it along."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="+", db_index=False)
    thread = models.ForeignKey("email_sync.Thread", on_delete=models.CASCADE, related_name="links", db_index=False)
    kind = models.CharField(max_length=10, choices=LinkKind.choices)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    decided_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("thread", "entity_type", "entity_id"), name="threadlink_one_decision"),
        )
        indexes = (models.Index(fields=("connection", "entity_type", "entity_id"), name="threadlink_of_entity"),)
