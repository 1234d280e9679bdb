"""Turns of periodic work, so that any number of beats may run, and the heartbeats that show they do (threat 54).

Called by tasks of every app. All times are the database's clock: a host with a wrong clock neither doubles nor skips.
"""

from __future__ import annotations

from datetime import timedelta

from django.db import connection

from core.ids import uuid7
from workspaces.models import ClockTimestamp, Heartbeat, PeriodicSlot

KEEP_SLOTS = timedelta(days=2)

TAKE = """
INSERT INTO workspaces_periodicslot (id, task, slot, taken_at)
VALUES (%s, %s, floor(extract(epoch FROM clock_timestamp()) / %s), clock_timestamp())
ON CONFLICT (task, slot) DO NOTHING
"""


def take_slot(*, task: str, period_seconds: float) -> bool:
    """Whether the caller is the first to do `task` in the present period."""
    with connection.cursor() as cursor:
        cursor.execute(TAKE, [uuid7(), task, period_seconds])
        return bool(cursor.rowcount)


def forget_old_slots() -> int:
    """Remove slots older than two days; how many."""
    return PeriodicSlot.objects.filter(taken_at__lt=ClockTimestamp() - KEEP_SLOTS).delete()[0]


def beat(*, name: str) -> None:
    """Note that `name` lives."""
    Heartbeat.objects.bulk_create(
        [Heartbeat(name=name, at=ClockTimestamp())],
        update_conflicts=True,
        unique_fields=["name"],
        update_fields=["at"],
    )


def seconds_since_beat(*, name: str) -> float | None:
    """How long ago `name` last said so; None where it never did."""
    row = Heartbeat.objects.filter(name=name).annotate(now=ClockTimestamp()).first()
    return (row.now - row.at).total_seconds() if row else None
