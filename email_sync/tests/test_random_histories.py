"""Random histories of a mailbox, made by a state machine: mail comes, is flagged, moved, moved there and back, removed;
folders are renamed; the server forgets every cursor (UIDVALIDITY, history, delta); people click here meanwhile. After
each sync the database equals the server, no message is there twice, and none changed its row (reference R10, R11).

A few short lives in `make test`, many long ones in `make chaos`; IMAP's are against a real Dovecot. Graph never tells
of a message again that left a folder and came back between two syncs (reference 3.3), so its database equals the server
after the comparison that every mailbox has once a day.
"""

from __future__ import annotations

import imaplib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db.models.functions import Now
from hypothesis import HealthCheck, Phase, Verbosity
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from core.work import WorkStatus
from email_sync.models import ChangeKind, LocalChange, Message
from email_sync.providers import MAIL_PROVIDERS
from email_sync.records import ARCHIVE, INBOX, SENT, SPAM, TRASH
from email_sync.services.changes import change
from email_sync.tests.conftest import Account
from email_sync.tests.contract import MailHarness, Truth, mail
from email_sync.tests.dovecot import FOLDERS, Dovecot, DovecotHarness, missing
from email_sync.tests.factories import connect
from email_sync.tests.gmail_simulator import GmailHarness
from email_sync.tests.graph_simulator import GraphHarness
from email_sync.tests.smtp_sink import SmtpSink
from integrations.models import SyncState
from simulator.process import Simulator, running
from workspaces.tests.fixtures import Actor

BOB = "bob@contract.test"
CASE = "Case"
"""A folder of the user's own."""
PLACES = (INBOX, INBOX, ARCHIVE, SENT, TRASH, SPAM)
Home = Callable[[], tuple[Account, MailHarness]]
"""A new, connected, empty mailbox."""


# --- mailboxes with a folder that can be renamed ---------------------------------------------------------------------


class GraphLife(GraphHarness):
    """With a folder that changes its name."""

    def rename(self, step: int) -> None:
        folders = self.simulator.mailbox(self.email, vendor="microsoft")["folders"]
        for folder in folders:
            if folder["name"].startswith(CASE):
                self.simulator.change_folder(self.email, folder["id"], name=f"{CASE} {step}")

    def place(self) -> str:
        folders = self.simulator.mailbox(self.email, vendor="microsoft")["folders"]
        return next((str(folder["name"]) for folder in folders if folder["name"].startswith(CASE)), CASE)


class DovecotLife(DovecotHarness):
    """Looks into every folder, also into one that changes its name."""

    def names(self) -> list[str]:
        with self.server.door(self.user) as door:
            lines = [line.decode() for line in door.list()[1] if isinstance(line, bytes)]
        return [re.sub(r'^\([^)]*\) "." ', "", line).strip('"') for line in lines]

    def place(self) -> str:
        return next((name for name in self.names() if name.startswith(CASE)), CASE)

    def rename(self, step: int) -> None:
        if self.place() != CASE or CASE in self.names():
            with self.server.door(self.user) as door:
                assert door.rename(f'"{self.place()}"', f'"{CASE} {step}"')[0] == "OK"

    def deliver(self, raw: bytes, role: str = INBOX, *, read: bool = False) -> None:
        with self.server.door(self.user) as door:
            name = FOLDERS.get(role, role)
            if name not in FOLDERS.values():
                door.create(f'"{name}"')
            assert door.append(f'"{name}"', "(\\Seen)" if read else None, None, raw)[0] == "OK"

    def move(self, message_id: str, role: str) -> None:
        with self._at(message_id) as (door, uid):
            name = FOLDERS.get(role, role)
            if name not in FOLDERS.values():
                door.create(f'"{name}"')
            for answer in (
                door.uid("COPY", uid, f'"{name}"'),
                door.uid("STORE", uid, "+FLAGS.SILENT", "(\\Deleted)"),
                door.expunge(),
            ):
                assert answer[0] == "OK", answer

    def truth(self) -> set[Truth]:
        roles = {name: frozenset({role}) for role, name in FOLDERS.items()}
        names = self.names()
        with self.server.door(self.user) as door:
            found = [
                Truth(told.message_id, roles.get(name, frozenset()), told.read, told.starred)
                for name in names
                for told in self._in_folder(door, "", f'"{name}"')
            ]
        assert len({it.message_id for it in found}) == len(found)
        return set(found)

    @contextmanager
    def _at(self, message_id: str) -> Iterator[tuple[imaplib.IMAP4, str]]:
        names = self.names()
        with self.server.door(self.user) as door:
            for name in names:
                door.select(f'"{name}"')
                [found] = door.uid("SEARCH", "HEADER", "Message-ID", f'"<{message_id}>"')[1]
                if found:
                    yield door, found.decode().split()[0]
                    return
        raise LookupError(message_id)


