"""The contract suites every calendar provider passes: subclass `CalendarReadingContract`, and `CalendarWritingContract`
where it writes, and give them a `harness`.

A harness is an account at a real or stand-in server with a door behind the provider's back: it puts, moves and removes
events as another client would. What it put is the truth; `Mirror` is the smallest possible sync engine, and after every
sync its picture must equal it. Nothing here looks at calls, only at outcomes.

    class TestCalDavContract(CalendarReadingContract):
        @pytest.fixture
        def harness(self, server): return CalDavHarness(server)
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import ClassVar

import pytest

from calendar_sync.providers.base import CalendarProvider
from calendar_sync.records import CANCELLED, ChangePage, RemoteCalendar, RemoteEvent, RemoteResource, Span, key_of
from calendar_sync.tests.factories import remote
from core.errors import CursorExpired, ProviderAuthError, ProviderRateLimited, ProviderUnavailable

NINE = datetime(2026, 1, 5, 9)
DAILY = "FREQ=DAILY;COUNT=5"
KEYS = [f"202601{day:02}T080000Z" for day in range(5, 10)]
"""Of `DAILY` from nine o'clock in Berlin."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One event, series or changed occurrence. Of a cancelled occurrence only that counts."""

    uid: str
    key: str
    cancelled: bool
    title: str = ""
    span: Span | None = None
    rules: frozenset[str] = frozenset()


def all_seen(event: RemoteEvent) -> set[Seen]:
    """Of a series also the times at which it does not take place: a provider may tell of them as cancelled occurrences
    or leave them out."""
    off = (key_of(moment, all_day=event.span.all_day) for moment in event.recurrence.left_out)
    return {seen(event), *(Seen("", key, cancelled=True) for key in off)}


def seen(event: RemoteEvent) -> Seen:
    """What has to come through unchanged."""
    if event.status == CANCELLED and event.recurrence_key:
        return Seen("", event.recurrence_key, cancelled=True)
    rules = frozenset(";".join(sorted(rule.split(";"))) for rule in event.recurrence.rules)
    return Seen(event.uid, event.recurrence_key, event.status == CANCELLED, event.title, event.span, rules)


class CalendarHarness(ABC):
    """One account and the door behind the provider's back. Calendars are named by their remote id, events by UID."""

    def __init__(self) -> None:
        self.stored: dict[str, dict[str, tuple[RemoteEvent, ...]]] = {}

    @abstractmethod
    def provider(self) -> CalendarProvider:
        """A new provider object for the account; the test closes it."""

    @abstractmethod
    def make_calendar(self, name: str) -> str:
        """An empty calendar that can be written to; its remote id."""

    @abstractmethod
    def write(self, calendar: str, events: tuple[RemoteEvent, ...]) -> None:
        """Store an event or a series with its changed and cancelled occurrences, over what is there of it. A series
        comes again with everything it had before, and more."""

    @abstractmethod
    def erase(self, calendar: str, uid: str) -> None:
        """Delete an event, or a series with everything."""

    @abstractmethod
    def carry(self, source: str, target: str, uid: str) -> None:
        """Move it to another calendar."""

    @abstractmethod
    def put_broken(self, calendar: str) -> None:
        """An event nobody can understand."""

    @abstractmethod
    def lost(self, cursor: str) -> str:
        """This cursor, forgotten by the server; or one like it that it never gave."""

    # --- with the truth beside it -----------------------------------------------------------------------------

    def calendar(self, name: str) -> str:
        """As `make_calendar`."""
        made = self.make_calendar(name)
        self.stored[made] = {}
        return made

    def put(self, calendar: str, *events: RemoteEvent) -> None:
        """As `write`."""
        self.write(calendar, events)
        self.stored[calendar][events[0].uid] = events

    def remove(self, calendar: str, uid: str) -> None:
        """As `erase`."""
        self.erase(calendar, uid)
        del self.stored[calendar][uid]

    def move(self, source: str, target: str, uid: str) -> None:
        """As `carry`."""
        self.carry(source, target, uid)
        self.stored[target][uid] = self.stored[source].pop(uid)

    def truth(self) -> dict[str, set[Seen]]:
        """What is in every calendar."""
        return {
            name: {seen(event) for events in inside.values() for event in events}
            for name, inside in self.stored.items()
        }


