"""Connections of users to providers and the work that syncs them.

`Connection` is a user's account at a provider; `OAuthState` one consent flow under way; `SyncState` where one kind of
sync of a connection stands; `SyncCursor` how far one stream of it is; `SyncRun` one piece of sync work; `Event` what
happened, for those who follow; `Delivery` one event on its way to an integration.
A mailbox belongs to its user: every lookup goes through `Connection.objects.of(...)`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Self

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone

from core.crypto import SealedJSONField
from core.holder import MAX_NAME
from core.ids import uuid7
from core.work import ACTIVE, WorkQuerySet, WorkRow
from integrations.models.check import IntegrationCheck as IntegrationCheck
from integrations.models.contact_sync import ContactSync as ContactSync
from integrations.models.delivery import Delivery as Delivery
from integrations.models.delivery import DeliveryAttempt as DeliveryAttempt
from integrations.models.delivery import Subscription as Subscription
from integrations.models.event import WRITING_TRANSACTION as WRITING_TRANSACTION
from integrations.models.event import Event as Event
from integrations.models.event import EventType as EventType
from integrations.models.integration import Health as Health
from integrations.models.integration import Integration as Integration
from integrations.models.notice import Notice as Notice
from integrations.models.purge import Purge as Purge
from integrations.models.quota import QuotaBudget as QuotaBudget
from integrations.models.quota import QuotaSlot as QuotaSlot
from workspaces.scoping import fetch

if TYPE_CHECKING:
    from workspaces.models import User, Workspace


class ConnectionStatus(models.TextChoices):
    """What a connection's user is told. PAUSED is the user's own wish and hides nothing worse."""

    ACTIVE = "active"
    NEEDS_REAUTH = "needs_reauth"
    ERROR = "error"
    PAUSED = "paused"
    DISCONNECTED = "disconnected"


class Visibility(models.TextChoices):
    """What colleagues see of this connection's mail and events on an entity's timeline."""

    PRIVATE = "private"
    METADATA = "metadata"
    FULL = "full"


class ConnectionQuerySet(models.QuerySet["Connection"]):
    """Set rules: whose, and which still sync."""

    def of(self, *, user: User, workspace: Workspace) -> Self:
        """Connections of this user in this workspace, disconnected ones too (their mail stays readable); not those
        that are being purged."""
        return self.filter(user=user, workspace=workspace, purging_at__isnull=True)

    def seen_by(self, *, user: User, workspace: Workspace) -> Self:
        """Their own and those of colleagues who share theirs (`visibility`). What was shared stays so when the account
        is disconnected or its user leaves, until it is purged: a customer's history does not end with either."""
        shared = Q(visibility__in=(Visibility.METADATA, Visibility.FULL))
        return self.filter(Q(user=user) | shared, workspace=workspace, purging_at__isnull=True)

    def connected(self) -> Self:
        return self.filter(disconnected_at__isnull=True)

    def syncing(self) -> Self:
        """Those a schedule may touch: connected, not paused, grant not dead, and their user still a member."""
        member = self.filter(user__is_active=True, user__memberships__workspace=F("workspace"))
        return member.connected().filter(paused=False, needs_reauth=False)

    def find(self, connection_id: object) -> Connection:
        """One by id; NotFound for a foreign, malformed or missing id alike."""
        return fetch(self, pk=connection_id)