# --- a life ----------------------------------------------------------------------------------------------------------


class Life(RuleBasedStateMachine):
    """One mailbox through a history. Messages are drawn by number from those that are there."""

    home: Home

    @initialize()
    def begin(self) -> None:
        self.account, self.harness = type(self).home()
        self.step = 0
        self.rows: dict[str, object] = {}
        for _ in range(3):
            self.deliver(INBOX)
        self.sync()

    def _chosen(self, number: int) -> str:
        present = sorted(found.message_id for found in self.harness.truth())
        return present[number % len(present)]

    def _place(self, role: str) -> str:
        return self.harness.place() if role == CASE else role  # type: ignore[attr-defined]

    def _here(self) -> bool:
        return hasattr(self, "harness") and bool(self.harness.truth())

    def _has_folders(self) -> bool:
        return hasattr(self, "harness") and hasattr(self.harness, "rename")

    @rule(role=st.sampled_from(PLACES))
    def deliver(self, role: str) -> None:
        self.step += 1
        self.harness.deliver(mail(f"life-{self.step}"), role)

    @precondition(_has_folders)
    @rule()
    def deliver_into_case(self) -> None:
        self.deliver(self._place(CASE))

    @precondition(_has_folders)
    @rule(number=st.integers(0, 99))
    def move_into_case(self, number: int) -> None:
        if self._here():
            self.harness.move(self._chosen(number), self._place(CASE))

    @precondition(_has_folders)
    @rule()
    def rename(self) -> None:
        self.step += 1
        self.harness.rename(self.step)  # type: ignore[attr-defined]

    @precondition(_here)
    @rule(number=st.integers(0, 99), read=st.none() | st.booleans(), starred=st.none() | st.booleans())
    def flag(self, number: int, read: bool | None, starred: bool | None) -> None:
        self.harness.set_flags(self._chosen(number), read=read, starred=starred)

    @precondition(_here)
    @rule(number=st.integers(0, 99), role=st.sampled_from(PLACES))
    def move(self, number: int, role: str) -> None:
        self.harness.move(self._chosen(number), role)

    @precondition(_here)
    @rule(number=st.integers(0, 99))
    def there_and_back(self, number: int) -> None:
        chosen = self._chosen(number)
        [was] = [found for found in self.harness.truth() if found.message_id == chosen]
        self.harness.move(chosen, SPAM)
        self.harness.move(chosen, next(iter(was.roles), INBOX))

    @precondition(_here)
    @rule(number=st.integers(0, 99))
    def remove(self, number: int) -> None:
        self.harness.remove(self._chosen(number))

    @rule()
    def lose_cursor(self) -> None:
        self.harness.lose_cursor()

    @precondition(_here)
    @rule(number=st.integers(0, 99), kind=st.sampled_from(list(ChangeKind)), value=st.booleans())
    def click(self, number: int, kind: ChangeKind, value: bool) -> None:
        """Here, before the next sync; only where archiving means something. It meets what the others did meanwhile, so
        what comes of it is the server's to say."""
        rows = Message.objects.present().filter(connection=self.account.connection)
        wanted = rows.filter(message_id=self._chosen(number), in_trash=False, in_spam=False, in_sent=False)
        message = wanted.exclude(in_inbox=False, in_archive=False).first()
        if message is not None:
            change(message=message, kind=kind, value=value)

    @rule()
    def sync(self) -> None:
        """Everything as at the server, once, in the rows it was in."""
        clicked = LocalChange.objects.filter(connection=self.account.connection, status="pending")
        again = clicked.exists()  # what a click did is told by the next sync
        assert self.account.sync().status == WorkStatus.DONE
        for _ in range(5):
            if not again and not clicked.exists():
                break
            again = False
            clicked.update(created_at="2026-01-01T00:00:00Z")  # the time to try again has come
            assert self.account.sync().status == WorkStatus.DONE
        assert not clicked.exists()
        if MAIL_PROVIDERS.get(self.account.connection.provider).may_forget_changes:
            SyncState.objects.update(next_check_at=Now())
            assert self.account.sync().status == WorkStatus.DONE
        rows = list(Message.objects.present().filter(connection=self.account.connection))
        found = [Truth(r.message_id, frozenset(r.folders), r.is_read, r.is_starred) for r in rows]
        assert sorted(found, key=repr) == sorted(self.harness.truth(), key=repr)
        now = {row.message_id: row.pk for row in rows}
        changed = [name for name, pk in now.items() if self.rows.get(name, pk) != pk]
        assert changed == [], "other rows for the same mail"
        self.rows = now

    def teardown(self) -> None:
        if hasattr(self, "harness"):
            self.sync()


