"""Continuous access evaluation: an organisation asks more of a token that lives, and Graph says so in a challenge. It
is answered by a refresh with the claims asked for; only a refresh that is refused for good needs the user.

https://learn.microsoft.com/en-us/entra/identity-platform/claims-challenge
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from core.work import WorkStatus
from email_sync.models import Message, SubmissionStage
from email_sync.services.sending import Letter
from email_sync.tests.conftest import Account
from email_sync.tests.contract import mail
from email_sync.tests.send_faults import hand_in, time_passes
from integrations.models import Connection
from integrations.providers.graph.errors import challenged_claims
from integrations.tests.flows import Hub
from simulator.process import Simulator, running
from workspaces.tests.fixtures import Actor

ADA, BOB = "ada@claims.example", "bob@claims.example"
NEWER = {"access_token": {"nbf": {"essential": True, "value": "1700000000"}}}
"""A token from after a certain moment: what an administrator's "revoke sessions" asks for."""
HEAD = 'Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize"'


@pytest.fixture(scope="module")
def process() -> Iterator[Simulator]:
    with running() as simulator:
        yield simulator


@pytest.fixture
def account(process: Simulator, settings: Any, member: Actor, db: None) -> Account:
    """Connected by consent, with mail, synced."""
    process.reset()
    for name, value in process.env().items():
        setattr(settings, name, value.split(",") if name == "EGRESS_ALLOW_CIDRS" else value)
    settings.MAIL_PROVIDER_SETTINGS = {"microsoft": {"graphApiUrl": process.base_url, "quotaUnits": 0}}
    for address in (ADA, BOB):
        process.create_account("microsoft", address)
    process.deliver_many(ADA, [{"raw": mail("before"), "folder": "inbox"}], vendor="microsoft")
    account = Account(Hub(process).connect(member, ADA, "microsoft"))
    account.sync()
    assert Message.objects.count() == 1
    process.deliver_many(ADA, [{"raw": mail("after"), "folder": "inbox"}], vendor="microsoft")
    process.clear_ledger()
    return account


def asked_with(process: Simulator) -> list[dict[str, Any]]:
    """The claims of each refresh."""
    refreshes = process.ledger(operation="microsoft.oauth.token")
    return [json.loads(entry["effect"]["claims"]) for entry in refreshes if entry.get("effect")]


def needs_user(account: Account) -> bool:
    return Connection.objects.get(pk=account.connection.pk).needs_reauth


def test_challenge_is_answered_by_a_refresh_with_its_claims(account: Account, process: Simulator) -> None:
    process.settings(graph_required_claims=json.dumps(NEWER))
    run = account.sync()
    assert (run.status, Message.objects.count(), needs_user(account)) == (WorkStatus.DONE, 2, False)
    [claims] = asked_with(process)
    assert claims["access_token"] == {**NEWER["access_token"], "xms_cc": {"values": ["cp1"]}}
    process.clear_ledger()
    account.sync()
    assert process.ledger(operation="microsoft.oauth.token") == []


def test_challenge_inside_a_batch_and_of_a_send_is_answered_too(account: Account, process: Simulator) -> None:
    process.settings(graph_required_claims=json.dumps(NEWER))
    submission = hand_in(account, Letter([BOB], "Lunch", "At one?"))
    assert submission.stage == SubmissionStage.SENT
    assert len(process.sent(subject="Lunch")) == 1
    process.settings(graph_required_claims="")
    packed = base64.b64encode(json.dumps({"access_token": {"acrs": {"value": "c1"}}}).encode()).decode()
    challenge = {"WWW-Authenticate": f'{HEAD}, error="insufficient_claims", claims="{packed}"'}
    process.fault("status", path=r"/messages/.*\$value", status=401, headers=challenge, count=1)
    account.sync()
    assert Message.objects.filter(in_inbox=True).count() == 2
    assert [claims["access_token"].get("acrs") for claims in asked_with(process)] == [None, {"value": "c1"}]
    assert not needs_user(account)


def test_challenge_whose_refresh_is_refused_for_good_needs_the_user(account: Account, process: Simulator) -> None:
    process.settings(graph_required_claims=json.dumps(NEWER))
    refusal = {"error": "interaction_required", "error_description": "AADSTS50076: Use MFA.", "error_codes": [50076]}
    process.fault("status", operation=r"microsoft\.oauth\.token", status=400, body=refusal)
    run = account.sync()
    assert (run.status, run.error_code, needs_user(account)) == (WorkStatus.FAILED, "needs_reauth", True)
    assert "AADSTS50076" in account.connection.last_error_message
    assert len(process.ledger(operation="microsoft.oauth.token")) == 1


@pytest.mark.parametrize("status", [503, 429])
def test_challenge_whose_refresh_does_not_come_about_waits(account: Account, process: Simulator, status: int) -> None:
    process.settings(graph_required_claims=json.dumps(NEWER))
    fault = process.fault("status", operation=r"microsoft\.oauth\.token", status=status)
    account.sync()
    assert not needs_user(account)
    process.remove_fault(fault)
    while account.sync().status != WorkStatus.DONE:
        assert not needs_user(account)
    assert Message.objects.count() == 2


def test_challenge_that_comes_back_with_every_token_needs_no_user(account: Account, process: Simulator) -> None:
    """The grant gives tokens: what the organisation wants of them is another matter."""
    never = base64.b64encode(json.dumps(NEWER).encode()).decode()
    challenge = {"WWW-Authenticate": f'{HEAD}, error="insufficient_claims", claims="{never}"'}
    fault = process.fault("status", path="/v1.0/me", status=401, headers=challenge)
    submission = hand_in(account, Letter([BOB], "Lunch", "At one?"))
    assert (submission.stage, submission.error_code) == (SubmissionStage.SENDING, "provider_unavailable")
    run = account.sync()
    assert (run.error_code, needs_user(account)) == ("provider_unavailable", False)
    assert len(asked_with(process)) == 4
    process.remove_fault(fault)
    time_passes()
    submission.refresh_from_db()
    assert submission.stage == SubmissionStage.SENT


@pytest.mark.parametrize(
    ("header", "claims"),
    [
        (f'{HEAD}, error="insufficient_claims", claims="eyJhIjoxfQ=="', '{"a":1}'),
        (f'{HEAD}, error="insufficient_claims", claims="eyJhIjoxfQ"', '{"a":1}'),
        (f'{HEAD}, claims="eyJhIjoiPz8_In0=", error="insufficient_claims"', '{"a":"???"}'),
        (f'{HEAD}, error="insufficient_claims"', ""),
        (f'{HEAD}, error="invalid_token", claims="eyJhIjoxfQ=="', ""),
        (f'{HEAD}, error="insufficient_claims", claims="W10="', ""),
        (f'{HEAD}, error="insufficient_claims", claims="!"', ""),
        (f'{HEAD}, error="insufficient_claims", claims="////"', ""),
        ("", ""),
    ],
)
def test_claims_are_read_out_of_the_header(header: str, claims: str) -> None:
    assert challenged_claims(header) == claims
