"""A log table's days, months and years as numbers: "this table on 3 March 2026" is one key of the search index.

Pure; `services.searching` walks them, PostgreSQL writes them (`email_logs_periods` in migration `log_words`). What is
looked for is asked of single days first, then of months, then of years, so that a search costs what its page costs.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import MAXYEAR, UTC, date, datetime, time, timedelta
from itertools import count

NEAR_DAYS = 31
NEAR_MONTHS = 12
_TABLE_BITS = 36
"""Of the random end of a table's id. Two tables might share them: the entry itself is asked whose it is."""
_PERIOD_BITS = 24


@dataclass(frozen=True, slots=True)
class Period:
    """A stretch of time, its key, and the half-open part of it that is meant."""

    key: int
    start: datetime
    end: datetime


def day_key(table_id: uuid.UUID, day: date) -> int:
    """Fits PostgreSQL's bigint, as the others do."""
    return _key(table_id, (day.toordinal() - 1) * 4)


def month_key(table_id: uuid.UUID, year: int, month: int) -> int:
    return _key(table_id, (year * 12 + month) * 4 + 1)


def year_key(table_id: uuid.UUID, year: int) -> int:
    return _key(table_id, year * 4 + 2)


def _key(table_id: uuid.UUID, number: int) -> int:
    return (table_id.int & (1 << _TABLE_BITS) - 1) << _PERIOD_BITS | number


def walk(table_id: uuid.UUID, begin: datetime, end: datetime) -> Iterator[Period]:
    """The periods from `begin` to `end`, both included, without overlap; backwards where `end` is the earlier."""
    cut = begin
    for number in count():
        period = _holding(table_id, cut, number)
        if end < begin:
            yield replace(period, end=min(period.end, cut + _INSTANT)) if cut < _LAST else period
            if period.start <= end:
                return
            cut = period.start - _INSTANT
        else:
            yield replace(period, start=max(period.start, cut))
            if period.end > end or period.end == _LAST:
                return
            cut = period.end


def _holding(table_id: uuid.UUID, moment: datetime, number: int) -> Period:
    """The period that holds `moment`: of the first ones days, then months, then years."""
    if number < NEAR_DAYS:
        day = moment.date()
        start = datetime.combine(day, time(), UTC)
        return Period(day_key(table_id, day), start, _LAST if day == date.max else start + timedelta(days=1))
    if number < NEAR_DAYS + NEAR_MONTHS:
        start = datetime(moment.year, moment.month, 1, tzinfo=UTC)
        end = start.replace(month=start.month + 1) if start.month < 12 else _new_year(start.year + 1)
        return Period(month_key(table_id, start.year, start.month), start, end)
    return Period(year_key(table_id, moment.year), _new_year(moment.year), _new_year(moment.year + 1))


def _new_year(year: int) -> datetime:
    return datetime(year, 1, 1, tzinfo=UTC) if year <= MAXYEAR else _LAST


_INSTANT = timedelta(microseconds=1)
_LAST = datetime.max.replace(tzinfo=UTC)