class Connection(models.Model):
    """A user's account at a provider. The id and rows survive a reconnect of the same account."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace = models.ForeignKey("workspaces.Workspace", on_delete=models.CASCADE, related_name="connections")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="connections")
    provider = models.CharField(max_length=40)
    account_id = models.CharField(max_length=255)
    """The provider's own id of the account (`sub`, Graph id); it stays when the address changes."""
    account_email = models.EmailField(max_length=320)
    display_name = models.CharField(max_length=255, blank=True, default="")
    scopes = ArrayField(models.TextField(), default=list, blank=True)
    """What was granted, which may be less than was asked (partial consent)."""
    options = models.JSONField(default=dict, blank=True)
    """What a provider needs and is no secret: hosts, ports, user names."""
    credentials = SealedJSONField(null=True, blank=True)
    """OAuth tokens or passwords. None after a disconnect."""
    token_expires_at = models.DateTimeField(null=True, blank=True)
    refresh_lease_until = models.DateTimeField(null=True, blank=True)
    refresh_fence = models.PositiveBigIntegerField(default=0)
    visibility = models.CharField(max_length=10, choices=Visibility.choices, default=Visibility.PRIVATE)
    paused = models.BooleanField(default=False)
    sync_email = models.BooleanField(default=True)
    sync_calendar = models.BooleanField(default=True)
    needs_reauth = models.BooleanField(default=False)
    last_error_code = models.CharField(max_length=64, blank=True, default="")
    last_error_message = models.TextField(blank=True, default="")
    last_error_at = models.DateTimeField(null=True, blank=True)
    """The three are set together and cleared together by the next success."""
    last_synced_at = models.DateTimeField(null=True, blank=True)
    disconnected_at = models.DateTimeField(null=True, blank=True)
    purging_at = models.DateTimeField(null=True, blank=True)
    """Its user wished all of it deleted: hidden from then on, gone when the work is done (`Purge`)."""
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    objects = ConnectionQuerySet.as_manager()

    class Meta:
        ordering = ("created_at", "id")
        constraints = (
            models.UniqueConstraint(
                fields=("workspace", "user", "provider", "account_id"), name="connection_one_per_account"
            ),
            models.CheckConstraint(
                condition=Q(disconnected_at__isnull=True) | Q(credentials__isnull=True),
                name="connection_disconnected_holds_no_secret",
            ),
        )

    def __str__(self) -> str:
        return f"{self.account_email} ({self.provider})"

    @property
    def status(self) -> str:
        """The worst thing first; PAUSED only where nothing is wrong with the grant."""
        if self.disconnected_at is not None:
            return ConnectionStatus.DISCONNECTED
        if self.needs_reauth:
            return ConnectionStatus.NEEDS_REAUTH
        if self.paused:
            return ConnectionStatus.PAUSED
        return ConnectionStatus.ERROR if self.last_error_code else ConnectionStatus.ACTIVE

    def note_error(self, *, code: str, message: str, needs_reauth: bool = False) -> bool:
        """Show what went wrong, in the provider's own words. True where the grant is dead only since now; whoever comes
        upon one that is dead knows no more than that, and the words of the first stay."""
        columns: dict[str, object] = {
            "last_error_code": code,
            "last_error_message": message,
            "last_error_at": timezone.now(),
        }
        first = needs_reauth and self._set({"needs_reauth": True}, needs_reauth=False)
        if first or not needs_reauth:
            self._set(columns)
        return first

    def note_success(self) -> bool:
        """The error this object was read with is over. True where there was one. One that another sync noted since then
        stays: this success says nothing about it."""
        wrong = bool(self.last_error_code) or self.needs_reauth
        cleared: dict[str, object] = {
            "last_error_code": "",
            "last_error_message": "",
            "last_error_at": None,
            "needs_reauth": False,
        }
        read = {"last_error_at": self.last_error_at, "needs_reauth": self.needs_reauth}
        return wrong and self._set(cleared, **read)

    def _set(self, columns: dict[str, object], **only: object) -> bool:
        """Write these columns where the row is as `only` says; whether it was."""
        written = type(self).objects.filter(pk=self.pk, **only).update(**columns)
        for name, value in columns.items() if written else ():
            setattr(self, name, value)
        return bool(written)


