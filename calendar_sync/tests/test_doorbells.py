"""Setting up, renewing and ending what providers ring for calendars, against the simulator."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from calendar_sync import tasks
from calendar_sync.models import Calendar, CalendarChannel
from calendar_sync.services import calendars, doorbells, push_standing
from calendar_sync.tests.doorbells import ADA, CLEO, channels, configure, google_account, microsoft_account
from calendar_sync.tests.factories import connect, make_calendar
from calendar_sync.tests.google_simulator import GoogleTruth
from integrations.models import Connection, SyncRun
from integrations.services import disconnecting
from integrations.services.doorbells import digest
from simulator.process import Simulator, running
from simulator.tests.doorbell import Doorbell, doorbell
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db
HOME = "home@group.calendar.google.com"
HOLIDAYS = "holidays@group.v.calendar.google.com"
LIST = ""


@pytest.fixture(scope="module")
def process() -> Iterator[Simulator]:
    with running() as simulator:
        yield simulator


@pytest.fixture(scope="module")
def echoing() -> Iterator[Doorbell]:
    """Stands for our own web server at the handshake."""
    with doorbell() as bell:
        yield bell


@pytest.fixture
def simulator(process: Simulator, echoing: Doorbell, settings: Any) -> Simulator:
    process.reset()
    echoing.echo = True
    configure(settings, process, echoing.url.removesuffix("/hook"))
    return process


@pytest.fixture
def google(simulator: Simulator, member: Actor) -> Connection:
    """Connected, with two calendars."""
    connection = google_account(simulator, member)
    GoogleTruth(simulator, ADA).add_calendar(HOME)
    make_calendar(connection, "Ada", remote_id=ADA, is_primary=True)
    make_calendar(connection, "Home", remote_id=HOME)
    return connection


@pytest.fixture
def microsoft(simulator: Simulator, member: Actor) -> Connection:
    connection = microsoft_account(simulator, member)
    make_calendar(connection, "Calendar"), make_calendar(connection, "Team")
    return connection


@pytest.fixture(params=["google", "microsoft"])
def connection(request: pytest.FixtureRequest) -> Connection:
    found: Connection = request.getfixturevalue(request.param)
    return found


def tend() -> list[SyncRun]:
    """What the tick has the workers do."""
    return [run for channel_id in doorbells.due() for run in doorbells.ensure(channel_id)]


def rows(connection: Connection) -> list[CalendarChannel]:
    return list(CalendarChannel.objects.filter(connection=connection).order_by("calendar__name"))


def watched(simulator: Simulator) -> set[str]:
    """The calendars, and `LIST`."""
    return {one["calendar"] for one in channels(simulator)}


def addresses(connection: Connection, simulator: Simulator) -> set[str]:
    """What the provider calls."""
    if connection.provider == "google":
        return {one["address"] for one in channels(simulator)}
    names = ("notificationUrl", "lifecycleNotificationUrl")
    return {one[name] for one in simulator.subscriptions() for name in names}


def a_day_later() -> None:
    CalendarChannel.objects.update(next_attempt_at=Now())
    SyncRun.objects.all().delete()


def test_ensure_at_google_opens_a_channel_for_each_calendar_and_their_list_and_looks(
    google: Connection, simulator: Simulator
) -> None:
    runs = tend()
    assert {run.connection_id for run in runs} == {google.pk}
    made = {one["calendar"]: one for one in channels(simulator)}
    assert set(made) == {ADA, HOME, LIST}
    for row in rows(google):
        theirs = made[row.calendar.remote_id if row.calendar else LIST]
        assert (row.status, row.via) == ("active", "channel")
        assert row.remote_id == f"{theirs['id']} {theirs['resourceId']}"
        assert row.secret_digest == digest(theirs["token"])
        assert len(theirs["token"]) >= 43
        assert theirs["address"].endswith("/api/v1/integrations/calendar/push/google")
        assert timedelta(days=2) < row.expires_at - timezone.now() <= timedelta(days=3)
    assert len({one["token"] for one in made.values()}) == 3
    assert doorbells.due() == []


def test_ensure_at_microsoft_subscribes_once_for_all_calendars(microsoft: Connection, simulator: Simulator) -> None:
    assert [run.connection_id for run in tend()] == [microsoft.pk]
    [made] = simulator.subscriptions()
    [row] = rows(microsoft)
    assert (row.status, row.via, row.remote_id, row.calendar) == ("active", "subscription", made["id"], None)
    assert made["resource"] == "me/events"
    assert made["lifecycleNotificationUrl"].endswith("/calendar/push/microsoft/lifecycle")
    assert row.secret_digest == digest(made["clientState"])


def test_renewal_at_google_opens_another_channel_before_it_stops_the_first(
    google: Connection, simulator: Simulator
) -> None:
    tend()
    first = {one["id"] for one in channels(simulator)}
    digests = {row.secret_digest for row in rows(google)}
    a_day_later()
    simulator.clear_ledger()
    tend()
    after = channels(simulator)
    assert len(after) == 3
    assert not first & {one["id"] for one in after}
    assert not digests & {row.secret_digest for row in rows(google)}
    asked = [entry["operation"] for entry in simulator.ledger(vendor="google")]
    assert sorted(asked[::2]) == ["calendar.calendarList.watch", "calendar.events.watch", "calendar.events.watch"]
    assert asked[1::2] == ["calendar.channels.stop"] * 3


def test_renewal_at_google_that_fails_leaves_the_first_channel_ringing(
    google: Connection, simulator: Simulator
) -> None:
    tend()
    before = rows(google)
    a_day_later()
    for resource in ("events", "calendarList"):
        simulator.fault("status", operation=f"calendar.{resource}.watch", status=503)
    tend()
    for row, old in zip(rows(google), before, strict=True):
        assert (row.status, row.remote_id, row.secret_digest) == ("active", old.remote_id, old.secret_digest)
        assert (row.failures, row.message != "") == (1, True)
        assert row.next_attempt_at > timezone.now() + timedelta(seconds=20)
    assert len(channels(simulator)) == 3
    assert push_standing.of(google).status == "active"


def test_renewal_at_microsoft_prolongs_and_does_not_look(microsoft: Connection, simulator: Simulator) -> None:
    tend()
    [first] = simulator.subscriptions()
    simulator.advance(3600)
    a_day_later()
    assert tend() == []
    [after] = simulator.subscriptions()
    assert after["id"] == first["id"]
    assert after["expirationDateTime"] > first["expirationDateTime"] or after == first


def test_doorbell_at_an_address_that_was_ours_is_made_anew_at_once(
    connection: Connection, simulator: Simulator, settings: Any
) -> None:
    tend()
    before = {row.remote_id for row in rows(connection)}
    SyncRun.objects.all().delete()
    settings.PUBLIC_URL = settings.PUBLIC_URL.replace("127.0.0.1", "localhost")
    assert {run.connection_id for run in tend()} == {connection.pk}
    assert {address.partition("/api/")[0] for address in addresses(connection, simulator)} == {settings.PUBLIC_URL}
    assert len(before) == len(rows(connection))
    assert not before & {row.remote_id for row in rows(connection)}
    assert doorbells.due() == []


def test_doorbell_whose_address_nobody_knows_is_made_anew_at_its_turn(
    microsoft: Connection, simulator: Simulator
) -> None:
    tend()
    [first] = simulator.subscriptions()
    CalendarChannel.objects.update(address="")  # of a version before
    assert doorbells.due() == []
    a_day_later()
    tend()
    [made] = simulator.subscriptions()
    assert made["id"] != first["id"]


def test_doorbell_that_cannot_move_rings_at_the_old_address_and_waits_for_its_turn(
    microsoft: Connection, simulator: Simulator, echoing: Doorbell, settings: Any
) -> None:
    tend()
    [old] = simulator.subscriptions()
    settings.PUBLIC_URL = settings.PUBLIC_URL.replace("127.0.0.1", "localhost")
    echoing.echo = False
    tend()
    assert [one["id"] for one in simulator.subscriptions()] == [old["id"]]
    assert [(row.status, row.remote_id, row.failures) for row in rows(microsoft)] == [("active", old["id"], 1)]
    assert doorbells.due() == []
    echoing.echo = True
    a_day_later()
    tend()
    [made] = simulator.subscriptions()
    assert made["notificationUrl"].startswith(settings.PUBLIC_URL)
    assert [(row.remote_id, row.failures) for row in rows(microsoft)] == [(made["id"], 0)]


def test_doorbell_that_ends_sooner_than_asked_is_renewed_in_time(
    google: Connection, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("calendar_sync.providers.doorbells.google.LIFE", timedelta(hours=1))
    tend()
    for row in rows(google):
        assert timedelta(minutes=25) < row.next_attempt_at - timezone.now() <= timedelta(minutes=30)


def test_subscription_that_is_gone_is_made_anew_with_a_look(microsoft: Connection, simulator: Simulator) -> None:
    tend()
    [first] = rows(microsoft)
    simulator.lifecycle(CLEO, "subscriptionRemoved")
    a_day_later()
    assert [run.connection_id for run in tend()] == [microsoft.pk]
    [made] = simulator.subscriptions()
    assert rows(microsoft)[0].remote_id == made["id"] != first.remote_id


def test_calendar_that_is_unselected_is_told_of_no_more_until_it_is_selected_again(
    google: Connection, simulator: Simulator, member: Actor
) -> None:
    tend()
    home = Calendar.objects.get(remote_id=HOME)
    calendars.select(home, selected=False, by=member.user)
    tend()
    assert watched(simulator) == {ADA, LIST}
    assert [row.calendar.remote_id for row in rows(google) if row.calendar] == [ADA]
    calendars.select(home, selected=True, by=member.user)
    tend()
    assert watched(simulator) == {ADA, HOME, LIST}


def test_calendar_that_is_gone_takes_its_channel_along(google: Connection, simulator: Simulator) -> None:
    tend()
    Calendar.objects.filter(remote_id=HOME).update(removed_at=Now())
    tend()
    assert watched(simulator) == {ADA, LIST}
    assert len(rows(google)) == 2


def test_calendars_that_nobody_tells_of_are_not_active_because_their_list_is(
    google: Connection, simulator: Simulator
) -> None:
    simulator.fault("status", operation="calendar.events.watch", status=503)
    tend()
    assert watched(simulator) == {LIST}
    standing = push_standing.of(google)
    assert (standing.status, standing.expires_at) == ("failed", None)


def test_list_that_cannot_be_watched_is_told_and_hides_no_calendar(google: Connection, simulator: Simulator) -> None:
    simulator.fault("status", operation="calendar.calendarList.watch", status=503)
    tend()
    assert watched(simulator) == {ADA, HOME}
    standing = push_standing.of(google)
    assert (standing.status, "503" in standing.message) == ("active", True)


def test_calendar_google_tells_nothing_of_is_polled_and_hides_no_other(
    google: Connection, simulator: Simulator
) -> None:
    GoogleTruth(simulator, ADA).add_calendar(HOLIDAYS)
    make_calendar(google, "Holidays", remote_id=HOLIDAYS)
    tend()
    row = CalendarChannel.objects.get(calendar__remote_id=HOLIDAYS)
    assert (row.status, row.remote_id) == ("off", "")
    assert row.next_attempt_at > timezone.now() + timedelta(hours=5)
    standing = push_standing.of(google)
    assert standing.status == "active"
    assert standing.message.startswith("Holidays: Google Calendar tells of no changes in this calendar")


def test_address_google_does_not_call_is_told_and_does_not_end_the_grant(
    google: Connection, simulator: Simulator
) -> None:
    reason = "push.webhookUrlUnauthorized"
    simulator.fault("status", operation="calendar.events.watch", status=401, reason=reason)
    tend()
    standing = push_standing.of(google)
    assert standing.status == "failed"
    assert "PUBLIC_URL" in standing.message
    google.refresh_from_db()
    assert not google.needs_reauth


def test_handshake_that_fails_is_told_in_the_providers_words_and_tried_later(
    microsoft: Connection, echoing: Doorbell
) -> None:
    echoing.echo = False
    tend()
    standing = push_standing.of(microsoft)
    assert standing.status == "failed"
    assert "validation request failed" in standing.message
    echoing.echo = True
    a_day_later()
    tend()
    assert (push_standing.of(microsoft).status, push_standing.of(microsoft).message) == ("active", "")


@pytest.mark.parametrize("columns", [{"paused": True}, {"sync_calendar": False}, {"needs_reauth": True}], ids=str)
def test_due_passes_over_what_does_not_sync(connection: Connection, columns: dict[str, Any]) -> None:
    Connection.objects.filter(pk=connection.pk).update(**columns)
    assert doorbells.due() == []
    assert CalendarChannel.objects.count() == 0


def test_ensure_of_a_connection_that_was_paused_meanwhile_asks_nobody(
    connection: Connection, simulator: Simulator
) -> None:
    due = doorbells.due()
    Connection.objects.filter(pk=connection.pk).update(paused=True)
    simulator.clear_ledger()
    assert [doorbells.ensure(channel_id) for channel_id in due] == [[]] * len(due)
    assert simulator.ledger() == []


def test_ensure_by_two_workers_sets_up_one(microsoft: Connection, simulator: Simulator) -> None:
    [channel_id] = doorbells.due()
    doorbells.BELLS.claim(CalendarChannel.objects.get(pk=channel_id))
    assert doorbells.ensure(channel_id) == []
    assert simulator.subscriptions() == []


@pytest.mark.parametrize(
    ("public_url", "api", "possible"),
    [
        ("https://hub.example.org", "https://www.googleapis.com", True),
        ("http://hub.example.org", "https://www.googleapis.com", False),
        ("http://127.0.0.1:8000", "https://www.googleapis.com", False),
        ("http://127.0.0.1:8000", "http://127.0.0.1:9100", True),
    ],
)
def test_push_where_nobody_would_call_says_so_and_asks_for_none(
    connection: Connection, public_url: str, api: str, possible: bool, settings: Any
) -> None:
    settings.PUBLIC_URL = public_url
    settings.CALENDAR_PROVIDER_SETTINGS = {"google": {"calendarApiUrl": api}, "microsoft": {"graphApiUrl": api}}
    assert bool(doorbells.due()) is possible
    standing = push_standing.of(connection)
    assert standing.status == "off"
    assert ("PUBLIC_URL" in standing.message) is not possible


def test_server_that_has_no_push_has_no_row(simulator: Simulator, member: Actor) -> None:
    caldav = connect(member, "dan@contract.test")
    make_calendar(caldav)
    assert doorbells.due() == []
    assert (push_standing.of(caldav).status, push_standing.of(caldav).via) == ("off", "")


def test_disconnect_ends_all_at_the_provider(connection: Connection, simulator: Simulator, member: Actor) -> None:
    tend()
    disconnecting.disconnect(connection, purge=False, by=member.user)
    assert simulator.subscriptions() == []
    assert connection.provider != "google" or channels(simulator) == []
    assert CalendarChannel.objects.count() == 0


def test_disconnect_does_not_wait_for_each_channel_of_a_provider_that_is_away(
    google: Connection, simulator: Simulator, member: Actor
) -> None:
    tend()
    simulator.fault("status", operation="calendar.channels.stop", status=503)
    simulator.clear_ledger()
    disconnecting.disconnect(google, purge=False, by=member.user)
    assert len(simulator.ledger(operation="calendar.channels.stop")) == 1
    assert CalendarChannel.objects.count() == 0


def test_status_tells_how_push_stands(google: Connection, member: Actor) -> None:
    path = f"/api/v1/integrations/connections/{google.pk}/status"
    assert member.client.get(path).json()["calendar"]["push"] == {
        "status": "off", "via": "channel", "expiresAt": None, "lastNotifiedAt": None, "message": "",
    }  # fmt: skip
    tend()
    push = member.client.get(path).json()["calendar"]["push"]
    assert (push["status"], push["via"]) == ("active", "channel")
    assert push["expiresAt"].endswith("Z")


def test_tick_rings_what_is_due(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    rung: list[str] = []
    monkeypatch.setattr(tasks.set_up_doorbell, "delay", rung.append)
    monkeypatch.setattr("workspaces.services.periodic.take_slot", lambda **_: True)
    tasks.tick()
    assert sorted(rung) == sorted(str(row.pk) for row in rows(connection))


def test_due_costs_the_same_whatever_there_is(google: Connection, django_assert_num_queries: Any) -> None:
    for number in range(20):
        make_calendar(google, f"More {number}")
    doorbells.due()
    with django_assert_num_queries(5):
        assert len(doorbells.due()) == 23
