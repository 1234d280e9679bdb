"""Free text over a log, and filters that few rows pass: what is found, in which order, at what cost."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.db import connection as database
from hypothesis import given
from hypothesis import strategies as st

from email_logs import periods
from email_logs.models import EmailLogEntry
from email_logs.services import searching
from email_logs.states import State
from email_logs.tests.logs import FIRST, entry, rows, subjects, table_of
from workspaces.models import Workspace
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("q", "found"),
    [
        ("invoice", True),
        ("INVOICE march", True),
        ("invoice april", False),
        ("inv*", True),
        ("inv", False),
        ("ann.smith@example.com", True),
        ("smith example", True),
        ("ann.smith@exam*", True),
        ("4ef9a417-02e9-4d39", True),
        ("4ef9a417-02e9-4d38", False),
        ("grosse", True),
        ("GRÖSSE", True),
        ("Zażółć", True),
        ("zazolc", True),
        ("請求", True),
        ("Привет", True),
        ("invoice -march", False),
        ("invoice -april", True),
        ('"invoice for"', True),
        ('invoice "unclosed', False),
        ("'; DROP TABLE", False),
        ("inv\\'oice & | ! <->", False),
        ("invoice & | ! <-> :*", True),
        ("Sdelivered", False),
    ],
)
def test_words_of_to_subject_and_message_id_are_found(member: Actor, workspace: Workspace, q: str, found: bool) -> None:
    table = table_of(workspace)
    entry(
        table, to="Ann.Smith@example.com, bob@example.org", subject="Invoice for March: Größe, Zażółć, 請求書, привет",
        message_id="4ef9a417-02e9-4d39-ad75-9611e0fcc33c",
    )  # fmt: skip
    assert len(rows(member, table, q=q)["data"]) == found


def test_what_is_no_word_of_the_three_is_not_found(member: Actor, workspace: Workspace) -> None:
    table = table_of(workspace)
    entry(
        table, cc="cc@one.example", bcc="bcc@two.example", sender="from@three.example", error="four", template_id="five"
    )
    for word in ("cc", "two", "three", "four", "five"):
        assert rows(member, table, q=word)["data"] == []


def test_words_follow_what_is_changed(member: Actor, workspace: Workspace) -> None:
    table = table_of(workspace)
    made = entry(table, state=State.QUEUED, message_id="")
    assert rows(member, table, q="taken")["data"] == []
    EmailLogEntry.objects.filter(pk=made.pk).update(message_id="taken-1", state=State.ACCEPTED, to="erased")
    assert len(rows(member, table, q="taken erased", state="accepted")["data"]) == 1
    assert rows(member, table, q="person0")["data"] == []


def test_very_long_texts_and_words_can_be_logged(member: Actor, workspace: Workspace) -> None:
    table = table_of(workspace)
    many = ", ".join(f"person{number}@example.com" for number in range(10_000))
    entry(table, to=many, subject=f"long {'x' * 9_000} {'я' * 3_000}")
    assert len(rows(member, table, q="person17")["data"]) == 1
    assert len(rows(member, table, q="x" * 500)["data"]) == 0


@pytest.fixture
def scattered(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Rows over years, and only the nearest two are looked at one by one."""
    monkeypatch.setattr(searching, "RECENT", 2)
    table = table_of(workspace)
    gaps = (0, 1, 1, 5, 29, 31, 32, 60, 100, 365, 366, 400, 500, 800, 1200, 1201, 4000)
    for number, days in enumerate(gaps):
        words = {
            "subject": f"{'odd' if number % 2 else 'even'} {number}",
            "source": "Form Send" if number == 14 else "",
        }
        entry(table, number, sent_at=FIRST - timedelta(days=days, seconds=number), **words)
    return table


