"""The provider forgets every cursor at a random request of a sync (reference R10): afterwards the local set is the
provider's, with its flags, nothing twice, and what was stored before keeps its row.

A point of each kind of provider in `make test`, fifty in `make chaos`; IMAP's are a mailbox in memory, whose loss
is a new UIDVALIDITY with new ids for everything.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from core import http
from core.work import WorkStatus
from email_sync.models import Message
from email_sync.providers import MAIL_PROVIDERS
from email_sync.services import engine, pages
from email_sync.tests.conftest import Account
from email_sync.tests.contract import MailHarness, Truth, ident, mail
from email_sync.tests.factories import connect
from email_sync.tests.gmail_simulator import GmailHarness
from email_sync.tests.graph_simulator import GraphHarness
from email_sync.tests.memory import Memory, MemoryHarness
from integrations.models import SyncCursor
from simulator.process import Simulator, running
from workspaces.tests.fixtures import Actor

VENDORS = ("google", "microsoft", "imap")
POINTS = 50
MAIL = 14
OFTEN = 30
"""A sync of so little mail, in such small pages, asks about so often."""


class Forgetful:
    """Loses the harness's cursors just before the request of that number, counted from the last `arm`."""

    def __init__(self) -> None:
        self.left = -1
        self.lose: Callable[[], None] = lambda: None

    def arm(self, harness: MailHarness, after: int) -> None:
        self.left, self.lose = after, harness.lose_cursor

    def request(self) -> None:
        self.left -= 1
        if self.left == 0:
            self.lose()


@pytest.fixture(scope="module")
def process() -> Iterator[Simulator]:
    with running() as simulator:
        yield simulator


@pytest.fixture
def forgetful(process: Simulator, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Forgetful:
    """Small pages; every request of the product is counted."""
    settings.EGRESS_ALLOW_CIDRS = ["127.0.0.0/8"]
    options = {"gmailApiUrl": process.base_url, "graphApiUrl": process.base_url, "quotaUnits": 0}
    settings.MAIL_PROVIDER_SETTINGS = {"google": options, "microsoft": options}
    for module in (engine, pages):
        monkeypatch.setattr(module, "PAGE", 4)
    monkeypatch.setattr(pages, "FIRST_PAGE", 3)
    counter, original = Forgetful(), http.request

    def request(*arguments: Any, **named: Any) -> http.Response:
        counter.request()
        return original(*arguments, **named)

    monkeypatch.setattr(http, "request", request)
    monkeypatch.setitem(MAIL_PROVIDERS._loaded, Memory.key, Memory)
    monkeypatch.setattr(Memory, "mailboxes", {})
    return counter


def mailbox(vendor: str, process: Simulator, forgetful: Forgetful, member: Actor) -> tuple[Account, MailHarness]:
    """A new one, connected."""
    if vendor == "imap":
        connection = connect(member)
        harness = MemoryHarness()
        harness.box.before_call = lambda name: forgetful.request()
        Memory.mailboxes[connection.account_email] = harness.box
        return Account(connection), harness
    process.reset()
    address = f"ada{Message.objects.count()}@contract.test"
    kind = GmailHarness if vendor == "google" else GraphHarness
    at_vendor = kind(process, address, ("bob@contract.test",))
    connection = connect(member, provider=vendor)
    connection.account_email, connection.credentials = address, {"access_token": at_vendor.token}
    connection.save()
    return Account(connection), at_vendor


def rows_of(account: Account) -> dict[str, Message]:
    rows = list(Message.objects.present().filter(connection=account.connection))
    assert len({row.message_id for row in rows}) == len(rows), "twice"
    return {row.message_id: row for row in rows}


def check_same(account: Account, harness: MailHarness) -> None:
    rows = rows_of(account).values()
    found = {Truth(row.message_id, frozenset(row.folders), row.is_read, row.is_starred) for row in rows}
    assert found == harness.truth()
    assert not SyncCursor.objects.filter(connection=account.connection, reconcile=True).exists()


def lose_once(account: Account, harness: MailHarness, forgetful: Forgetful, chance: random.Random) -> int:
    """In a first sync, then in one of changes. How often the point was reached, of two."""
    for number in range(MAIL):
        harness.deliver(mail(f"m{number}"), "archive" if number % 5 == 4 else "inbox")
    forgetful.arm(harness, chance.randint(1, OFTEN))
    assert account.sync().status == WorkStatus.DONE
    account.sync()
    lost = forgetful.left <= 0
    check_same(account, harness)
    before = {name: row.pk for name, row in rows_of(account).items()}
    for number in range(MAIL, MAIL + 6):
        harness.deliver(mail(f"m{number}"))
    harness.set_flags(ident("m2"), read=True, starred=True)
    harness.move(ident("m1"), "trash")
    harness.remove(ident("m3"))
    forgetful.arm(harness, chance.randint(1, OFTEN // 2))
    assert account.sync().status == WorkStatus.DONE
    account.sync()
    check_same(account, harness)
    after = rows_of(account)
    assert after.keys() == {*before.keys(), *(ident(f"m{n}") for n in range(MAIL, MAIL + 6))} - {ident("m3")}
    assert {name: after[name].pk for name in before if name in after} == {
        name: pk for name, pk in before.items() if name in after
    }, "other rows for the same mail"
    return lost + (forgetful.left <= 0)


def at_points(points: int, vendor: str, process: Simulator, forgetful: Forgetful, member: Actor) -> None:
    chance = random.Random(f"lost {vendor}")
    lost = sum(lose_once(*mailbox(vendor, process, forgetful, member), forgetful, chance) for _ in range(points))
    assert lost >= points, "most syncs ended before"


@pytest.mark.django_db
@pytest.mark.parametrize("vendor", VENDORS)
def test_cursor_lost_at_some_points_costs_a_comparison_and_no_mail(
    process: Simulator, forgetful: Forgetful, member: Actor, vendor: str
) -> None:
    at_points(1, vendor, process, forgetful, member)


@pytest.mark.chaos
@pytest.mark.django_db
@pytest.mark.parametrize("vendor", VENDORS)
def test_cursor_lost_at_fifty_points_costs_a_comparison_and_no_mail(
    process: Simulator, forgetful: Forgetful, member: Actor, vendor: str
) -> None:
    at_points(POINTS, vendor, process, forgetful, member)