class OAuthState(models.Model):
    """One consent flow under way: single use, ten minutes, found only by the hash of its state (reference A1)."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace = models.ForeignKey("workspaces.Workspace", on_delete=models.CASCADE, related_name="+")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    provider = models.CharField(max_length=40)
    state_digest = models.CharField(max_length=64, unique=True)
    """SHA-256 of the state parameter, hexadecimal."""
    browser_digest = models.CharField(max_length=64, blank=True, default="")
    """SHA-256 of the cookie the browser got where a browser began the flow; "" where a client asked for JSON."""
    session = SealedJSONField()
    """State and PKCE verifier for social-core."""
    return_to = models.CharField(max_length=2000, blank=True, default="")
    wanted_scopes = ArrayField(models.TextField(), default=list)
    connection = models.ForeignKey(Connection, null=True, on_delete=models.CASCADE, related_name="+")
    """The connection this flow is to re-authorise; signing in as another account is then refused."""
    expires_at = models.DateTimeField()
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        indexes = (models.Index(fields=("expires_at",), name="oauthstate_expiry"),)


class SyncState(models.Model):
    """Where one kind of sync ("email", "calendar") of a connection stands."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="sync_states")
    type = models.CharField(max_length=20)
    next_sync_at = models.DateTimeField(db_default=Now())
    last_synced_at = models.DateTimeField(null=True, blank=True)
    failures = models.PositiveIntegerField(default=0)
    """Failed runs since the last success; the schedule backs off by it."""
    coverage_remote = models.PositiveIntegerField(null=True, blank=True)
    coverage_stored = models.PositiveIntegerField(null=True, blank=True)
    coverage_missing = models.PositiveIntegerField(null=True, blank=True)
    coverage_checked_at = models.DateTimeField(null=True, blank=True)
    """When the last comparison with the provider ended; the figures are its (`CoverageCheck`)."""
    next_check_at = models.DateTimeField(null=True, blank=True)
    """When the next comparison is due; None: as soon as the first sync is through."""

    class Meta:
        constraints = (models.UniqueConstraint(fields=("connection", "type"), name="syncstate_one_per_type"),)
        indexes = (models.Index(fields=("next_sync_at",), name="syncstate_due"),)


class SyncCursor(models.Model):
    """How far one stream (a mailbox, a folder, a calendar) is. Committed together with the rows it stands for."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="cursors")
    type = models.CharField(max_length=20)
    stream = models.CharField(max_length=500)
    name = models.CharField(max_length=500, blank=True, default="")
    """What people call it; "" where it is the whole account."""
    cursor = models.TextField(blank=True, default="")
    """"" until the first listing began, or after the provider lost it (then `reconcile` is set)."""
    backfill_token = models.TextField(blank=True, default="")
    backfill_done = models.BooleanField(default=False)
    reconcile = models.BooleanField(default=False)
    """The provider no longer knows the cursor: compare everything, fetch what is missing, remove what is gone."""
    listed = models.PositiveIntegerField(default=0)
    total = models.PositiveIntegerField(null=True, blank=True)
    held_reason = models.TextField(blank=True, default="")
    """Not empty where a pass would have removed more than the set share: it stops and asks."""
    last_error = models.TextField(blank=True, default="")
    """Why this part does not sync, in the provider's words; "" while it does."""
    last_error_at = models.DateTimeField(null=True, blank=True)
    resyncs = models.PositiveSmallIntegerField(default=0)
    """How often its cursor was lost since `resyncs_since`, at most a day ago (reference R10)."""
    resyncs_since = models.DateTimeField(null=True, blank=True)
    known_brought = models.BooleanField(default=False)
    """What it has of people the workspace knows was brought ahead of the rest."""
    checked_at = models.DateTimeField(null=True, blank=True)
    """When it was last compared with the provider."""
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("connection", "type", "stream"), name="synccursor_one_per_stream"),
        )


