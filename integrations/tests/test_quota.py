"""A mailbox's budget: never more than the provider grants within any window, and nearly all of it."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
import uuid
from datetime import timedelta

import pytest
from django.db import connection as database
from django.db.models.functions import Now
from django.utils import timezone

from core.errors import BudgetSpent
from integrations.models import Connection, QuotaBudget, QuotaSlot
from integrations.services import quota
from integrations.services.quota import Budget
from integrations.tests.factories import ConnectionFactory


def budget(connection: Connection, units: int = 6000, window_seconds: float = 60.0, slots: int = 0) -> Budget:
    return Budget(connection.pk, "email", units, window_seconds, slots)


@pytest.fixture
def connection() -> Connection:
    return ConnectionFactory()


def most_within(spent: list[tuple[float, int]], seconds: float) -> int:
    """The most that was spent within any window of this length."""
    return max(sum(units for at, units in spent if start <= at < start + seconds) for start, _ in spent)


@pytest.mark.django_db
def test_budget_with_work_is_used_up_and_never_overdrawn(connection: Connection) -> None:
    """1,000 units in two seconds, asked for by parts; `make bench` measures the share over minutes."""
    meter = budget(connection, units=1000, window_seconds=2.0)
    spent: list[tuple[float, int]] = []
    begun = time.monotonic()
    while time.monotonic() - begun < 2.4:
        meter.spend(5)
        spent.append((time.monotonic(), 5))
    assert most_within(spent, 1.95) <= 1000
    assert sum(units for _, units in spent) >= 0.9 * 1200


@pytest.mark.django_db(transaction=True)
def test_budget_is_shared_by_all_workers(connection: Connection) -> None:
    spent: list[tuple[float, int]] = []
    until = time.monotonic() + 1.0

    def worker() -> None:
        try:
            while time.monotonic() < until:
                budget(connection, units=1000, window_seconds=0.5).spend(10)
                spent.append((time.monotonic(), 10))
        finally:
            database.close()

    threads = [threading.Thread(target=worker) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert most_within(spent, 0.46) <= 1000
    assert QuotaBudget.objects.count() == 1


@pytest.mark.django_db
def test_wait_that_is_too_long_goes_back_to_the_schedule_with_the_time_left(connection: Connection) -> None:
    meter = budget(connection)
    meter.spend(120)
    meter.spend(0)
    QuotaBudget.objects.update(level=-900, refilled_at=Now())
    with pytest.raises(BudgetSpent) as refused:
        meter.spend(20)
    assert refused.value.retry_after == pytest.approx((900 + 20) / 96, abs=0.5)


@pytest.mark.django_db
def test_spend_larger_than_the_burst_goes_once_the_bucket_is_full(connection: Connection) -> None:
    meter = budget(connection)
    meter.spend(0)
    QuotaBudget.objects.update(level=120, refilled_at=Now())
    meter.spend(1000)
    assert QuotaBudget.objects.get().level == pytest.approx(120 - 1000)


@pytest.mark.django_db
def test_new_bucket_begins_with_more_and_fills_that_much_later(connection: Connection) -> None:
    """The first 50 mails of a mailbox at once (20 units each); what was lent is paid back before the bucket fills."""
    waits: list[float] = []
    meter = Budget(connection.pk, "email", 6000, 60.0, wait=waits.append)
    for _ in range(20):
        meter.spend(60)
    assert waits == []
    with pytest.raises(BudgetSpent) as refused:
        meter.spend(60)
    assert refused.value.retry_after == pytest.approx((1200 - 120) / 96 + 60 / 96, abs=0.5)


@pytest.mark.django_db
def test_persons_request_goes_ahead_by_what_is_reserved(connection: Connection) -> None:
    waits: list[float] = []
    meter = Budget(connection.pk, "email", 6000, 60.0, wait=waits.append)
    meter.spend(1200)
    with quota.urgently():
        meter.spend(100)
    assert waits == []
    QuotaBudget.objects.update(level=-800)
    with quota.urgently(), pytest.raises(BudgetSpent):
        meter.spend(1)


@pytest.mark.django_db
def test_providers_own_word_closes_the_budget_for_everybody(connection: Connection) -> None:
    meter = budget(connection)
    meter.throttled(90)
    meter.throttled(30)
    with quota.urgently(), pytest.raises(BudgetSpent) as refused:
        budget(connection).spend(1)
    assert refused.value.retry_after == pytest.approx(90, abs=1)
    budget(ConnectionFactory()).spend(1)


# --- slots --------------------------------------------------------------------------------------------------------


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quota, "PATIENCE_SECONDS", 0.1)


@pytest.mark.django_db
@pytest.mark.usefixtures("hurried")
def test_slots_are_as_many_as_the_provider_allows_and_come_back(connection: Connection) -> None:
    meter = budget(connection, slots=2)
    with meter.slot(), meter.slot(), pytest.raises(BudgetSpent), meter.slot():
        pytest.fail("a third request must not go")
    with meter.slot(), meter.slot():
        assert QuotaSlot.objects.filter(holder__isnull=False).count() == 2


@pytest.mark.django_db
@pytest.mark.usefixtures("hurried")
def test_batch_takes_as_many_slots_as_its_parts_or_none(connection: Connection) -> None:
    meter = budget(connection, slots=4)
    with meter.slot(3), meter.slot():
        assert QuotaSlot.objects.filter(holder__isnull=False).count() == 4
    with meter.slot(), pytest.raises(BudgetSpent), meter.slot(4):
        pytest.fail("a batch must not go beside a request")
    with meter.slot(20), pytest.raises(BudgetSpent), meter.slot():
        pytest.fail("a request must not go beside a batch")
    assert not QuotaSlot.objects.filter(holder__isnull=False).exists()


def taken_in_turn(connection: Connection, waiting: int, coming: int) -> list[int]:
    """The weights in the order they go, where a second request comes while the first waits."""
    order: list[int] = []

    def waits(seconds: float) -> None:
        if not order:
            with pytest.raises(BudgetSpent), budget(connection, slots=4).slot(coming):
                order.append(coming)
            held.__exit__(None, None, None)
            with pytest.raises(BudgetSpent), budget(connection, slots=4).slot(coming):
                order.append(coming)

    held = budget(connection, slots=4).slot(2)
    held.__enter__()
    with Budget(connection.pk, "email", 6000, 60.0, 4, wait=waits).slot(waiting):
        order.append(waiting)
    with budget(connection, slots=4).slot(coming):
        order.append(coming)
    return order


@pytest.mark.django_db
@pytest.mark.parametrize(("waiting", "coming"), [(4, 1), (3, 4)])
def test_who_waits_for_slots_goes_before_who_comes(
    connection: Connection, waiting: int, coming: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quota, "PATIENCE_SECONDS", 0.2)
    assert taken_in_turn(connection, waiting, coming) == [waiting, coming]


@pytest.mark.django_db(transaction=True)
def test_batches_and_requests_side_by_side_never_are_more_than_allowed(connection: Connection) -> None:
    lock, under_way, seen = threading.Lock(), [0], []

    def worker(weight: int) -> None:
        try:
            for _ in range(6):
                with budget(connection, slots=4).slot(weight):
                    with lock:
                        under_way[0] += weight
                        seen.append((weight, under_way[0]))
                    time.sleep(0.01)
                    with lock:
                        under_way[0] -= weight
        finally:
            database.close()

    threads = [threading.Thread(target=worker, args=(weight,)) for weight in (4, 1, 4, 1, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert max(total for _, total in seen) <= 4
    assert len(seen) == 5 * 6


@pytest.mark.django_db
@pytest.mark.usefixtures("hurried")
def test_slot_of_a_dead_worker_comes_back_when_its_lease_ran_out(connection: Connection) -> None:
    meter = budget(connection, slots=1)
    held = meter.slot()
    held.__enter__()
    with pytest.raises(BudgetSpent):
        meter.slot().__enter__()
    QuotaSlot.objects.update(lease_until="2020-01-01T00:00Z")
    with meter.slot():
        held.__exit__(None, None, None)
        assert QuotaSlot.objects.filter(holder__isnull=False).count() == 1


@pytest.mark.django_db
def test_slots_of_a_killed_worker_come_back_at_once(connection: Connection) -> None:
    """And not those of one that lives, or that only another machine could know of."""
    meter = Budget(connection.pk, "email", 6000, 60.0, 4, wait=lambda seconds: None)
    with meter.slot():
        pass
    child = [sys.executable, "-c", "from core import holder; print(holder.stamp())"]
    dead = subprocess.run(child, capture_output=True, text=True, check=True).stdout.strip()
    elsewhere = uuid.UUID(bytes=b"else" + uuid.UUID(dead).bytes[4:])
    later = timezone.now() + timedelta(seconds=150)
    QuotaSlot.objects.filter(number__in=(1, 2, 3)).update(holder=dead, lease_until=later)
    QuotaSlot.objects.filter(number=4).update(holder=elsewhere, lease_until=later)
    with meter.slot(3):
        assert QuotaSlot.objects.filter(holder=elsewhere).count() == 1
        assert not QuotaSlot.objects.filter(holder=dead).exists()
