"""The document model: what is known of each file, who looks at an upload, how much a workspace stores, which objects
are still to go, and which files are on their way to a vendor or from one.

Rows are the truth about objects: an object that no row names is an orphan and goes (`services.reaping`). A document's
`key` is set by the transaction that makes it ready and never changes again. Every lookup starts from `in_workspace`.
"""

from __future__ import annotations

from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from core import holder
from core.ids import uuid7
from core.work import WorkRow
from entities.models import EntityReference
from workspaces.scoping import WorkspaceQuerySet

MAX_NAME = 255
MAX_CONTENT_TYPE = 255
MAX_KEY = 200


class DocumentStatus(models.TextChoices):
    """pending ⇄ checking → ready ⇄ archived; checking → rejected. Nothing leads back from rejected."""

    PENDING = "pending"
    CHECKING = "checking"
    READY = "ready"
    ARCHIVED = "archived"
    REJECTED = "rejected"


STORED = (DocumentStatus.READY, DocumentStatus.ARCHIVED)
"""Those whose bytes are there."""


class DocumentQuerySet(WorkspaceQuerySet["Document"]):
    """Set rules."""

    def of_entity(self, *, entity_type: str, entity_id: str) -> Self:
        """Linked to this one."""
        return self.filter(entity_type=entity_type, entity_id=entity_id)


class Document(EntityReference):
    """A file of a workspace. The database has one column more, `words`, by which it is found (migration 0001)."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    """Time-ordered: the newest first is by id, descending."""
    workspace = models.ForeignKey("workspaces.Workspace", on_delete=models.CASCADE, related_name="+", db_index=False)
    file_name = models.CharField(max_length=MAX_NAME)
    content_type = models.CharField(max_length=MAX_CONTENT_TYPE)
    """As the uploader claims; confirming holds it against the content."""
    sniffed_type = models.CharField(max_length=MAX_CONTENT_TYPE, blank=True, default="")
    """What the content looks like; "" before it was looked at, and where it looks like nothing known."""
    size = models.BigIntegerField(null=True, blank=True)
    """In bytes: claimed, then found. None: not known yet."""
    sha256 = models.CharField(max_length=64, blank=True, default="")
    status = models.CharField(max_length=10, choices=DocumentStatus.choices, default=DocumentStatus.PENDING)
    reason = models.CharField(max_length=40, blank=True, default="")
    """Why it was rejected: a stable word."""
    reason_text = models.CharField(max_length=500, blank=True, default="")
    uploaded_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    origin = models.CharField(max_length=300, blank=True, default="")
    """Where a file that was brought by the product is from; an entity has one document of each. "": uploaded."""
    upload_key = models.CharField(max_length=MAX_KEY, blank=True, default="")
    """Where its client may send it; "" for a file the product made itself."""
    upload_expires_at = models.DateTimeField(null=True, blank=True)
    upload_id = models.TextField(blank=True, default="")
    """The store's name for an upload in parts; "" for one request. Not shown."""
    part_size = models.BigIntegerField(null=True, blank=True)
    """In bytes, of all parts but the last; None for one request."""
    key = models.CharField(max_length=MAX_KEY, blank=True, default="")
    """The object that was confirmed; "" before."""
    counted = models.BigIntegerField(default=0)
    """How much of the workspace's quota it takes."""
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    confirmed_at = models.DateTimeField(null=True, blank=True)
    archived_at = models.DateTimeField(null=True, blank=True)

    objects = DocumentQuerySet.as_manager()

    class Meta:
        ordering = ("-id",)
        constraints = (
            models.CheckConstraint(
                condition=Q(status__in=STORED) & ~Q(key="") & Q(size__gte=0, confirmed_at__isnull=False)
                | ~Q(status__in=STORED) & Q(key=""),
                name="document_stored_has_an_object",
            ),
            models.CheckConstraint(
                condition=Q(status=DocumentStatus.ARCHIVED, archived_at__isnull=False)
                | ~Q(status=DocumentStatus.ARCHIVED) & Q(archived_at__isnull=True),
                name="document_archived_says_when",
            ),
            models.CheckConstraint(
                condition=Q(upload_id="", part_size__isnull=True) | ~Q(upload_id="") & Q(part_size__gt=0, size__gt=0),
                name="document_in_parts_has_sizes",
            ),
            models.UniqueConstraint(
                fields=("workspace", "entity_type", "entity_id", "origin"),
                condition=~Q(origin=""),
                name="document_one_per_origin",
            ),
        )
        indexes = (
            models.Index(fields=("workspace", "id"), name="document_page"),
            models.Index(fields=("workspace", "entity_type", "entity_id", "id"), name="document_of_entity"),
            models.Index(
                fields=("workspace", "entity_type", "entity_id", "status", "id"), name="document_entity_state"
            ),
            models.Index(fields=("workspace", "status", "id"), name="document_in_state"),
            models.Index(fields=("workspace", "uploaded_by", "id"), name="document_of_uploader"),
            models.Index(fields=("workspace", "content_type", "id"), name="document_of_type"),
            models.Index(fields=("uploaded_by",), name="document_uploader"),
            models.Index(fields=("id",), condition=Q(status="pending"), name="document_pending"),
            models.Index(fields=("key",), condition=~Q(key=""), name="document_key"),
        )

    def __str__(self) -> str:
        return self.file_name


