"""Gmail's units: what we count is what Google would, and what it says to wait holds for everybody.

How much of the budget an import uses is measured by `make bench` (row `quota`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from core.errors import BudgetSpent
from core.work import WorkStatus
from email_sync.models import ChangeKind, Message
from email_sync.services.accounts import with_mailbox
from email_sync.services.changes import change
from email_sync.tests.conftest import Account
from email_sync.tests.factories import connect
from email_sync.tests.gmail_simulator import GmailHarness
from integrations.models import QuotaBudget
from integrations.services.quota import Budget
from simulator.process import Simulator, running
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db(transaction=True)

ADA, BOB = "ada@contract.test", "bob@contract.test"
UNITS = 60_000
"""Ten times a new project's, so that the test takes a tenth of the time."""


@pytest.fixture(scope="module")
def process() -> Iterator[Simulator]:
    with running() as simulator:
        yield simulator


@pytest.fixture
def harness(process: Simulator, settings: Any) -> GmailHarness:
    settings.EGRESS_ALLOW_CIDRS = ["127.0.0.0/8"]
    settings.MAIL_PROVIDER_SETTINGS = {"google": {"gmailApiUrl": process.base_url, "quotaUnits": UNITS}}
    process.reset()
    return GmailHarness(process, ADA, (BOB,))


@pytest.fixture
def account(harness: GmailHarness, member: Actor) -> Account:
    connection = connect(member, ADA, provider="google")
    connection.credentials = {"access_token": harness.token}
    connection.save()
    return Account(connection)


def test_units_we_pay_are_those_the_provider_counts_and_none_is_refused(
    account: Account, harness: GmailHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.simulator.settings(gmail_quota_units_per_minute=UNITS)
    harness.simulator.seed(ADA, 60)
    harness.simulator.clear_ledger()
    paid: list[int] = []
    spend = Budget.spend

    def counted(self: Budget, units: int) -> None:
        spend(self, units)
        paid.append(units)

    monkeypatch.setattr(Budget, "spend", counted)
    assert account.sync().status == WorkStatus.DONE
    first, second = Message.objects.order_by("id")[:2]
    change(message=first, kind=ChangeKind.READ, value=None)
    change(message=second, kind=ChangeKind.ARCHIVED, value=None)
    account.sync()
    entries = harness.simulator.ledger()
    assert sum(paid) == sum(entry["units"] for entry in entries)
    assert {entry["status"] for entry in entries} <= {200, 204}


def test_what_the_provider_asks_to_wait_holds_for_everybody(account: Account, harness: GmailHarness) -> None:
    harness.simulator.seed(ADA, 3)
    harness.simulator.fault("status", status=429, reason="rateLimitExceeded", headers={"Retry-After": "90"}, count=1)
    assert account.sync().status == WorkStatus.QUEUED
    harness.simulator.clear_ledger()
    with pytest.raises(BudgetSpent) as refused:
        with_mailbox(account.connection, lambda mailbox: mailbox.folders())
    assert 80 < refused.value.retry_after <= 91
    assert harness.simulator.ledger() == []
    QuotaBudget.objects.update(closed_until=None)
    assert account.sync().status == WorkStatus.DONE
