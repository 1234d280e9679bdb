"""The figures of `/metrics`, computed from the database on request. Each is one query over an indexed or small set."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from django.db import DatabaseError, models
from django.db.models import Count, Q
from django.utils import timezone

from email_sync.models import Submission
from integrations.models import Connection, SyncRun
from integrations.services import schedule

Samples = Mapping[str, float]


@dataclass(frozen=True)
class Figure:
    """One gauge. `read` answers value by label; without a label the key is ""."""

    name: str
    help: str
    label: str
    read: Callable[[], Samples]


def _counted(model: type[models.Model], column: str = "status") -> Callable[[], Samples]:
    def read() -> Samples:
        rows = model._default_manager.order_by().values_list(column).annotate(count=Count("pk"))
        return {str(state): count for state, count in rows}

    return read


def _connections() -> Samples:
    """A connection's status is told by its columns, so rows are counted by those, and the model says the rest."""
    rows = (
        Connection.objects.order_by()
        .annotate(gone=Q(disconnected_at__isnull=False), failing=~Q(last_error_code=""))
        .values_list("needs_reauth", "paused", "gone", "failing")
        .annotate(count=Count("pk"))
    )
    counts: dict[str, float] = {}
    for needs_reauth, paused, gone, failing, count in rows:
        example = Connection(needs_reauth=needs_reauth, paused=paused, last_error_code="error" if failing else "")
        example.disconnected_at = timezone.now() if gone else None
        counts[example.status] = counts.get(example.status, 0) + count
    return counts


FIGURES = (
    Figure("patchbay_sync_runs", "Sync runs by status.", "status", _counted(SyncRun)),
    Figure("patchbay_connections", "Connections by status.", "status", _connections),
    Figure("patchbay_sends", "Outgoing mail by stage.", "stage", _counted(Submission, "stage")),
    Figure("patchbay_sync_lag_seconds", "Age of the oldest due sync run.", "", lambda: {"": schedule.lag_seconds()}),
)


def exposition() -> str:
    """All figures as text; `patchbay_up 0` alone where the database does not answer."""
    try:
        lines = [line for figure in FIGURES for line in _lines(figure)]
    except DatabaseError:
        return "# TYPE patchbay_up gauge\npatchbay_up 0\n"
    return "\n".join(["# TYPE patchbay_up gauge", "patchbay_up 1", *lines, ""])


def _lines(figure: Figure) -> Iterator[str]:
    yield f"# HELP {figure.name} {figure.help}"
    yield f"# TYPE {figure.name} gauge"
    for key, value in sorted(figure.read().items()):
        labels = f'{{{figure.label}="{key}"}}' if figure.label else ""
        yield f"{figure.name}{labels} {value:g}"
