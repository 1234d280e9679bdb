"""A log table per email provider, its entries, their delivery events, and their counts by day."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from core.ids import uuid7
from email_logs.states import FAILED_WORD, STATUS_WORDS, State
from integrations.models.event import WRITING_TRANSACTION
from workspaces.scoping import WorkspaceQuerySet

TABLE_NAME = "Email Log"
SYSTEM_TYPE = "EMAIL_LOG"


class EmailLogTable(models.Model):
    """What the source document calls a table: the entries of one email provider of a workspace. Of an integration; or
    of all users' own mailboxes at one provider, then without an integration. It stays when its provider is disabled or
    deleted."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace = models.ForeignKey("workspaces.Workspace", on_delete=models.CASCADE, related_name="+", db_index=False)
    integration = models.OneToOneField(
        "integrations.Integration", null=True, on_delete=models.CASCADE, related_name="email_log_table"
    )
    provider = models.CharField(max_length=60)
    """What the column `Provider` shows: "email-provider" for the type EMAIL_PROVIDER, a mailbox provider's key."""
    name = models.CharField(max_length=255, default=TABLE_NAME)
    system_type = models.CharField(max_length=40, default=SYSTEM_TYPE)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    not_before = models.DateTimeField(null=True, blank=True)
    """The provider asked to wait until then, or is away: nothing queued leaves through it sooner."""
    failing_since = models.DateTimeField(null=True, blank=True)
    """Since when nothing could be handed over to it; None while it takes mail."""
    rung_at = models.DateTimeField(null=True, blank=True)
    """A worker was rung for its queue then and has not begun yet."""

    objects = WorkspaceQuerySet.as_manager()

    class Meta:
        verbose_name = "email log"
        ordering = ("created_at", "id")
        constraints = (
            models.UniqueConstraint(
                fields=("workspace", "provider"),
                condition=Q(integration__isnull=True),
                name="emaillogtable_one_per_mailbox_provider",
            ),
        )
        indexes = (models.Index(fields=("workspace", "created_at", "id"), name="emaillogtable_list"),)

    def __str__(self) -> str:
        return self.name


class EmailLogEntry(models.Model):
    """One outbound mail. Written before it leaves; at most one update until its provider has answered, and one more
    for each event that moves it forward."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace = models.ForeignKey("workspaces.Workspace", on_delete=models.CASCADE, related_name="+", db_index=False)
    table = models.ForeignKey(EmailLogTable, on_delete=models.CASCADE, related_name="entries", db_index=False)
    connection_id = models.UUIDField(null=True, blank=True)
    """The mailbox it was sent from, where a user sent it: its visibility decides which colleagues see the entry."""
    sent_at = models.DateTimeField(db_default=Now())
    """When it was handed in, and from then on when the provider took it."""
    to = models.TextField()
    """Addresses, with ", " between; cc and bcc alike."""
    cc = models.TextField(blank=True, default="")
    bcc = models.TextField(blank=True, default="")
    sender = models.TextField()
    subject = models.TextField(blank=True, default="")
    state = models.CharField(max_length=10, choices=State.choices, default=State.QUEUED)
    state_at = models.DateTimeField(db_default=Now())
    message_id = models.TextField(blank=True, default="")
    """The provider's id of the mail, which its events carry; of a user's own mail its Message-ID."""
    template_id = models.TextField(blank=True, default="")
    source = models.CharField(max_length=40, blank=True, default="")
    """One of `sources.SOURCES`, or "" where nobody said."""
    error = models.TextField(blank=True, default="")
    """Why it failed, bounced or waits, in the provider's words, cleaned."""
    attachments = models.PositiveSmallIntegerField(default=0)
    transaction = models.BigIntegerField(db_default=WRITING_TRANSACTION, editable=False)
    """Which transaction wrote the row last, for those who follow (as `integrations.models.Event`); every update of
    `state` sets it anew."""

    objects = WorkspaceQuerySet["EmailLogEntry"].as_manager()

    class Meta:
        verbose_name = "logged email"
        ordering = ("-sent_at", "-id")
        indexes = (
            models.Index("table", models.F("sent_at").desc(), models.F("id").desc(), name="emaillogentry_list"),
            models.Index(
                "table",
                models.F("sent_at").desc(),
                models.F("id").desc(),
                condition=Q(state__in=sorted(STATUS_WORDS[FAILED_WORD])),
                name="emaillogentry_failed",
            ),
            models.Index(fields=("table", "message_id"), condition=~Q(message_id=""), name="emaillogentry_message_id"),
            models.Index(fields=("table", "transaction", "id"), name="emaillogentry_changes"),
        )

    def __str__(self) -> str:
        return self.subject or "(no subject)"


class DeliveryEvent(models.Model):
    """What a provider, or a report in a mailbox, told of a mail. Kept though nobody knows the mail yet: an event may
    come before the answer to the send does."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace = models.ForeignKey("workspaces.Workspace", on_delete=models.CASCADE, related_name="+", db_index=False)
    table = models.ForeignKey(EmailLogTable, on_delete=models.CASCADE, related_name="+", db_index=False)
    entry_id = models.UUIDField(null=True, blank=True)
    """None: not joined to a mail yet."""
    message_id = models.TextField(blank=True, default="")
    """The provider's id of the mail it is about."""
    event_key = models.TextField()
    """The provider's own id of the event: the same again is the same event."""
    kind = models.CharField(max_length=40)
    """The provider's neutral word: a `State`, or "opened", "clicked", "unsubscribed"."""
    recipients = ArrayField(models.TextField(), default=list)
    """Whom it is about, where it says."""
    words = models.TextField(blank=True, default="")
    """The refusing server's or the provider's reason, cleaned."""
    unwanted = models.CharField(max_length=20, blank=True, default="")
    """Why its recipients are not to be written to any more, a `SuppressionReason`; "" where that does not follow."""
    at = models.DateTimeField()
    """When it happened, by the provider's clock."""
    received_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ("at", "id")
        constraints = (models.UniqueConstraint(fields=("table", "event_key"), name="deliveryevent_once"),)
        indexes = (
            models.Index(fields=("entry_id", "at"), name="deliveryevent_entry"),
            models.Index(
                fields=("table", "message_id"), condition=Q(entry_id__isnull=True), name="deliveryevent_unjoined"
            ),
            models.Index(fields=("id",), condition=Q(entry_id__isnull=True), name="deliveryevent_unjoined_old"),
        )


class EmailLogDay(models.Model):
    """How many entries of a table stood where on a day (UTC, by `sent_at`); counted anew when one of them changed."""

    table = models.ForeignKey(EmailLogTable, on_delete=models.CASCADE, related_name="days", db_index=False)
    day = models.DateField()
    state = models.CharField(max_length=10, choices=State.choices)
    count = models.PositiveBigIntegerField()

    class Meta:
        constraints = (models.UniqueConstraint(fields=("table", "day", "state"), name="emaillogday_cell"),)
