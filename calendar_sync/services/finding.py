"""Finding a time: within working hours, free of everybody's blocks. Slots are counted and not listed: a run of them is
a first start and a number, so a page costs what it shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING

from calendar_sync.intervals import Stretch, merged, without
from calendar_sync.services import freebusy
from calendar_sync.working_hours import WorkingHours, stretches
from core.api.pagination import Page, PageQuery, decode_cursor, encode_cursor
from core.errors import InvalidInput

if TYPE_CHECKING:
    from workspaces.models import User, Workspace


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for, checked."""

    start: datetime
    end: datetime
    zone: tzinfo
    """Whose clock the working hours are of, and where days begin."""
    hours: WorkingHours
    duration: timedelta
    step: timedelta
    """Starts lie so far apart, counted from where work begins."""
    buffer: timedelta = timedelta(0)
    """Kept free before and after."""
    attendees: Sequence[str] = ()
    paging: PageQuery = field(default_factory=PageQuery)


@dataclass(frozen=True, slots=True)
class Slots:
    """A page of starts, and who is not regarded."""

    page: Page[Stretch]
    answer: freebusy.Answer


@dataclass(frozen=True, slots=True)
class Run:
    """Starts at equal distances."""

    first: datetime
    count: int


def find(*, user: User, workspace: Workspace, wanted: Wanted) -> Slots:
    """Times at which the caller and all attendees known here are free, by start. Tentative is not free."""
    answer = freebusy.ask(
        user=user,
        workspace=workspace,
        start=wanted.start - wanted.buffer,
        end=wanted.end + wanted.buffer,
        zone=wanted.zone,
        emails=wanted.attendees,
    )
    taken = merged(one for blocks in answer.everybody for one in (*blocks.busy, *blocks.tentative))
    return Slots(_page(runs(wanted, taken), wanted), answer)


def runs(wanted: Wanted, taken: Sequence[Stretch]) -> list[Run]:
    """Every start that is free, in order."""
    blocked = merged((begin - wanted.buffer, end + wanted.buffer) for begin, end in taken)
    hours = list(stretches(wanted.hours, wanted.zone, wanted.start, wanted.end))
    found: list[Run] = []
    for opened, closed in hours:
        inside = (max(opened, wanted.start), min(closed, wanted.end))
        for begin, end in without([inside], blocked):
            skipped = -((opened - begin) // wanted.step)
            first = opened + skipped * wanted.step
            if first + wanted.duration <= end:
                found.append(Run(first, (end - wanted.duration - first) // wanted.step + 1))
    return found


def _page(found: Sequence[Run], wanted: Wanted) -> Page[Stretch]:
    paging = wanted.paging
    after = _place(paging.cursor) if paging.cursor else None
    skip = 0 if after is not None else (paging.page - 1) * paging.limit
    rows: list[datetime] = []
    for start in _starts(found, wanted.step, after, skip):
        rows.append(start)
        if len(rows) > paging.limit:
            break
    more = len(rows) > paging.limit
    rows = rows[: paging.limit]
    cursor = encode_cursor([rows[-1].isoformat()]) if more else None
    return Page([(start, start + wanted.duration) for start in rows], sum(run.count for run in found), cursor)


def _starts(found: Sequence[Run], step: timedelta, after: datetime | None, skip: int) -> Iterator[datetime]:
    """From behind a place, or from a number on."""
    for run in found:
        number = 0 if after is None else max(0, (after - run.first) // step + 1)
        passed = min(skip, run.count)
        skip -= passed
        for position in range(max(number, passed), run.count):
            yield run.first + position * step


def _place(cursor: str) -> datetime:
    try:
        [text] = decode_cursor(cursor)
        moment = datetime.fromisoformat(str(text))
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise InvalidInput(fields={"cursor": ["This cursor is not one of ours."]}) from None
