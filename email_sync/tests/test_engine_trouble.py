"""Parts of a mailbox that make trouble: a message that never comes, a folder that refuses, a cursor lost all the time.
And what comes first."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta

import psycopg
import pytest
from django.db import InterfaceError, OperationalError
from django.db import connection as database
from django.db.models.functions import Now
from django.utils import timezone

from core.errors import ProviderError, ProviderRateLimited, ProviderRejected, ProviderUnavailable
from core.work import WorkStatus
from email_sync.models import Message, Unfetched
from email_sync.records import ChangePage, RemoteMessage, Stream
from email_sync.services import engine, pages
from email_sync.tests.conftest import Account
from email_sync.tests.contract import ident, mail
from email_sync.tests.memory import Memory, message_id_of
from email_sync.tests.test_engine import check_counters, fill, picture, truth
from entities.models import AddressMatch
from integrations.models import SyncCursor, SyncRun
from integrations.services import connections, disconnecting, standing, sync_runs

pytestmark = pytest.mark.django_db


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Messages the server breaks over whenever they are asked for; () mends it."""
    fetch = Memory.fetch

    def install(*names: str, error: ProviderError | None = None) -> None:
        wanted = {ident(name) for name in names}

        def breaks(self: Memory, stream: Stream, remote_ids: Sequence[str]) -> Iterator[RemoteMessage]:
            for message in fetch(self, stream, remote_ids):
                if message_id_of(message.raw or b"") in wanted:
                    raise error or ProviderUnavailable("Backend error")
                yield message

        monkeypatch.setattr(Memory, "fetch", breaks)

    return install


# --- messages that never come -------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ProviderUnavailable("Backend error"), ProviderRejected("Invalid message")])
def test_message_that_never_comes_is_set_aside_and_the_rest_goes_on(
    account: Account, poison: Callable[..., None], error: ProviderError
) -> None:
    fill(account.box, 130)
    poison("inbox-7", "inbox-100", error=error)
    assert account.sync().status == WorkStatus.DONE
    assert Message.objects.count() == 128
    reasons = dict(Unfetched.objects.values_list("remote_id", "reason"))
    bad = {account.box.find(ident(name)).remote_id for name in ("inbox-7", "inbox-100")}
    assert reasons == dict.fromkeys(bad, error.message)


def test_message_set_aside_comes_as_soon_as_the_provider_gives_it(
    account: Account, poison: Callable[..., None]
) -> None:
    fill(account.box, 5)
    poison("inbox-2")
    account.sync()
    account.box.calls.clear()
    account.sync()
    assert "fetch" not in account.box.calls  # its time has not come
    poison()
    Unfetched.objects.update(next_attempt_at=Now())
    account.sync()
    assert picture(account) == truth(account.box)
    assert not Unfetched.objects.exists()


def test_message_set_aside_is_tried_later_and_later(account: Account, poison: Callable[..., None]) -> None:
    fill(account.box, 5)
    poison("inbox-2")
    account.sync()
    Unfetched.objects.update(next_attempt_at=Now())
    account.sync()
    kept = Unfetched.objects.annotate(now=Now()).get()
    assert kept.attempts == 2
    assert timedelta(minutes=3) < kept.next_attempt_at - kept.now < timedelta(minutes=5)


def test_message_set_aside_that_is_deleted_is_forgotten(account: Account, poison: Callable[..., None]) -> None:
    fill(account.box, 5)
    poison("inbox-2")
    account.sync()
    account.box.remove(account.box.find(ident("inbox-2")).remote_id)
    Unfetched.objects.update(next_attempt_at=Now())
    account.sync()
    assert not Unfetched.objects.exists()


def test_new_message_alone_on_its_page_that_never_comes_is_set_aside_at_the_second_attempt(
    account: Account, poison: Callable[..., None]
) -> None:
    fill(account.box, 2)
    account.sync()
    account.box.append(mail("bad"), "inbox")
    account.box.append(mail("elsewhere"), "sent")
    poison("bad")
    assert account.sync().status == WorkStatus.QUEUED
    assert account.sync().status == WorkStatus.DONE
    assert Message.objects.filter(message_id=ident("elsewhere")).exists()
    assert Unfetched.objects.count() == 1


