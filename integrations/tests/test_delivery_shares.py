"""Shares of the workers: one endpoint that is dead, slow or busy costs the others nothing (DESIGN 6; ADR 0024)."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection as database
from django.utils import timezone

from core import holder
from core.ids import uuid7
from core.work import WorkStatus
from integrations.models import Delivery, Integration, Subscription
from integrations.providers.webhook import Webhook
from integrations.services import delivering, delivery_turns, subscriptions
from integrations.tests.deliveries import happen, hook, pass_time, receiver, told
from simulator.process import Simulator
from simulator.receiver_client import Receiver
from workspaces.tests.fixtures import Actor

pytestmark = [pytest.mark.django_db(transaction=True)]

DEAD = "http://127.0.0.1:9/nobody"
WORKERS = 8


@pytest.fixture(autouse=True)
def _eight_workers(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """And endpoints that say nothing are given up a little sooner."""
    settings.DELIVERY_CONCURRENCY = WORKERS
    monkeypatch.setattr(Webhook, "timeout", 8.0)


def taken(row: Integration) -> bool:
    return delivery_turns.take(row.pk) is not None


def due(row: Integration, count: int) -> None:
    """Rows that wait, as a fan-out makes them."""
    now = timezone.now()
    Delivery.objects.bulk_create(
        Delivery(
            workspace_id=row.workspace_id, integration=row, event_id=uuid7(), event_type="email.sent", event_at=now,
            body='{"type":"email.sent","timestamp":"","data":{}}',
        )
        for _ in range(count)
    )  # fmt: skip


class Workers:
    """As many threads as the product has, woken by rings, each doing what the task does."""

    def __init__(self, count: int) -> None:
        self.rung: list[object] = []
        self.changed = threading.Condition()
        self.over = False
        self.threads = [threading.Thread(target=self._run, daemon=True) for _ in range(count)]
        for thread in self.threads:
            thread.start()

    def ring(self, integration_id: object) -> None:
        with self.changed:
            self.rung.append(integration_id)
            self.changed.notify()

    def ring_if_quiet(self, integration_id: object) -> None:
        if subscriptions.claim_ring(integration_id):  # type: ignore[arg-type] # its id
            self.ring(integration_id)

    def _run(self) -> None:
        try:
            while (pk := self._next()) is not None:
                subscriptions.begun(pk)  # type: ignore[arg-type] # its id
                if delivering.work(pk, call_help=lambda pk=pk: self.ring_if_quiet(pk)):  # type: ignore[arg-type, misc]
                    self.ring_if_quiet(pk)
        finally:
            database.close()

    def _next(self) -> object:
        with self.changed:
            self.changed.wait_for(lambda: self.rung or self.over)
            return self.rung.pop(0) if self.rung and not self.over else None


@contextmanager
def working(count: int = WORKERS) -> Iterator[Workers]:
    """Workers, and a tick every half second."""
    workers, over = Workers(count), threading.Event()

    def beat() -> None:
        while not over.wait(0.5):
            for pk in subscriptions.unattended():
                workers.ring(pk)
        database.close()

    beating = threading.Thread(target=beat, daemon=True)
    beating.start()
    try:
        yield workers
    finally:
        over.set()
        beating.join(10)
        with workers.changed:
            workers.over = True
            workers.changed.notify_all()
        for thread in workers.threads:
            thread.join(30)


def arrive(endpoints: list[Receiver], count: int, *, within: float) -> float:
    """Wait until each endpoint has so many; how long it took."""
    began = time.monotonic()
    while any(len(endpoint.received()) < count for endpoint in endpoints):
        assert time.monotonic() - began < within, [len(endpoint.received()) for endpoint in endpoints]
        threading.Event().wait(0.05)
    return time.monotonic() - began


# --- the rules ----------------------------------------------------------------------------------------------------


def test_quick_endpoint_is_sent_a_few_at_a_time(admin: Actor, simulator: Simulator) -> None:
    row = hook(admin, DEAD)
    due(row, 10)
    assert [taken(row) for _ in range(5)] == [True] * delivery_turns.PER_INTEGRATION + [False]


@pytest.mark.parametrize("how", ["failures", "slow"])
def test_endpoint_that_failed_or_was_slow_is_sent_one_at_a_time(admin: Actor, simulator: Simulator, how: str) -> None:
    row = hook(admin, DEAD)
    due(row, 10)
    Subscription.objects.update(**{how: 1})
    assert [taken(row) for _ in range(2)] == [True, False]


def test_endpoint_that_says_nothing_gets_no_second_one_meanwhile(admin: Actor, simulator: Simulator) -> None:
    row = hook(admin, DEAD)
    due(row, 10)
    assert taken(row)
    pass_time(delivery_turns.SILENT_SECONDS + 1)
    assert not taken(row)


def test_endpoints_that_fail_have_half_of_the_workers_and_others_the_rest(
    admin: Actor, outsider: Actor, simulator: Simulator
) -> None:
    bad = [hook(admin, DEAD, name=f"Bad {number}") for number in range(6)]
    good = hook(outsider, DEAD)
    for row in (*bad, good):
        due(row, 10)
    Subscription.objects.filter(integration__in=bad).update(failures=3)
    assert [taken(row) for row in bad] == [True] * 4 + [False] * 2
    assert [taken(good) for _ in range(4)] == [True] * 4


def test_workspace_has_three_quarters_of_the_workers_at_most(
    admin: Actor, outsider: Actor, simulator: Simulator
) -> None:
    own = [hook(admin, DEAD, name=f"Hook {number}") for number in range(3)]
    other = hook(outsider, DEAD)
    for row in (*own, other):
        due(row, 10)
    assert sum(taken(row) for row in own for _ in range(4)) == 6
    assert taken(other)


def test_share_of_a_worker_that_died_is_free_when_its_kernel_says_so(
    admin: Actor, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = hook(admin, DEAD)
    due(row, 1)
    assert taken(row)
    assert delivery_turns.forget_dead() == 0
    monkeypatch.setattr(holder, "is_dead", lambda name: True)
    assert delivery_turns.forget_dead() == 1
    assert taken(row)
    assert Delivery.objects.get().attempt_count == 2


def test_ring_is_one_until_somebody_begins(admin: Actor, simulator: Simulator) -> None:
    row = hook(admin, DEAD)
    due(row, 5)
    assert [subscriptions.claim_ring(row.pk) for _ in range(3)] == [True, False, False]
    assert subscriptions.unattended() == []
    subscriptions.begun(row.pk)
    assert subscriptions.unattended() == [row.pk]
    pass_time(subscriptions.RING_AGAIN.total_seconds() + 1)
    assert subscriptions.unattended() == [row.pk]  # the message was lost with its broker


# --- with workers -------------------------------------------------------------------------------------------------


def test_figures_say_how_much_is_due_and_how_late(admin: Actor, simulator: Simulator) -> None:
    row = hook(admin, DEAD)
    due(row, 3)
    pass_time(30)
    assert delivery_turns.due().count() == 3
    assert 29 < delivery_turns.lag_seconds() < 60
    Subscription.objects.update(not_before=timezone.now() + timedelta(seconds=60))
    assert (delivery_turns.due().count(), delivery_turns.lag_seconds()) == (0, 0.0)


def test_ten_thousand_due_for_a_dead_endpoint_keep_nobody_waiting(
    admin: Actor, outsider: Actor, simulator: Simulator
) -> None:
    """The dead one takes connections and says nothing: the worst there is."""
    hanging = receiver(simulator, "hanging")
    hanging.answer(200, delay=60)
    dead = hook(admin, hanging.url)
    due(dead, 10_000)
    endpoints = [receiver(simulator, f"alive-{number}") for number in range(4)]
    for number, endpoint in enumerate(endpoints):
        hook(admin if number % 2 else outsider, endpoint.url, name=f"Alive {number}")
    with working() as workers:
        workers.ring(dead.pk)
        threading.Event().wait(1)
        happen(admin.workspace, times=5)
        happen(outsider.workspace, times=5)
        for actor in (admin, outsider):
            for pk in told(actor.workspace):
                workers.ring_if_quiet(pk)
        arrive(endpoints, 5, within=60)
        assert len(hanging.received()) < WORKERS, "all of them wait for it"
    assert Delivery.objects.filter(integration=dead, status=WorkStatus.QUEUED).count() >= 9_990


def test_twenty_subscribers_of_which_ten_are_dead_or_slow_are_all_served(
    admin: Actor, outsider: Actor, simulator: Simulator
) -> None:
    good = [receiver(simulator, f"good-{number}") for number in range(10)]
    for number, endpoint in enumerate(good):
        hook(admin if number % 2 else outsider, endpoint.url, name=f"Good {number}")
    for number in range(10):
        actor, slow = (admin if number % 2 else outsider), receiver(simulator, f"slow-{number}")
        slow.answers({"status": 200, "delay": 2}, {"status": (500, 503, 429)[number % 3]})
        hook(actor, slow.url if number < 6 else DEAD, name=f"Bad {number}")
    Subscription.objects.filter(integration__name__startswith="Bad").update(failures=1)
    with working(16) as workers:
        for actor in (admin, outsider):
            happen(actor.workspace, times=10)
            for pk in told(actor.workspace):
                workers.ring_if_quiet(pk)
        arrive(good, 10, within=60)
    done = Delivery.objects.filter(integration__name__startswith="Good")
    assert not done.exclude(status=WorkStatus.DONE, attempt_count=1).exists()
    ids = [got.headers["webhook-id"] for endpoint in good for got in endpoint.received()]
    assert len(ids) == len(set(ids)) == 100
