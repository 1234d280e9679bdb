"""Which syncs are forgotten, which stay, and what forgetting costs: a portion at a time, by an index, side by side."""

from __future__ import annotations

import json
import threading
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection as database
from django.db import transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from core.ids import least_at, uuid7
from core.work import WorkStatus
from integrations import tasks
from integrations.models import Connection, CoverageCheck, SyncRun
from integrations.services import keeping, schedule, standing
from integrations.tests.factories import ConnectionFactory, SyncRunFactory, SyncStateFactory
from workspaces.models import PeriodicSlot
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db


def made(days: float) -> dict[str, Any]:
    """What a row that was made so long ago has."""
    at = timezone.now() - timedelta(days=days)
    return {"id": uuid.UUID(int=least_at(at).int | uuid7().int & ((1 << 80) - 1)), "at": at}


def run(connection: Connection, days: float, **columns: Any) -> SyncRun:
    """One that was made and ended so long ago, by itself, and found nothing."""
    when = made(days)
    given = {"status": WorkStatus.DONE, "type": "email", "finished_at": when["at"], **columns}
    return SyncRun.objects.create(id=when["id"], connection=connection, created_at=when["at"], **given)


def check(connection: Connection, days: float, **columns: Any) -> CoverageCheck:
    when = made(days)
    given = {"type": "email", "began_at": when["at"], "ended_at": when["at"], **columns}
    return CoverageCheck.objects.create(id=when["id"], connection=connection, **given)


def left() -> set[uuid.UUID]:
    return set(SyncRun.objects.values_list("pk", flat=True))


@pytest.fixture
def connection() -> Connection:
    """With a run of today, so that no older one is its last."""
    found: Connection = ConnectionFactory()
    run(found, 0)
    return found


FOUND = {"added": {"added": 1}, "changed": {"changed": 1}, "removed": {"removed": 1}}
ASKED = {trigger: {"trigger": trigger} for trigger in ("user", "connect", "change", "accept", "scope")}
FAILED = {"failed": {"status": WorkStatus.FAILED, "error_code": "provider_unavailable"}}


@pytest.mark.parametrize(
    "columns", [*FOUND.values(), *ASKED.values(), *FAILED.values()], ids=[*FOUND, *ASKED, "failed"]
)
def test_run_that_did_something_failed_or_was_asked_for_is_kept_a_month(
    connection: Connection, columns: dict[str, Any]
) -> None:
    kept, old = run(connection, 29, **columns), run(connection, 31, **columns)
    assert keeping.forget_old() == 1
    assert kept.pk in left()
    assert old.pk not in left()


@pytest.mark.parametrize("trigger", ["schedule", "push"])
def test_run_that_found_nothing_is_kept_over_a_weekend(connection: Connection, trigger: str) -> None:
    kept, old = run(connection, 2.9, trigger=trigger), run(connection, 3.1, trigger=trigger)
    assert keeping.forget_old() == 1
    assert kept.pk in left()
    assert old.pk not in left()


@pytest.mark.parametrize(
    ("days", "gone"), [(0, set()), (-5, set()), (1, {2, 9, 50}), (8, {9, 50}), (40, {50}), (36_500, set())]
)
def test_days_that_are_kept_are_the_operators(connection: Connection, settings: Any, days: int, gone: set[int]) -> None:
    settings.SYNC_HISTORY_KEEP_DAYS = days
    runs = {age: run(connection, age, added=1).pk for age in (0.5, 2, 9, 50)}
    assert keeping.forget_old() == len(gone)
    assert {age for age, pk in runs.items() if pk not in left()} == gone


def test_runs_that_found_nothing_are_kept_no_longer_than_others(connection: Connection, settings: Any) -> None:
    settings.SYNC_HISTORY_KEEP_DAYS = 1
    run(connection, 1.5)
    assert keeping.forget_old() == 1


def test_last_run_of_each_kind_stays_however_old_it_is() -> None:
    connection: Connection = ConnectionFactory()
    mail = [run(connection, days) for days in (90, 60, 40)]
    calendar = [run(connection, days, type="calendar", status=WorkStatus.FAILED) for days in (95, 70)]
    other = run(ConnectionFactory(), 99, added=5)
    assert keeping.forget_old() == 3
    assert left() == {mail[-1].pk, calendar[-1].pk, other.pk}