@pytest.mark.parametrize("sort", ["-sentAt", "sentAt"])
@pytest.mark.parametrize("query", [{"q": "odd"}, {"q": "even", "from": "2022-01-01"}, {"q": "odd", "to": "2025-03-01"}])
def test_search_finds_in_order_what_lies_years_apart(
    member: Actor, scattered: Any, sort: str, query: dict[str, str]
) -> None:
    own = {name: value for name, value in query.items() if name != "q"}
    every = [subject for subject in subjects(member, scattered, sort=sort, **own) if query["q"] in subject]
    assert len(every) > 2
    assert subjects(member, scattered, sort=sort, **query) == every
    assert [subjects(member, scattered, sort=sort, limit=1, page=n + 1, **query)[0] for n in range(len(every))] == every
    walked, cursor = [], ""
    while cursor is not None:
        answer = rows(member, scattered, sort=sort, limit=2, cursor=cursor, **query)
        walked += [row["Subject"] for row in answer["data"]]
        cursor = answer["pagination"]["nextCursor"]
    assert walked == every


def test_search_counts_no_further_than_its_page_and_says_so(member: Actor, scattered: Any) -> None:
    def total(**query: Any) -> tuple[int, bool]:
        page = rows(member, scattered, q="odd", **query)["pagination"]
        return page["total"], page["totalIsExact"]

    assert total(limit=3) == (4, False)
    assert total(limit=3, page=3) == (8, True)
    assert total(limit=3, page=9) == (8, True)
    assert total(limit=100) == (8, True)
    assert rows(member, scattered, q="absent")["pagination"]["total"] == 0


def test_rare_source_is_found_however_old(member: Actor, scattered: Any) -> None:
    assert subjects(member, scattered, source="Form Send", q="even") == ["even 14"]


def test_search_costs_so_many_queries_however_far_it_goes(
    member: Actor, scattered: Any, django_assert_num_queries: Any
) -> None:
    """Token, table, words, the nearest, the furthest moment, the walk, rows, events."""
    rows(member, scattered)
    for limit in (3, 8):
        with django_assert_num_queries(8):
            rows(member, scattered, q="odd", limit=limit)


def test_search_asks_the_word_index(scattered: Any) -> None:
    """Its cost class: the walk's inner query may not read the table."""
    with database.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(
            "EXPLAIN SELECT id FROM email_logs_emaillogentry WHERE email_logs_periods(table_id, sent_at) @> ARRAY[%s]"
            " AND document @@ 'odd'::tsquery",
            [periods.year_key(scattered.pk, 2026)],
        )
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "emaillogentry_words" in plan


@pytest.mark.parametrize(
    "at", ["0001-01-01T00:00:00+00", "1969-12-31T23:59:59+00", "2024-02-29T23:30:00-02", "9999-12-31T23:59:59+00"]
)
def test_database_and_walk_mean_the_same_periods(workspace: Workspace, at: str) -> None:
    table = table_of(workspace)
    with database.cursor() as cursor:
        cursor.execute("SELECT email_logs_periods(%s, %s::timestamptz)", [table.pk, at])
        [(stored,)] = cursor.fetchall()
    moment = datetime.fromisoformat(f"{at}:00").astimezone(UTC)
    day = moment.date()
    keys = (periods.day_key(table.pk, day), periods.month_key(table.pk, day.year, day.month))
    assert stored == [*keys, periods.year_key(table.pk, day.year)]


MOMENTS = st.datetimes(datetime(2015, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))


@given(MOMENTS, MOMENTS, MOMENTS)
def test_walk_covers_every_moment_between_its_ends_once(begin: datetime, end: datetime, moment: datetime) -> None:
    found = list(periods.walk(periods.uuid.UUID(int=7), begin, end))
    holding = [period for period in found if period.start <= moment < period.end]
    if min(begin, end) <= moment <= max(begin, end):
        assert len(holding) == 1
    assert len(holding) <= 1
    starts = [period.start for period in found]
    assert starts == sorted(starts, reverse=end < begin)


def test_walk_ends_with_the_calendar() -> None:
    last = datetime.combine(date.max, datetime.max.time(), UTC)
    assert list(periods.walk(periods.uuid.UUID(int=7), last - timedelta(days=500), last))
    assert list(periods.walk(periods.uuid.UUID(int=7), datetime(1, 2, 1, tzinfo=UTC), datetime(1, 1, 1, tzinfo=UTC)))
