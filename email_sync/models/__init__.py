"""The mail model: messages of a connection, where they are, their threads, and what is on its way out.

Identity is (connection, remote id); Message-ID is a hint. Folder membership is a set of roles as columns, so that each
folder's page is one partial index, newest first. `FolderCounter` is kept by a trigger (migration 0002): whoever writes
a message, the counters follow in the same transaction. A mailbox belongs to its user: lookups go through `of`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex, HashIndex
from django.contrib.postgres.search import SearchVectorField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from core.ids import uuid7
from email_sync.models import any_of
from email_sync.models.links import LinkKind as LinkKind
from email_sync.models.links import ThreadLink as ThreadLink
from email_sync.models.links import ThreadParticipant as ThreadParticipant
from email_sync.models.push import PushChannel as PushChannel
from email_sync.models.push import PushStatus as PushStatus
from email_sync.models.scope import Excluded as Excluded
from email_sync.models.scope import ExcludedReason as ExcludedReason
from email_sync.models.scope import FolderRule as FolderRule
from email_sync.models.scope import MailScope as MailScope
from email_sync.models.scope import ScopeChange as ScopeChange
from email_sync.models.transfers import ImportedSource as ImportedSource
from email_sync.models.transfers import MailTransfer as MailTransfer
from email_sync.models.transfers import TransferChunk as TransferChunk
from email_sync.models.transfers import TransferKind as TransferKind
from email_sync.models.unfetched import Unfetched as Unfetched
from email_sync.records import ROLES
from integrations.models import Connection
from workspaces.scoping import fetch

if TYPE_CHECKING:
    from workspaces.models import User, Workspace

any_of.register()

LIVE = Q(removed_at__isnull=True, in_trash=False, in_spam=False)
"""What `all` shows: everything but trash, spam and what the provider no longer has."""
SHOWN = LIVE & Q(in_drafts=False)
"""What timelines of entities show: mail that was sent or received."""

FOLDERS: dict[str, Q] = {
    **{role: Q(**{f"in_{role}": True}) for role in ROLES},
    "starred": LIVE & Q(is_starred=True),
    "all": LIVE,
}
"""The folders of the API. Each has a partial index below; the planner matches on exactly these conditions."""


def _page_index(name: str, condition: Q) -> models.Index:
    return models.Index(fields=("connection", "-received_at", "-id"), condition=condition, name=name)


class Folder(models.Model):
    """A folder or label at the provider."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="mail_folders", db_index=False)
    remote_id = models.CharField(max_length=500)
    name = models.CharField(max_length=500)
    role = models.CharField(max_length=10, blank=True, default="")

    class Meta:
        constraints = (models.UniqueConstraint(fields=("connection", "remote_id"), name="folder_one_per_remote_id"),)


class FolderCounter(models.Model):
    """How many messages a folder of the API holds, and how many of them are unread. Written by the trigger only."""

    id = models.BigAutoField(primary_key=True)
    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="+", db_index=False)
    role = models.CharField(max_length=10)
    total = models.IntegerField(default=0)
    unread = models.IntegerField(default=0)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("connection", "role"), name="foldercounter_one_per_role"),)


class Thread(models.Model):
    """A conversation within one mailbox. Figures are kept by the writer."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="threads", db_index=False)
    remote_id = models.CharField(max_length=255, blank=True, default="")
    """The provider's thread id; "" where the header graph made the thread."""
    subject = models.TextField(blank=True, default="")
    message_count = models.PositiveIntegerField(default=0)
    unread_count = models.PositiveIntegerField(default=0)
    last_message_at = models.DateTimeField(null=True, blank=True)
    shown_count = models.PositiveIntegerField(default=0, db_default=0)
    """Messages that timelines of entities show: no drafts, no trash, no spam."""
    shown_at = models.DateTimeField(null=True, blank=True)
    """When the newest of them was received; None where there is none."""
    merged_into = models.ForeignKey("self", null=True, blank=True, on_delete=models.CASCADE, related_name="+")
    """A late parent joined two threads: the younger one points to the older, so its id still answers."""

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("connection", "remote_id"), condition=~Q(remote_id=""), name="thread_one_per_remote_id"
            ),
        )
        indexes = (models.Index(fields=("connection", "-last_message_at", "-id"), name="thread_recent"),)


