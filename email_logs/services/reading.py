"""Reading a log table: a page of rows, one row, how many there are.

Called by the API and by exports. Promised: cost follows the page asked for (`searching`); what a reader may not see
(`visibility`) is neither listed nor counted, and looks like what is not there.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.db.models import Subquery, Sum
from django.db.models.functions import TruncDate

from core.api.pagination import Page, PageQuery, decode_cursor, encode_cursor
from core.errors import InvalidInput, NotFound
from email_logs.models import EmailLogDay, EmailLogEntry, EmailLogTable
from email_logs.services import asking, searching
from email_logs.services.history import Step, events_of, steps
from email_logs.services.searching import Place, Wanted
from email_logs.services.visibility import Sight, sight
from email_logs.states import FAILED_WORD, STATUS_WORDS, State

if TYPE_CHECKING:
    from workspaces.models import User

COUNTED = 10_000
"""A table or a span of dates is counted as far as this; what is more is an estimate."""


@dataclass(frozen=True, slots=True)
class Filters:
    """What rows are narrowed by; all of it must be so."""

    status: str = ""
    """One of the document's two words."""
    state: str = ""
    source: str = ""
    provider: str = ""
    since: datetime | None = None
    until: datetime | None = None
    q: str = ""

    @property
    def given(self) -> dict[str, str]:
        """Those that narrow something, as text."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return {name: value if isinstance(value, str) else value.isoformat() for name, value in values.items() if value}

    @property
    def told(self) -> dict[str, str | bool]:
        """`given` for the trail, which nobody's erasure reaches: that words were searched for, which may be somebody's
        address, and not the words."""
        given: dict[str, str | bool] = dict(self.given)
        return given if given.pop("q", None) is None else {**given, "searched": True}

    @classmethod
    def of(cls, given: Mapping[str, str]) -> Filters:
        """Those of `given`."""
        times = {name: datetime.fromisoformat(given[name]) for name in ("since", "until") if name in given}
        return cls(**{**given, **times})  # type: ignore[arg-type]  # the others are texts

    @property
    def states(self) -> frozenset[State] | None:
        """The states that are meant; None for all."""
        found = [STATUS_WORDS[self.status]] if self.status else []
        found += [frozenset({State(self.state)})] if self.state else []
        return frozenset.intersection(*found) if found else None


@dataclass(frozen=True, slots=True)
class RowsQuery:
    """A list of rows as a reader asked for it, checked by the serializer."""

    filters: Filters = field(default_factory=Filters)
    oldest_first: bool = False
    paging: PageQuery = field(default_factory=PageQuery)


@dataclass(frozen=True, slots=True)
class Row:
    """An entry as a reader sees it. Not `whole`: without blind copies, files and server's words."""

    entry: EmailLogEntry
    whole: bool
    history: Sequence[Step]


def listed(*, table: EmailLogTable, user: User, query: RowsQuery) -> Page[Row]:
    """A page of a table's rows. InvalidInput for a q or a cursor that makes no sense."""
    after = _place(query.paging.cursor) if query.paging.cursor else None
    seen = sight(table=table, user=user)
    wanted = wanted_of(table, seen, query.filters, oldest_first=query.oldest_first)
    if wanted is None:
        return Page(rows=[], total=0)
    limit = query.paging.limit
    offset = 0 if after else (query.paging.page - 1) * limit
    found = searching.places(replace(wanted, after=after), offset=offset, count=limit + 1)
    known = None if after or (offset and not found) else offset + len(found)
    total, exact = _total(wanted, end=offset + limit + 1, known=known)
    last = found[limit - 1] if len(found) > limit else None
    following = encode_cursor([last.sent_at.isoformat(), str(last.id)]) if last else None
    return Page(_rows(table, seen, found[:limit]), total, following, exact)


def one(*, table: EmailLogTable, user: User, row_id: object) -> Row:
    """NotFound where it is foreign, malformed or missing, or of a mailbox that its user does not show."""
    seen = sight(table=table, user=user)
    entry = EmailLogEntry.objects.filter(table=table).fetch(row_id)
    if seen.mailboxes is not None and entry.connection_id not in seen.mailboxes:
        raise NotFound
    return _shown([entry], seen)[0]


