"""Free/busy: what counts as busy, whose it shows, and what it costs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from calendar_sync.models import Calendar
from calendar_sync.records import CANCELLED, Invited, Person, Span
from calendar_sync.services import freebusy, store
from calendar_sync.tests.factories import connect, make_calendar, remote, resource, write
from calendar_sync.tests.test_calendar_api import _most_rows
from workspaces.tests.fixtures import Actor, make_actor

pytestmark = pytest.mark.django_db
BASE = "/api/v1/integrations/calendar"
DAY = {"start": "2026-01-05T00:00:00Z", "end": "2026-01-06T00:00:00Z"}


@pytest.fixture(autouse=True)
def _today() -> Any:
    with time_machine.travel(datetime(2026, 1, 10, 12, tzinfo=UTC), tick=True):
        yield


@pytest.fixture
def calendar(member: Actor) -> Calendar:
    return make_calendar(connect(member, "ada@contract.test"))


def asked(actor: Actor, **query: object) -> dict[str, Any]:
    response = actor.client.get(f"{BASE}/freebusy", {**DAY, **query})
    assert response.status_code == 200, response.content
    answer: dict[str, Any] = response.json()
    return answer


def told(blocks: list[dict[str, str]]) -> list[str]:
    return [f"{one['start'][5:16]} {one['end'][5:16]} {one['status']}" for one in blocks]


def at(hour: int, minute: int = 0) -> datetime:
    """In Berlin, an hour ahead of UTC."""
    return datetime(2026, 1, 5, hour, minute)


def test_blocks_are_merged_and_clipped_and_tell_nothing_else(member: Actor, calendar: Calendar) -> None:
    other = make_calendar(calendar.connection, "Private")
    write(calendar, remote("Night", datetime(2026, 1, 4, 23), length=timedelta(hours=4)), remote("A", at(9)))
    write(other, remote("B", at(9, 30)), remote("Touches", at(10, 30)), remote("Apart", at(15)))
    answer = asked(member)
    assert answer == {
        "start": "2026-01-05T00:00:00.000Z", "end": "2026-01-06T00:00:00.000Z", "timeZone": "UTC",
        "blocks": answer["blocks"], "people": [], "unknown": [], "incomplete": [],
    }  # fmt: skip
    assert told(answer["blocks"]) == [
        "01-05T00:00 01-05T02:00 busy",
        "01-05T08:00 01-05T10:30 busy",
        "01-05T14:00 01-05T15:00 busy",
    ]
    assert told(asked(member, calendarId=str(other.pk))["blocks"]) == [
        "01-05T08:30 01-05T10:30 busy",
        "01-05T14:00 01-05T15:00 busy",
    ]


def test_what_is_free_cancelled_declined_or_of_a_hidden_calendar_blocks_nothing(
    member: Actor, calendar: Calendar
) -> None:
    me, bob = "Ada@contract.test", Invited("bob@example.com", response="declined")
    write(calendar, remote(busy=False), remote(status=CANCELLED), remote(attendees=(Invited(me, response="declined"),)))
    series = remote("S", at(9), rule="FREQ=DAILY;COUNT=3", uid="1")
    off = remote("S", at(9), uid="1", recurrence_key="20260105T080000Z", attendees=(Invited(me, response="declined"),))
    store.write(calendar=calendar, resources=[resource(series, off)])
    write(make_calendar(calendar.connection, "Hidden", selected=False), remote())
    assert asked(member)["blocks"] == []
    write(calendar, remote("Somebody else declined", at(12), attendees=(bob, Invited(me, response="accepted"))))
    assert told(asked(member)["blocks"]) == ["01-05T11:00 01-05T12:00 busy"]


def test_what_is_unconfirmed_or_not_answered_is_tentative_and_less_than_busy(member: Actor, calendar: Calendar) -> None:
    write(calendar, remote("Perhaps", at(9), length=timedelta(hours=3), status="tentative"), remote("Sure", at(10)))
    write(calendar, remote("Asked", at(15), attendees=(Invited("ada@contract.test"),)))
    write(calendar, remote("Own", at(17), organizer=Person("ada@contract.test")))
    assert told(asked(member)["blocks"]) == [
        "01-05T08:00 01-05T09:00 tentative",
        "01-05T09:00 01-05T10:00 busy",
        "01-05T10:00 01-05T11:00 tentative",
        "01-05T14:00 01-05T15:00 tentative",
        "01-05T16:00 01-05T17:00 busy",
    ]


def test_whole_days_are_days_of_the_zone_asked_for_and_floating_times_of_the_calendars(
    member: Actor, calendar: Calendar
) -> None:
    write(calendar, remote("Day", span=Span(datetime(2026, 3, 29), timedelta(days=1), all_day=True)))
    write(calendar, remote("Floats", datetime(2026, 3, 31, 9), zone=""))
    stretch = {"start": "2026-03-28", "end": "2026-04-01"}
    found = told(asked(member, **stretch, timeZone="Europe/Berlin")["blocks"])
    assert found == ["03-28T23:00 03-29T22:00 busy", "03-31T07:00 03-31T08:00 busy"]  # a day of 23 hours
    found = told(asked(member, **stretch, timeZone="America/New_York")["blocks"])
    assert found[0] == "03-29T04:00 03-30T04:00 busy"


def test_series_block_far_outside_what_is_stored_and_long_events_from_within(member: Actor, calendar: Calendar) -> None:
    write(calendar, remote("Leave", length=timedelta(days=90)), remote("Weekly", rule="FREQ=WEEKLY"))
    far = {"start": "2035-01-01T00:00:00Z", "end": "2035-01-02T00:00:00Z"}
    assert told(asked(member, **far)["blocks"]) == ["01-01T08:00 01-01T09:00 busy"]
    within = {"start": "2026-03-20T00:00:00Z", "end": "2026-03-21T00:00:00Z"}
    assert told(asked(member, **within)["blocks"]) == ["03-20T00:00 03-21T00:00 busy"]


def test_series_that_was_cut_off_is_named_to_its_user_and_hinted_at_to_colleagues(
    member: Actor, admin: Actor, calendar: Calendar
) -> None:
    calendar.connection.visibility = "metadata"
    calendar.connection.save()
    write(calendar, remote("Explodes", rule="FREQ=SECONDLY"))
    [cut] = asked(member)["incomplete"]
    assert "cut off after 2000" in cut["reason"]
    answer = asked(admin, emails="ada@contract.test")
    assert (answer["incomplete"], answer["people"][0]["incomplete"]) == ([], True)


# --- colleagues ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("visibility", "known"), [("private", False), ("metadata", True), ("full", True)])
def test_colleagues_blocks_are_shown_as_their_connection_allows(
    member: Actor, admin: Actor, calendar: Calendar, visibility: str, known: bool
) -> None:
    calendar.connection.visibility = visibility
    calendar.connection.save()
    write(calendar, remote("Secret", at(9), visibility="private"), remote("Open", at(11)))
    answer = asked(admin, emails="ADA@contract.test, nobody@example.com")
    assert "Secret" not in str(answer)
    if known:
        [person] = answer["people"]
        assert person["email"] == "ADA@contract.test"
        assert told(person["blocks"]) == ["01-05T08:00 01-05T09:00 busy", "01-05T10:00 01-05T11:00 busy"]
    assert answer["unknown"] == ([] if known else ["ADA@contract.test"]) + ["nobody@example.com"]


def test_the_address_somebody_logs_in_with_stands_for_all_that_they_show(
    member: Actor, admin: Actor, calendar: Calendar
) -> None:
    shared = make_calendar(connect(member, visibility="metadata"))
    write(calendar, remote("Hidden", at(9)))
    write(shared, remote("Shown", at(11)))
    [person] = asked(admin, emails=member.user.email)["people"]
    assert told(person["blocks"]) == ["01-05T10:00 01-05T11:00 busy"]
    [person] = asked(member, emails=member.user.email)["people"]
    assert len(person["blocks"]) == 2


def test_other_workspaces_former_members_and_disconnected_accounts_are_unknown(
    member: Actor, admin: Actor, outsider: Actor, calendar: Calendar
) -> None:
    former = make_actor(workspace=member.workspace)
    make_calendar(connect(former, "eve@contract.test", visibility="full"))
    account = calendar.connection
    account.visibility = "full"
    account.save()
    both = "ada@contract.test,eve@contract.test"
    assert asked(outsider, emails=both)["unknown"] == both.split(",")
    assert asked(admin, emails=both)["unknown"] == []
    type(account).objects.filter(pk=account.pk).update(disconnected_at=datetime.now(UTC), credentials=None)
    former.membership.delete()
    assert asked(admin, emails=both)["unknown"] == both.split(",")


def test_foreign_calendar_answers_like_a_missing_one(outsider: Actor, calendar: Calendar) -> None:
    for id in (str(calendar.pk), "00000000-0000-7000-8000-000000000000", "nonsense"):
        assert outsider.client.get(f"{BASE}/freebusy", {**DAY, "calendarId": id}).status_code == 404


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"start": ""}, "start"),
        ({"end": "2026-01-05T00:00:00Z"}, "end"),
        ({"end": "2027-01-07T00:00:00Z"}, "end"),
        ({"start": "0001-01-01", "end": "0001-01-02"}, "start"),
        ({"timeZone": "Mars/Olympus"}, "timeZone"),
        ({"emails": "no address"}, "emails"),
        ({"emails": ",".join(f"a{n}@b.example" for n in range(51))}, "emails"),
    ],
)
def test_question_that_makes_no_sense_names_the_field(member: Actor, query: dict[str, str], field: str) -> None:
    response = member.client.get(f"{BASE}/freebusy", {**DAY, **query})
    assert response.status_code == 400
    assert field in response.json()["error"]["fields"]


def test_free_busy_asks_as_often_for_many_people_and_events_as_for_few(member: Actor, calendar: Calendar) -> None:
    emails = []
    member.client.get(f"{BASE}/calendars")  # the first use of a token is noted on it
    counts = []
    for number in (1, 8):
        for one in range(number):
            colleague = make_actor(workspace=member.workspace)
            account = connect(colleague, f"{number}-{one}@contract.test", visibility="metadata")
            emails.append(account.account_email)
            write(make_calendar(account), *(remote(rule="FREQ=DAILY") for _ in range(number)))
        write(calendar, *(remote(f"{n}", rule="FREQ=DAILY") for n in range(number)))
        with CaptureQueriesContext(database) as queries:
            assert len(asked(member, emails=",".join(emails))["people"]) == len(emails)
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 14, counts


def test_free_busy_reads_what_is_in_the_range_and_not_what_is_stored(member: Actor, calendar: Calendar) -> None:
    """By the plan's own count of rows: hundreds of events beside the day cost nothing."""
    write(calendar, *(remote(f"{n}", datetime(2027, 2, 1) + timedelta(hours=n)) for n in range(600)))
    write(calendar, remote("Here"), remote("Weekly", rule="FREQ=WEEKLY"))
    span = freebusy._Span(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC), UTC)
    values, _ = span._values({"": [calendar]})
    with database.cursor() as cursor:
        cursor.execute("ANALYZE calendar_sync_occurrence")
        cursor.execute("ANALYZE calendar_sync_calendarevent")
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {freebusy._BLOCKS}", values)
        plan = cursor.fetchone()[0][0]["Plan"]
    assert _most_rows(plan) <= 20