class ThreadKey(models.Model):
    """Which thread a Message-ID belongs to, seen or only referred to: late parents find their children by it."""

    id = models.BigAutoField(primary_key=True)
    connection = models.ForeignKey(
        Connection, on_delete=models.CASCADE, related_name="+", db_index=False, db_constraint=False
    )
    """The thread's, whose own foreign key holds it: a check for each key of each mail would be the fourth."""
    key = models.UUIDField()
    """Digest of the Message-ID: ids of several kilobytes exist."""
    thread = models.ForeignKey(Thread, on_delete=models.CASCADE, related_name="keys")

    class Meta:
        constraints = (models.UniqueConstraint(fields=("connection", "key"), name="threadkey_one_per_key"),)


class MessageQuerySet(models.QuerySet["Message"]):
    """Set rules: whose, and which the provider still has."""

    def of(self, *, user: User, workspace: Workspace) -> Self:
        """The caller's own mail; nobody else's, whatever their role."""
        return self.filter(connection__user=user, connection__workspace=workspace, connection__purging_at__isnull=True)

    def present(self) -> Self:
        return self.filter(removed_at__isnull=True)

    def shown(self) -> Self:
        """What timelines of entities show."""
        return self.filter(SHOWN)

    def find(self, message_id: object) -> Message:
        """One by id; NotFound for a foreign, malformed or missing id alike."""
        return fetch(self, pk=message_id)


class Message(models.Model):
    """One message of one mailbox, as lists show it. Its body is in `MessageBody`."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    connection = models.ForeignKey(
        Connection, on_delete=models.CASCADE, related_name="messages", db_index=False, db_constraint=False
    )
    """The thread's, whose own foreign key holds it."""
    thread = models.ForeignKey(Thread, on_delete=models.CASCADE, related_name="messages", db_index=False)
    remote_id = models.TextField()
    stream = models.CharField(max_length=500)
    content_key = models.CharField(max_length=64, blank=True, default="")
    folder_ids = ArrayField(models.CharField(max_length=500), default=list)
    """Remote ids of its folders or labels."""
    in_inbox = models.BooleanField(default=False)
    in_sent = models.BooleanField(default=False)
    in_archive = models.BooleanField(default=False)
    in_drafts = models.BooleanField(default=False)
    in_trash = models.BooleanField(default=False)
    in_spam = models.BooleanField(default=False)
    """All six are false for a removed message."""
    is_read = models.BooleanField(default=False)
    is_starred = models.BooleanField(default=False)
    message_id = models.TextField(blank=True, default="")
    """The Message-ID header without angle brackets."""
    fingerprint = models.UUIDField(null=True, blank=True)
    """The same in every mailbox that holds a copy (`fingerprints`); None without a Message-ID."""
    subject = models.TextField(blank=True, default="")
    from_name = models.TextField(blank=True, default="")
    from_email = models.TextField(blank=True, default="")
    recipients = models.JSONField(default=dict)
    """{"to": [[name, email], …], "cc": …, "bcc": …}"""
    snippet = models.TextField(blank=True, default="")
    sent_at = models.DateTimeField(null=True, blank=True)
    """The Date header: what the sender claims."""
    received_at = models.DateTimeField()
    """When the provider got it: what lists sort by."""
    size = models.PositiveBigIntegerField(default=0)
    has_attachments = models.BooleanField(default=False)
    defect = models.TextField(blank=True, default="")
    """Not empty where the message could not be read whole: one sentence why."""
    body_withheld = models.BooleanField(default=False, db_default=False)
    """Its user keeps only metadata of this mailbox: no text, no headers but a few, attachments without names."""
    removed_at = models.DateTimeField(null=True, blank=True)
    removed_cause = models.CharField(max_length=20, blank=True, default="")
    """"deleted" (the provider said so) or "absent" (missing from a complete listing)."""
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    objects = MessageQuerySet.as_manager()

    class Meta:
        constraints = (models.UniqueConstraint(fields=("connection", "remote_id"), name="message_one_per_remote_id"),)
        indexes = (
            *(_page_index(f"message_{role}", condition) for role, condition in FOLDERS.items()),
            _page_index("message_inbox_unread", Q(in_inbox=True, is_read=False)),
            models.Index(fields=("thread", "received_at", "id"), name="message_thread"),
            models.Index(fields=("connection", "content_key"), condition=~Q(content_key=""), name="message_content"),
            models.Index(fields=("connection", "stream"), name="message_stream"),
            models.Index(fields=("connection", "id"), condition=Q(body_withheld=True), name="message_withheld"),
            HashIndex(fields=("message_id",), condition=~Q(message_id=""), name="message_message_id"),
            models.Index(
                fields=("fingerprint", "connection"),
                include=("thread",),
                condition=Q(fingerprint__isnull=False),
                name="message_fingerprint",
            ),
            models.Index(fields=("removed_at",), condition=Q(removed_at__isnull=False), name="message_removed"),
        )

    def __str__(self) -> str:
        return f"message {self.pk}"

    @property
    def folders(self) -> list[str]:
        """The roles it is in, in their fixed order."""
        return [role for role in ROLES if getattr(self, f"in_{role}")]


