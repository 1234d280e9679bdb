"""Fan-out: every event for everybody who asked for its type, from the moment they asked, once."""

from __future__ import annotations

import json
import threading
import uuid
from typing import Any

import pytest
from django.db import connection as database
from django.db import transaction
from django.test.utils import CaptureQueriesContext

from integrations import tasks
from integrations.models import Delivery, Integration, Subscription
from integrations.models.event import SUBSCRIBABLE
from integrations.services import subscriptions
from integrations.tests.deliveries import API, happen, hook, tick, told
from workspaces.models import Workspace
from workspaces.tests.fixtures import Actor

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("simulator")]

NOWHERE = "http://127.0.0.1:9/in"


def types_for(row: Integration) -> list[str]:
    return list(Delivery.objects.filter(integration=row).order_by("id").values_list("event_type", flat=True))


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["*"], ["email.sent", "sync.failed", "connection.recovered"]),
        (["email.*"], ["email.sent"]),
        (["email.sent", "sync.failed"], ["email.sent", "sync.failed"]),
        (["email.received"], []),
        ([], []),
    ],
    ids=["everything", "a-family", "by-name", "another", "nothing"],
)
def test_fan_out_tells_what_was_asked_for_in_the_order_it_happened(
    admin: Actor, patterns: list[str], expected: list[str]
) -> None:
    row = hook(admin, NOWHERE, patterns)
    for type in ("email.sent", "email.updated", "sync.failed", "connection.recovered"):
        happen(admin.workspace, type)
    told(admin.workspace)
    assert [type for type in types_for(row) if not type.startswith("integration.")] == expected


def test_fan_out_stays_in_its_workspace(admin: Actor, outsider: Actor) -> None:
    row, foreign = hook(admin, NOWHERE), hook(outsider, NOWHERE)
    happen(admin.workspace, times=2)
    told(admin.workspace)
    told(outsider.workspace)
    assert (types_for(row), types_for(foreign)) == (["email.sent"] * 2, [])


def test_it_begins_when_it_is_made_and_again_when_it_is_enabled(admin: Actor) -> None:
    happen(admin.workspace, times=3)
    row = hook(admin, NOWHERE)
    assert told(admin.workspace) == []
    happen(admin.workspace, code="on")
    admin.client.patch(f"{API}/{row.pk}", {"enabled": False}, format="json")
    happen(admin.workspace, code="off")
    told(admin.workspace)
    admin.client.patch(f"{API}/{row.pk}", {"enabled": True}, format="json")
    happen(admin.workspace, code="on again")
    told(admin.workspace)
    bodies = Delivery.objects.order_by("id").values_list("body", flat=True)
    assert [json.loads(body)["data"]["code"] for body in bodies] == ["on", "on again"]


def test_new_choice_of_events_holds_from_then_on_and_the_old_one_until_then(admin: Actor) -> None:
    row = hook(admin, NOWHERE, ["email.sent"])
    happen(admin.workspace, "email.sent")
    happen(admin.workspace, "email.failed")
    admin.client.patch(f"{API}/{row.pk}", {"config": {"events": ["email.failed"]}}, format="json")
    happen(admin.workspace, "email.sent")
    happen(admin.workspace, "email.failed")
    told(admin.workspace)
    assert types_for(row) == ["email.sent", "email.failed"]


def test_first_choice_of_events_brings_nothing_of_before(admin: Actor) -> None:
    row = hook(admin, NOWHERE, [])
    happen(admin.workspace, times=2)
    admin.client.patch(f"{API}/{row.pk}", {"config": {"events": ["email.*"]}}, format="json")
    told(admin.workspace)
    assert types_for(row) == []
    happen(admin.workspace)
    told(admin.workspace)
    assert types_for(row) == ["email.sent"]


