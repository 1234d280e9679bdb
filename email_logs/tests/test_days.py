"""Counts by day: every change is counted once it can be seen, days are those of `sent_at`, what was removed stays."""

from __future__ import annotations

import threading
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.db import connection as database
from django.db import transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from core.ids import uuid7
from email_logs import tasks
from email_logs.models import DayCount, EmailLogDay, EmailLogEntry, EmailLogTable
from email_logs.services import days, following
from email_logs.states import State
from email_logs.tests.logged import entry, log_table, move, new_entry, old_id
from workspaces.models import Workspace
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db(transaction=True)


def cells(table: EmailLogTable) -> dict[tuple[date, str], int]:
    days.count_changed()
    rows = EmailLogDay.objects.filter(table=table).values_list("day", "state", "count")
    return {(day, state): count for day, state, count in rows}


def test_days_count_entries_by_the_day_they_were_sent(workspace: Workspace) -> None:
    table, now = log_table(workspace), timezone.now()
    yesterday = now - timedelta(days=1)
    for at, state in ((now, State.ACCEPTED), (now, State.ACCEPTED), (now, State.BOUNCED), (yesterday, State.FAILED)):
        entry(table, id=old_id(at), sent_at=at, state=state)
    today = now.date()
    assert cells(table) == {
        (today, "accepted"): 2,
        (today, "bounced"): 1,
        (yesterday.date(), "failed"): 1,
    }


def test_late_change_moves_the_count_and_empties_the_old_cell(workspace: Workspace) -> None:
    table, then = log_table(workspace), datetime(2026, 3, 1, 23, 59, 59, tzinfo=UTC)
    row = entry(table, id=old_id(then), sent_at=then)
    assert cells(table) == {(then.date(), "accepted"): 1}
    move(row, State.BOUNCED)
    assert cells(table) == {(then.date(), "bounced"): 1}


def test_mail_that_leaves_after_midnight_is_counted_on_the_day_it_left_alone(workspace: Workspace) -> None:
    table, before = log_table(workspace), datetime(2026, 3, 1, 23, 59, 59, tzinfo=UTC)
    row = entry(table, id=old_id(before), sent_at=before, state=State.QUEUED)
    assert cells(table) == {(date(2026, 3, 1), "queued"): 1}
    move(row, State.ACCEPTED, sent_at=before + timedelta(seconds=2))
    assert cells(table) == {(date(2026, 3, 2), "accepted"): 1}


def test_waiting_mail_that_moves_to_another_providers_log_is_counted_there_alone(workspace: Workspace) -> None:
    table, other = log_table(workspace), log_table(workspace, "other")
    row = entry(table, state=State.QUEUED)
    assert list(cells(table).values()) == [1]
    move(row, State.ACCEPTED, table=other)
    assert cells(table) == {}
    assert list(cells(other).values()) == [1]


def test_entry_of_a_transaction_that_began_first_and_ended_last_is_not_missed(workspace: Workspace) -> None:
    table, written, go_on = log_table(workspace), threading.Event(), threading.Event()

    def slow() -> None:
        try:
            with transaction.atomic():
                entry(table)
                written.set()
                go_on.wait(10)
        finally:
            database.close()

    writer = threading.Thread(target=slow)
    writer.start()
    assert written.wait(10)
    entry(table)  # later, and committed at once
    assert cells(table) == {}  # it waits for the one before it
    go_on.set()
    writer.join()
    assert list(cells(table).values()) == [2]


def test_wrong_count_mends_itself_when_its_day_is_touched(workspace: Workspace) -> None:
    table = log_table(workspace)
    entry(table)
    cells(table)
    EmailLogDay.objects.update(count=77)
    EmailLogDay.objects.create(table=table, day=timezone.now().date(), state=State.UNKNOWN, count=5)
    entry(table)
    assert list(cells(table).values()) == [2]


def test_nothing_changed_costs_a_look_per_table_and_writes_nothing(workspace: Workspace) -> None:
    table = log_table(workspace)
    entry(table)
    cells(table)
    with CaptureQueriesContext(database) as captured:
        assert days.count_changed() == 0
    assert len(captured) == 5  # what waits, the tables, its place, whether that is of this database, what changed
    assert not any(query["sql"].startswith(("INSERT", "UPDATE", "DELETE")) for query in captured)


def test_many_changes_are_followed_in_pages_and_each_is_counted(workspace: Workspace, monkeypatch: Any) -> None:
    monkeypatch.setattr(days, "CHUNK", 7)
    monkeypatch.setattr(days, "PAGES_TOGETHER", 2)
    table, other = log_table(workspace), log_table(workspace, "other")
    EmailLogEntry.objects.bulk_create([new_entry(table) for _ in range(100)])  # all of one transaction
    entry(other)
    assert list(cells(table).values()) == [100]
    assert list(cells(other).values()) == [1]


def test_after_a_restore_entries_are_read_again(workspace: Workspace) -> None:
    table = log_table(workspace)
    entry(table)
    cells(table)
    far = 10**12
    row = entry(table)
    EmailLogEntry.objects.filter(pk=row.pk).update(transaction=far)
    DayCount.objects.update(transaction=far, entry_id=uuid7())
    assert following.adopt_restored() == 1
    assert list(cells(table).values()) == [2]


def test_tick_counts_once_per_period(workspace: Workspace) -> None:
    table = log_table(workspace)
    entry(table)
    tasks.follow()
    assert EmailLogDay.objects.get().count == 1
    entry(table)
    tasks.follow()
    assert EmailLogDay.objects.get().count == 1


# --- the API ------------------------------------------------------------------------------------------------------


def test_stats_show_each_day_and_each_table_and_nothing_of_others(member: Actor, outsider: Actor) -> None:
    table, empty = log_table(member.workspace), log_table(member.workspace, "other")
    two_days_ago = timezone.now() - timedelta(days=2)
    entry(table, id=old_id(two_days_ago), sent_at=two_days_ago, state=State.BOUNCED)
    entry(table)
    entry(log_table(outsider.workspace))
    days.count_changed()
    answer = member.client.get("/api/tables/stats?days=3").json()
    today = timezone.now().date()
    assert answer["days"] == [
        {"day": (today - timedelta(days=2)).isoformat(), "total": 1, "byState": {"bounced": 1}},
        {"day": (today - timedelta(days=1)).isoformat(), "total": 0, "byState": {}},
        {"day": today.isoformat(), "total": 1, "byState": {"accepted": 1}},
    ]
    assert (answer["total"], answer["byState"]) == (2, {"bounced": 1, "accepted": 1})
    assert [(item["id"], item["total"]) for item in answer["tables"]] == [(str(table.pk), 2), (str(empty.pk), 0)]
    assert member.client.get("/api/tables/stats?days=1").json()["total"] == 1


@pytest.mark.parametrize("days_", ["0", "367", "x"])
def test_stats_refuse_spans_that_make_no_sense(member: Actor, days_: str) -> None:
    response = member.client.get(f"/api/tables/stats?days={days_}")
    assert response.status_code == 400
    assert "days" in response.json()["error"]["fields"]


def test_stats_cost_the_same_however_much_there_is(member: Actor) -> None:
    def cost() -> int:
        with CaptureQueriesContext(database) as captured:
            member.client.get("/api/tables/stats")
        return len(captured)

    entry(log_table(member.workspace))
    days.count_changed()
    cost()
    before = cost()
    for number in range(4):
        table = log_table(member.workspace, f"p{number}")
        EmailLogEntry.objects.bulk_create([new_entry(table) for _ in range(20)])
    days.count_changed()
    assert cost() == before
