"""Retention: days leave whole, with their events, after they were counted; what is on its way stays. Work that is
settled leaves after a day, and its entry stays."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from core.ids import oldest_kept, uuid7
from core.work import WorkStatus
from email_logs.models import DeliveryEvent, EmailLogDay, EmailLogEntry, EmailLogTable, OutgoingEmail
from email_logs.services import days, keeping, outgoing
from email_logs.states import State
from email_logs.tests.logged import entry, log_table, move, old_id
from workspaces.models import Workspace

pytestmark = pytest.mark.django_db(transaction=True)


def told(table: EmailLogTable, entry_id: uuid.UUID | None, **columns: Any) -> DeliveryEvent:
    return DeliveryEvent.objects.create(
        workspace_id=table.workspace_id, table=table, entry_id=entry_id, event_key=str(uuid7()), kind="delivered",
        at=timezone.now(), **columns,
    )  # fmt: skip


def sent(table: EmailLogTable, ago: float, **columns: Any) -> EmailLogEntry:
    at = timezone.now() - timedelta(days=ago)
    return entry(table, id=old_id(at), sent_at=at, **columns)


def left() -> set[uuid.UUID]:
    return set(EmailLogEntry.objects.values_list("pk", flat=True))


@pytest.mark.parametrize("keep", [0, -5])
def test_by_default_everything_is_kept(workspace: Workspace, settings: Any, keep: int) -> None:
    settings.EMAIL_LOG_KEEP_DAYS = keep
    row = sent(log_table(workspace), 4000)
    assert keeping.forget_old() == 0
    assert left() == {row.pk}


def test_old_days_go_whole_with_their_events_and_stay_counted(
    workspace: Workspace, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.EMAIL_LOG_KEEP_DAYS = 30
    monkeypatch.setattr(keeping, "CHUNK", 2)
    table = log_table(workspace)
    old = [sent(table, 32 + number, state=State.BOUNCED) for number in range(5)]
    begin = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=30)
    kept = entry(table, id=old_id(begin), sent_at=begin)
    gone = entry(table, id=old_id(begin), sent_at=begin - timedelta(microseconds=1))
    for row in (*old, gone, kept):
        told(table, row.pk)
    assert keeping.forget_old() == 6
    assert left() == {kept.pk}
    assert [event.entry_id for event in DeliveryEvent.objects.all()] == [kept.pk]
    assert sum(EmailLogDay.objects.values_list("count", flat=True)) == 7  # though nobody had counted before
    assert days.estimate([table.pk]) == 1


def test_counts_of_removed_days_do_not_change_when_a_day_is_touched_again(workspace: Workspace, settings: Any) -> None:
    settings.EMAIL_LOG_KEEP_DAYS = 30
    table = log_table(workspace)
    waiting = sent(table, 40, state=State.QUEUED)
    OutgoingEmail.objects.create(entry_id=waiting.pk, workspace=workspace, table=table)
    sent(table, 40, state=State.ACCEPTED)
    keeping.forget_old()
    assert left() == {waiting.pk}  # on its way
    move(waiting, State.FAILED)
    days.count_changed()
    assert {day.state: day.count for day in EmailLogDay.objects.all()} == {"queued": 1, "accepted": 1}


def test_events_nobody_knows_go_after_a_month_and_those_of_mails_stay(workspace: Workspace) -> None:
    table = log_table(workspace)
    old = oldest_kept(31)
    told(table, None, id=old)
    kept = {told(table, None, id=oldest_kept(29)).pk, told(table, entry(table).pk, id=uuid.UUID(int=old.int + 1)).pk}
    assert keeping.forget_old() == 1
    assert set(DeliveryEvent.objects.values_list("pk", flat=True)) == kept


def test_removal_stops_at_its_deadline_and_goes_on_next_time(workspace: Workspace, settings: Any) -> None:
    settings.EMAIL_LOG_KEEP_DAYS = 30
    sent(log_table(workspace), 40)
    assert keeping.forget_old(seconds=0) == 0
    assert keeping.forget_old() == 1


def test_work_that_is_settled_goes_with_its_key_after_a_day_and_its_entry_stays(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "CHUNK", 2)
    table, hour = log_table(workspace), timedelta(hours=1)

    def work(status: WorkStatus, ended: timedelta | None) -> OutgoingEmail:
        given = {"entry_id": entry(table).pk, "workspace": workspace, "table": table, "status": status}
        at = timezone.now() - (ended or outgoing.KEEP + hour)
        return OutgoingEmail.objects.create(created_at=at, finished_at=at if ended else None, **given)

    for status in (WorkStatus.DONE, WorkStatus.FAILED, WorkStatus.DONE):
        work(status, outgoing.KEEP + hour)
    kept = [
        work(WorkStatus.DONE, outgoing.KEEP - hour),
        work(WorkStatus.FAILED, outgoing.KEEP - hour),
        work(WorkStatus.QUEUED, None),
        work(WorkStatus.RUNNING, None),
    ]
    assert keeping.forget_old() == 3
    assert set(OutgoingEmail.objects.values_list("pk", flat=True)) == {row.pk for row in kept}
    assert len(left()) == 7
