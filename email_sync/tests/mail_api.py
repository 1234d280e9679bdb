"""The email API for its tests: asking it, and a mailbox with something in it."""

from __future__ import annotations

from typing import Any

import pytest

from email_sync.tests.conftest import Account
from email_sync.tests.contract import mail
from workspaces.tests.fixtures import Actor

PREFIX = "/api/v1/integrations/email"


def get(actor: Actor, path: str, **query: Any) -> Any:
    """A rightful answer."""
    response = actor.client.get(f"{PREFIX}/{path}", query)
    assert response.status_code == 200, response.content
    return response.json()


def fields(response: Any) -> dict[str, list[str]]:
    """What a refusal names."""
    assert response.status_code == 400, response.content
    return response.json()["error"]["fields"]


@pytest.fixture
def filled(account: Account) -> Account:
    """Thirty mails in the inbox, two in sent, synced."""
    for number in range(30):
        account.box.append(mail(f"m{number}", subject=f"Report {number}", body=f"Figures of week {number}"), "inbox")
    for number in range(2):
        account.box.append(mail(f"s{number}"), "sent", read=True)
    account.sync()
    return account
