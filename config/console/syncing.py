"""The dashboard's figures of connections: how many stand where, what goes wrong, what is under way, lag and coverage.

Four statements, over the connections of the workspaces and their small rows; none over mail or events.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from django.db.models import Case, Count, Exists, F, Min, OuterRef, Q, QuerySet, Sum, Value, When
from django.utils import timezone

from config.console.scope import Scope
from integrations.models import Connection, ConnectionStatus, SyncRun, SyncState

SHOWN = 6
"""Of each list; what is behind it is a link away."""

TITLES: Mapping[str, tuple[str, str]] = {
    ConnectionStatus.ACTIVE: ("Active", "Nothing to do."),
    ConnectionStatus.NEEDS_REAUTH: ("Need sign-in", "Each one's user connects the account again."),
    ConnectionStatus.ERROR: ("With an error", "Tried again by itself; the list says why."),
    ConnectionStatus.PAUSED: ("Paused", "Resume them to go on."),
    ConnectionStatus.DISCONNECTED: ("Disconnected", "Their mail is kept; connect again to go on."),
}
"""Status → what it is called and what is to be done, in the order they are shown."""

QUERIES: Mapping[str, Mapping[str, object]] = {
    ConnectionStatus.ACTIVE: {
        "disconnected_at__isnull": True, "needs_reauth__exact": 0, "paused__exact": 0, "last_error_code__exact": "",
    },
    ConnectionStatus.NEEDS_REAUTH: {"disconnected_at__isnull": True, "needs_reauth__exact": 1},
    ConnectionStatus.ERROR: {
        "disconnected_at__isnull": True, "needs_reauth__exact": 0, "paused__exact": 0, "last_error_code__gt": "",
    },
    ConnectionStatus.PAUSED: {"disconnected_at__isnull": True, "needs_reauth__exact": 0, "paused__exact": 1},
    ConnectionStatus.DISCONNECTED: {"disconnected_at__isnull": False},
}  # fmt: skip
"""Status → the list that shows exactly these: the columns by which `Connection.status` tells."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Something that goes wrong, and how often."""

    words: str
    count: int
    code: str = ""


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of what providers have is stored, of one kind of sync; as of the last comparisons."""

    type: str
    remote: int
    stored: int
    missing: int
    checked: int
    connections: int

    @property
    def share(self) -> float:
        """In percent, rounded down: 100 means all."""
        return 100.0 if not self.remote else int(min(self.stored, self.remote) * 1000 / self.remote) / 10


@dataclass(slots=True)
class Syncing:
    """All of it."""

    counts: dict[str, int] = field(default_factory=dict)
    reasons: list[Reason] = field(default_factory=list)
    troubled: list[Connection] = field(default_factory=list)
    runs: list[SyncRun] = field(default_factory=list)
    under_way: int = 0
    lag_seconds: float = 0.0
    """How long the sync that is most overdue has waited; 0 where none is due."""
    coverage: list[Coverage] = field(default_factory=list)

    @property
    def total(self) -> int:
        """Accounts that are connected."""
        return sum(count for status, count in self.counts.items() if status != ConnectionStatus.DISCONNECTED)


def read(scope: Scope) -> Syncing:
    """As it is now."""
    found = Syncing()
    _count(found, scope)
    if found.counts.get(ConnectionStatus.NEEDS_REAUTH) or found.counts.get(ConnectionStatus.ERROR):
        rows = _wanted(scope).filter(disconnected_at__isnull=True).filter(Q(needs_reauth=True) | ~Q(last_error_code=""))
        rows = rows.defer("credentials").select_related("user")
        found.troubled = list(rows.order_by("-needs_reauth", F("last_error_at").desc(nulls_last=True), "pk")[:SHOWN])
    _under_way(found, scope)
    _standing(found, scope)
    return found


def _wanted(scope: Scope) -> QuerySet[Connection]:
    return scope.of(Connection.objects.filter(purging_at__isnull=True))


STATUS = Case(
    When(disconnected_at__isnull=False, then=Value(ConnectionStatus.DISCONNECTED.value)),
    When(needs_reauth=True, then=Value(ConnectionStatus.NEEDS_REAUTH.value)),
    When(paused=True, then=Value(ConnectionStatus.PAUSED.value)),
    When(~Q(last_error_code=""), then=Value(ConnectionStatus.ERROR.value)),
    default=Value(ConnectionStatus.ACTIVE.value),
)
"""`Connection.status` in SQL; a test holds the two together."""


def _count(found: Syncing, scope: Scope) -> None:
    rows = _wanted(scope).order_by().annotate(standing=STATUS).values_list("standing", "last_error_code")
    codes: dict[str, int] = {}
    for status, code, count, words in rows.annotate(count=Count("pk"), words=Min("last_error_message")):
        found.counts[status] = found.counts.get(status, 0) + count
        if code and status in (ConnectionStatus.NEEDS_REAUTH, ConnectionStatus.ERROR):
            codes[code] = codes.get(code, 0) + count
            found.reasons.append(Reason(words, count, code))
    merged = {reason.code: Reason(reason.words, codes[reason.code], reason.code) for reason in found.reasons}
    found.reasons = sorted(merged.values(), key=lambda reason: (-reason.count, reason.code))[:SHOWN]


def _under_way(found: Syncing, scope: Scope) -> None:
    """Those with the most left first; at most a thousand are looked at."""
    runs = scope.of(SyncRun.objects.active(), "connection__workspace").select_related("connection")
    rows = list(runs.defer("connection__credentials").order_by("-status", "-total", "pk")[:1000])
    found.under_way = len(rows)
    long = [run for run in rows if run.total and run.done < run.total]
    found.runs = sorted(long, key=lambda run: run.done - (run.total or 0))[:SHOWN]


def _standing(found: Syncing, scope: Scope) -> None:
    busy = SyncRun.objects.active().filter(connection=OuterRef("connection"), type=OuterRef("type"))
    rows = SyncState.objects.filter(connection__in=scope.of(Connection.objects.syncing())).annotate(busy=Exists(busy))
    sums = rows.order_by("type").values("type").annotate(
        remote=Sum("coverage_remote"), stored=Sum("coverage_stored"), missing=Sum("coverage_missing"),
        checked=Count("coverage_checked_at"), connections=Count("pk"),
        due=Min("next_sync_at", filter=Q(busy=False)),
    )  # fmt: skip
    now = timezone.now()
    for row in sums:
        due: datetime | None = row["due"]
        if due is not None:
            found.lag_seconds = max(found.lag_seconds, (now - due).total_seconds())
        figures = {name: row[name] or 0 for name in ("remote", "stored", "missing", "checked", "connections")}
        found.coverage.append(Coverage(row["type"], **figures))
