"""A provider's budget for one mailbox or integration, kept in PostgreSQL, shared by every worker (reference 2.5, 3.6).

`Budget` is the meter that a provider object pays from. A bucket of units fills at a steady pace; each spend is one
short UPDATE on the database's clock. Promised: within any window of the provider's length no more is spent than it
grants, and a mailbox that has work uses 96 % of it. A person's request (`urgently`) goes ahead of the bucket by what is
reserved for it. What the provider itself asks to wait closes the bucket for everybody. A new bucket begins with more
than it can ever hold again and pays for that by filling later, so that a mailbox's first mail comes at once.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import connection as database
from django.db.models.functions import Now

from core.errors import BudgetSpent
from core.holder import is_of_the_dead, stamp
from core.ids import uuid7
from core.work import sane_wait
from integrations.models import QuotaBudget, QuotaSlot

PATIENCE_SECONDS = 5.0
"""A wait longer than this goes back to the schedule."""
BURST_SHARE = 0.02
RESERVED_SHARE = 0.02
"""Of a window's units: what may be spent at once, and what only people's requests may. The rest is the pace, so that
burst, reserve and a window at full pace together are what the provider grants."""
START_SHARE = 0.2
"""Of a window's units: what a new bucket begins with. It fills no further before its pace would have given as much."""
SLOT_LEASE_SECONDS = 150.0
"""Longer than any request may take. Where the kernel knows that a holder is dead its slots come free at once."""
SLOT_POLL_SECONDS = 0.05
SLOT_AGAIN_SECONDS = 2.0
TICKET = 0
"""The slot that is no request: who could not get enough holds it while waiting, and nobody takes any before."""
TICKET_LEASE_SECONDS = 5.0
IDLE = timedelta(days=1)

_urgent: ContextVar[bool] = ContextVar("urgent", default=False)

_AVAILABLE = (
    "GREATEST(level, LEAST(%(burst)s, level + %(pace)s"
    " * GREATEST(0, EXTRACT(EPOCH FROM clock_timestamp() - refilled_at))::float))"
)
_OF = "owner_id = %(owner)s AND name = %(name)s"
_SPEND = f"""
UPDATE integrations_quotabudget
SET level = {_AVAILABLE} - %(units)s, refilled_at = GREATEST(refilled_at, clock_timestamp())
WHERE {_OF} AND {_AVAILABLE} >= %(needed)s AND (closed_until IS NULL OR closed_until <= clock_timestamp())
"""  # noqa: S608 - constants of this module
_WAIT = f"""
SELECT GREATEST(
    (%(needed)s - {_AVAILABLE}) / %(pace)s + GREATEST(0, EXTRACT(EPOCH FROM refilled_at - clock_timestamp())::float),
    EXTRACT(EPOCH FROM closed_until - clock_timestamp())::float
) FROM integrations_quotabudget WHERE {_OF}
"""  # noqa: S608
_OPEN = """
INSERT INTO integrations_quotabudget (id, owner_id, name, level, refilled_at)
VALUES (%(id)s, %(owner)s, %(name)s, %(start)s, clock_timestamp() + make_interval(secs => %(later)s))
ON CONFLICT (owner_id, name) DO NOTHING
"""
_CLOSE = f"""
UPDATE integrations_quotabudget SET level = LEAST(level, 0), refilled_at = clock_timestamp(),
closed_until = GREATEST(closed_until, clock_timestamp() + make_interval(secs => %(seconds)s)) WHERE {_OF}
"""  # noqa: S608
_TAKE_SLOTS = f"""
WITH free AS MATERIALIZED (
    SELECT id FROM integrations_quotaslot
    WHERE {_OF} AND number BETWEEN 1 AND %(slots)s AND (lease_until IS NULL OR lease_until < clock_timestamp())
    ORDER BY number LIMIT %(weight)s FOR UPDATE SKIP LOCKED
)
UPDATE integrations_quotaslot
SET holder = %(holder)s, lease_until = clock_timestamp() + make_interval(secs => %(lease)s)
WHERE id IN (SELECT id FROM free) AND (SELECT count(*) FROM free) = %(weight)s
AND NOT EXISTS (
    SELECT 1 FROM integrations_quotaslot
    WHERE {_OF} AND number = {TICKET} AND lease_until >= clock_timestamp() AND holder <> %(holder)s
)
"""  # noqa: S608
_TAKE_TICKET = f"""
UPDATE integrations_quotaslot
SET holder = %(holder)s, lease_until = clock_timestamp() + make_interval(secs => %(ticket_lease)s)
WHERE {_OF} AND number = {TICKET}
AND (holder = %(holder)s OR lease_until IS NULL OR lease_until < clock_timestamp())
"""  # noqa: S608
_MAKE_SLOTS = """
INSERT INTO integrations_quotaslot (id, owner_id, name, number)
SELECT gen_random_uuid(), %(owner)s, %(name)s, number FROM generate_series(0, %(slots)s) AS number
ON CONFLICT (owner_id, name, number) DO NOTHING
"""
_FREE = "UPDATE integrations_quotaslot SET holder = NULL, lease_until = NULL WHERE holder = %(holder)s"
_HOLDERS = f"SELECT DISTINCT holder FROM integrations_quotaslot WHERE {_OF} AND holder IS NOT NULL"  # noqa: S608
_FREE_TICKET = f"{_FREE} AND number = {TICKET}"