def about(wanted: Wanted, *, most: int) -> int:
    """How many rows there are, about; where words narrow them no further than `most`."""
    return searching.counted(wanted, most=most) if wanted.document else _total(wanted, end=0, known=None)[0]


def wanted_of(table: EmailLogTable, seen: Sight, filters: Filters, *, oldest_first: bool = False) -> Wanted | None:
    """What is looked for; None where nothing can be found."""
    states = filters.states
    nobody = seen.mailboxes is not None and not seen.mailboxes
    if nobody or states == frozenset() or filters.provider not in ("", table.provider):
        asking.words(filters.q)  # a q that makes no sense is refused all the same
        return None
    narrowed = [asking.mailboxes(seen.mailboxes)] if seen.mailboxes is not None else []
    narrowed += [asking.source(filters.source)] if filters.source else []
    narrowed += [words] if (words := asking.words(filters.q)) else []
    failed_only = states == STATUS_WORDS[FAILED_WORD] and not narrowed
    if states is not None and not failed_only:
        narrowed.append(asking.states(states))
    return Wanted(
        table.pk, asking.all_of(narrowed), failed_only, filters.since, filters.until, oldest_first=oldest_first
    )


def _rows(table: EmailLogTable, seen: Sight, found: Sequence[Place]) -> list[Row]:
    """In the order they were found. Removed meanwhile: left out."""
    ids = [place.id for place in found]
    entries = {entry.pk: entry for entry in EmailLogEntry.objects.filter(table=table, pk__in=ids).order_by()}
    return _shown([entries[pk] for pk in ids if pk in entries], seen)


def _shown(entries: Sequence[EmailLogEntry], seen: Sight) -> list[Row]:
    events = events_of(entries)
    return [
        Row(entry, whole := seen.is_whole(entry.connection_id), steps(entry, events.get(entry.pk, ()), whole=whole))
        for entry in entries
    ]


def _place(cursor: str) -> Place:
    try:
        moment, pk = decode_cursor(cursor)
        place = Place(datetime.fromisoformat(str(moment)), uuid.UUID(str(pk)))
        if place.sent_at.utcoffset() != timedelta():
            raise ValueError
    except (TypeError, ValueError):
        raise InvalidInput(fields={"cursor": ["This cursor is not one of ours."]}) from None
    return place


# --- how many -----------------------------------------------------------------------------------------------------


def _total(wanted: Wanted, *, end: int, known: int | None) -> tuple[int, bool]:
    """How many rows there are, and whether that is exact. What was searched for is counted no further than the page,
    which `end` is one beyond; `known` says how many there are up to it, if that was seen. All or a span of dates is
    counted exactly while it is little, and by its days where it is much."""
    if wanted.document:
        total = searching.counted(wanted, most=end) if known is None else known
        return total, total < end
    estimate = _by_day(wanted)
    if estimate <= COUNTED:
        total = searching.counted(wanted, most=COUNTED + 1)
        if total <= COUNTED:
            return total, True
    return max(estimate, COUNTED, known or 0), False


def _by_day(wanted: Wanted) -> int:
    """By the counts of the days, which follow a moment later. Days count on that retention has emptied: not from
    before the oldest row that is left."""
    oldest = EmailLogEntry.objects.filter(table=wanted.table_id).order_by("sent_at").values(day=TruncDate("sent_at"))
    days = EmailLogDay.objects.filter(table=wanted.table_id, day__gte=Subquery(oldest[:1]))
    if wanted.failed_only:
        days = days.filter(state__in=STATUS_WORDS[FAILED_WORD])
    if wanted.since is not None:
        days = days.filter(day__gte=wanted.since.date())
    if wanted.until is not None:
        days = days.filter(day__lte=(wanted.until - timedelta(microseconds=1)).date())
    return days.aggregate(sum=Sum("count"))["sum"] or 0
