"""Changing, deleting and answering events, against a provider in memory."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from django.db import connections
from rest_framework.test import APIClient

from calendar_sync.models import Calendar, CalendarEvent
from calendar_sync.records import Invited
from calendar_sync.tests.conftest import Account
from calendar_sync.tests.factories import remote, resource
from core.errors import ProviderUnavailable
from integrations.models import SyncCursor
from workspaces.models import AuditEvent
from workspaces.tests.fixtures import Actor, make_actor

pytestmark = pytest.mark.django_db
BASE = "/api/v1/integrations/calendar/events"


@pytest.fixture
def series(account: Account) -> str:
    """Daily at nine in Berlin, five times, with the account invited; its id."""
    person = Invited("ada@contract.test")
    event = remote("Daily", datetime(2026, 6, 1, 9), "FREQ=DAILY;COUNT=5", uid="1", attendees=(person,))
    account.box.put("/work/", resource(event, remote_id="/work/1"))
    account.sync()
    return str(CalendarEvent.objects.get().pk)


def starts(account: Account) -> list[str]:
    return [title.partition("/")[2] for title in account.titles()]


def patch(actor: Actor, event_id: str, **body: Any) -> Any:
    return actor.client.patch(f"{BASE}/{event_id}", body, format="json")


def test_change_of_one_occurrence_leaves_the_others(member: Actor, account: Account, series: str) -> None:
    answer = patch(member, f"{series}_20260603T070000Z", title="Once")
    assert answer.status_code == 200, answer.content
    assert starts(account) == ["Daily", "Daily", "Once", "Daily", "Daily"]
    assert account.told() == ["calendar.event.updated"]
    account.sync()
    assert account.told() == ["calendar.event.updated"]


def test_change_made_elsewhere_meanwhile_is_a_conflict_with_the_current_event(
    member: Actor, account: Account, series: str
) -> None:
    seen = member.client.get(f"{BASE}/{series}").json()
    stored = account.box.resources["/work/"]["/work/1"]
    account.box.put("/work/", replace(stored, events=(replace(stored.events[0], title="Theirs"),)))
    answer = patch(member, series, title="Mine", etag=seen["etag"])
    assert answer.status_code == 409, answer.content
    error = answer.json()["error"]
    assert (error["code"], error["current"]["title"]) == ("conflict", "Theirs")
    assert account.box.resources["/work/"]["/work/1"].events[0].title == "Theirs"
    again = patch(member, series, title="Mine", etag=error["current"]["etag"])
    assert again.json()["title"] == "Mine"


def test_put_of_what_get_showed_changes_nothing(member: Actor, account: Account, series: str) -> None:
    for event_id in (series, f"{series}_20260603T070000Z"):
        shown = member.client.get(f"{BASE}/{event_id}").json()
        answer = member.client.put(f"{BASE}/{event_id}", shown, format="json")
        assert answer.status_code == 200, answer.content
        assert answer.json() == shown
    assert account.told() == []


def test_patch_refuses_what_only_the_provider_can_change(member: Actor, series: str) -> None:
    answer = patch(member, series, organizer={"email": "eve@example.com"}, status="cancelled")
    assert answer.status_code == 400
    assert set(answer.json()["error"]["fields"]) == {"organizer", "status"}


def at_once(actor: Actor, event_id: str, titles: list[str], etag: str = "") -> dict[str, Any]:
    """Each of these written at the same time by a client of its own; the answer to each."""
    answers: dict[str, Any] = {}
    start = threading.Barrier(len(titles))

    def write(title: str) -> None:
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {actor.token}")
        start.wait(30)
        try:
            body = {"title": title, **({"etag": etag} if etag else {})}
            for _ in range(20):
                answers[title] = answer = client.patch(f"{BASE}/{event_id}", body, format="json")
                is_busy = answer.status_code == 503 and answer.headers.get("Retry-After")  # with the other one
                if not is_busy and answer.status_code != 502:  # Xandikos may break over two at once, and write neither
                    break
        finally:
            connections.close_all()

    writers = [threading.Thread(target=write, args=(title,)) for title in titles]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    return answers


def check_one_won(answers: dict[str, Any]) -> str:
    """The title that was written: the other one was refused and shown it."""
    assert sorted(answer.status_code for answer in answers.values()) == [200, 409], answers
    [winner] = [title for title, answer in answers.items() if answer.status_code == 200]
    [refused] = [answer.json()["error"] for answer in answers.values() if answer.status_code == 409]
    assert (refused["code"], refused["current"]["title"]) == ("conflict", winner)
    assert list(CalendarEvent.objects.present().values_list("title", flat=True)) == [winner]
    assert AuditEvent.objects.filter(action="calendar.event_updated").count() == 1
    return winner


@pytest.mark.django_db(transaction=True)
def test_two_who_write_one_event_at_once_do_not_overwrite_one_another(
    member: Actor, account: Account, series: str
) -> None:
    """Both have read the same version and both have asked the provider when the first one is through."""
    both, through = threading.Barrier(2), threading.Event()

    def meet(call: str) -> None:
        if call == "update" and both.wait(30):
            assert through.wait(30)
        if call == "updated":
            through.set()

    account.box.fail = meet
    winner = check_one_won(at_once(member, series, ["Mine", "Yours"]))
    assert account.box.resources["/work/"]["/work/1"].events[0].title == winner
    assert account.told() == ["calendar.event.updated"]
    account.box.fail = lambda call: None
    account.sync()
    assert account.told() == ["calendar.event.updated"]


@pytest.mark.parametrize("fault", ["", "created", "update"])
def test_change_of_all_following_splits_the_series_also_after_a_fault(
    member: Actor, account: Account, series: str, fault: str
) -> None:
    def fails(call: str) -> None:
        if call == fault:
            account.box.fail = lambda call: None
            raise ProviderUnavailable

    account.box.fail = fails
    answer = patch(member, f"{series}_20260603T070000Z", title="Later", scope="following")
    if fault:
        assert answer.status_code >= 500
        answer = patch(member, f"{series}_20260603T070000Z", title="Later", scope="following")
    assert answer.status_code == 200, answer.content
    account.sync()
    assert starts(account) == ["Daily", "Daily", "Later", "Later", "Later"]


def test_delete_of_one_of_all_following_and_of_all(member: Actor, account: Account, series: str) -> None:
    assert member.client.delete(f"{BASE}/{series}_20260602T070000Z").status_code == 204
    assert len(starts(account)) == 4
    assert member.client.delete(f"{BASE}/{series}_20260604T070000Z?scope=following").status_code == 204
    assert len(starts(account)) == 2
    account.box.delete("/work/", "/work/1")  # somebody else was first
    assert member.client.delete(f"{BASE}/{series}").status_code == 204
    assert starts(account) == []
    account.sync()
    assert account.told()[-1] == "calendar.event.deleted"
    assert account.told().count("calendar.event.deleted") == 1


def test_answer_to_an_invitation_is_the_accounts_own(member: Actor, account: Account, series: str) -> None:
    answer = member.client.post(f"{BASE}/{series}/rsvp", {"response": "accepted"}, format="json")
    assert answer.status_code == 200, answer.content
    assert answer.json()["attendees"][0]["response"] == "accepted"
    assert make_actor().client.post(f"{BASE}/{series}/rsvp", {"response": "accepted"}).status_code == 404


def test_change_that_names_another_calendar_is_refused(member: Actor, account: Account, series: str) -> None:
    account.box.add_calendar("/home/", "Home")
    account.sync()
    own, other = [str(Calendar.objects.get(remote_id=remote_id).pk) for remote_id in ("/work/", "/home/")]
    assert patch(member, series, title="Same", calendarId=own).status_code == 200
    refused = patch(member, series, title="Moved", calendarId=other)
    assert refused.status_code == 400
    assert set(refused.json()["error"]["fields"]) == {"calendarId"}


@pytest.mark.parametrize("asking", ["changes", "listing"])
def test_change_from_elsewhere_that_follows_a_write_within_one_page_is_not_lost(
    member: Actor, account: Account, series: str, asking: str
) -> None:
    """The sync has asked when the user writes, and somebody else writes over that before it is answered: which of the
    two is newer nobody here can tell, so the provider is asked again."""
    asked: list[str] = []

    def meanwhile(call: str) -> None:
        if call == asking and not asked:
            asked.append(call)
            assert patch(member, series, title="Mine").status_code == 200
            stored = account.box.resources["/work/"]["/work/1"]
            account.box.put("/work/", replace(stored, events=(replace(stored.events[0], title="Theirs"),)))

    account.box.fail = meanwhile
    SyncCursor.objects.update(reconcile=asking == "listing")
    account.sync()
    assert CalendarEvent.objects.get().title == "Theirs"
    assert account.told() == ["calendar.event.updated", "calendar.event.updated"]


def test_removal_elsewhere_that_follows_a_write_within_one_page_is_not_lost(
    member: Actor, account: Account, series: str
) -> None:
    asked: list[str] = []

    def meanwhile(call: str) -> None:
        if call == "changes" and not asked:
            asked.append(call)
            assert patch(member, series, title="Mine").status_code == 200
            account.box.delete("/work/", "/work/1")

    account.box.fail = meanwhile
    account.sync()
    assert account.rows() == {}
    assert account.told() == ["calendar.event.updated", "calendar.event.deleted"]
