"""A worker that lost its turn at a doorbell: what it made at the provider does not stay beside what another made, and
it writes nothing over it. Mail and calendars, Google and Microsoft, against the simulator.

The loss is put between the provider's answer and the moment the worker would write it down: its lease runs out there
and another worker does the whole of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.db.models.functions import Now

from calendar_sync.models import CalendarChannel
from calendar_sync.providers.doorbells import CALENDAR_DOORBELLS
from calendar_sync.services import doorbells as of_calendars
from calendar_sync.tests import doorbells as calendar_accounts
from calendar_sync.tests.factories import make_calendar
from core.errors import ProviderUnavailable
from email_sync.models import PushChannel
from email_sync.providers import MAIL_PROVIDERS
from email_sync.providers.doorbells import MAIL_DOORBELLS
from email_sync.services import doorbells as of_mail
from email_sync.tests import doorbells as mailboxes
from integrations.doorbells import Doorbell
from integrations.models import Connection, SyncRun
from integrations.models.push import PushRow
from integrations.services import disconnecting
from simulator.process import Simulator, running
from simulator.tests.doorbell import doorbell
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db


@dataclass
class Case:
    """An account at a provider with one doorbell to set up."""

    connection: Connection
    bell: type[Doorbell]
    rows: type[PushRow]
    ensure: Callable[[], list[SyncRun]]
    """What a worker does."""
    at_provider: Callable[[], list[str]]
    """What the provider holds, by the names that notifications carry."""

    @property
    def row(self) -> Any:
        return self.rows._default_manager.get(connection=self.connection)

    def later(self) -> None:
        """Its turn has come, or a lease on it has run out."""
        self.rows._default_manager.filter(connection=self.connection).update(next_attempt_at=Now())

    def meanwhile(self, monkeypatch: pytest.MonkeyPatch, method: str, happens: Callable[[], object]) -> None:
        """Once, the provider's answer to `method` takes so long that the lease runs out and `happens` comes first."""
        real = getattr(self.bell, method)

        def slow(bell: Any, *arguments: Any, **named: Any) -> Any:
            monkeypatch.setattr(self.bell, method, real)
            answer = real(bell, *arguments, **named)
            self.later()
            happens()
            return answer

        monkeypatch.setattr(self.bell, method, slow)


@pytest.fixture(scope="module")
def process() -> Iterator[Simulator]:
    with running() as simulator:
        yield simulator


@pytest.fixture(scope="module")
def hub() -> Iterator[str]:
    """Stands for our own web server at Microsoft's handshake."""
    with doorbell() as bell:
        yield bell.url.removesuffix("/hook")


@pytest.fixture
def simulator(process: Simulator, hub: str, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Simulator:
    process.reset()
    mailboxes.configure(settings, process, hub)
    calendar_accounts.configure(settings, process, hub)
    monkeypatch.setitem(MAIL_PROVIDERS.paths, "microsoft", "email_sync.providers.graph.Graph")
    return process


@pytest.fixture(params=["mail-google", "mail-microsoft", "calendar-google", "calendar-microsoft"])
def case(request: pytest.FixtureRequest, simulator: Simulator, member: Actor) -> Case:
    kind, provider = request.param.split("-")
    if kind == "mail":
        make = mailboxes.google_mailbox if provider == "google" else mailboxes.microsoft_mailbox
        mailbox = make(simulator, member)

        def mail_worker() -> list[SyncRun]:
            return of_mail.ensure(mailbox.pk)

        def told() -> list[str]:
            return [str(one.get("id", mailbox.account_email)) for one in simulator.subscriptions()]

        return Case(mailbox, MAIL_DOORBELLS.get(provider), PushChannel, mail_worker, told)
    account = (calendar_accounts.google_account if provider == "google" else calendar_accounts.microsoft_account)(
        simulator, member
    )
    of_calendars.due()

    def calendar_worker() -> list[SyncRun]:
        return of_calendars.ensure(CalendarChannel.objects.get(connection=account).pk)

    def channels() -> list[str]:
        if provider == "google":
            return [f"{one['id']} {one['resourceId']}" for one in calendar_accounts.channels(simulator)]
        return [one["id"] for one in simulator.subscriptions()]

    return Case(account, CALENDAR_DOORBELLS.get(provider), CalendarChannel, calendar_worker, channels)


def test_of_two_that_were_made_the_one_that_is_stored_stays(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    others: list[SyncRun] = []
    case.meanwhile(monkeypatch, "subscribe", lambda: others.extend(case.ensure()))
    assert case.ensure() == []
    assert [run.connection_id for run in others] == [case.connection.pk]
    row = case.row
    assert (row.status, case.at_provider()) == ("active", [row.remote_id])


def test_one_that_is_made_anew_beside_the_old_leaves_neither_the_old_nor_the_losers(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    case.ensure()
    old = case.row
    if case.bell.is_addressed:
        case.rows._default_manager.update(address="http://elsewhere.test/hook")
    case.later()
    case.meanwhile(monkeypatch, "subscribe" if case.bell.is_addressed else "renew", case.ensure)
    case.ensure()
    row = case.row
    assert case.at_provider() == [row.remote_id]
    assert (row.remote_id != old.remote_id) is case.bell.is_addressed


def test_loser_that_was_refused_writes_nothing_over_what_was_set_up(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = case.bell.subscribe

    def refused(*_: Any) -> Any:
        monkeypatch.setattr(case.bell, "subscribe", real)
        case.later()
        case.ensure()
        raise ProviderUnavailable("The provider did not answer.")

    monkeypatch.setattr(case.bell, "subscribe", refused)
    case.ensure()
    row = case.row
    assert (row.status, row.failures, row.message) == ("active", 0, "")
    assert case.at_provider() == [row.remote_id]


def test_one_whose_lease_ran_out_while_nobody_else_came_is_stored(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    case.meanwhile(monkeypatch, "subscribe", lambda: None)
    assert [run.connection_id for run in case.ensure()] == [case.connection.pk]
    assert case.at_provider() == [case.row.remote_id]


def test_one_that_is_made_while_its_user_disconnects_does_not_stay(
    case: Case, monkeypatch: pytest.MonkeyPatch, simulator: Simulator, member: Actor
) -> None:
    monkeypatch.setattr(disconnecting, "_revoke", lambda *_, **__: None)  # as at a provider that has no call for it
    disconnect = lambda: disconnecting.disconnect(case.connection, purge=False, by=member.user)  # noqa: E731
    case.meanwhile(monkeypatch, "subscribe", disconnect)
    assert case.ensure() == []
    assert not case.rows._default_manager.exists()
    assert case.bell.one_per_account or case.at_provider() == []


def test_calendar_that_is_shown_again_while_its_doorbell_is_ended_keeps_the_new_one(
    simulator: Simulator, member: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = calendar_accounts.google_account(simulator, member)
    home = make_calendar(account, "Ada", remote_id=calendar_accounts.ADA)
    tend = lambda: [of_calendars.ensure(channel_id) for channel_id in of_calendars.due()]  # noqa: E731
    tend()
    case = Case(account, CALENDAR_DOORBELLS.get("google"), CalendarChannel, list, list)

    def shown_again() -> None:
        type(home).objects.filter(pk=home.pk).update(selected=True)
        tend()

    type(home).objects.filter(pk=home.pk).update(selected=False)
    case.meanwhile(monkeypatch, "stop", shown_again)
    tend()
    row = CalendarChannel.objects.get(calendar=home)
    held = {f"{one['id']} {one['resourceId']}" for one in calendar_accounts.channels(simulator)}
    assert (row.status, row.remote_id in held, len(held)) == ("active", True, 2)
