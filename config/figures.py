"""The figures of `/metrics`, computed from the database on request. Each is one query over an indexed or small set."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from django.db import DatabaseError, models
from django.db.models import Count, Q
from django.db.models.functions import Now
from django.utils import timezone

from calendar_sync.models import CalendarChannel
from email_logs.models import EmailLogMirror
from email_logs.services import outgoing
from email_sync.models import PushChannel, PushStatus, Submission
from integrations.models import Connection, Integration, SyncRun
from integrations.services import delivery_turns, schedule

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


def _listening() -> Samples:
    """Of every listening process that lives."""
    return {"": PushChannel.objects.filter(status=PushStatus.ACTIVE, lease_until__gt=Now()).count()}


def _integrations() -> Samples:
    """Enabled ones, by what their last check said."""
    rows = Integration.objects.enabled().order_by().values_list("health").annotate(count=Count("pk"))
    return {str(health): count for health, count in rows}


FIGURES = (
    Figure("patchbay_sync_runs", "Sync runs by status.", "status", _counted(SyncRun)),
    Figure("patchbay_connections", "Connections by status.", "status", _connections),
    Figure("patchbay_sends", "Outgoing mail by stage.", "stage", _counted(Submission, "stage")),
    Figure("patchbay_email_log_mirrors", "Mirrors of email logs by status.", "status", _counted(EmailLogMirror)),
    Figure("patchbay_push_channels", "Mailboxes by whether changes are told.", "status", _counted(PushChannel)),
    Figure(
        "patchbay_calendar_channels",
        "Calendars, and accounts told of whole, by whether changes are told.",
        "status",
        _counted(CalendarChannel),
    ),
    Figure("patchbay_idle_connections", "Connections to mail servers that listen.", "", _listening),
    Figure("patchbay_integrations", "Enabled integrations by health.", "health", _integrations),
    Figure("patchbay_deliveries_due", "Webhooks to be sent now.", "", lambda: {"": delivery_turns.due().count()}),
    Figure(
        "patchbay_delivery_lag_seconds",
        "Age of the oldest due webhook.",
        "",
        lambda: {"": delivery_turns.lag_seconds()},
    ),
    Figure("patchbay_mail_waiting", "Workspaces' mail that has not left.", "", lambda: {"": outgoing.waiting()}),
    Figure("patchbay_mail_lag_seconds", "Age of the oldest due mail.", "", lambda: {"": outgoing.lag_seconds()}),
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