class CoverageCheck(models.Model):
    """One comparison of a kind of sync with the provider, and what it mended. Kept as history (`services.keeping`)."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="coverage_checks", db_index=False)
    type = models.CharField(max_length=20)
    began_at = models.DateTimeField(db_default=Now())
    ended_at = models.DateTimeField(null=True, blank=True)
    """None while it is under way: a check goes on where a slice or a worker ended."""
    remote = models.PositiveIntegerField(default=0)
    stored = models.PositiveIntegerField(default=0)
    excluded = models.PositiveIntegerField(default=0)
    """Left out by the user's own wish."""
    missing = models.PositiveIntegerField(default=0)
    """Still missing after the repair."""
    fetched = models.PositiveIntegerField(default=0)
    moved = models.PositiveIntegerField(default=0)
    """Stored, and found somewhere else than it was believed to be."""
    removed = models.PositiveIntegerField(default=0)
    recounted = models.PositiveIntegerField(default=0)
    """Counters of folders and threads that were wrong."""

    class Meta:
        ordering = ("-began_at", "-id")
        constraints = (
            models.UniqueConstraint(
                fields=("connection", "type"), condition=Q(ended_at__isnull=True), name="coveragecheck_one_under_way"
            ),
        )
        indexes = (models.Index(fields=("connection", "type", "-began_at"), name="coveragecheck_history"),)


BY_ITSELF = ("schedule", "push")
"""Triggers of runs that nobody asked for by hand."""
QUIET = Q(status="done", trigger__in=BY_ITSELF, added=0, changed=0, removed=0)
"""Runs that found nothing, of those."""


class SyncRunQuerySet(WorkQuerySet):
    """Set rules of runs."""

    def active(self) -> Self:
        return self.filter(status__in=ACTIVE)

    def quiet(self) -> Self:
        return self.filter(QUIET)


class SyncRun(WorkRow):
    """One piece of sync work of a connection. At most one of a type is under way. Kept as history as long as
    `services.keeping` says."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="runs")
    type = models.CharField(max_length=20)
    trigger = models.CharField(max_length=20, default="schedule")
    """"schedule", "user", "connect", "change", "push", "accept"."""
    done = models.PositiveIntegerField(default=0)
    total = models.PositiveIntegerField(null=True, blank=True)
    done_before = models.PositiveIntegerField(null=True, blank=True)
    """What was done when it began: earlier runs' work says nothing about its pace."""
    added = models.PositiveIntegerField(default=0)
    changed = models.PositiveIntegerField(default=0)
    removed = models.PositiveIntegerField(default=0)
    holder = models.CharField(max_length=MAX_NAME, blank=True, default="")
    """The process that works on it (`core.holder`), so that a dead one is noticed before its lease runs out."""
    rung_at = models.DateTimeField(null=True, blank=True)
    """When a wake-up was last sent: the tick does not ring a busy broker again and again."""
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    objects = SyncRunQuerySet.as_manager()  # type: ignore[misc]  # more than WorkRow's

    class Meta:
        ordering = ("-created_at", "-id")
        constraints = (
            models.UniqueConstraint(
                fields=("connection", "type"), condition=Q(status__in=ACTIVE), name="syncrun_one_active"
            ),
        )
        indexes = (
            models.Index(fields=("next_attempt_at",), condition=Q(status="queued"), name="syncrun_due"),
            models.Index(fields=("lease_until",), condition=Q(status="running"), name="syncrun_leases"),
            models.Index(fields=("connection", "type", "-created_at"), name="syncrun_history"),
            models.Index(fields=("id",), condition=QUIET, name="syncrun_quiet"),
        )

    def __str__(self) -> str:
        return f"{self.type}, {self.created_at:%Y-%m-%d %H:%M}"

    def eta_seconds(self) -> int | None:
        """An honest time left: from this run's own pace, its waits included; None before there is one."""
        own = self.done - (self.done_before or 0)
        if not self.total or own <= 0 or self.started_at is None or self.done >= self.total:
            return None
        elapsed: timedelta = timezone.now() - self.started_at
        return round(elapsed.total_seconds() * (self.total - self.done) / own)
