"""What a user wants of a mailbox, what that keeps out, and the work of a change of mind."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from core.ids import uuid7
from core.work import ACTIVE, WorkRow
from email_sync import scope
from integrations.models import Connection


class FolderRule(models.TextChoices):
    """How `folder_ids` is read."""

    ALL = scope.ALL
    INCLUDE = scope.INCLUDE, "only these"
    EXCLUDE = scope.EXCLUDE, "all but these"


class MailScope(models.Model):
    """The wish for one mailbox. No row: everything, as far back as the operator lets a first sync go."""

    connection = models.OneToOneField(Connection, primary_key=True, on_delete=models.CASCADE, related_name="mail_scope")
    folder_rule = models.CharField(max_length=10, choices=FolderRule.choices, default=FolderRule.ALL)
    folder_ids = ArrayField(models.CharField(max_length=500), default=list)
    """Remote ids of folders or labels."""
    days = models.PositiveIntegerField(null=True)
    """How far back from the day it was set; 0 is everything, None the operator's MAIL_BACKFILL_DAYS."""
    since = models.DateTimeField(null=True)
    """What `days` came to when it was set."""
    blocked = ArrayField(models.TextField(), default=list)
    """Addresses and domains in their compared form."""
    metadata_only = models.BooleanField(default=False)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = (
            models.CheckConstraint(condition=Q(folder_rule__in=FolderRule.values), name="mailscope_rule_known"),
            models.CheckConstraint(
                condition=Q(days__isnull=True, since__isnull=True)
                | Q(days=0, since__isnull=True)
                | Q(days__gt=0, since__isnull=False),
                name="mailscope_days_and_since_agree",
            ),
        )


class ExcludedReason(models.TextChoices):
    """The rule that keeps a mail out."""

    FOLDER = scope.FOLDER, "in a folder that is not synced"
    AGE = scope.AGE, "older than is synced"
    BLOCKED = scope.BLOCKED, "from or to somebody blocked"


class Excluded(models.Model):
    """A mail that the provider has and that is not stored because its user does not want it here. Syncs count it as
    known, so that it is not fetched again and again. Nothing of its content is kept."""

    id = models.BigAutoField(primary_key=True)
    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="excluded_mail", db_index=False)
    remote_id = models.TextField()
    stream = models.CharField(max_length=500)
    reason = models.CharField(max_length=10, choices=ExcludedReason.choices)
    rule = models.TextField(blank=True, default="")
    """The entry of the user's list that did it."""
    key = models.UUIDField(null=True)
    """Digest of the Message-ID (`threading.message_id_key`), so that a trace can say why it is not here."""
    received_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("connection", "remote_id"), name="excluded_one_per_remote_id"),)
        indexes = (
            models.Index(fields=("connection", "key"), condition=Q(key__isnull=False), name="excluded_message_id"),
        )


class ScopeChange(WorkRow):
    """The work after a scope was saved: what is stored is looked at again, in the order of remote ids."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="scope_changes")
    position = models.TextField(blank=True, default="")
    """Remote id of the last message looked at."""
    total = models.PositiveIntegerField(default=0)
    done = models.PositiveIntegerField(default=0)
    removed = models.PositiveIntegerField(default=0)
    reduced = models.PositiveIntegerField(default=0)
    """Messages of which only the metadata is left."""
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("connection",), condition=Q(status__in=ACTIVE), name="scopechange_one_active"
            ),
        )
        indexes = (
            models.Index(fields=("next_attempt_at",), condition=Q(status="queued"), name="scopechange_due"),
            models.Index(fields=("lease_until",), condition=Q(status="running"), name="scopechange_leases"),
        )
