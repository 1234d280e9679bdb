"""From a change in a calendar at the provider to its row here without waiting for the interval: Google and Graph by the
simulator, which calls a web server of ours over HTTP. Nothing is due for an hour, so whatever arrives was told, except
where a notification is lost on purpose.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, Protocol

import pytest

from calendar_sync.models import Calendar, CalendarChannel, CalendarEvent
from calendar_sync.services import doorbells
from calendar_sync.tests.doorbells import ADA, configure, google_account, microsoft_account
from calendar_sync.tests.google_simulator import GoogleTruth
from calendar_sync.tests.graph_simulator import NINE, TEN, Mailbox
from integrations import tasks
from integrations.models import Connection, SyncRun, SyncState
from integrations.services import schedule, sync_runs
from simulator.process import Simulator, running
from tests.test_push_journey import work, work_until
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db(transaction=True)
HOME = "home@group.calendar.google.com"


class Client(Protocol):
    """Another client of the same account."""

    def add(self, title: str) -> str: ...

    def remove(self, identity: str) -> None: ...


class AtGoogle:
    def __init__(self, simulator: Simulator) -> None:
        self.truth = GoogleTruth(simulator, ADA)

    def add(self, title: str) -> str:
        return self.truth.add(ADA, {"summary": title, "start": NINE, "end": TEN})

    def remove(self, identity: str) -> None:
        self.truth.remove(ADA, identity)


class AtMicrosoft:
    def __init__(self, mailbox: Mailbox) -> None:
        self.mailbox = mailbox

    def add(self, title: str) -> str:
        return self.mailbox.add(title)

    def remove(self, identity: str) -> None:
        self.mailbox.delete(identity)


@pytest.fixture(scope="module")
def process() -> Iterator[Simulator]:
    with running() as simulator:
        yield simulator


@pytest.fixture
def simulator(process: Simulator, live_server: Any, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Simulator:
    process.reset()
    configure(settings, process, live_server.url)
    settings.SYNC_INTERVAL_SECONDS = 3600
    monkeypatch.setattr(tasks.execute_run, "delay", lambda run_id: None)
    return process


@pytest.fixture
def google(simulator: Simulator, member: Actor) -> Connection:
    return told_of(google_account(simulator, member))


@pytest.fixture
def microsoft(simulator: Simulator, member: Actor) -> Connection:
    return told_of(microsoft_account(simulator, member))


@pytest.fixture(params=["google", "microsoft"])
def connection(request: pytest.FixtureRequest) -> Connection:
    found: Connection = request.getfixturevalue(request.param)
    return found


def told_of(made: Connection) -> Connection:
    """Synced once, its doorbells set up and what that rang worked."""
    work(sync_runs.start(connection=made, type="calendar", trigger="connect"))
    for channel_id in doorbells.due():
        for run in doorbells.ensure(channel_id):
            work(run)
    assert {row.status for row in CalendarChannel.objects.all()} == {"active"}
    SyncState.objects.update(next_sync_at="2099-01-01T00:00Z")
    SyncRun.objects.update(created_at="2026-01-01T00:00Z")  # long ago
    return made


@pytest.fixture
def client(connection: Connection, simulator: Simulator) -> Client:
    if connection.provider == "google":
        return AtGoogle(simulator)
    assert connection.credentials is not None
    return AtMicrosoft(Mailbox(simulator, connection.account_email, connection.credentials["access_token"]))


def there(title: str) -> bool:
    return CalendarEvent.objects.present().filter(title=title).exists()


def test_change_there_is_a_row_here_without_waiting(client: Client, connection: Connection) -> None:
    made = client.add("Told")
    work_until(lambda: there("Told"))
    [rang] = CalendarChannel.objects.exclude(last_notified_at=None)
    assert (rang.calendar and rang.calendar.remote_id) == {"google": ADA, "microsoft": None}[connection.provider]
    SyncRun.objects.update(created_at="2026-01-01T00:00Z")
    client.remove(made)
    work_until(lambda: not there("Told"))


def test_calendar_that_came_or_went_at_google_is_known_without_waiting(
    google: Connection, simulator: Simulator
) -> None:
    truth = GoogleTruth(simulator, ADA)
    truth.add_calendar(HOME, summary="Home")
    own = Calendar.objects.filter(connection=google).present()
    work_until(lambda: own.filter(name="Home").exists())
    [rang] = CalendarChannel.objects.exclude(last_notified_at=None)
    assert rang.calendar is None
    SyncRun.objects.update(created_at="2026-01-01T00:00Z")
    truth.remove_calendar(HOME)
    work_until(lambda: not own.filter(name="Home").exists())


def test_doubled_and_late_notifications_double_nothing(client: Client, simulator: Simulator) -> None:
    simulator.settings(push_copies=5, push_delay_seconds=0.3)
    for number in range(3):
        client.add(f"Many {number}")
    work_until(lambda: all(there(f"Many {number}") for number in range(3)))
    threading.Event().wait(0.6)
    work_until(lambda: not SyncRun.objects.due().exists())
    assert CalendarEvent.objects.count() == 3
    assert SyncRun.objects.count() <= 5


def test_lost_notifications_are_made_up_by_polling(client: Client, simulator: Simulator) -> None:
    simulator.settings(push_drop=True)
    client.add("Lost")
    threading.Event().wait(0.3)
    assert not SyncRun.objects.due().exists()
    SyncState.objects.update(next_sync_at="2026-01-01T00:00Z")  # the interval is over
    schedule.start_due()
    work_until(lambda: there("Lost"))
