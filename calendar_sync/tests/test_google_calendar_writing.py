"""Google's calendars written through the provider, against the simulator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from calendar_sync.records import (
    ACCEPTED,
    CANCELLED,
    CONFIDENTIAL,
    DECLINED,
    NOTIFY_ALL,
    NOTIFY_NONE,
    EventDraft,
    Invited,
    Recurrence,
    RemoteCalendar,
    RemoteResource,
    Span,
    Target,
)
from calendar_sync.tests.google_simulator import GoogleHarness
from core.errors import ProviderRejected, RemoteChanged, RemoteMissing
from simulator.process import Simulator, running

ADA = "ada@contract.test"
KEY = "0123456789abcdef0123456789abcdef"
SPAN = Span(datetime(2026, 1, 5, 9), timedelta(hours=1), "Europe/Berlin")
LUNCH = EventDraft(SPAN, "Lunch", "Bring cake", "Kitchen")
WEEKLY = replace(LUNCH, title="Weekly", recurrence=Recurrence(rules=("FREQ=WEEKLY;COUNT=4",)))
TUESDAY = datetime(2026, 1, 6, 8, tzinfo=UTC)
SECOND = "20260112T080000Z"
"""The second Monday at nine in Berlin."""


@pytest.fixture(scope="module")
def process() -> Iterator[Simulator]:
    with running() as simulator:
        yield simulator


@pytest.fixture
def ada(process: Simulator, settings: Any) -> GoogleHarness:
    settings.EGRESS_ALLOW_CIDRS = ["127.0.0.0/8"]
    process.reset(seed=6)
    return GoogleHarness(process, ADA)


def calendar(harness: GoogleHarness) -> RemoteCalendar:
    return next(one for one in harness.provider().calendars() if one.is_primary)


def create(harness: GoogleHarness, draft: EventDraft = LUNCH, key: str = KEY) -> RemoteResource:
    return harness.provider().create(calendar(harness), draft, key=key, notify=NOTIFY_ALL)


def target(seen: RemoteResource, key: str = "") -> Target:
    return Target(seen.remote_id, seen.etag, seen.raw, seen.series_remote_id, key)


def update(harness: GoogleHarness, at: Target, draft: EventDraft, *changed: str) -> tuple[RemoteResource, ...]:
    return harness.provider().update(calendar(harness), at, draft, frozenset(changed), notify=NOTIFY_ALL)


def there(harness: GoogleHarness) -> dict[str, dict[str, Any]]:
    return harness.truth_of.events(calendar(harness).remote_id)


@pytest.mark.parametrize(
    "draft",
    [
        LUNCH,
        WEEKLY,
        replace(LUNCH, span=Span(datetime(2026, 3, 28), timedelta(days=2), all_day=True)),
        replace(LUNCH, visibility=CONFIDENTIAL, busy=False),
        replace(LUNCH, attendees=(Invited("ben@contract.test", "Ben", optional=True),)),
        replace(WEEKLY, recurrence=Recurrence(("FREQ=DAILY;COUNT=9",), left_out=frozenset({TUESDAY}))),
    ],
    ids=["plain", "series", "days", "confidential", "people", "left out"],
)  # fmt: skip
def test_create_stores_what_was_said_and_once_for_a_key(ada: GoogleHarness, draft: EventDraft) -> None:
    made = create(ada, draft)
    again = create(ada, draft)
    assert (again.remote_id, again.etag) == (made.remote_id, made.etag)
    assert list(there(ada)) == [made.remote_id]
    [event] = made.events
    for name in ("span", "title", "description", "location", "visibility", "busy", "recurrence", "attendees"):
        assert getattr(event, name) == getattr(draft, name), name


def test_create_of_what_was_deleted_since_brings_it_back(ada: GoogleHarness) -> None:
    made = create(ada)
    assert ada.provider().delete(calendar(ada), target(made), notify=NOTIFY_NONE) == ()
    again = create(ada, replace(LUNCH, title="Again"))
    assert (again.remote_id, again.events[0].title) == (made.remote_id, "Again")
    assert there(ada)[made.remote_id]["status"] == "confirmed"


def test_create_makes_a_conference_where_one_is_wanted(ada: GoogleHarness) -> None:
    assert create(ada).events[0].conference_url == ""
    made = create(ada, replace(LUNCH, conference=True), key=KEY[::-1])
    assert made.events[0].conference_url.startswith("https://meet.google.com/")


def test_create_in_a_zone_nobody_knows_is_written_in_utc_and_a_series_refused(ada: GoogleHarness) -> None:
    own = Span(SPAN.start, SPAN.duration, "Office", ((0, 3600),))
    made = create(ada, replace(LUNCH, span=own))
    assert made.events[0].span == Span(datetime(2026, 1, 5, 8), SPAN.duration, "UTC")
    with pytest.raises(ProviderRejected):
        create(ada, replace(WEEKLY, span=own), key=KEY[::-1])


def test_update_leaves_what_it_does_not_name(ada: GoogleHarness) -> None:
    guests = (Invited("ben@contract.test"), Invited("eve@contract.test"))
    made = create(ada, replace(LUNCH, attendees=guests))
    work = calendar(ada).remote_id
    people = there(ada)[made.remote_id]["attendees"]
    people[0] |= {"responseStatus": "accepted", "comment": "Yes!"}
    ada.truth_of.change(work, made.remote_id, attendees=people, colorId="7")
    [seen] = ada.provider().fetch(calendar(ada), [made.remote_id])
    draft = replace(LUNCH, title="Dinner", attendees=seen.events[0].attendees[:1])
    [changed] = update(ada, target(seen), draft, "title", "attendees")
    body = there(ada)[made.remote_id]
    assert (changed.events[0].title, body["location"], body["colorId"]) == ("Dinner", "Kitchen", "7")
    assert [(one["email"], one["responseStatus"], one["comment"]) for one in body["attendees"]] == [
        ("ben@contract.test", ACCEPTED, "Yes!")
    ]


def test_update_from_a_time_to_days_and_back(ada: GoogleHarness) -> None:
    made = create(ada)
    days = Span(datetime(2026, 1, 6), timedelta(days=1), all_day=True)
    [changed] = update(ada, target(made), replace(LUNCH, span=days), "span")
    assert changed.events[0].span == days
    [changed] = update(ada, target(changed), LUNCH, "span")
    assert changed.events[0].span == SPAN


@pytest.mark.parametrize("what", ["update", "delete", "respond"])
def test_write_over_what_was_changed_elsewhere_is_refused(ada: GoogleHarness, what: str) -> None:
    made = create(ada, replace(LUNCH, attendees=(Invited(ADA),)))
    ada.truth_of.change(calendar(ada).remote_id, made.remote_id, summary="Theirs")
    provider, place, seen = ada.provider(), calendar(ada), target(made)
    write: dict[str, Callable[[], Any]] = {
        "update": lambda: update(ada, seen, replace(LUNCH, title="Mine"), "title"),
        "delete": lambda: provider.delete(place, seen, notify=NOTIFY_ALL),
        "respond": lambda: provider.respond(place, seen, ACCEPTED, notify=NOTIFY_ALL),
    }
    with pytest.raises(RemoteChanged):
        write[what]()
    assert there(ada)[made.remote_id]["summary"] == "Theirs"


def test_write_to_what_is_gone_says_so(ada: GoogleHarness) -> None:
    made = create(ada)
    ada.truth_of.remove(calendar(ada).remote_id, made.remote_id)
    for write in (
        lambda: ada.provider().delete(calendar(ada), target(made), notify=NOTIFY_ALL),
        lambda: update(ada, target(made), LUNCH, "title"),
    ):
        with pytest.raises(RemoteMissing):
            write()


def test_update_of_one_occurrence_leaves_the_others_and_again_by_its_own_version(ada: GoogleHarness) -> None:
    made = create(ada, WEEKLY)
    later = replace(SPAN, start=datetime(2026, 1, 12, 15))
    series, one = update(ada, target(made, SECOND), replace(WEEKLY, title="Once", span=later), "title", "span")
    assert (series.remote_id, one.series_remote_id) == (made.remote_id, made.remote_id)
    [event] = one.events
    assert (event.title, event.recurrence_key, event.span) == ("Once", SECOND, later)
    assert series.events[0].title == "Weekly"
    _, one = update(ada, target(one, SECOND), replace(WEEKLY, title="Twice"), "title")
    assert one.events[0].title == "Twice"


def test_occurrence_of_a_series_that_was_changed_elsewhere_is_not_written(ada: GoogleHarness) -> None:
    made = create(ada, WEEKLY)
    ada.truth_of.change(calendar(ada).remote_id, made.remote_id, summary="Theirs")
    with pytest.raises(RemoteChanged):
        update(ada, target(made, SECOND), replace(WEEKLY, title="Mine"), "title")


def test_delete_of_one_occurrence_cancels_it(ada: GoogleHarness) -> None:
    made = create(ada, WEEKLY)
    series, gone = ada.provider().delete(calendar(ada), target(made, SECOND), notify=NOTIFY_ALL)
    assert (series.remote_id, gone.events[0].status, gone.events[0].recurrence_key) == (
        made.remote_id,
        CANCELLED,
        SECOND,
    )
    with pytest.raises(RemoteMissing):
        ada.provider().delete(calendar(ada), target(series, SECOND), notify=NOTIFY_ALL)


def test_answer_is_the_accounts_own_and_leaves_the_others(ada: GoogleHarness) -> None:
    made = create(ada, replace(LUNCH, attendees=(Invited("ben@contract.test", response=ACCEPTED), Invited(ADA))))
    [answered] = ada.provider().respond(calendar(ada), target(made), DECLINED, notify=NOTIFY_ALL, comment="Ill")
    found = {person.email: person.response for person in answered.events[0].attendees}
    assert found == {"ben@contract.test": ACCEPTED, ADA: DECLINED}
    assert {one.get("comment") for one in there(ada)[made.remote_id]["attendees"]} == {None, "Ill"}


def test_answer_of_somebody_who_is_not_invited_is_refused(ada: GoogleHarness) -> None:
    with pytest.raises(ProviderRejected):
        ada.provider().respond(calendar(ada), target(create(ada)), ACCEPTED, notify=NOTIFY_ALL)
