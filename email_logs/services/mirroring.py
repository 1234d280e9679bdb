"""Mirroring a workspace's email log into a table of an integration that has one (the capability "logs").

Called by the tasks (`start_due`, `due`, `work`) and by the action `mirror_email_log` (`start`). Entries are followed in
the order of their changes, so that one whose state changes late is written again. A handful is written by its id,
outside any transaction, and its place committed after: a worker that dies writes a handful twice, which the target lays
over itself, and leaves no hole. Mail of users' own mailboxes is theirs and is not mirrored.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence
from datetime import timedelta
from functools import cache
from typing import Any, cast

from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Greatest, Now

from core.api.serializers import wire_time
from core.errors import NotConfigured, UnsupportedOperation
from core.work import WorkStatus
from email_logs import columns
from email_logs.models import EmailLogEntry, EmailLogMirror, EmailLogTable
from email_logs.services import following
from email_logs.services.following import START, Place
from integrations.models import Integration
from integrations.providers import INTEGRATION_PROVIDERS
from integrations.providers.base import LOGS
from integrations.records import LogTarget
from integrations.services import integration_use
from integrations.services.integration_runs import LEASE_SECONDS, MANUAL, SCHEDULE, Changed, IntegrationRuns
from integrations.services.integrations import provider_of

KEY = "Log ID"
INTERVAL = timedelta(minutes=5)
"""Between looks at what changed: changes that come one by one are written together."""
COUNTED_AT_MOST = 100_000
FRESH = {"done": 0, "total": 0}


def row_of(entry: EmailLogEntry) -> dict[str, Any]:
    """An entry as a row outside: the 13 columns of the source document, and the key. None empties a cell."""
    stored = {name: getattr(entry, name) for name in columns.STORED}
    values = columns.cells({**stored, "sent_at": wire_time(entry.sent_at)}, entry.table.provider, whole=True)
    return dict(zip(COLUMNS, [str(entry.pk), *values], strict=True))


COLUMNS = (KEY, *(column.name for column in columns.COLUMNS))


@cache
def types() -> tuple[str, ...]:
    """Types of integrations that can hold a mirror."""
    return tuple(key for key in INTEGRATION_PROVIDERS if LOGS in INTEGRATION_PROVIDERS.get(key).capabilities)


# --- beginning ----------------------------------------------------------------------------------------------------


def start(*, integration: Integration, trigger: str = MANUAL) -> EmailLogMirror:
    """Queue a run, or give back the one under way; one that waits for its provider tries now. The caller rings it.

    Disabled where the integration is off, NotConfigured without credentials or without a table to write into,
    UnsupportedOperation for other types.
    """
    if integration.type not in types():
        raise UnsupportedOperation("This integration has no tables for an email log.")
    integration_use.provider_for(integration)
    if not table_named(integration):
        raise NotConfigured("Name the table for the email log in this integration's settings first (emailLogTable).")
    with transaction.atomic():
        mirror, created = EmailLogMirror.objects.get_or_create(integration=integration, defaults={"trigger": trigger})
        if not created:
            one = EmailLogMirror.objects.filter(pk=mirror.pk)
            one.begin(trigger, **FRESH)
            one.filter(status=WorkStatus.QUEUED).update(next_attempt_at=Now())
    mirror.refresh_from_db()
    return mirror


def _target(integration: Integration) -> LogTarget:
    return cast("LogTarget", integration_use.provider_for(integration))


def start_due() -> None:
    """Queue the runs of mirrors that are due and behind, of integrations that are on and name a table."""
    ready = Integration.objects.enabled().filter(type__in=types(), has_credentials=True).defer("credentials")
    named = [row for row in ready.select_related("email_log_mirror") if table_named(row)]
    new = [EmailLogMirror(integration=row, trigger=SCHEDULE) for row in named if not hasattr(row, "email_log_mirror")]
    EmailLogMirror.objects.bulk_create(new, ignore_conflicts=True)
    mended = Q(status=WorkStatus.FAILED, integration__updated_at__gt=F("finished_at"))
    mended |= Q(status=WorkStatus.FAILED, integration__credentials_changed_at__gt=F("finished_at"))
    due = EmailLogMirror.objects.filter(mended | Q(next_mirror_at__lte=Now()), integration__in=named)
    behind = [mirror.pk for mirror in due.resting().select_related("integration") if _is_behind(mirror)]
    if behind:
        EmailLogMirror.objects.filter(pk__in=behind).begin(SCHEDULE, **FRESH)


def table_named(integration: Integration) -> str:
    """The outside table in its settings, "" for none. Opens no secret."""
    kind = provider_of(integration)
    if LOGS not in kind.capabilities:
        return ""
    return cast("LogTarget", kind(config=integration.config, credentials={})).log_table()


def _is_behind(mirror: EmailLogMirror) -> bool:
    """A look per log table: what is up to date is not asked of anybody."""
    return any(_after(mirror, table).exists() for table in _tables(mirror.integration))


# --- working ------------------------------------------------------------------------------------------------------


def _mirror(mirror: EmailLogMirror, integration: Integration, deadline: float) -> bool:
    """Handful after handful until nothing is left or the deadline; at least one."""
    target = _target(integration)
    _same_target(mirror, target)
    _count(mirror, integration)
    for table, rows in _handfuls(mirror, integration, target.log_batch):
        target.write_log([row_of(row) for row in rows], key=KEY)
        _commit(mirror, integration, table, rows)
        if time.monotonic() >= deadline:
            return True
    return False


def _same_target(mirror: EmailLogMirror, target: LogTarget) -> None:
    """Of another table nothing holds that is remembered. Its columns are looked at before the first row, and again
    after it refused something."""
    named = target.log_target()
    if named == mirror.target and mirror.checked:
        return
    target.check_log_table(COLUMNS)
    fresh: dict[str, Any] = {} if named == mirror.target else {"target": named, "places": {}, "written": 0}
    with transaction.atomic():
        mirror.hold(lease_seconds=LEASE_SECONDS, checked=True, **fresh)
    mirror.refresh_from_db()


def _count(mirror: EmailLogMirror, integration: Integration) -> None:
    """How much there is to do, as far as counting is cheap."""
    left = sum(_after(mirror, table)[:COUNTED_AT_MOST].count() for table in _tables(integration))
    with transaction.atomic():
        mirror.hold(lease_seconds=LEASE_SECONDS, total=F("done") + left)


def _tables(integration: Integration) -> list[EmailLogTable]:
    """The log tables of the workspace's own providers; mail of users' mailboxes is theirs."""
    rows = EmailLogTable.objects.in_workspace(integration.workspace_id).filter(integration__isnull=False)
    return list(rows.order_by("pk"))


def _after(mirror: EmailLogMirror, table: EmailLogTable) -> Any:
    return following.after(_place(mirror, table.pk), table_id=table.pk)


def _place(mirror: EmailLogMirror, table_id: uuid.UUID) -> Place:
    """Where it is in a log table; at the beginning where the database was restored since: what is outside may be newer
    than what is here."""
    if str(table_id) not in mirror.places:
        return START
    number, entry_id = mirror.places[str(table_id)]
    place = Place(int(number), uuid.UUID(entry_id))
    return START if following.is_of_another_database(place) else place


def _handfuls(
    mirror: EmailLogMirror, integration: Integration, size: int
) -> Iterator[tuple[EmailLogTable, Sequence[EmailLogEntry]]]:
    """What is left, table by table, read as it is then."""
    for table in _tables(integration):
        while rows := list(_after(mirror, table).select_related("table")[:size]):
            yield table, rows


def _commit(
    mirror: EmailLogMirror, integration: Integration, table: EmailLogTable, rows: Sequence[EmailLogEntry]
) -> None:
    """They are written there: go on after the last one."""
    place = following.place_of(rows[-1])
    places = {**mirror.places, str(table.pk): [place.transaction, str(place.entry_id)]}
    done = F("done") + len(rows)
    with transaction.atomic():
        mirror.hold(
            lease_seconds=LEASE_SECONDS,
            attempts=0,
            places=places,
            done=done,
            total=Greatest(F("total"), done),
            written=F("written") + len(rows),
        )
        if not Integration.objects.enabled().filter(pk=integration.pk, updated_at=integration.updated_at).exists():
            raise Changed
    mirror.places = places


RUNS = IntegrationRuns(
    rows=EmailLogMirror,
    what="The mirror",
    slice=_mirror,
    pause_seconds=INTERVAL.total_seconds,
    last_at="last_mirrored_at",
    next_at="next_mirror_at",
    after_failure={"checked": False},
)
due, work = RUNS.due, RUNS.work