class Unindexed(models.Model):
    """A message that no search finds yet: a first sync shows mail first and indexes it after. Written with the message
    and deleted in the transaction that writes its search row, so that a kill loses neither. Whoever changes the text of
    stored messages locks their rows here first (`services.restoring`); a deletion does, because Django deletes in the
    order in which models are declared, and this one stands before what is indexed."""

    message = models.OneToOneField(Message, primary_key=True, on_delete=models.CASCADE, related_name="+")
    connection = models.ForeignKey(
        Connection, on_delete=models.CASCADE, related_name="+", db_index=False, db_constraint=False
    )

    class Meta:
        indexes = (models.Index(fields=("connection", "message"), name="unindexed_of_connection"),)


class MessageBody(models.Model):
    """What only a message's own page shows."""

    message = models.OneToOneField(Message, primary_key=True, on_delete=models.CASCADE, related_name="body")
    text = models.TextField(blank=True, default="")
    html = models.TextField(blank=True, default="")
    """As received: sanitised on every read, so that a stricter list covers old mail."""
    headers = models.JSONField(default=list)
    """[[name, value], …] in order."""
    in_reply_to = ArrayField(models.TextField(), default=list)
    references = ArrayField(models.TextField(), default=list)
    reply_to = models.JSONField(default=list)


class Attachment(models.Model):
    """A part of a message; its bytes are fetched from the provider when asked for."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="attachments", db_index=False)
    part_id = models.CharField(max_length=200)
    file_name = models.TextField(blank=True, default="")
    content_type = models.CharField(max_length=255)
    size = models.PositiveBigIntegerField(default=0)
    inline = models.BooleanField(default=False)
    content_id = models.TextField(blank=True, default="")
    calendar = models.JSONField(null=True)
    """`records.CalendarSummary` as an object where the part is a calendar."""

    class Meta:
        ordering = ("id",)
        constraints = (models.UniqueConstraint(fields=("message", "part_id"), name="attachment_one_per_part"),)


class MessageSearch(models.Model):
    """The search index of a message. Its GIN index holds the mailbox's months and years beside the words, so that
    neighbours and old mail cost nothing (`periods`, docs/adr/0011). Nothing but the writer's word comes from here:
    whether a message is in a folder, or whose it is, is asked of the message."""

    message = models.OneToOneField(Message, primary_key=True, on_delete=models.CASCADE, related_name="search")
    received_at = models.DateTimeField()
    """As the message has it."""
    periods = ArrayField(models.BigIntegerField())
    """`periods.keys` of the mailbox and `received_at`."""
    words = SearchVectorField()
    """Of all of it, without places, and those outside the body once more (`search.document`)."""
    text = models.TextField()
    """Folded, for what the words alone do not say: which of them stand side by side (docs/adr/0046)."""

    class Meta:
        indexes = (GinIndex(fields=("periods", "words"), name="messagesearch_periods"),)


class ChangeKind(models.TextChoices):
    """What a user may change on a message."""

    READ = "read"
    STARRED = "starred"
    ARCHIVED = "archived"


class ChangeStatus(models.TextChoices):
    """PENDING until the provider has it; FAILED where it refused, with its words."""

    PENDING = "pending"
    DONE = "done"
    FAILED = "failed"


class LocalChange(models.Model):
    """A change made here that the provider has not got yet. Ordered by id within a connection, one pending per message
    and kind: a second click changes the value, not the queue."""

    id = models.BigAutoField(primary_key=True)
    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="local_changes")
    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="local_changes")
    kind = models.CharField(max_length=10, choices=ChangeKind.choices)
    value = models.BooleanField()
    version = models.PositiveIntegerField(default=1)
    """Raised by every click: a push that was under way settles only the version it carried."""
    status = models.CharField(max_length=10, choices=ChangeStatus.choices, default=ChangeStatus.PENDING)
    attempts = models.PositiveIntegerField(default=0)
    error_message = models.TextField(blank=True, default="")
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    settled_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("message", "kind"), condition=Q(status="pending"), name="localchange_one_pending"
            ),
        )
        indexes = (models.Index(fields=("connection", "id"), condition=Q(status="pending"), name="localchange_queue"),)


from email_sync.models.outgoing import (  # noqa: E402, F401 - they refer to the models above
    Alias,
    Bounce,
    Draft,
    DraftFile,
    Submission,
    SubmissionStage,
)
