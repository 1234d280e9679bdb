"""What leaves a mailbox: the addresses it may send as, drafts, outgoing mail, and what came back.

A `Submission` is written before the provider is called (ADR 0019); a `Draft` is the part of a draft's `Message` that
the provider need not have yet. All of it belongs to the mailbox's user.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from core.ids import uuid7
from integrations.models import Connection
from workspaces.scoping import fetch

if TYPE_CHECKING:
    from workspaces.models import User, Workspace


class Alias(models.Model):
    """An address a mailbox may send as: its own, those its provider names, those its user named where the provider
    knows none."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="aliases", db_index=False)
    key = models.TextField()
    """The address in its compared form (`addresses.exact`)."""
    email = models.TextField()
    name = models.TextField(blank=True, default="")
    is_primary = models.BooleanField(default=False)
    by_user = models.BooleanField(default=False)
    refreshed_at = models.DateTimeField(db_default=Now())
    """When the provider was last asked."""

    class Meta:
        ordering = ("-is_primary", "email")
        constraints = (models.UniqueConstraint(fields=("connection", "key"), name="alias_one_per_address"),)


class Draft(models.Model):
    """What is known of a draft beyond its message: its content as it was given, and what the provider lacks of it."""

    message = models.OneToOneField(
        "email_sync.Message", primary_key=True, on_delete=models.CASCADE, related_name="draft"
    )
    content = models.JSONField(default=dict)
    """{"to": [text], "cc", "bcc", "subject", "body", "bodyHtml", "fromEmail"} as the API takes them."""
    parent = models.ForeignKey("email_sync.Message", null=True, on_delete=models.SET_NULL, related_name="+")
    """The mail it answers."""
    in_reply_to = models.TextField(blank=True, default="")
    references = ArrayField(models.TextField(), default=list)
    revision = models.PositiveIntegerField(default=1)
    """Raised by every change; a change that names another one is refused."""
    saved_revision = models.PositiveIntegerField(default=0)
    """The revision the provider has."""
    remote_version = models.TextField(blank=True, default="")
    """What the provider's copy is known by where its remote id stays whatever it says (`MailProvider.draft_versions`):
    one that says something else was changed elsewhere. "" where another content is another remote id."""
    mail_id = models.TextField(blank=True, default="")
    """The Message-ID of this revision: a save that is repeated is found by it."""
    idempotency_key = models.CharField(max_length=255, blank=True, default="")
    """Of the request that made it: a retry after our own crash meets this row and makes no second draft."""
    removing = models.BooleanField(default=False)
    """It was deleted or sent; the provider's copy still has to go."""
    attempts = models.PositiveIntegerField(default=0)
    lease_until = models.DateTimeField(null=True, blank=True)
    next_attempt_at = models.DateTimeField(null=True, blank=True)
    error_code = models.CharField(max_length=64, blank=True, default="")
    error_message = models.TextField(blank=True, default="")

    class Meta:
        indexes = (
            models.Index(fields=("next_attempt_at",), condition=Q(next_attempt_at__isnull=False), name="draft_due"),
            models.Index(fields=("idempotency_key",), condition=~Q(idempotency_key=""), name="draft_key"),
        )


class DraftFile(models.Model):
    """A file of a draft."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    draft = models.ForeignKey(Draft, on_delete=models.CASCADE, related_name="files")
    file_name = models.TextField()
    content_type = models.CharField(max_length=255)
    content_id = models.TextField(blank=True, default="")
    """Where the HTML shows it ("cid:"), without angle brackets."""
    size = models.PositiveBigIntegerField()
    content = models.BinaryField()

    class Meta:
        ordering = ("id",)


class SubmissionStage(models.TextChoices):
    """Where an outgoing mail is. SCHEDULED: its time has not come. UNCONFIRMED: the provider did not say whether it
    took it; Sent will tell. CANCELLED: its user took it back before it left."""

    SCHEDULED = "scheduled"
    SENDING = "sending"
    SENT = "sent"
    UNCONFIRMED = "unconfirmed"
    FAILED = "failed"
    CANCELLED = "cancelled"


LEAVING = (SubmissionStage.SCHEDULED, SubmissionStage.SENDING, SubmissionStage.UNCONFIRMED, SubmissionStage.SENT)
"""Stages in which a draft's mail has left or may yet."""