def test_provider_that_is_away_sets_nothing_aside(account: Account) -> None:
    fill(account.box, 5)

    def away(name: str) -> None:
        if name == "fetch":
            account.box.before_call = lambda _: down()
            down()

    def down() -> None:
        raise ProviderUnavailable("mail.example.com did not answer.")

    account.box.before_call = away
    assert account.sync().status == WorkStatus.QUEUED
    assert account.sync().status == WorkStatus.QUEUED
    assert not Unfetched.objects.exists()


def test_provider_that_gives_no_message_at_all_is_tried_again_then_said_so(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not for ever at the pace of the first attempt: a slice that brings nothing is no progress."""
    fill(account.box, 60)

    def breaks(self: Memory, stream: Stream, remote_ids: Sequence[str]) -> Iterator[RemoteMessage]:
        raise ProviderUnavailable("Backend error")

    monkeypatch.setattr(Memory, "fetch", breaks)
    statuses = [account.sync().status for _ in range(7)]  # the first took the cursors, which is progress
    assert statuses == [WorkStatus.QUEUED] * 6 + [WorkStatus.FAILED]
    assert not Unfetched.objects.exists()


def test_message_set_aside_is_not_forgotten_when_the_provider_says_wait(
    account: Account, poison: Callable[..., None]
) -> None:
    fill(account.box, 5)
    poison("inbox-2")
    account.sync()
    Unfetched.objects.update(next_attempt_at=Now())
    poison("inbox-2", error=ProviderRateLimited("Slow down", retry_after=1))
    assert account.sync().status == WorkStatus.QUEUED
    assert Unfetched.objects.count() == 1


def test_page_with_many_bad_messages_gets_on_at_every_attempt(account: Account, poison: Callable[..., None]) -> None:
    fill(account.box, 60)
    poison(*(f"inbox-{number}" for number in range(0, 60, 2)))
    statuses = []
    while not statuses or (statuses[-1] == WorkStatus.QUEUED and len(statuses) < 10):
        statuses.append(account.sync().status)
    assert statuses[-1] == WorkStatus.DONE
    assert (Message.objects.count(), Unfetched.objects.count()) == (30, 30)
    Unfetched.objects.update(next_attempt_at=Now())
    assert account.sync().status == WorkStatus.DONE


# --- folders ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["changes", "start_cursor", "list_ids"])
def test_folder_that_refuses_says_why_until_it_works(
    account: Account, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    original = getattr(Memory, call)

    def refuse(self: Memory, stream: Stream, *given: object, **named: object) -> object:
        if stream.key == "archive":
            raise ProviderRejected("Permission denied")
        return original(self, stream, *given, **named)

    fill(account.box, 3, "archive")
    monkeypatch.setattr(Memory, call, refuse)
    account.sync()
    [trouble] = standing.of(account.connection)["email"].troubles
    assert (trouble.folder, trouble.problem) == ("archive", "Permission denied")
    assert trouble.since is not None
    monkeypatch.setattr(Memory, call, original)
    account.sync()
    assert standing.of(account.connection)["email"].troubles == ()
    assert picture(account) == truth(account.box)


def test_folder_whose_cursor_is_lost_all_the_time_is_parked_for_a_day(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(account.box, 3)
    account.sync()
    changes = Memory.changes

    def forgets(self: Memory, stream: Stream, cursor: str) -> ChangePage:
        return changes(self, stream, "lost" if stream.key == "inbox" else cursor)

    monkeypatch.setattr(Memory, "changes", forgets)
    for _ in range(engine.MAX_RESYNCS + 3):
        account.sync("schedule")
    assert account.box.calls.count("states") == engine.MAX_RESYNCS
    [trouble] = standing.of(account.connection)["email"].troubles
    assert trouble.problem == engine.PARKED
    account.box.append(mail("late"), "inbox")
    account.box.append(mail("elsewhere"), "sent")
    account.sync("schedule")
    assert set(Message.objects.values_list("message_id", flat=True)) >= {ident("elsewhere")}
    monkeypatch.setattr(Memory, "changes", changes)
    SyncCursor.objects.update(resyncs_since=Now() - timedelta(days=2))
    account.sync("schedule")
    assert picture(account) == truth(account.box)
    assert standing.of(account.connection)["email"].troubles == ()


def test_folder_that_is_parked_is_compared_when_its_user_asks(account: Account) -> None:
    fill(account.box, 3)
    account.sync()
    account.box.append(mail("late"), "inbox")
    SyncCursor.objects.update(reconcile=True, resyncs=9, resyncs_since=Now())
    account.sync("schedule")
    assert not Message.objects.filter(message_id=ident("late")).exists()
    account.sync("user")
    assert picture(account) == truth(account.box)


# --- order --------------------------------------------------------------------------------------------------------


def test_mail_of_people_the_workspace_knows_comes_right_after_the_newest_of_the_inbox(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "PAGE", 100)
    account.box.append(mail("known-old", sender="Carol <carol@known.test>"), "inbox")
    account.box.append(mail("known-archived", sender="carol@known.test"), "archive")
    fill(account.box, 400)
    fill(account.box, 60, "archive")
    AddressMatch.objects.create(
        workspace=account.connection.workspace,
        address="Carol@known.test".lower(),
        address_key="carol@known.test",
        entity_type="contact",
        entity_id="1",
    )
    while account.slice(seconds=-1) and Message.objects.count() < 53:
        pass
    stored = set(Message.objects.values_list("message_id", flat=True))
    newest = {ident(f"inbox-{number}") for number in range(350, 400)}
    assert stored >= newest | {ident("known-old"), ident("known-archived")}
    assert len(stored) < 300
    run = account.sync()
    assert picture(account) == truth(account.box)
    assert run.done == run.total == 462


def test_new_mail_is_there_after_one_slice_of_a_long_first_sync(account: Account) -> None:
    fill(account.box, 1_500)
    account.slice(seconds=-1)
    account.slice(seconds=-1)
    account.box.append(mail("fresh"), "inbox")
    account.slice(seconds=-1)
    assert Message.objects.filter(message_id=ident("fresh")).exists()
    assert Message.objects.count() < 1_400


def test_time_left_is_told_by_the_runs_own_pace() -> None:
    """An earlier run did 700 in its own time: they do not make this one look faster."""
    run = SyncRun(done=800, total=1000, done_before=700)
    run.started_at = timezone.now() - timedelta(seconds=100)
    assert run.eta_seconds() == pytest.approx(200, abs=3)
    run.done_before = 800
    assert run.eta_seconds() is None


def test_run_that_finds_nothing_new_shows_the_mailboxs_progress(account: Account) -> None:
    fill(account.box, 3)
    account.sync()
    ended = account.sync()
    assert ended.eta_seconds() is None
    assert (ended.added, ended.done, ended.total) == (0, 3, 3), "it found nothing new"
    account.box.append(mail("fresh"), "inbox")
    assert account.sync().done == 3, "mail that came after the first sync is none of its"


# --- the database goes, the user comes again ----------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_run_whose_database_restarts_is_taken_up_again_and_loses_nothing(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every backend ends, as with `pg_ctl restart -m immediate`; the worker asks again with a new connection."""
    fill(account.box, 300)
    run = sync_runs.start(connection=account.connection, type="email", trigger="user")

    def restart(name: str) -> None:
        if account.box.calls.count("list_ids") == 2:
            account.box.before_call = lambda name: None
            with psycopg.connect(database_url(), autocommit=True) as door:
                door.execute(  # of this database: other tests may be at work in another one of the server
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = %s AND pid <> pg_backend_pid()",
                    [database.settings_dict["NAME"]],
                )

    account.box.before_call = restart
    with contextlib.suppress(OperationalError, InterfaceError):
        sync_runs.execute(run.pk)
    database.close_if_unusable_or_obsolete()
    assert 0 < Message.objects.count() < 300
    SyncRun.objects.update(lease_until=Now() - timedelta(seconds=1))
    assert account.sync().status == WorkStatus.DONE
    assert picture(account) == truth(account.box)
    check_counters(account)


def database_url() -> str:
    options = database.get_connection_params()
    names = ("host", "port", "dbname", "user", "password")
    return " ".join(f"{name}={options[name]}" for name in names if options.get(name))


def test_mailbox_connected_again_keeps_its_rows_and_goes_on_where_it_was(account: Account) -> None:
    fill(account.box, 60)
    account.sync()
    before = dict(Message.objects.values_list("remote_id", "pk"))
    disconnecting.disconnect(account.connection, purge=False, by=account.connection.user)
    account.box.append(mail("meanwhile"), "inbox")
    account.connection.refresh_from_db()
    account.connection.credentials = {"imapPassword": "secret", "smtpPassword": "secret"}
    connections.save_connected(account.connection, by=account.connection.user, created=False)
    account.box.calls.clear()
    run = account.sync()
    assert (run.added, account.box.calls.count("list_ids")) == (1, 0)
    assert before.items() <= dict(Message.objects.values_list("remote_id", "pk")).items()
