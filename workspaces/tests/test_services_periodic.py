"""Turns are taken once, heartbeats are told apart."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.db.models.functions import Now

from workspaces import tasks
from workspaces.models import Heartbeat, PeriodicSlot
from workspaces.services import periodic

pytestmark = pytest.mark.django_db


def test_take_slot_is_given_once_per_period() -> None:
    taken = [periodic.take_slot(task="t", period_seconds=86_400 * 365) for _ in range(5)]
    assert taken == [True, False, False, False, False]


def test_take_slot_is_given_again_in_the_next_period() -> None:
    assert periodic.take_slot(task="t", period_seconds=86_400 * 365)
    PeriodicSlot.objects.update(slot=PeriodicSlot.objects.get().slot - 1)
    assert periodic.take_slot(task="t", period_seconds=86_400 * 365)


def test_take_slot_of_another_task_is_its_own() -> None:
    assert periodic.take_slot(task="a", period_seconds=86_400 * 365)
    assert periodic.take_slot(task="b", period_seconds=86_400 * 365)


def test_take_slot_with_a_fraction_of_a_second_works() -> None:
    assert periodic.take_slot(task="t", period_seconds=0.5)


def test_forget_old_slots_keeps_the_recent_ones() -> None:
    periodic.take_slot(task="old", period_seconds=60)
    PeriodicSlot.objects.update(taken_at=Now() - timedelta(days=3))
    periodic.take_slot(task="new", period_seconds=60)
    assert periodic.forget_old_slots() == 1
    assert PeriodicSlot.objects.get().task == "new"


def test_beat_keeps_one_row_per_name_and_moves_its_time() -> None:
    periodic.beat(name="beat")
    Heartbeat.objects.update(at=Now() - timedelta(hours=1))
    assert periodic.seconds_since_beat(name="beat") > 3500
    periodic.beat(name="beat")
    assert Heartbeat.objects.count() == 1
    assert periodic.seconds_since_beat(name="beat") < 60


def test_seconds_since_beat_of_one_that_never_beat_is_none() -> None:
    assert periodic.seconds_since_beat(name="beat") is None


def test_heartbeat_task_beats_every_time_and_cleans_once_an_hour() -> None:
    tasks.heartbeat()
    PeriodicSlot.objects.create(task="old", slot=1)
    PeriodicSlot.objects.filter(task="old").update(taken_at=Now() - timedelta(days=3))
    tasks.heartbeat()
    assert PeriodicSlot.objects.filter(task="old").exists()
    PeriodicSlot.objects.filter(task="workspaces.clean").delete()
    tasks.heartbeat()
    assert not PeriodicSlot.objects.filter(task="old").exists()
    assert periodic.seconds_since_beat(name="beat") < 60


def test_cleaning_ends_with_sessions_that_expired_and_keeps_the_others() -> None:
    for name in ("old", "new"):
        session = SessionStore()
        session["name"] = name
        session.create()
        if name == "old":
            Session.objects.update(expire_date=Now() - timedelta(seconds=1))
    tasks.clean()
    assert [row.get_decoded()["name"] for row in Session.objects.all()] == ["new"]
