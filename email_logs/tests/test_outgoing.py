"""The queue of mail: who is woken, whose turn it is, shares of the workers, and what is forgotten."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection as database
from django.db import transaction
from django.db.models.functions import Now

from email_logs import tasks
from email_logs.models import EmailLogEntry, EmailLogTable, OutgoingEmail
from email_logs.services import outgoing, send_email
from email_logs.tests.postbox import MAIL, Postbox, provider, send
from integrations.models import Integration
from workspaces.tests.fixtures import Actor, make_actor

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("postboxes")]


def queue(actor: Actor, count: int = 1, integration: Integration | None = None) -> EmailLogTable:
    for _ in range(count):
        sent = send_email(workspace=actor.workspace, given=MAIL, integration=integration, at_once=False)
    return EmailLogTable.objects.get(pk=sent.entry.table_id)


@pytest.fixture
def rung(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Tables for which a worker was called."""
    calls: list[str] = []
    monkeypatch.setattr(tasks.send_mail, "delay", calls.append)
    return calls


def test_queued_mail_rings_once_its_transaction_is_through(
    admin: Actor, rung: list[str], django_capture_on_commit_callbacks: Any
) -> None:
    provider(admin)
    with django_capture_on_commit_callbacks(execute=True):
        table = queue(admin, 3)
        assert rung == []
    assert rung == [str(table.pk)]


def test_mail_of_a_transaction_that_is_rolled_back_was_never_there(admin: Actor, rung: list[str]) -> None:
    provider(admin)
    with transaction.atomic():
        queue(admin)
        transaction.set_rollback(True)
    assert (EmailLogEntry.objects.count(), OutgoingEmail.objects.count(), rung) == (0, 0, [])


def test_worker_sends_all_that_is_due_in_the_order_it_came(admin: Actor) -> None:
    provider(admin)
    for number in range(5):
        send_email(workspace=admin.workspace, given=MAIL | {"subject": str(number)}, at_once=False)
    OutgoingEmail.objects.update(next_attempt_at=Now())
    for number, row in enumerate(EmailLogEntry.objects.order_by("id")):
        OutgoingEmail.objects.filter(pk=row.pk).update(next_attempt_at=Now() - timedelta(seconds=5 - number))
    tasks.send_mail(str(EmailLogTable.objects.get().pk))
    assert [mail.subject for _, mail in Postbox.taken] == ["0", "1", "2", "3", "4"]
    assert outgoing.waiting() == 0


def test_slice_ends_after_its_seconds_and_asks_for_more(admin: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    provider(admin)
    table = queue(admin, 3)
    clock = iter(range(0, 1000, 6))
    monkeypatch.setattr(outgoing.time, "monotonic", lambda: float(next(clock)))
    assert outgoing.work(table.pk, call_help=lambda: None) is True
    assert len(Postbox.taken) == 1


def test_table_has_two_workers_at_most_and_calls_for_the_second(admin: Actor) -> None:
    provider(admin)
    table = queue(admin, 4)
    first, second, third = (outgoing.take(table.pk) for _ in range(3))
    assert (first and first.crowded, second and second.crowded, third) == (True, False, None)


def test_all_mail_has_half_of_the_workers_and_a_workspace_three_quarters_of_that(admin: Actor, settings: Any) -> None:
    settings.DELIVERY_CONCURRENCY = 16
    for number in range(5):
        queue(admin, 2, provider(admin, site=False, sender=f"a{number}@mail.example"))
    others = [make_actor(role="OWNER") for _ in range(2)]
    for other in others:
        queue(other, 3, provider(other))
    ours = EmailLogTable.objects.filter(workspace=admin.workspace)
    assert sum(outgoing.take(table.pk) is not None for table in list(ours) * 2) == 6
    theirs = EmailLogTable.objects.exclude(workspace=admin.workspace)
    assert sum(outgoing.take(table.pk) is not None for table in list(theirs) * 2) == 2
    assert OutgoingEmail.objects.filter(status="running").count() == 8


def test_mail_that_a_person_sends_takes_no_workers_place(admin: Actor) -> None:
    provider(admin)
    Postbox.script.extend([(KeyboardInterrupt(),)] * 3)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            send(admin.client)
    table = queue(admin)
    assert OutgoingEmail.objects.filter(status="running", fence=0).count() == 3
    assert outgoing.take(table.pk) is not None


def test_tick_rings_for_what_nobody_sends_and_not_twice(admin: Actor, rung: list[str]) -> None:
    provider(admin)
    table = queue(admin, 2)
    tasks.tick_mail()
    assert rung == [str(table.pk)]
    assert outgoing.unattended() == []
    EmailLogTable.objects.update(rung_at=Now() - timedelta(seconds=31))
    assert outgoing.unattended() == [table.pk]


def test_tick_rings_for_a_mail_whose_sender_died(admin: Actor, rung: list[str]) -> None:
    provider(admin)
    table = queue(admin)
    assert outgoing.take(table.pk) is not None
    assert outgoing.unattended() == []
    OutgoingEmail.objects.update(lease_until=Now() - timedelta(seconds=1))
    assert outgoing.unattended() == [table.pk]


def test_lease_of_a_dead_process_ends_at_once(admin: Actor) -> None:
    from core import holder

    provider(admin)
    table = queue(admin)
    assert outgoing.take(table.pk) is not None
    assert outgoing.forget_dead() == 0
    OutgoingEmail.objects.update(holder=f"{holder.mine()}{2**22 + 1}@1")
    assert outgoing.forget_dead() == 1
    assert outgoing.take(table.pk) is not None


def test_turn_costs_the_same_whatever_waits(admin: Actor, django_assert_max_num_queries: Any) -> None:
    provider(admin)
    table = queue(admin, 20)
    with django_assert_max_num_queries(12):
        assert outgoing.take(table.pk) is not None


def test_table_that_is_gone_is_nobodys_turn() -> None:
    assert outgoing.take(uuid.uuid4()) is None
    assert database.in_atomic_block