def test_run_under_way_stays_however_old_it_is(connection: Connection) -> None:
    queued = run(connection, 50, type="calendar", status=WorkStatus.QUEUED, finished_at=None)
    run(connection, 0.1, type="calendar")
    running = run(connection, 50, status=WorkStatus.RUNNING, finished_at=None)
    assert keeping.forget_old() == 0
    assert {queued.pk, running.pk} <= left()


def test_run_is_as_old_as_its_end(connection: Connection) -> None:
    """A first sync of a large mailbox takes its time."""
    long = run(connection, 35, added=9, finished_at=timezone.now() - timedelta(days=20))
    assert keeping.forget_old() == 0
    assert long.pk in left()


def test_comparisons_that_are_shown_or_under_way_stay_and_older_ones_go() -> None:
    connection: Connection = ConnectionFactory()
    stale = [check(connection, 31 + number) for number in range(standing.CHECKS_SHOWN + 4)]
    calendar = check(connection, 80, type="calendar")
    under_way = check(connection, 40, ended_at=None)
    recent = [check(ConnectionFactory(), number) for number in (1, 29)]
    assert keeping.forget_old() == 4
    kept = {row.pk for row in (*stale[: standing.CHECKS_SHOWN], calendar, under_way, *recent)}
    assert set(CoverageCheck.objects.values_list("pk", flat=True)) == kept


def test_status_answers_the_same_before_and_after(member: Actor) -> None:
    how = {"user": member.user, "workspace": member.workspace}
    well, failing, resting = (ConnectionFactory(**how, paused=number == 2) for number in range(3))
    for row in (well, failing, resting):
        SyncStateFactory(connection=row)
        for days in range(60, 33, -1):
            run(row, days, added=days % 3)
            check(row, days, remote=days)
    run(well, 4)
    run(failing, 33, status=WorkStatus.FAILED, error_code="provider_rejected", error_message="Over quota.")
    SyncRunFactory(connection=well, status=WorkStatus.RUNNING, started_at=timezone.now(), done=5, total=10)

    def shown() -> str:
        paths = [f"connections/{row.pk}/status" for row in (well, failing, resting)]
        answers = [member.client.get(f"/api/v1/integrations/{path}").json() for path in ("connections", *paths)]
        for answer in answers[1:]:
            answer["email"]["progress"].pop("etaSeconds", None)  # goes by the clock
        return json.dumps(answers)

    before = shown()
    assert "Over quota." in before
    assert keeping.forget_old() == (27 + 1) + 27 + 26 + 3 * (27 - standing.CHECKS_SHOWN)
    assert shown() == before


def test_schedule_goes_on_the_same(connection: Connection) -> None:
    """It looks at what is under way and at the last minutes: a storm of notifications stays one."""
    SyncStateFactory(connection=connection, next_sync_at=timezone.now())
    for seconds in range(1, 13, 2):
        run(connection, seconds / 86_400, trigger="push")
    run(connection, 10)
    assert keeping.forget_old() == 1
    assert (schedule.start_due(), schedule.lag_seconds()) == (0, 0.0)


def test_task_forgets_once_in_its_time(connection: Connection) -> None:
    for expected in (1, 2):
        run(connection, 40)
        tasks.forget_old()
        assert SyncRun.objects.count() == expected
    PeriodicSlot.objects.all().delete()
    tasks.forget_old()
    assert SyncRun.objects.count() == 1


# --- what it costs ------------------------------------------------------------------------------------------------


def test_portions_go_on_to_the_end_and_each_is_two_statements(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "CHUNK", 5)
    counts = []
    for rows in (5, 15):
        for _ in range(rows):
            run(connection, 40, added=1)
        with CaptureQueriesContext(database) as captured:
            assert keeping.forget_old() == rows
        counts.append(len([row for row in captured if row["sql"].startswith(("SELECT", "DELETE"))]))
    assert counts == [5, 9]  # a look at quiet ones and comparisons, one after the last portion, and two for each
    assert left() == {run.pk for run in SyncRun.objects.filter(created_at__gt=timezone.now() - timedelta(days=1))}


def test_removal_stops_at_its_deadline_and_goes_on_next_time(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "CHUNK", 2)
    for _ in range(5):
        run(connection, 40)
    assert keeping.forget_old(seconds=0) == 0
    clock = iter(range(100))
    monkeypatch.setattr(keeping.time, "monotonic", lambda: next(clock))
    assert keeping.forget_old(seconds=1.5) == 2
    monkeypatch.undo()
    assert keeping.forget_old() == 3