def test_fan_out_of_many_at_once_makes_one_delivery_of_each(admin: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriptions, "AT_ONCE", 7)
    rows = [hook(admin, NOWHERE, name=f"Hook {number}") for number in range(3)]
    made = happen(admin.workspace, times=40)
    start, errors = threading.Barrier(6), []

    def race() -> None:
        try:
            start.wait(20)
            subscriptions.fan_out(admin.workspace.pk)
        except Exception as error:  # noqa: BLE001 - shown by the assertion
            errors.append(error)
        finally:
            database.close()

    racers = [threading.Thread(target=race) for _ in range(6)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(30)
    assert errors == []
    for row in rows:
        ids = list(Delivery.objects.filter(integration=row).order_by("id").values_list("event_id", flat=True))
        assert ids == [event.pk for event in made]


def test_fan_out_that_is_repeated_from_an_old_position_doubles_nothing(admin: Actor) -> None:
    hook(admin, NOWHERE)
    before = Subscription.objects.values("transaction", "event_id").get()
    happen(admin.workspace, times=5)
    told(admin.workspace)
    Subscription.objects.update(**before)
    told(admin.workspace)
    assert Delivery.objects.count() == 5


def test_event_that_cannot_be_read_yet_is_announced_and_comes_when_it_can(admin: Actor) -> None:
    hook(admin, NOWHERE)
    made, may_commit = threading.Event(), threading.Event()

    def slow() -> None:
        try:
            with transaction.atomic():
                happen(admin.workspace, code="slow")
                made.set()
                may_commit.wait(20)
        finally:
            database.close()

    writer = threading.Thread(target=slow)
    writer.start()
    made.wait(20)
    happen(admin.workspace, code="quick")
    first = subscriptions.fan_out(admin.workspace.pk)
    assert (list(first.integration_ids), first.more_to_come) == ([], True)
    may_commit.set()
    writer.join(20)
    second = subscriptions.fan_out(admin.workspace.pk)
    assert (len(second.integration_ids), second.more_to_come) == (1, False)
    assert Delivery.objects.count() == 2


def test_changing_and_fanning_out_at_once_never_wait_for_each_other(admin: Actor) -> None:
    """Both lock the workspace, then the integration, then its place: no deadlock, whoever is first."""
    row = hook(admin, NOWHERE)
    over, errors = threading.Event(), []

    def fan() -> None:
        try:
            while not over.is_set():
                subscriptions.fan_out(admin.workspace.pk)
        except Exception as error:  # noqa: BLE001 - shown by the assertion
            errors.append(error)
        finally:
            database.close()

    racers = [threading.Thread(target=fan) for _ in range(3)]
    for racer in racers:
        racer.start()
    for number in range(15):
        happen(admin.workspace)
        chosen = ["email.*"] if number % 2 else ["email.sent"]
        answer = admin.client.patch(f"{API}/{row.pk}", {"config": {"events": chosen}}, format="json")
        assert answer.status_code == 200
    over.set()
    for racer in racers:
        racer.join(30)
    told(admin.workspace)
    assert errors == []
    assert Delivery.objects.count() == 15


def test_tick_finds_what_nobody_rang_for_and_nothing_else(admin: Actor, outsider: Actor) -> None:
    hook(admin, NOWHERE)
    hook(outsider, NOWHERE)
    told(admin.workspace)  # past their own integration.created
    told(outsider.workspace)
    happen(admin.workspace)
    assert subscriptions.behind() == [admin.workspace.pk]
    tick()
    assert Delivery.objects.count() == 1
    assert subscriptions.behind() == []


def test_position_of_another_database_is_left_behind_without_telling_anything_twice(admin: Actor) -> None:
    """A dump restored elsewhere: positions lie in the future there, and old rows count anew."""
    hook(admin, NOWHERE)
    happen(admin.workspace, times=2)
    told(admin.workspace)
    Subscription.objects.update(transaction=2**60)
    happen(admin.workspace, code="after")
    assert subscriptions.behind() == [admin.workspace.pk]
    told(admin.workspace)
    assert Delivery.objects.count() == 3
    assert subscriptions.behind() == []


def test_integration_without_a_position_begins_now(admin: Actor) -> None:
    hook(admin, NOWHERE)
    Subscription.objects.all().delete()
    happen(admin.workspace)
    told(admin.workspace)
    assert Delivery.objects.count() == 0
    happen(admin.workspace)
    told(admin.workspace)
    assert Delivery.objects.count() == 1


def test_committed_event_rings_only_where_somebody_listens(
    admin: Actor, outsider: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    rung: list[Any] = []
    monkeypatch.setattr(tasks.fan_out, "apply_async", lambda args, **_: rung.append(args))
    hook(admin, NOWHERE)
    rung.clear()
    happen(admin.workspace)
    happen(outsider.workspace)
    happen(admin.workspace, "email.updated")
    with transaction.atomic():
        happen(admin.workspace)
        assert len(rung) == 1
        transaction.set_rollback(True)
    assert rung == [(str(admin.workspace.pk), 0)]


def test_fan_out_of_a_full_read_costs_a_few_statements(admin: Actor, workspace: Workspace) -> None:
    hook(admin, NOWHERE)
    happen(workspace, times=50)
    with CaptureQueriesContext(database) as captured:
        subscriptions.fan_out(workspace.pk)
    assert len(captured) <= 12, [query["sql"][:90] for query in captured]
    assert Delivery.objects.count() == 50


def test_every_event_that_can_be_chosen_fits_a_delivery() -> None:
    longest = Delivery._meta.get_field("event_type").max_length
    assert longest is not None
    assert all(len(type) <= longest for type in SUBSCRIBABLE)
    assert len(Delivery(id=uuid.uuid4()).message_id) == 36