class Mirror:
    """The smallest sync engine there is: what a provider's promises must suffice for."""

    def __init__(self, harness: CalendarHarness) -> None:
        self.harness = harness
        self.cursors: dict[str, str] = {}
        self.resources: dict[str, dict[str, RemoteResource]] = {}
        self.pages = 0
        """Of listings."""

    def sync(self) -> None:
        """Every calendar, with a provider of its own, as a run has."""
        with self.harness.provider() as provider:
            listed = [one for one in provider.calendars() if one.remote_id in self.harness.stored]
            for calendar in listed:
                self._sync(provider, calendar)

    def view(self) -> dict[str, set[Seen]]:
        """What the mirror believes. Cancelled occurrences of a series that is gone are nothing."""
        found: dict[str, set[Seen]] = {}
        for name, inside in self.resources.items():
            there = [one for one in inside.values() if not one.series_remote_id or one.series_remote_id in inside]
            found[name] = {what for one in there for event in one.events for what in all_seen(event)}
        return found

    def problems(self, calendar: str) -> list[str]:
        """What could not be read, and why."""
        return [one.problem for one in self.resources[calendar].values() if one.problem]

    def news(self, page: ChangePage) -> set[str]:
        """What a page says that the mirror does not know. It may name again what was seen, as it was seen."""
        known = {(one.remote_id, one.etag) for inside in self.resources.values() for one in inside.values()}
        named = {(one.remote_id, one.etag) for one in page.resources} | set(page.versions)
        return {remote_id for remote_id, _ in named - known} | set(page.removed)

    def _sync(self, provider: CalendarProvider, calendar: RemoteCalendar) -> None:
        name = calendar.remote_id
        if name not in self.cursors:
            self._list(provider, calendar)
        while True:
            try:
                page = provider.changes(calendar, self.cursors[name])
            except CursorExpired:
                self._list(provider, calendar)
                return
            there = self.resources[name]
            for remote_id in page.removed:
                there.pop(remote_id, None)
            self._take(provider, calendar, page.resources, page.versions)
            self.cursors[name] = page.cursor
            if not page.more:
                return

    def _list(self, provider: CalendarProvider, calendar: RemoteCalendar) -> None:
        name, token = calendar.remote_id, ""
        self.cursors[name] = provider.start_cursor(calendar)
        before, self.resources[name] = self.resources.get(name, {}), {}
        while True:
            try:
                page = provider.listing(calendar, token)
            except CursorExpired:  # the token is no longer good: begin again
                page = provider.listing(calendar, "")
            self.pages += 1
            known = {one for one, etag in page.versions if one in before and before[one].etag == etag}
            self.resources[name] |= {one: before[one] for one in known}
            self._take(provider, calendar, page.resources, [pair for pair in page.versions if pair[0] not in known])
            self.cursors[name] = page.cursor or self.cursors[name]
            token = page.next_token
            if not token:
                return

    def _take(
        self, provider: CalendarProvider, calendar: RemoteCalendar, whole: tuple[RemoteResource, ...], versions: object
    ) -> None:
        there = self.resources[calendar.remote_id]
        there |= {one.remote_id: one for one in whole}
        wanted = [remote_id for remote_id, _ in versions]  # type: ignore[attr-defined]
        if wanted:
            there |= {one.remote_id: one for one in provider.fetch(calendar, wanted)}