def test_cost_follows_what_goes_and_not_what_is_kept(connection: Connection) -> None:
    """Each look goes along an index over what is old enough, and asks for the last run of a kind by another one."""
    SyncRun.objects.bulk_create(SyncRun(**_columns(connection, 4 + number / 200, added=1)) for number in range(4000))
    SyncRun.objects.bulk_create(SyncRun(**_columns(connection, 1 + number / 4000)) for number in range(4000))
    SyncRun.objects.bulk_create(SyncRun(**_columns(connection, 5)) for _ in range(20))
    with database.cursor() as cursor:
        cursor.execute("ANALYZE integrations_syncrun")
    with CaptureQueriesContext(database) as captured:
        assert keeping.forget_old() == 20
    looks = [row["sql"] for row in captured if row["sql"].startswith("SELECT") and "_syncrun" in row["sql"]]
    assert len(looks) == 2
    for sql in looks:
        with database.cursor() as cursor:
            cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}")
            [[[tree]]] = cursor.fetchall()
        assert _read(tree["Plan"]) <= 100, json.dumps(tree, indent=1)
        assert "Seq Scan" not in json.dumps(tree)


def _columns(connection: Connection, days: float, **more: Any) -> dict[str, Any]:
    when = made(days)
    times = {"created_at": when["at"], "finished_at": when["at"]}
    return {"id": when["id"], "connection": connection, "type": "email", "status": WorkStatus.DONE, **times, **more}


def _read(plan: dict[str, Any]) -> float:
    """Rows that the parts of a plan read or threw away."""
    own = (plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)) * plan["Actual Loops"]
    return float(own) + sum(_read(below) for below in plan.get("Plans", ()))


def test_a_connections_standing_reads_the_last_run_of_each_kind_only(connection: Connection) -> None:
    for kind in ("email", "calendar"):
        SyncRun.objects.bulk_create(SyncRun(**_columns(connection, 1 + n / 500, type=kind)) for n in range(500))
    last = {kind: connection.runs.filter(type=kind).order_by("-created_at").first() for kind in ("email", "calendar")}
    with database.cursor() as cursor:
        cursor.execute("ANALYZE integrations_syncrun")
    with CaptureQueriesContext(database) as captured:
        assert {kind: stands.run for kind, stands in standing.of(connection).items() if stands.run} == last
    [sql] = [row["sql"] for row in captured if "_syncrun" in row["sql"]]
    with database.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}")
        [[[tree]]] = cursor.fetchall()
    assert _read(tree["Plan"]) <= 20, json.dumps(tree, indent=1)


@pytest.mark.django_db(transaction=True)
def test_what_somebody_else_is_at_is_not_waited_for(connection: Connection) -> None:
    held, free = run(connection, 40), run(connection, 41)
    counts: list[int] = []

    def other() -> None:
        try:
            counts.append(keeping.forget_old())
        finally:
            database.close()

    with transaction.atomic():
        assert SyncRun.objects.select_for_update().get(pk=held.pk)
        worker = threading.Thread(target=other)
        worker.start()
        worker.join(20)
        assert counts == [1]
    assert held.pk in left()
    assert free.pk not in left()
    assert keeping.forget_old() == 1


@pytest.mark.django_db(transaction=True)
def test_workers_at_once_forget_each_run_once_and_keep_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "CHUNK", 7)
    connections = [ConnectionFactory() for _ in range(4)]
    SyncRun.objects.bulk_create(
        SyncRun(**_columns(row, 40 + number / 24)) for row in connections for number in range(100)
    )
    begin, counts = threading.Barrier(4), list[int]()

    def worker() -> None:
        try:
            begin.wait(20)
            counts.append(keeping.forget_old())
        finally:
            database.close()

    workers = [threading.Thread(target=worker) for _ in range(4)]
    for thread in workers:
        thread.start()
    for thread in workers:
        thread.join(60)
    assert len(counts) == 4  # none broke
    assert sum(counts) + keeping.forget_old() == 4 * 99
    last = {row.runs.order_by("-created_at").values_list("pk", flat=True).get() for row in connections}
    assert left() == last
    assert all(row.created_at > timezone.now() - timedelta(days=40.1) for row in SyncRun.objects.all())
