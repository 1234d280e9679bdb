"""A workspace's mail that has not left yet, or that nobody is sure of."""

from __future__ import annotations

from typing import Self

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from core.crypto import SealedJSONField
from core.holder import MAX_NAME
from core.work import WorkQuerySet, WorkRow, WorkStatus


class OutgoingEmailQuerySet(WorkQuerySet):
    """Set rules: what waits."""

    def waiting(self) -> Self:
        """Not settled."""
        return self.filter(status__in=(WorkStatus.QUEUED, WorkStatus.RUNNING))


class OutgoingEmail(WorkRow):
    """The work behind an entry: what it says, sealed, until it is settled; then only its key stays for a day.

    The idempotency key that providers see is made of the entry's id and never changes."""

    entry_id = models.UUIDField(primary_key=True)
    workspace = models.ForeignKey("workspaces.Workspace", on_delete=models.CASCADE, related_name="+", db_index=False)
    table = models.ForeignKey(
        "email_logs.EmailLogTable", on_delete=models.CASCADE, related_name="outgoing", db_index=False
    )
    mail = SealedJSONField(null=True, blank=True)
    """What is sent, frozen (`services.letters`). None once it is settled."""
    request_key = models.CharField(max_length=255, blank=True, default="")
    """The caller's `Idempotency-Key`: the same request again meets this row and sends nothing again."""
    fingerprint = models.CharField(max_length=64, blank=True, default="")
    """Of what was asked under that key: another request under it is refused."""
    holder = models.CharField(max_length=MAX_NAME, blank=True, default="")
    """The process that sends it (`core.holder`)."""
    calling = models.BooleanField(default=False)
    """Set just before the provider is called. A lease that ran out with it: perhaps taken."""
    called_at = models.DateTimeField(null=True, blank=True)
    """When the provider was first called without surely refusing: it may have the mail since, and keys of providers
    last for a day from then. None: nobody has it."""
    tried = ArrayField(models.UUIDField(), default=list)
    """Integrations that surely did not take it: a fallback goes on to another one."""
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    objects = OutgoingEmailQuerySet.as_manager()  # type: ignore[misc]  # more than WorkRow's

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("workspace", "request_key"), condition=~Q(request_key=""), name="outgoingemail_one_per_key"
            ),
        )
        indexes = (
            models.Index(fields=("table", "next_attempt_at"), condition=Q(status="queued"), name="outgoingemail_due"),
            models.Index(fields=("lease_until",), condition=Q(status="running"), name="outgoingemail_leases"),
            models.Index(fields=("finished_at",), condition=Q(status__in=("done", "failed")), name="outgoingemail_old"),
        )

    def __str__(self) -> str:
        return f"Mail of {self.created_at:%Y-%m-%d %H:%M}"