class CalendarReadingContract:
    """What every calendar provider does when it reads."""

    pages_are_small: ClassVar[bool] = True
    """Whether the harness makes listings come in pages of at most three."""

    @pytest.fixture
    def mirror(self, harness: CalendarHarness) -> Mirror:
        return Mirror(harness)

    @pytest.fixture
    def work(self, harness: CalendarHarness) -> str:
        return harness.calendar("Work")

    def check(self, harness: CalendarHarness, mirror: Mirror) -> None:
        mirror.sync()
        assert mirror.view() == harness.truth()

    def test_calendars_are_listed_with_their_names_and_can_be_written_to(self, harness: CalendarHarness) -> None:
        made = {harness.calendar(name): name for name in ("Work", "Home", "B\u00fcro \u2615")}
        with harness.provider() as provider:
            found = {one.remote_id: one for one in provider.calendars()}
        assert {remote_id: found[remote_id].name for remote_id in made} == made
        assert not any(found[remote_id].read_only for remote_id in made)

    def test_listing_of_an_empty_calendar_is_empty(self, harness: CalendarHarness, mirror: Mirror, work: str) -> None:
        self.check(harness, mirror)
        assert mirror.view() == {work: set()}

    def test_listing_brings_every_event_whatever_the_pages(
        self, harness: CalendarHarness, mirror: Mirror, work: str
    ) -> None:
        for number in range(8):
            harness.put(work, remote(f"Event {number}", NINE + timedelta(days=number)))
        self.check(harness, mirror)
        assert mirror.pages >= 3 or not self.pages_are_small

    def test_listing_again_gives_the_same_versions(self, harness: CalendarHarness, mirror: Mirror, work: str) -> None:
        for number in range(4):
            harness.put(work, remote(f"Event {number}", uid=str(number)))
        mirror.sync()
        etags = {one.remote_id: one.etag for one in mirror.resources[work].values()}
        again = Mirror(harness)
        again.sync()
        assert {one.remote_id: one.etag for one in again.resources[work].values()} == etags
        assert all(etags.values())

    def test_changes_bring_what_is_new_changed_and_removed(
        self, harness: CalendarHarness, mirror: Mirror, work: str
    ) -> None:
        for name in ("stays", "changes", "goes"):
            harness.put(work, remote(name, uid=name))
        self.check(harness, mirror)
        before = dict(mirror.resources[work])
        harness.put(work, remote("new", uid="new"))
        harness.put(work, remote("changed", NINE + timedelta(days=1), uid="changes"))
        harness.remove(work, "goes")
        self.check(harness, mirror)
        assert {name for name, one in mirror.resources[work].items() if before.get(name) == one}

    def test_changes_in_a_quiet_calendar_are_none(self, harness: CalendarHarness, mirror: Mirror, work: str) -> None:
        harness.put(work, remote())
        mirror.sync()
        with harness.provider() as provider:
            [calendar] = [one for one in provider.calendars() if one.remote_id == work]
            page = provider.changes(calendar, mirror.cursors[work])
            while page.more:
                assert mirror.news(page) == set()
                page = provider.changes(calendar, page.cursor)
        assert mirror.news(page) == set()

    def test_changes_of_an_event_that_came_and_went_leave_nothing(
        self, harness: CalendarHarness, mirror: Mirror, work: str
    ) -> None:
        harness.put(work, remote("stays"))
        mirror.sync()
        harness.put(work, remote("brief", uid="brief"))
        harness.remove(work, "brief")
        self.check(harness, mirror)

    def test_changes_of_one_calendar_leave_the_others_alone(
        self, harness: CalendarHarness, mirror: Mirror, work: str
    ) -> None:
        home = harness.calendar("Home")
        harness.put(work, remote("At work")), harness.put(home, remote("At home", uid="home"))
        self.check(harness, mirror)
        harness.remove(home, "home")
        self.check(harness, mirror)

    def test_event_moved_to_another_calendar_is_in_that_one_alone(
        self, harness: CalendarHarness, mirror: Mirror, work: str
    ) -> None:
        home = harness.calendar("Home")
        harness.put(work, remote("Moves", uid="moves", rule=DAILY))
        harness.put(work, remote("Stays"))
        self.check(harness, mirror)
        harness.move(work, home, "moves")
        self.check(harness, mirror)

    def test_lost_cursor_expires_and_a_new_listing_tells_the_truth(
        self, harness: CalendarHarness, mirror: Mirror, work: str
    ) -> None:
        for name in ("stays", "changes", "goes"):
            harness.put(work, remote(name, uid=name))
        mirror.sync()
        harness.remove(work, "goes")
        harness.put(work, remote("changed", uid="changes"))
        mirror.cursors[work] = harness.lost(mirror.cursors[work])
        with harness.provider() as provider:
            [calendar] = [one for one in provider.calendars() if one.remote_id == work]
            with pytest.raises(CursorExpired):
                provider.changes(calendar, mirror.cursors[work])
        self.check(harness, mirror)
        harness.put(work, remote("new"))
        self.check(harness, mirror)

    @pytest.mark.parametrize("cursor", ["", "not a cursor", "none:", "\u00e4"])
    def test_cursor_that_is_none_expires(self, harness: CalendarHarness, work: str, cursor: str) -> None:
        with harness.provider() as provider:
            [calendar] = [one for one in provider.calendars() if one.remote_id == work]
            with pytest.raises(CursorExpired):
                provider.changes(calendar, cursor)

    def test_event_changed_while_it_is_listed_is_not_lost(self, harness: CalendarHarness, work: str) -> None:
        for number in range(6):
            harness.put(work, remote(f"Event {number}", uid=f"uid-{number}"))
        mirror = Meddled(harness, work)
        mirror.sync()
        self.check(harness, mirror)

    # --- series -----------------------------------------------------------------------------------------------

    def test_series_comes_as_its_rule_with_changed_and_cancelled_occurrences(
        self, harness: CalendarHarness, mirror: Mirror, work: str
    ) -> None:
        harness.put(work, *self.series())
        self.check(harness, mirror)
        assert {(one.key, one.cancelled) for one in mirror.view()[work]} == {
            ("", False), (KEYS[1], False), (KEYS[3], True),
        }  # fmt: skip

    def test_series_gets_changed_and_cancelled_occurrences_later(
        self, harness: CalendarHarness, mirror: Mirror, work: str
    ) -> None:
        master, moved, cancelled = self.series()
        for events in ((master,), (master, moved), (master, moved, cancelled)):
            harness.put(work, *events)
            self.check(harness, mirror)

    def test_series_that_is_removed_takes_its_changed_occurrences_along(
        self, harness: CalendarHarness, mirror: Mirror, work: str
    ) -> None:
        harness.put(work, *self.series())
        harness.put(work, remote("stays"))
        self.check(harness, mirror)
        harness.remove(work, "series")
        self.check(harness, mirror)

    @staticmethod
    def series() -> tuple[RemoteEvent, RemoteEvent, RemoteEvent]:
        """Daily at nine; once at eleven; once not at all."""
        master = remote("Daily", uid="series", rule=DAILY)
        at_eleven = replace(master.span, start=NINE + timedelta(days=1, hours=2))
        alone = replace(master, recurrence=replace(master.recurrence, rules=()))
        moved = replace(alone, span=at_eleven, title="Later", recurrence_key=KEYS[1])
        off = replace(alone, span=replace(master.span, start=NINE + timedelta(days=3)))
        return master, moved, replace(off, recurrence_key=KEYS[3], status=CANCELLED)

    # --- times ------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize(
        "zone", ["Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "UTC", "America/Sao_Paulo"]
    )
    def test_times_are_those_on_the_wall_of_their_zone(
        self, harness: CalendarHarness, mirror: Mirror, work: str, zone: str
    ) -> None:
        for month in (1, 4, 7, 10):
            span = Span(datetime(2026, month, 5, 23, 30), timedelta(hours=2), zone)
            harness.put(work, remote(f"Month {month}", span=span))
        harness.put(work, remote("Weekly", span=Span(NINE, timedelta(hours=1), zone), rule="FREQ=WEEKLY;BYDAY=MO"))
        self.check(harness, mirror)

    def test_times_across_the_night_when_the_clocks_change(
        self, harness: CalendarHarness, mirror: Mirror, work: str
    ) -> None:
        for night in (datetime(2026, 3, 28, 23), datetime(2026, 10, 24, 23), datetime(2026, 10, 25, 2, 30)):
            harness.put(work, remote(f"{night}", span=Span(night, timedelta(hours=6), "Europe/Berlin")))
        self.check(harness, mirror)

    def test_days_stay_days(self, harness: CalendarHarness, mirror: Mirror, work: str) -> None:
        for length in (1, 3):
            span = Span(datetime(2026, 3, 28), timedelta(days=length), all_day=True)
            harness.put(work, remote(f"{length} days", span=span))
        yearly = Span(datetime(2026, 2, 1), timedelta(days=1), all_day=True)
        harness.put(work, remote("Yearly", span=yearly, rule="FREQ=YEARLY"))
        self.check(harness, mirror)

    # --- what is broken, and what is not there ------------------------------------------------------------------

    def test_event_that_cannot_be_read_says_why_and_hides_no_other(
        self, harness: CalendarHarness, mirror: Mirror, work: str
    ) -> None:
        for number in range(4):
            harness.put(work, remote(f"Event {number}"))
        harness.put_broken(work)
        self.check(harness, mirror)
        [problem] = mirror.problems(work)
        assert problem.endswith(".")

    def test_fetch_leaves_out_what_is_gone(self, harness: CalendarHarness, mirror: Mirror, work: str) -> None:
        for name in ("stays", "goes"):
            harness.put(work, remote(name, uid=name))
        mirror.sync()
        ids = list(mirror.resources[work])
        harness.remove(work, "goes")
        with harness.provider() as provider:
            [calendar] = [one for one in provider.calendars() if one.remote_id == work]
            found = list(provider.fetch(calendar, ids))
        assert [event.title for one in found for event in one.events] == ["stays"]

    def test_changes_over_a_long_random_life_keep_the_mirror_true(
        self, harness: CalendarHarness, mirror: Mirror, work: str
    ) -> None:
        chance, places = random.Random(20260105), [work, harness.calendar("Home")]
        for step in range(40):
            self.live(harness, chance, places, step)
            if step % 4 == 3:
                mirror.sync()
                assert mirror.view() == harness.truth(), f"after step {step}"

    @staticmethod
    def live(harness: CalendarHarness, chance: random.Random, places: list[str], step: int) -> None:
        """One step of somebody else's day."""
        present = [(place, uid) for place in places for uid in sorted(harness.stored[place])]
        deed = chance.choice(("put", "put", "change", "remove", "move")) if present else "put"
        if deed == "put":
            rule = DAILY if chance.random() < 0.3 else ""
            harness.put(chance.choice(places), remote(f"Life {step}", uid=f"life-{step}", rule=rule))
            return
        place, uid = chance.choice(present)
        if deed == "change":
            first = harness.stored[place][uid][0]
            start = first.span.start + timedelta(hours=chance.randrange(1, 5))
            harness.put(place, replace(first, title=f"Step {step}", span=replace(first.span, start=start)))
        elif deed == "remove":
            harness.remove(place, uid)
        else:
            harness.move(place, next(other for other in places if other != place), uid)


