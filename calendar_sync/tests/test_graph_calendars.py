"""Microsoft Graph's calendars read through the provider, against the simulator: what is listed, what an event says,
what changed and what left."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from calendar_sync import recurrence
from calendar_sync.providers.graph import listing
from calendar_sync.providers.graph.events import uid_of
from calendar_sync.records import CANCELLED, PRIVATE, TENTATIVE, RemoteEvent, RemoteResource
from calendar_sync.recurrence import Change
from calendar_sync.tests.graph_simulator import Mailbox, access_token, series, weekly
from core.errors import CursorExpired, ProviderAuthError, ProviderRateLimited, ProviderRejected, RemoteMissing
from simulator.process import Simulator, running

YEAR = (datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


@pytest.fixture(scope="module")
def process() -> Iterator[Simulator]:
    with running() as simulator:
        yield simulator


@pytest.fixture
def ada(process: Simulator, settings: Any) -> Mailbox:
    process.reset()
    settings.EGRESS_ALLOW_CIDRS = ["127.0.0.0/8"]
    return Mailbox(process, "ada@graph.test")


def everything(mailbox: Mailbox) -> dict[str, str]:
    """Remote id → etag of all pages of a listing, none of them twice."""
    found: list[tuple[str, str]] = []
    token = ""
    while True:
        page = mailbox.provider().listing(mailbox.calendar(), token)
        found += page.versions
        token = page.next_token
        if not token:
            assert len(found) == len(dict(found))
            return dict(found)


def starts(resource: RemoteResource) -> list[tuple[datetime, datetime, str]]:
    """What our own expansion makes of a series in the year 2026."""
    master, *changed = resource.events
    changes = [Change(one.recurrence_key, one.span, one) for one in changed]
    found = recurrence.expand(master.span, master.recurrence, master, *YEAR, changes=changes)
    assert not found.cut
    return [(one.start, one.end, one.source.title) for one in found.occurrences]


def told(mailbox: Mailbox, remote_id: str) -> list[tuple[datetime, datetime, str]]:
    """What Graph says of the same."""

    def moment(given: dict[str, str]) -> datetime:
        return datetime.fromisoformat(given["dateTime"][:19]).replace(tzinfo=UTC)

    found = mailbox.instances(remote_id, "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z")
    return sorted((moment(one["start"]), moment(one["end"]), one["subject"]) for one in found)


def only(resource: RemoteResource) -> RemoteEvent:
    assert not resource.problem
    return resource.events[0]


# --- calendars ----------------------------------------------------------------------------------------------------


def test_calendars_tell_colour_right_to_write_and_which_is_the_first(ada: Mailbox) -> None:
    ada.control("POST", "calendars", {"name": "Holidays", "can_edit": False, "hex_color": "#A0FF10"})
    found = {one.name: one for one in ada.provider().calendars()}
    assert {name: (one.color, one.read_only, one.is_primary) for name, one in found.items()} == {
        "Calendar": ("", False, True),
        "Holidays": ("#a0ff10", True, False),
    }


def test_calendars_come_over_several_pages(ada: Mailbox) -> None:
    for number in range(120):
        ada.control("POST", "calendars", {"name": f"Room {number}"})
    assert len(ada.provider().calendars()) == 121


def test_a_calendar_that_is_gone_is_missing(ada: Mailbox) -> None:
    identity = ada.control("POST", "calendars", {"name": "Short"})["id"]
    calendar = ada.calendar("Short")
    ada.control("DELETE", f"calendars/{identity}")
    with pytest.raises(RemoteMissing):
        ada.provider().listing(calendar, "")


def test_a_token_without_the_permission_is_refused_in_words(ada: Mailbox, process: Simulator) -> None:
    ada.token = access_token(process, ada.email, "openid offline_access User.Read Mail.Read")
    with pytest.raises(ProviderRejected, match="permissions"):
        ada.provider().calendars()


def test_a_dead_token_asks_for_another(ada: Mailbox) -> None:
    ada.token = "dead"
    with pytest.raises(ProviderAuthError):
        ada.provider().calendars()


def test_throttling_tells_how_long_to_wait(ada: Mailbox, process: Simulator) -> None:
    process.settings(graph_requests_per_ten_minutes=2)
    ada.provider().calendars()
    ada.provider().calendars()
    with pytest.raises(ProviderRateLimited) as caught:
        ada.provider().calendars()
    assert caught.value.retry_after > 1


# --- what an event says -------------------------------------------------------------------------------------------


def test_an_event_says_who_where_when_and_how(ada: Mailbox) -> None:
    people = [
        ("bob@else.test", "required", "accepted"),
        ("cyd@else.test", "optional", "tentativelyAccepted"),
        ("dan@else.test", "required", "declined"),
        ("room@else.test", "resource", "none"),
    ]
    attendees = [
        {"type": kind, "status": {"response": answer}, "emailAddress": {"name": address[:3], "address": address}}
        for address, kind, answer in people
    ]
    (identity,) = ada.seed(
        {
            "body": {"contentType": "html", "content": "<p>Bring <b>cake</b></p>"},
            "location": {"displayName": "Kitchen"},
            "attendees": attendees,
            "showAs": "tentative",
            "sensitivity": "private",
            "onlineMeeting": {"joinUrl": "https://teams.microsoft.com/l/meetup-join/1"},
        }
    )
    event = only(ada.one(identity))
    assert (event.title, event.location, event.visibility, event.status) == ("Lunch", "Kitchen", PRIVATE, TENTATIVE)
    assert " ".join(event.description.split()) == "Bring cake"
    assert event.conference_url == "https://teams.microsoft.com/l/meetup-join/1"
    assert (event.span.start, event.span.zone) == (datetime(2026, 1, 5, 9), "Europe/Berlin")
    assert event.organizer is not None
    assert event.organizer.email == ada.email
    shown = [(one.email[:3], one.response, one.optional, one.is_resource) for one in event.attendees]
    assert shown == [
        ("bob", "accepted", False, False),
        ("cyd", "tentative", True, False),
        ("dan", "declined", False, False),
        ("roo", "needsAction", False, True),
    ]


@pytest.mark.parametrize(
    ("shown_as", "busy"),
    [("free", False), ("busy", True), ("oof", True), ("tentative", True), ("workingElsewhere", False)],
)
def test_what_it_is_shown_as_says_whether_one_is_busy(ada: Mailbox, shown_as: str, busy: bool) -> None:
    assert only(ada.one(ada.add(showAs=shown_as))).busy is busy


def test_the_own_answer_counts_over_what_the_organizer_knows(ada: Mailbox) -> None:
    people = [{"emailAddress": {"address": ada.email}, "status": {"response": "none"}}]
    (identity,) = ada.seed({"attendees": people, "is_organizer": False, "response": "tentativelyAccepted"})
    assert only(ada.one(identity)).attendees[0].response == TENTATIVE


def test_a_meeting_called_off_by_its_organizer_is_cancelled(ada: Mailbox) -> None:
    (identity,) = ada.seed({"isCancelled": True, "is_organizer": False})
    assert only(ada.one(identity)).status == CANCELLED


@pytest.mark.parametrize(
    ("zone", "wall", "name"),
    [
        ("W. Europe Standard Time", 9, "Europe/Berlin"),
        ("America/New_York", 9, "America/New_York"),
        ("tzone://Microsoft/Utc", 9, "UTC"),
        ("tzone://Microsoft/Custom", 4, "UTC"),
    ],
)
def test_times_hang_on_the_authors_wall(ada: Mailbox, zone: str, wall: int, name: str) -> None:
    moments = {
        side: {"dateTime": f"2026-07-01T{at:02}:00:00", "timeZone": zone} for side, at in (("start", 9), ("end", 10))
    }
    span = only(ada.one(ada.add(**moments))).span
    assert (span.start, span.zone, span.duration) == (datetime(2026, 7, 1, wall), name, timedelta(hours=1))


@pytest.mark.parametrize("zone", ["UTC", "Pacific Standard Time", "Asia/Tokyo"])
def test_days_stay_days_whatever_the_zone(ada: Mailbox, zone: str) -> None:
    moments = {
        side: {"dateTime": f"2026-03-{day}T00:00:00", "timeZone": zone} for side, day in (("start", 28), ("end", 30))
    }
    span = only(ada.one(ada.add(isAllDay=True, **moments))).span
    assert (span.start, span.duration, span.all_day, span.zone) == (datetime(2026, 3, 28), timedelta(days=2), True, "")


def test_the_uid_is_the_one_every_other_calendar_has() -> None:
    head, rest = "040000008200E00074C5B7101A82E008", "0" * 32 + "10000000"
    wrapped = b"vCal-Uid\x01\x00\x00\x00abc@google.com\x00".hex().upper()
    assert uid_of(head + "07EA0105" + rest + "AB" * 16) == head + "00000000" + rest + "AB" * 16
    assert uid_of(head + "00000000" + rest + wrapped) == "abc@google.com"
    assert uid_of("plain-uid@else.test") == "plain-uid@else.test"


def test_a_broken_event_is_told_with_its_reason_and_hides_no_other(ada: Mailbox) -> None:
    broken = weekly()
    broken["pattern"]["daysOfWeek"] = []
    bad, good = ada.seed({"recurrence": broken}, {"subject": "Good"})
    found = {one.remote_id: one for one in ada.fetched(bad, good)}
    assert "names no day of the week" in found[bad].problem
    assert found[bad].raw
    assert only(found[good]).title == "Good"


def test_what_is_gone_meanwhile_is_not_given(ada: Mailbox) -> None:
    gone, there = ada.add("Gone"), ada.add("There")
    ada.delete(gone)
    assert [only(one).title for one in ada.fetched(gone, there)] == ["There"]


# --- series -------------------------------------------------------------------------------------------------------


def patterns(number: int) -> dict[str, Any]:
    """A series of every kind in turn, at random."""
    chance = random.Random(number)
    kind = ("daily", "weekly", "absoluteMonthly", "relativeMonthly", "absoluteYearly", "relativeYearly")[number % 6]
    pattern: dict[str, Any] = {"type": kind, "interval": chance.randint(1, 3)}
    if kind == "weekly":
        pattern |= {"daysOfWeek": chance.sample(DAYS, chance.randint(1, 4)), "firstDayOfWeek": chance.choice(DAYS)}
    if kind.startswith("absolute"):
        pattern["dayOfMonth"] = chance.choice([1, 15, 28, 29, 30, 31])
    if kind.startswith("relative"):
        pattern |= {"daysOfWeek": chance.sample(DAYS, chance.choice([1, 1, 2, 5, 7]))}
        pattern["index"] = chance.choice(["first", "second", "third", "fourth", "last"])
    if kind.endswith("Yearly"):
        pattern |= {"month": chance.randint(1, 12), "interval": 1}
    end = chance.choice([{}, {"endDate": "2026-09-17"}, {"numberOfOccurrences": chance.randint(1, 40)}])
    return series(pattern, **end)


@pytest.mark.parametrize("number", range(24))
def test_a_series_has_the_occurrences_that_graph_itself_gives(ada: Mailbox, number: int) -> None:
    zone = ("Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific Standard Time")[number % 4]
    start, end = ({"dateTime": f"2026-01-05T{at}:30:00", "timeZone": zone} for at in ("23", "23"))
    end["dateTime"] = "2026-01-06T00:30:00"
    identity = ada.add(start=start, end=end, recurrence=patterns(number))
    expected = told(ada, identity)
    assert expected
    assert starts(ada.one(identity)) == expected


@pytest.mark.parametrize("number", range(6))
def test_a_series_of_days_has_the_occurrences_that_graph_itself_gives(ada: Mailbox, number: int) -> None:
    start, end = ({"dateTime": f"2026-01-{day}T00:00:00", "timeZone": "Asia/Tokyo"} for day in ("05", "06"))
    identity = ada.add(start=start, end=end, isAllDay=True, recurrence=patterns(number))
    expected = told(ada, identity)
    assert expected
    assert starts(ada.one(identity)) == expected


@pytest.mark.parametrize("all_day", [False, True])
def test_changed_and_cancelled_occurrences_come_with_their_series(ada: Mailbox, all_day: bool) -> None:
    moments: dict[str, Any] = {"isAllDay": all_day}
    later = {"start": {"dateTime": "2026-03-31T14:00:00"}, "end": {"dateTime": "2026-03-31T15:00:00"}}
    if all_day:
        moments |= {side: {"dateTime": f"2026-01-0{day}T00:00:00"} for side, day in (("start", 5), ("end", 6))}
        later = {"start": {"dateTime": "2026-04-02T00:00:00"}, "end": {"dateTime": "2026-04-03T00:00:00"}}
        moments["start"]["timeZone"] = moments["end"]["timeZone"] = "Europe/Berlin"
    later["start"]["timeZone"] = later["end"]["timeZone"] = "Europe/Berlin"
    identity = ada.add(recurrence=weekly("monday", endDate="2026-06-30"), **moments)
    before = ada.one(identity)
    ada.control("PATCH", f"events/{identity}", {"day": "2026-03-30", "fields": {**later, "subject": "Late"}})
    ada.control("PATCH", f"events/{identity}", {"cancelled": ["2026-02-02", "2026-05-04"]})
    after = ada.one(identity)
    assert after.etag != before.etag
    assert len(starts(before)) == 26
    assert starts(after) == told(ada, identity)
    assert len(starts(after)) == 24
    assert [one.title for one in after.events] == ["Lunch", "Late"]
    assert {one.uid for one in after.events} == {after.events[0].uid}


# --- what there is and what changed -------------------------------------------------------------------------------


def test_a_listing_names_everything_once_over_pages_and_within_one_second(
    ada: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "PAGE", 100)
    at_once = [{"subject": f"Import {n}", "modified": 1_700_000_000.0} for n in range(250)]
    later = [{"subject": f"Own {n}", "modified": 1_700_000_000.5 + n / 3} for n in range(130)]
    made = ada.seed(*at_once, *later)
    assert everything(ada) == {one["id"]: one["etag"] for one in ada.truth()}
    assert len(made) == 380


def test_what_changes_during_a_listing_is_not_missed(ada: Mailbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "PAGE", 10)
    made = ada.seed(*({"modified": 1_700_000_000.0 + n} for n in range(30)))
    page = ada.provider().listing(ada.calendar(), "")
    assert page.total == 30
    ada.delete(made[0])
    ada.delete(made[5])
    named = dict(page.versions)
    while page.next_token:
        page = ada.provider().listing(ada.calendar(), page.next_token)
        named |= dict(page.versions)
    assert set(named) == set(made)


def test_changes_name_what_is_new_and_what_differs(ada: Mailbox) -> None:
    old, other = ada.seed({"created": 1e9, "modified": 1e9}, {"created": 1e9, "modified": 1e9})
    cursor = ada.provider().start_cursor(ada.calendar())
    ada.change(old, subject="Dinner")
    new = ada.add("New")
    page = ada.provider().changes(ada.calendar(), cursor)
    assert dict(page.versions).keys() == {old, new}
    assert other not in dict(page.versions)
    again = ada.provider().changes(ada.calendar(), page.cursor)
    assert not again.more
    assert set(again.removed) == set()


def test_a_changed_occurrence_is_a_change_of_its_series(ada: Mailbox) -> None:
    (identity,) = ada.seed({"created": 1e9, "modified": 1e9, "recurrence": weekly()})
    cursor = ada.provider().start_cursor(ada.calendar())
    ada.control("PATCH", f"events/{identity}", {"day": "2026-01-12", "fields": {"subject": "Late"}})
    assert [one for one, _ in ada.provider().changes(ada.calendar(), cursor).versions] == [identity]


@pytest.mark.parametrize("age", [0.0, 1e9], ids=["young", "old"])
def test_what_left_makes_for_a_comparison(ada: Mailbox, age: float) -> None:
    first, second = ada.seed(*({"created": age, "modified": age} if age else {} for _ in range(2)))
    cursor = ada.provider().start_cursor(ada.calendar())
    ada.delete(first)
    with pytest.raises(CursorExpired):
        ada.provider().changes(ada.calendar(), cursor)
    assert set(everything(ada)) == {second}


def test_a_coming_does_not_hide_a_going(ada: Mailbox) -> None:
    (identity,) = ada.seed({"created": 1e9, "modified": 1e9})
    cursor = ada.provider().start_cursor(ada.calendar())
    ada.delete(identity)
    ada.add("New")
    with pytest.raises(CursorExpired):
        ada.provider().changes(ada.calendar(), cursor)


def test_what_moved_to_another_calendar_is_compared_in_both(ada: Mailbox) -> None:
    other = ada.control("POST", "calendars", {"name": "Private"})["id"]
    (identity,) = ada.seed({"created": 1e9, "modified": 1e9})
    calendars = [ada.calendar("Calendar"), ada.calendar("Private")]
    cursors = [ada.provider().start_cursor(one) for one in calendars]
    ada.control("PATCH", f"events/{identity}", {"calendar": other})
    for calendar, cursor in zip(calendars, cursors, strict=True):
        with pytest.raises(CursorExpired):
            ada.provider().changes(calendar, cursor)


def test_too_many_changes_are_compared_instead(ada: Mailbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "PAGE", 5)
    monkeypatch.setattr(listing, "MOST", 2)
    cursor = ada.provider().start_cursor(ada.calendar())
    ada.seed(*({} for _ in range(12)))
    with pytest.raises(CursorExpired):
        ada.provider().changes(ada.calendar(), cursor)


@pytest.mark.parametrize("cursor", ["", "nonsense", "[]", "[1,2]", '["a",1,[]]', "[99999999999999,1,[]]"])
def test_a_cursor_that_is_none_is_lost(ada: Mailbox, cursor: str) -> None:
    with pytest.raises(CursorExpired):
        ada.provider().changes(ada.calendar(), cursor)


@pytest.mark.parametrize("token", ["nonsense", "1+2", "x+1+a", "99999999999999999999+1+"])
def test_a_listing_token_that_is_none_begins_again(ada: Mailbox, token: str) -> None:
    with pytest.raises(CursorExpired):
        ada.provider().listing(ada.calendar(), token)