class Stage(models.TextChoices):
    """What is done with an upload just now."""

    WAITING = "waiting"
    JOINING = "joining"
    COPYING = "copying"
    READING = "reading"
    SCANNING = "scanning"


class Confirmation(WorkRow):
    """Somebody looks at an upload: at most one at a time of a document, which is `checking` as long as this is queued
    or running. It goes when the document is settled; where it ended without that, it says why until the next one
    begins."""

    document = models.OneToOneField(
        Document, primary_key=True, on_delete=models.CASCADE, related_name="confirmation", editable=False
    )
    started_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    at_once = models.BooleanField()
    """In the request that asked for it, else by a task."""
    size = models.BigIntegerField()
    """Bytes that are to be looked at, as far as is known."""
    holder = models.CharField(max_length=holder.MAX_NAME, blank=True, default="")
    """The process that is at it (`core.holder`)."""
    stage = models.CharField(max_length=10, choices=Stage.choices, default=Stage.WAITING)
    done = models.BigIntegerField(default=0)
    """Bytes of this stage."""

    class Meta:
        indexes = (
            models.Index(fields=("next_attempt_at",), condition=Q(status="queued"), name="confirmation_due"),
            models.Index(fields=("lease_until",), condition=Q(status="running"), name="confirmation_leases"),
        )


class DocumentUsage(models.Model):
    """How much a workspace stores: the sum of its documents' `counted`, kept by whoever changes one."""

    workspace = models.OneToOneField(
        "workspaces.Workspace", primary_key=True, on_delete=models.CASCADE, related_name="+"
    )
    size = models.BigIntegerField(default=0)


class Removal(models.Model):
    """An object that is to go from the store, sooner or later: written in the transaction that lets go of it, so that a
    store that is down, or a process that dies, leaves nothing behind. It outlives workspace and document."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    key = models.CharField(max_length=MAX_KEY, unique=True)
    upload_id = models.TextField(blank=True, default="")
    """An upload in parts to this key, which goes with it."""
    attempts = models.PositiveIntegerField(default=0)
    due_at = models.DateTimeField(db_default=Now())
    """Taken by setting it later; removing twice is removing once, so no lease is needed."""
    error = models.CharField(max_length=500, blank=True, default="")
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        indexes = (models.Index(fields=("due_at",), name="removal_due"),)


class DocumentCopy(WorkRow):
    """A document on its way to a workspace's file store, or a file of that on its way to being a document: one piece of
    work for each time somebody asked."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    integration = models.ForeignKey("integrations.Integration", on_delete=models.CASCADE, related_name="+")
    started_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    action = models.CharField(max_length=40)
    """Of the integration's type: it says which way."""
    given = models.JSONField(default=dict)
    """The action's checked input."""
    document = models.ForeignKey(Document, null=True, on_delete=models.SET_NULL, related_name="+")
    """What goes there; what came of the file, once it is here. None: not yet, or deleted since."""
    file_id = models.CharField(max_length=200, blank=True, default="")
    """The vendor's id for what goes there, named before the first byte leaves: by it no repetition makes a second."""
    result = models.JSONField(default=dict)
    """The file at the vendor."""
    done = models.BigIntegerField(default=0)
    """Bytes, of this attempt."""
    total = models.BigIntegerField(null=True)
    """Bytes; None: not known."""
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        indexes = (
            models.Index(fields=("next_attempt_at",), condition=Q(status="queued"), name="documentcopy_due"),
            models.Index(fields=("lease_until",), condition=Q(status="running"), name="documentcopy_leases"),
            models.Index(fields=("finished_at",), name="documentcopy_finished"),
        )

    def __str__(self) -> str:
        return f"{self.document or self.action}, {self.created_at:%Y-%m-%d %H:%M}"