class Meddled(Mirror):
    """Somebody changes an event, removes one and adds one after the first page of the listing."""

    def __init__(self, harness: CalendarHarness, calendar: str) -> None:
        super().__init__(harness)
        self.where = calendar

    def _take(self, *arguments: object) -> None:  # type: ignore[override]
        super()._take(*arguments)  # type: ignore[arg-type]
        if self.where:
            where, self.where = self.where, ""
            first, *_, last = sorted(self.harness.stored[where])
            self.harness.put(where, remote("Changed", uid=first))
            self.harness.remove(where, last)
            self.harness.put(where, remote("Added"))


class TroubledHarness(CalendarHarness):
    """A harness whose server can be made to fail."""

    @abstractmethod
    def refuse_token(self) -> None:
        """The credential is no longer taken."""

    @abstractmethod
    def throttle(self, seconds: int) -> None:
        """Every request is answered with the server's refusal for too many requests, which names this time."""

    @abstractmethod
    def fail(self, status: int) -> None:
        """Every request is answered with this status and the server's own words."""

    @abstractmethod
    def garble(self) -> None:
        """Every answer is something else than the API speaks."""


class CalendarTroubleContract:
    """What refusals mean, whatever is asked."""

    ASKED = ("calendars", "listing", "changes")

    def ask(self, harness: CalendarHarness, what: str, trouble: object) -> None:
        """Ask with everything ready, once the trouble is on."""
        work = harness.calendar("Work")
        harness.put(work, remote())
        mirror = Mirror(harness)
        mirror.sync()
        with harness.provider() as provider:
            [calendar] = [one for one in provider.calendars() if one.remote_id == work]
            trouble()  # type: ignore[operator]
            if what == "calendars":
                provider.calendars()
            elif what == "listing":
                provider.listing(calendar, "")
            else:
                provider.changes(calendar, mirror.cursors[work])

    @pytest.mark.parametrize("what", ASKED)
    def test_credential_that_is_refused_says_so(self, harness: TroubledHarness, what: str) -> None:
        with pytest.raises(ProviderAuthError):
            self.ask(harness, what, harness.refuse_token)

    @pytest.mark.parametrize("what", ASKED)
    def test_too_many_requests_name_the_time_to_wait(self, harness: TroubledHarness, what: str) -> None:
        with pytest.raises(ProviderRateLimited) as refusal:
            self.ask(harness, what, lambda: harness.throttle(17))
        assert refusal.value.retry_after == 17

    @pytest.mark.parametrize("what", ASKED)
    @pytest.mark.parametrize("status", [500, 502, 503])
    def test_server_that_is_ill_is_asked_again_later(self, harness: TroubledHarness, what: str, status: int) -> None:
        with pytest.raises(ProviderUnavailable):
            self.ask(harness, what, lambda: harness.fail(status))

    @pytest.mark.parametrize("what", ASKED)
    def test_answer_that_is_none_is_no_empty_calendar(self, harness: TroubledHarness, what: str) -> None:
        with pytest.raises(ProviderUnavailable):
            self.ask(harness, what, harness.garble)