@contextmanager
def urgently() -> Iterator[None]:
    """What is spent within is for a person who waits: a send, a click, an attachment."""
    before = _urgent.set(True)
    try:
        yield
    finally:
        _urgent.reset(before)


@dataclass(frozen=True)
class Budget:
    """The budget of one connection or integration. `units` per `window_seconds`; `slots` requests at once, 0 for any
    number."""

    owner_id: uuid.UUID
    name: str
    units: int
    window_seconds: float
    slots: int = 0
    wait: Callable[[float], None] = time.sleep

    @property
    def burst(self) -> int:
        """The most that can be spent at once without waiting."""
        return max(1, round(self.units * BURST_SHARE))

    @property
    def pace(self) -> float:
        """Units a second."""
        return self.units * (1 - BURST_SHARE - RESERVED_SHARE) / self.window_seconds

    def spend(self, units: int) -> None:
        """Pay, or wait up to `PATIENCE_SECONDS`; BudgetSpent where that would not be enough."""
        reserved = self.units * RESERVED_SHARE if _urgent.get() else 0.0
        values = self._values(units=units, needed=min(units, self.burst) - reserved)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not _changed(_SPEND, values):
            wait = self._wait(values)
            if time.monotonic() + wait > deadline:
                raise BudgetSpent(retry_after=wait)
            if wait:
                self.wait(wait)

    def slot(self, weight: int = 1) -> AbstractContextManager[None]:
        """`weight` of the requests allowed at once, all of them where it is more; BudgetSpent where they do not come
        free in time. Who waits goes before who comes: neither batches nor single requests starve the other."""
        return self._held_slots(min(weight, self.slots)) if self.slots else nullcontext()

    def throttled(self, seconds: float) -> None:
        """The provider asked to wait this long: nobody spends before, and then at the pace."""
        self._open()
        _changed(_CLOSE, self._values(seconds=sane_wait(seconds)))

    def _open(self) -> None:
        start = max(self.burst, round(self.units * START_SHARE))
        _changed(_OPEN, self._values(id=uuid7(), start=start, later=(start - self.burst) / self.pace))

    def _values(self, **more: Any) -> dict[str, Any]:
        return {"owner": self.owner_id, "name": self.name, "burst": self.burst, "pace": self.pace, **more}

    def _wait(self, values: dict[str, Any]) -> float:
        """Seconds until a spend may work; 0 where the row had to be made."""
        with database.cursor() as cursor:
            cursor.execute(_WAIT, values)
            row = cursor.fetchone()
        if row is None:
            self._open()
        return max(0.0, float(row[0])) if row else 0.0

    @contextmanager
    def _held_slots(self, weight: int) -> Iterator[None]:
        holder = {"holder": stamp()}
        leases = {"lease": SLOT_LEASE_SECONDS, "ticket_lease": TICKET_LEASE_SECONDS}
        values = self._values(slots=self.slots, weight=weight, **leases, **holder)
        try:
            self._take_slots(values)
            yield
        finally:
            _changed(_FREE, holder)

    def _take_slots(self, values: dict[str, Any]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        waited = False
        while not _changed(_TAKE_SLOTS, values):
            if _changed(_MAKE_SLOTS, values):
                continue
            if not waited and self._free_dead(values):
                continue
            if time.monotonic() > deadline:
                raise BudgetSpent(
                    "The provider is answering as many requests as it allows.", retry_after=SLOT_AGAIN_SECONDS
                )
            waited = bool(_changed(_TAKE_TICKET, values)) or waited
            self.wait(SLOT_POLL_SECONDS)
        if waited:
            _changed(_FREE_TICKET, values)

    def _free_dead(self, values: dict[str, Any]) -> bool:
        """Slots of processes that this machine's kernel no longer has; whether there were any. Their requests ended
        with them, and a killed worker must not keep its mailbox waiting for a lease."""
        with database.cursor() as cursor:
            cursor.execute(_HOLDERS, values)
            dead = [row[0] for row in cursor.fetchall() if is_of_the_dead(row[0])]
        return bool([holder for holder in dead if _changed(_FREE, {"holder": holder})])


def forget_idle() -> int:
    """Remove what nobody used for a day: such a bucket is as full as a new one. How many rows went."""
    budgets = QuotaBudget.objects.filter(refilled_at__lt=Now() - IDLE, closed_until__isnull=True)
    closed = QuotaBudget.objects.filter(refilled_at__lt=Now() - IDLE, closed_until__lt=Now())
    slots = QuotaSlot.objects.exclude(owner_id__in=QuotaBudget.objects.values("owner_id"))
    return budgets.delete()[0] + closed.delete()[0] + slots.filter(holder__isnull=True).delete()[0]


def _changed(statement: str, values: dict[str, Any]) -> bool:
    with database.cursor() as cursor:
        cursor.execute(statement, values)
        return bool(cursor.rowcount)
