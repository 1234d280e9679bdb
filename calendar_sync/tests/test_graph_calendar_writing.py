"""Microsoft Graph's calendars written through the provider, against the simulator."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

import pytest

from calendar_sync.providers.graph.patterns import pattern_of, rule_of
from calendar_sync.records import (
    ACCEPTED,
    DECLINED,
    NOTIFY_ALL,
    NOTIFY_NONE,
    PRIVATE,
    EventDraft,
    Invited,
    Recurrence,
    RemoteResource,
    Span,
    Target,
)
from calendar_sync.tests.graph_simulator import Mailbox, weekly
from core.errors import ProviderRejected, RemoteChanged, RemoteMissing
from simulator.process import Simulator, running

KEY = "0123456789abcdef0123456789abcdef"
SPAN = Span(datetime(2026, 1, 5, 9), timedelta(hours=1), "Europe/Berlin")
LUNCH = EventDraft(SPAN, "Lunch", "Bring cake", "Kitchen")
SECOND = "20260112T080000Z"
"""The second Monday at nine in Berlin."""


@pytest.fixture(scope="module")
def process() -> Iterator[Simulator]:
    with running() as simulator:
        yield simulator


@pytest.fixture
def ada(process: Simulator, settings: Any) -> Mailbox:
    process.reset()
    settings.EGRESS_ALLOW_CIDRS = ["127.0.0.0/8"]
    return Mailbox(process, "ada@graph.test")


def create(mailbox: Mailbox, draft: EventDraft = LUNCH, key: str = KEY, notify: str = NOTIFY_ALL) -> RemoteResource:
    return mailbox.provider().create(mailbox.calendar(), draft, key=key, notify=notify)


def target(seen: RemoteResource, key: str = "") -> Target:
    return Target(seen.remote_id, seen.etag, seen.raw, recurrence_key=key)


def update(mailbox: Mailbox, at: Target, draft: EventDraft, *changed: str) -> RemoteResource:
    (found,) = mailbox.provider().update(mailbox.calendar(), at, draft, frozenset(changed), notify=NOTIFY_ALL)
    return found


def test_what_is_created_reads_back_as_it_was_meant(ada: Mailbox) -> None:
    people = (Invited("bob@else.test", "Bob"), Invited("room@else.test", "Room", is_resource=True))
    rule = Recurrence(("FREQ=WEEKLY;BYDAY=MO,WE;WKST=MO;COUNT=6",))
    draft = replace(LUNCH, attendees=people, recurrence=rule, visibility=PRIVATE, busy=False, conference=True)
    event = create(ada, draft).events[0]
    assert (event.span, event.title, event.description, event.location) == (SPAN, "Lunch", "Bring cake", "Kitchen")
    assert (event.attendees, event.visibility, event.busy) == (people, PRIVATE, False)
    assert event.conference_url.startswith("https://teams.microsoft.com/")
    assert event.recurrence.rules == ("FREQ=WEEKLY;BYDAY=MO,WE;WKST=MO;COUNT=6",)


def test_days_are_created_as_days(ada: Mailbox) -> None:
    span = Span(datetime(2026, 3, 28), timedelta(days=2), all_day=True)
    assert create(ada, replace(LUNCH, span=span)).events[0].span == span


def test_the_same_key_makes_no_second_event(ada: Mailbox) -> None:
    first = create(ada)
    assert create(ada).remote_id == first.remote_id
    assert create(ada, key=KEY[::-1]).remote_id != first.remote_id
    assert len(ada.truth()) == 2


def test_an_update_writes_what_changed_and_nothing_else(ada: Mailbox) -> None:
    seen = create(ada)
    ada.change(seen.remote_id, categories=["Blue"])
    seen = ada.one(seen.remote_id)
    after = update(ada, target(seen), replace(LUNCH, title="Dinner", location="Nowhere"), "title")
    assert (after.events[0].title, after.events[0].location) == ("Dinner", "Kitchen")
    assert after.etag != seen.etag
    assert ada.truth()[0]["fields"]["categories"] == ["Blue"]


def test_a_change_made_elsewhere_meanwhile_is_not_overwritten(ada: Mailbox) -> None:
    seen = create(ada)
    ada.change(seen.remote_id, subject="Theirs")
    with pytest.raises(RemoteChanged):
        update(ada, target(seen), LUNCH, "title")
    with pytest.raises(RemoteChanged):
        ada.provider().delete(ada.calendar(), target(seen), notify=NOTIFY_ALL)
    assert ada.one(seen.remote_id).events[0].title == "Theirs"


def test_what_is_gone_is_missing(ada: Mailbox) -> None:
    seen = create(ada)
    assert ada.provider().delete(ada.calendar(), target(seen), notify=NOTIFY_ALL) == ()
    with pytest.raises(RemoteMissing):
        ada.provider().delete(ada.calendar(), target(seen), notify=NOTIFY_ALL)
    with pytest.raises(RemoteMissing):
        update(ada, target(seen), LUNCH, "title")


def test_one_occurrence_is_changed_again_and_cancelled_alone(ada: Mailbox) -> None:
    seen = ada.one(ada.add(recurrence=weekly(endDate="2026-01-26")))
    later = replace(LUNCH, span=replace(SPAN, start=datetime(2026, 1, 14, 15)), title="Late")
    moved = update(ada, target(seen, SECOND), later, "span", "title")
    assert [one.recurrence_key for one in moved.events] == ["", SECOND]
    assert (moved.events[1].title, moved.events[1].span.start) == ("Late", datetime(2026, 1, 14, 15))
    again = update(ada, target(moved, SECOND), replace(later, title="Later"), "title")
    assert [one.title for one in again.events] == ["Lunch", "Later"]
    (left,) = ada.provider().delete(ada.calendar(), target(again, SECOND), notify=NOTIFY_ALL)
    assert len(left.events) == 1
    assert len(left.events[0].recurrence.left_out) == 1
    with pytest.raises(RemoteMissing):
        update(ada, target(left, SECOND), LUNCH, "title")


def test_an_occurrence_of_a_series_that_changed_meanwhile_is_not_overwritten(ada: Mailbox) -> None:
    seen = ada.one(ada.add(recurrence=weekly()))
    ada.control("PATCH", f"events/{seen.remote_id}", {"day": "2026-01-19", "fields": {"subject": "Theirs"}})
    with pytest.raises(RemoteChanged):
        update(ada, target(seen, SECOND), LUNCH, "title")


def test_a_series_keeps_its_exceptions_or_is_not_rewritten(ada: Mailbox) -> None:
    identity = ada.add(recurrence=weekly())
    ada.control("PATCH", f"events/{identity}", {"cancelled": ["2026-01-12"]})
    draft = replace(LUNCH, recurrence=Recurrence(("FREQ=DAILY",)))
    with pytest.raises(ProviderRejected, match="would forget"):
        update(ada, target(ada.one(identity)), draft, "recurrence")
    assert ada.truth()[0]["cancelled"] == ["2026-01-12"]


@pytest.fixture
def bob(ada: Mailbox, process: Simulator) -> Mailbox:
    return Mailbox(process, "bob@graph.test")


@pytest.mark.parametrize(("response", "left"), [(ACCEPTED, 1), (DECLINED, 0)])
def test_an_answer_reaches_the_organizer(ada: Mailbox, bob: Mailbox, response: str, left: int) -> None:
    meeting = create(ada, replace(LUNCH, attendees=(Invited(bob.email),)))
    invitation = bob.one(bob.truth()[0]["id"])
    assert invitation.events[0].uid == meeting.events[0].uid
    answered = bob.provider().respond(bob.calendar(), target(invitation), response, notify=NOTIFY_ALL)
    assert len(answered) == left
    assert ada.one(meeting.remote_id).events[0].attendees[0].response == response


def test_an_answer_can_be_kept_to_oneself(ada: Mailbox, bob: Mailbox) -> None:
    meeting = create(ada, replace(LUNCH, attendees=(Invited(bob.email),)))
    invitation = bob.one(bob.truth()[0]["id"])
    (mine,) = bob.provider().respond(bob.calendar(), target(invitation), ACCEPTED, notify=NOTIFY_NONE)
    assert mine.events[0].attendees[0].response == ACCEPTED
    assert ada.one(meeting.remote_id).events[0].attendees[0].response == "needsAction"


def test_the_organizer_has_nothing_to_answer(ada: Mailbox) -> None:
    with pytest.raises(ProviderRejected, match="organizer"):
        ada.provider().respond(ada.calendar(), target(create(ada)), ACCEPTED, notify=NOTIFY_ALL)


def test_a_wish_for_silence_that_microsoft_would_not_keep_is_refused_first(ada: Mailbox) -> None:
    draft = replace(LUNCH, attendees=(Invited("bob@else.test"),))
    with pytest.raises(ProviderRejected, match="always tells"):
        create(ada, draft, notify=NOTIFY_NONE)
    assert ada.truth() == []
    assert create(ada, notify=NOTIFY_NONE).events


def test_a_calendar_that_cannot_be_written_refuses(ada: Mailbox) -> None:
    ada.control("POST", "calendars", {"name": "Holidays", "can_edit": False})
    with pytest.raises(ProviderRejected):
        ada.provider().create(ada.calendar("Holidays"), LUNCH, key=KEY, notify=NOTIFY_ALL)


# --- rules --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rule",
    [
        "FREQ=DAILY", "FREQ=DAILY;INTERVAL=3;COUNT=5", "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,FR;WKST=SU",
        "FREQ=MONTHLY;BYMONTHDAY=15", "FREQ=MONTHLY;BYMONTHDAY=-1", "FREQ=MONTHLY;BYDAY=2TU", "FREQ=MONTHLY;BYDAY=-1FR",
        "FREQ=MONTHLY;BYMONTHDAY=28,29,30;BYSETPOS=-1", "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1",
        "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=28,29;BYSETPOS=-1", "FREQ=YEARLY;BYMONTH=11;BYDAY=4TH",
    ],
)  # fmt: skip
def test_a_rule_goes_to_graph_and_back(rule: str) -> None:
    assert rule_of(pattern_of(rule, SPAN), SPAN) == rule


@pytest.mark.parametrize(
    ("until", "last"),
    [
        ("20260126", date(2026, 1, 26)),
        ("20260126T080000Z", date(2026, 1, 26)),
        ("20260126T075959Z", date(2026, 1, 25)),
        ("20260126T225959Z", date(2026, 1, 26)),
    ],
)
def test_the_end_of_a_rule_is_a_day_on_the_series_own_wall(until: str, last: date) -> None:
    range_ = pattern_of(f"FREQ=DAILY;UNTIL={until}", SPAN)["range"]
    assert isinstance(range_, dict)
    assert range_["endDate"] == last.isoformat()


@pytest.mark.parametrize(
    "rule",
    [
        "FREQ=HOURLY", "FREQ=DAILY;BYDAY=MO", "FREQ=DAILY;BYHOUR=9", "FREQ=WEEKLY;BYMONTH=3",
        "FREQ=MONTHLY;BYMONTHDAY=31", "FREQ=MONTHLY;BYMONTHDAY=1,15",
        "FREQ=MONTHLY;BYDAY=5MO", "FREQ=MONTHLY;BYDAY=1MO,2TU", "FREQ=YEARLY;BYDAY=MO",
        "FREQ=YEARLY;BYMONTH=1,2;BYMONTHDAY=3", "FREQ=YEARLY;BYWEEKNO=5", "FREQ=YEARLY;BYYEARDAY=100", "FREQ=NEVER",
    ],
)  # fmt: skip
def test_what_graph_cannot_say_is_refused_in_words(rule: str) -> None:
    with pytest.raises(ProviderRejected) as caught:
        pattern_of(rule, SPAN)
    assert caught.value.code == "unsupported_recurrence"
    assert len(caught.value.message) > 20


def test_times_that_graph_cannot_keep_are_refused(ada: Mailbox) -> None:
    with pytest.raises(ProviderRejected, match="time zone"):
        create(ada, replace(LUNCH, span=replace(SPAN, zone="")))
    with pytest.raises(ProviderRejected, match="added or excluded"):
        create(ada, replace(LUNCH, recurrence=Recurrence(("FREQ=DAILY",), added=((datetime(2026, 1, 7), None),))))
    assert ada.truth() == []
