"""SendGrid against its stand-in: scopes, a send that is never repeated, dynamic templates, refusals in its words."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import Any

import pytest

from core.errors import (
    CredentialsRejected,
    InvalidInput,
    NotConfigured,
    ProviderOutcomeUnknown,
    ProviderRateLimited,
    ProviderRejected,
    ProviderUnavailable,
)
from integrations import fields
from integrations.providers.sendgrid import SendGrid
from integrations.tests.provider_contract import SECRET_WORD, Call, ProviderContract
from simulator.process import Simulator

KEY = f"SG.full_{SECRET_WORD}"
FROM = "hub@mail.example"
MAIL: dict[str, Any] = {"to": ["ada@hub.example"], "subject": "Hello", "body": "Hi"}


class Meter:
    """Notes what was spent and how long nobody may."""

    def __init__(self) -> None:
        self.spent = 0
        self.closed: list[float] = []

    def spend(self, units: int) -> None:
        self.spent += units

    def throttled(self, seconds: float) -> None:
        self.closed.append(seconds)


def seeded(simulator: Simulator) -> None:
    """An account with a key and a verified domain."""
    simulator.control("POST", "/sendgrid/keys", {"key": KEY})
    simulator.control("POST", "/sendgrid/senders", {"sender": "mail.example"})


@pytest.fixture
def vendor(simulator: Simulator) -> Simulator:
    seeded(simulator)
    return simulator


def sendgrid(key: str = KEY, **config: str) -> SendGrid:
    return SendGrid(config={"fromEmail": FROM, **config}, credentials={"apiKey": key}, meter=Meter())


def send(provider: SendGrid, **changes: Any) -> Any:
    """The action with input as a caller gives it; a change of None leaves a field out."""
    given = {name: value for name, value in (MAIL | changes).items() if value is not None}
    return provider.perform("send", fields.read(provider.action("send").fields, given))


def payload(simulator: Simulator) -> Any:
    """What the vendor was sent for the last mail it took."""
    return json.loads(simulator.sent_raw(simulator.sent()[-1]["seq"]))


class TestContract(ProviderContract):
    """What every provider promises."""

    calls = (
        Call("check", "sendgrid.scopes"),
        Call("send", "sendgrid.mail.send", MAIL, repeatable=False, bodiless=True),
        Call("list_templates", "sendgrid.templates.list"),
    )

    def make(self, simulator: Simulator, **credentials: str) -> SendGrid:
        seeded(simulator)
        return SendGrid(config={"fromEmail": FROM}, credentials={"apiKey": KEY, **credentials})

    def test_call_that_is_throttled_waits_as_long_as_it_was_asked(self, simulator: Simulator, call: Call) -> None:
        """It names an epoch, which only now can be told."""
        soon = replace(call, throttled={"X-RateLimit-Reset": str(int(time.time()) + 7)})
        super().test_call_that_is_throttled_waits_as_long_as_it_was_asked(simulator, soon)


def test_check_says_that_the_key_may_do_both(vendor: Simulator) -> None:
    checked = sendgrid().check()
    assert (checked.limited, checked.details) == (False, {"mayListTemplates": True})
    assert vendor.sent() == []


def test_check_says_what_a_good_key_cannot_do(vendor: Simulator) -> None:
    vendor.control("POST", "/sendgrid/keys", {"key": "SG.send", "scopes": ["mail.send"]})
    vendor.control("POST", "/sendgrid/keys", {"key": "SG.read", "scopes": ["templates.read"]})
    checked = sendgrid("SG.send").check()
    assert checked.limited
    assert "not list templates" in checked.message
    assert sendgrid(fromEmail="").check().limited
    with pytest.raises(ProviderRejected, match="may not send mail") as refused:
        sendgrid("SG.read").check()
    assert refused.value.code == "key_restricted"


@pytest.mark.parametrize("do", ["check", "send", "list_templates"])
def test_bad_key_is_told_as_such(vendor: Simulator, do: str) -> None:
    provider = sendgrid(f"SG.wrong_{SECRET_WORD}")
    with pytest.raises(CredentialsRejected, match="authorization grant is invalid") as refused:
        provider.check() if do == "check" else send(provider) if do == "send" else provider.perform(do, {})
    assert refused.value.code == "credentials_rejected"


def test_key_of_the_eu_is_asked_about_there(vendor: Simulator) -> None:
    vendor.control("POST", "/sendgrid/keys", {"key": "SG.eu", "region": "eu"})
    assert not sendgrid("SG.eu", region="eu").check().limited
    with pytest.raises(CredentialsRejected):
        sendgrid("SG.eu").check()
    send(sendgrid("SG.eu", region="eu"))
    assert vendor.ledger(vendor="sendgrid")[-1]["target"] == "/eu/v3/mail/send"


def test_send_brings_everything_and_gives_the_id_of_the_header(vendor: Simulator) -> None:
    result = send(
        sendgrid(fromName="Hub, Notifications"), cc=["bob@hub.example"], bcc=["ADA@hub.example", "eve@hub.example"],
        replyTo=["re@hub.example"], bodyHtml="<p>Hi</p>",
        attachments=[{"fileName": "a.txt", "contentType": "text/plain; charset=utf-8", "contentBase64": "AAAA"}],
    )  # fmt: skip
    assert result == {"messageId": vendor.sent()[0]["id"], "status": 202}
    assert payload(vendor) == {
        "personalizations": [
            {
                "to": [{"email": "ada@hub.example"}],
                "cc": [{"email": "bob@hub.example"}],
                "bcc": [{"email": "eve@hub.example"}],
            }
        ],
        "from": {"email": FROM, "name": "Hub, Notifications"},
        "reply_to_list": [{"email": "re@hub.example"}],
        "subject": "Hello",
        "content": [{"type": "text/plain", "value": "Hi"}, {"type": "text/html", "value": "<p>Hi</p>"}],
        "attachments": [{"content": "AAAA", "filename": "a.txt", "type": "text/plain"}],
    }


def test_send_with_a_template_brings_its_data(vendor: Simulator) -> None:
    identity = vendor.control("POST", "/sendgrid/templates", {"name": "Welcome"})["id"]
    data = {"name": "Ada", "lines": [{"price": 7, "paid": True}]}
    send(sendgrid(), body=None, subject=None, templateId=identity, templateData=data)
    assert payload(vendor) == {
        "personalizations": [{"to": [{"email": "ada@hub.example"}], "dynamic_template_data": data}],
        "from": {"email": FROM},
        "template_id": identity,
    }


def test_send_goes_under_our_own_id_and_the_name_that_was_given(vendor: Simulator) -> None:
    provider = sendgrid(fromName="Hub")
    given = fields.read(provider.action("send").fields, MAIL | {"fromName": "Billing"})
    provider.send(replace(provider.mail(given), reference="0199-ab"))
    assert payload(vendor)["custom_args"] == {"patchbay_entry": "0199-ab"}
    assert payload(vendor)["from"] == {"email": FROM, "name": "Billing"}


def test_send_without_a_sender_is_not_configured(vendor: Simulator) -> None:
    with pytest.raises(NotConfigured, match="fromEmail"):
        send(sendgrid(fromEmail=""))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"body": None}, "body"),
        ({"subject": None}, "subject"),
        ({"to": [f"a{n}@hub.example" for n in range(1001)]}, "to"),
        ({"to": [f"a{n}@hub.example" for n in range(960)], "cc": [f"b{n}@hub.example" for n in range(50)]}, "to"),
        ({"templateId": f"d-{'0' * 32}"}, "templateId"),
        ({"idempotencyKey": "log-1"}, "idempotencyKey"),
        ({"attachments": [{"fileName": "a", "contentBase64": "A" * 15_000_000}] * 2}, "attachments"),
    ],
    ids=[
        "nothing-said", "no-subject", "1001-in-to", "1010-in-all", "template-and-text", "idempotency-key", "too-large",
    ],
)  # fmt: skip
def test_send_with_bad_input_names_the_field_and_asks_nobody(
    vendor: Simulator, changes: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        send(sendgrid(), **changes)
    assert list(refused.value.fields) == [field]
    assert vendor.ledger(vendor="sendgrid") == []


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "hang", "seconds": 3},
        {"kind": "close"},
        {"kind": "close", "reset": True},
        {"kind": "status", "status": 500},
        {"kind": "status", "status": 504},
        {"kind": "garbage"},
    ],
    ids=["silence", "closed", "reset", "500", "504", "another-2xx"],
)
def test_send_without_a_clear_answer_is_open_and_sent_once(vendor: Simulator, fault: dict[str, Any]) -> None:
    vendor.fault(operation="sendgrid.mail.send", effect=True, **fault)
    provider = sendgrid()
    provider.timeout = 0.5  # type: ignore[misc]  # of this one
    with pytest.raises(ProviderOutcomeUnknown):
        send(provider)
    assert len(vendor.sent()) == 1
    assert len(vendor.ledger(operation="sendgrid.mail.send")) == 1


def test_send_that_was_surely_not_taken_may_be_repeated(vendor: Simulator) -> None:
    vendor.fault("status", operation="sendgrid.mail.send", status=503)
    with pytest.raises(ProviderUnavailable) as refused:
        send(sendgrid())
    assert not isinstance(refused.value, ProviderOutcomeUnknown)


def test_accepted_send_without_an_id_is_accepted(vendor: Simulator) -> None:
    vendor.fault("status", operation="sendgrid.mail.send", status=202, effect=True, body_base64="IA==")
    assert send(sendgrid()) == {"messageId": "", "status": 202}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"fromEmail": "hub@other.example"}, r"does not match a verified Sender Identity.*\(from\)"),
        ({"body": None, "templateId": "welcome"}, r"template_id must be a valid GUID, you provided 'welcome'"),
        ({"body": None, "templateId": f"d-{'0' * 32}"}, r"\(template_id\)"),
    ],
    ids=["unverified", "no-template-id", "unknown-template"],
)
def test_refused_mail_comes_with_the_vendors_words(vendor: Simulator, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ProviderRejected, match=words) as refused:
        send(sendgrid(), **changes)
    assert (refused.value.status, refused.value.code) == (422, "provider_rejected")


def test_throttle_waits_until_the_epoch_it_names(vendor: Simulator) -> None:
    headers = {"X-RateLimit-Reset": str(int(time.time()) + 31)}
    vendor.fault("status", operation="sendgrid.mail.send", status=429, headers=headers)
    provider = sendgrid()
    with pytest.raises(ProviderRateLimited, match="too many requests") as limited:
        send(provider)
    assert 29 <= limited.value.retry_after <= 31
    assert isinstance(provider.meter, Meter)
    assert provider.meter.closed == [limited.value.retry_after]


@pytest.mark.parametrize(("reset", "wait"), [("", 60), ("soon", 60), ("0", 1), ("99999999999", 3600)])
def test_throttle_with_an_odd_time_waits_within_reason(vendor: Simulator, reset: str, wait: float) -> None:
    vendor.fault("status", operation="sendgrid.scopes", status=429, headers={"X-RateLimit-Reset": reset})
    with pytest.raises(ProviderRateLimited) as limited:
        sendgrid().check()
    assert limited.value.retry_after == wait


def test_spent_credits_are_no_bad_key(vendor: Simulator) -> None:
    vendor.control("POST", "/sendgrid/credits", {"credits": 0})
    provider = sendgrid()
    with pytest.raises(ProviderRateLimited, match="Maximum credits exceeded") as limited:
        send(provider)
    assert (limited.value.retry_after, limited.value.code) == (3600, "quota_exhausted")
    assert isinstance(provider.meter, Meter)
    assert provider.meter.closed == []


def test_templates_are_all_dynamic_ones_of_all_pages_by_their_last_change(vendor: Simulator) -> None:
    made = [
        vendor.control("POST", "/sendgrid/templates", {"name": f"T{n}", "updated_at": 1_767_225_600 + n})["id"]
        for n in range(450)
    ]
    vendor.control("POST", "/sendgrid/templates", {"name": "Old", "generation": "legacy"})
    rows = sendgrid().perform("list_templates", {})["templates"]
    assert [row["id"] for row in rows] == made[::-1]
    assert rows[-1] == {"id": made[0], "name": "T0", "created_at": "2026-01-01T00:00:00.000Z"}
    assert len(vendor.ledger(operation="sendgrid.templates.list")) == 3


def test_templates_of_the_older_form_are_read_too(vendor: Simulator) -> None:
    row = {"id": "d-1", "name": "T", "updated_at": "some day"}
    vendor.fault("merge", operation="sendgrid.templates.list", body={"result": None, "templates": [row]})
    assert sendgrid().perform("list_templates", {})["templates"] == [{"id": "d-1", "name": "T", "created_at": None}]


def test_templates_without_the_permission_are_refused_which_is_no_bad_key(vendor: Simulator) -> None:
    vendor.control("POST", "/sendgrid/keys", {"key": "SG.send", "scopes": ["mail.send"]})
    with pytest.raises(ProviderRejected, match="access forbidden") as refused:
        sendgrid("SG.send").perform("list_templates", {})
    assert refused.value.code == "key_restricted"
    assert not isinstance(refused.value, CredentialsRejected)


@pytest.mark.parametrize(
    "body",
    [
        {"_metadata": {"next": "https://else.example/v3/templates?page_token=726f772030"}},
        {"result": None},
        {"result": ["text"]},
    ],
    ids=["next-for-ever", "null", "texts"],
)
def test_templates_in_a_form_that_makes_no_sense_are_an_outage_and_no_end(
    vendor: Simulator, body: dict[str, Any]
) -> None:
    vendor.control("POST", "/sendgrid/templates", {"name": "T"})
    vendor.fault("merge", operation="sendgrid.templates.list", body=body)
    with pytest.raises(ProviderUnavailable):
        sendgrid().perform("list_templates", {})
    assert len(vendor.ledger(operation="sendgrid.templates.list")) <= 2