class SubmissionQuerySet(models.QuerySet["Submission"]):
    """Set rules: whose."""

    def of(self, *, user: User, workspace: Workspace) -> Self:
        """The caller's own outgoing mail."""
        return self.filter(connection__in=Connection.objects.of(user=user, workspace=workspace))

    def find(self, submission_id: object) -> Submission:
        """One by id; NotFound for a foreign, malformed or missing id alike."""
        return fetch(self, pk=submission_id)


class Submission(models.Model):
    """A mail a user sends. The row is there before the provider is called; its Message-ID never changes."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="submissions", db_index=False)
    idempotency_key = models.CharField(max_length=255, blank=True, default="")
    """The request's `Idempotency-Key`: a retry after our own crash meets this row and sends nothing again."""
    stage = models.CharField(max_length=12, choices=SubmissionStage.choices, default=SubmissionStage.SENDING)
    message_id = models.TextField()
    sender = models.TextField()
    recipients = ArrayField(models.TextField())
    to = ArrayField(models.TextField(), default=list)
    cc = ArrayField(models.TextField(), default=list)
    bcc = ArrayField(models.TextField(), default=list)
    attachment_count = models.PositiveSmallIntegerField(default=0)
    subject = models.TextField(blank=True, default="")
    mime = models.BinaryField(null=True)
    """The mail as it leaves; dropped when it is settled and filed."""
    thread = models.ForeignKey("email_sync.Thread", null=True, on_delete=models.SET_NULL, related_name="+")
    remote_id = models.TextField(blank=True, default="")
    refused = ArrayField(models.TextField(), default=list)
    """Recipients the provider refused while it took the mail for others."""
    filed = models.BooleanField(default=True)
    """False while the copy in Sent is still to be made."""
    attempts = models.PositiveIntegerField(default=0)
    lease_until = models.DateTimeField(null=True, blank=True)
    """Somebody is at work on it until then."""
    calling = models.BooleanField(default=False)
    """Set just before the provider is called. A lease that ran out with it: nobody knows, so UNCONFIRMED."""
    tried_at = models.DateTimeField(null=True, blank=True)
    """When the provider was last called."""
    send_at = models.DateTimeField(null=True, blank=True)
    """When it is to leave; None: at once."""
    draft = models.ForeignKey(Draft, null=True, on_delete=models.SET_NULL, related_name="submissions")
    """The draft it was made from; removed when it has left."""
    entity_type = models.CharField(max_length=64, blank=True, default="")
    entity_id = models.TextField(blank=True, default="")
    """The CRM entity its thread is linked to once it has left; "" for none."""
    source = models.CharField(max_length=40, blank=True, default="")
    """Where it originated: one of the document's eight labels."""
    next_attempt_at = models.DateTimeField(null=True, blank=True)
    """When the sweeper looks again; None: nothing left to do."""
    error_code = models.CharField(max_length=64, blank=True, default="")
    error_message = models.TextField(blank=True, default="")
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    sent_at = models.DateTimeField(null=True, blank=True)

    objects = SubmissionQuerySet.as_manager()

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("draft",), condition=Q(stage__in=LEAVING), name="submission_one_leaving_per_draft"
            ),
            models.UniqueConstraint(fields=("connection", "message_id"), name="submission_one_per_message_id"),
            models.UniqueConstraint(
                fields=("connection", "idempotency_key"),
                condition=~Q(idempotency_key=""),
                name="submission_one_per_idempotency_key",
            ),
        )
        indexes = (
            models.Index(fields=("connection", "-created_at", "-id"), name="submission_recent"),
            models.Index(
                fields=("next_attempt_at",), condition=Q(next_attempt_at__isnull=False), name="submission_due"
            ),
            models.Index(fields=("lease_until",), condition=Q(lease_until__isnull=False), name="submission_leases"),
        )


class Bounce(models.Model):
    """What a delivery report said of one recipient of a sent mail."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    submission = models.ForeignKey(Submission, on_delete=models.CASCADE, related_name="bounces", db_index=False)
    message = models.ForeignKey("email_sync.Message", null=True, on_delete=models.SET_NULL, related_name="+")
    """The report."""
    recipient = models.TextField()
    status = models.CharField(max_length=20, blank=True, default="")
    """RFC 3463: "5.1.1"; "" where the report names none."""
    diagnostic = models.TextField(blank=True, default="")
    """The refusing server's words."""
    at = models.DateTimeField()
    """When the report came."""

    class Meta:
        ordering = ("at", "id")
        constraints = (models.UniqueConstraint(fields=("submission", "recipient"), name="bounce_one_per_recipient"),)