def live(home: Home, lives: int, steps: int) -> None:
    machine: Any = type("Machine", (Life,), {"home": staticmethod(home)})
    run_state_machine_as_test(
        machine,
        settings=hypothesis_settings(
            max_examples=lives,
            stateful_step_count=steps,
            derandomize=True,
            database=None,
            deadline=None,
            phases=(Phase.generate,),
            verbosity=Verbosity.quiet,
            suppress_health_check=list(HealthCheck),
        ),
    )


# --- homes -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def process() -> Iterator[Simulator]:
    with running() as simulator:
        yield simulator


@pytest.fixture
def simulated(process: Simulator, settings: Any, member: Actor) -> Callable[[str], Home]:
    """Homes at a vendor of the simulator."""
    settings.EGRESS_ALLOW_CIDRS = ["127.0.0.0/8"]
    options = {"gmailApiUrl": process.base_url, "graphApiUrl": process.base_url, "quotaUnits": 0}
    settings.MAIL_PROVIDER_SETTINGS = {"google": options, "microsoft": options}

    def at(vendor: str) -> Home:
        def home() -> tuple[Account, MailHarness]:
            process.reset()
            address = f"ada-{Message.objects.count()}-{len(process.accounts())}@contract.test"
            harness = (GmailHarness if vendor == "google" else GraphLife)(process, address, (BOB,))
            connection = connect(member, "", provider=vendor)
            connection.account_email, connection.credentials = address, {"access_token": harness.token}
            connection.save()
            return Account(connection), harness

        return home

    return at


@pytest.fixture(scope="module", params=["qresync", "plain"])
def server(request: pytest.FixtureRequest) -> Iterator[Dovecot]:
    if missing():
        pytest.fail(missing())
    started = Dovecot(request.param).start()
    yield started
    started.stop()


@pytest.fixture
def dovecot_home(server: Dovecot, settings: Any, member: Actor) -> Iterator[Home]:
    settings.EGRESS_ALLOW_CIDRS = ["127.0.0.0/8"]
    with SmtpSink() as sink:

        def home() -> tuple[Account, MailHarness]:
            harness = DovecotLife(server, sink)
            reached = server.account(harness.user, sink=sink)
            connection = connect(member, harness.user, options=dict(reached.settings))
            connection.credentials = dict(reached.secrets)
            connection.save()
            return Account(connection), harness

        yield home


@pytest.mark.django_db
@pytest.mark.parametrize("vendor", ["google", "microsoft"])
def test_random_lives_are_followed_exactly(simulated: Callable[[str], Home], vendor: str) -> None:
    live(simulated(vendor), lives=2, steps=14)


@pytest.mark.chaos
@pytest.mark.django_db
@pytest.mark.parametrize("vendor", ["google", "microsoft"])
def test_many_random_lives_are_followed_exactly(simulated: Callable[[str], Home], vendor: str) -> None:
    live(simulated(vendor), lives=20, steps=30)


@pytest.mark.services
@pytest.mark.django_db
def test_random_lives_over_imap_are_followed_exactly(dovecot_home: Home) -> None:
    live(dovecot_home, lives=2, steps=14)


@pytest.mark.chaos
@pytest.mark.services
@pytest.mark.django_db
def test_many_random_lives_over_imap_are_followed_exactly(dovecot_home: Home) -> None:
    live(dovecot_home, lives=10, steps=30)
