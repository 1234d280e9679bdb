"""What the calendars' questions read, held to their cost class: it follows what they answer, not what is stored.
Called by `calendars`.

The statements are those the product sends: recorded while its services work, then explained with the same values.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, timedelta
from functools import partial
from typing import Any

from django.db import connection as database

from benchmarks import plans
from benchmarks.diary import BUSY, TODAY, Diary
from benchmarks.measuring import Report
from calendar_sync.services import feeds, finding, freebusy, occurrences, reading, settling, timelines
from calendar_sync.working_hours import DEFAULT, parse
from core.api.pagination import PageQuery
from entities.models import AddressMatch, DomainMatch

START, END = TODAY.replace(tzinfo=UTC), TODAY.replace(tzinfo=UTC) + timedelta(days=31)
LIMIT = 100
ENTITIES: dict[str, str] = {"a contact": "contact", "a company": "company", "who is in every event": "everybody"}
"""Name → id."""


def match(diary: Diary) -> None:
    """The entities of its workspace."""
    of: dict[str, Any] = {"workspace": diary.connection.workspace, "entity_type": "bench"}
    for key, address in (("contact", "person7@org7.example"), ("everybody", BUSY)):
        AddressMatch.objects.create(**of, entity_id=key, address=address, address_key=address)
    DomainMatch.objects.create(**of, entity_id="company", domain="org5.example")


def check(report: Report, small: Diary, large: Diary, *, explain: bool) -> None:
    """Report what each question reads at both sizes. AssertionError where that follows the calendar's size."""
    for name in questions(small):
        found = [_read(questions(diary)[name], explain=explain and diary is large) for diary in (small, large)]
        [(before, _), (blocks, took)] = found
        note = f"{before:,} at {small.size:,} events; {took:.1f} ms in the database"
        report.add(f"{name}: blocks read", "", blocks, note)
        assert blocks <= 2 * before + 20 * LIMIT, f"{name}: {blocks:,} blocks at {large.size:,}, {note}"


def questions(diary: Diary) -> dict[str, Callable[[], object]]:
    """What is asked of each."""
    own: dict[str, Any] = {"user": diary.owner.user, "workspace": diary.connection.workspace}
    month = reading.Range(START, END, paging=PageQuery(limit=LIMIT))
    half_an_hour = timedelta(minutes=30)
    wanted = finding.Wanted(START, END, UTC, parse(DEFAULT), half_an_hour, half_an_hour)
    feed = feeds.make(membership=diary.owner, shows_private=False, by=diary.owner.user).row
    return {
        "view": partial(reading.in_range, **own, asked=month),
        "free/busy": partial(freebusy.ask, **own, start=START, end=END, zone=UTC),
        "slots": partial(finding.find, **own, wanted=wanted),
        "feed": partial(feeds.content, feed),
        **{
            f"events of {name}": partial(
                timelines.timeline, **own, entity_type="bench", entity_id=key, paging=PageQuery(limit=LIMIT)
            )
            for name, key in ENTITIES.items()
        },
        "the hour's work": _hourly,
    }


def _hourly() -> None:
    """Nothing is due."""
    occurrences.extend()
    settling.forget_old()


def _read(work: Callable[[], object], *, explain: bool) -> tuple[int, float]:
    """Blocks and milliseconds of all its statements."""
    work()  # what is made once, and what the first one warms
    blocks, took = 0, 0.0
    for statement in plans.recorded(work):
        if not statement.sql.startswith(("SELECT", "WITH", "\n")):
            continue
        with database.cursor() as cursor:
            cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement.sql}", statement.values)
            [answer] = cursor.fetchone() or [None]
        [found] = json.loads(answer) if isinstance(answer, str) else answer
        here = found["Plan"]["Shared Hit Blocks"] + found["Plan"]["Shared Read Blocks"]
        blocks, took = blocks + here, took + found["Execution Time"]
        if explain:
            plans.show(statement, f"{here:,} blocks")
    return blocks, took
