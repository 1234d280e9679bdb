"""Resend against its stand-in: keys of each kind, a send that happens once, templates, refusals in its own words."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from typing import Any

import pytest

from core.errors import (
    CredentialsRejected,
    HubError,
    InvalidInput,
    NotConfigured,
    ProviderOutcomeUnknown,
    ProviderRateLimited,
    ProviderRejected,
    ProviderUnavailable,
)
from integrations import fields
from integrations.providers.resend import Resend
from integrations.tests.provider_contract import SECRET_WORD, Call, ProviderContract
from simulator.process import Simulator

KEY, SENDING_KEY = f"re_full_{SECRET_WORD}", f"re_sending_{SECRET_WORD}"
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
    """A team with a key of each kind, a verified domain and one that is not yet."""
    simulator.settings(resend_requests_per_second=0)
    simulator.control("POST", "/resend/keys", {"key": KEY})
    simulator.control("POST", "/resend/keys", {"key": SENDING_KEY, "permission": "sending_access"})
    simulator.control("POST", "/resend/domains", {"name": "mail.example"})
    simulator.control("POST", "/resend/domains", {"name": "new.example", "status": "pending"})


@pytest.fixture
def vendor(simulator: Simulator) -> Simulator:
    seeded(simulator)
    return simulator


def resend(key: str = KEY, **config: str) -> Resend:
    return Resend(config={"fromEmail": FROM, **config}, credentials={"apiKey": key}, meter=Meter())


def send(provider: Resend, **changes: Any) -> Any:
    """The action with input as a caller gives it; a change of None leaves a field out."""
    given = {name: value for name, value in (MAIL | changes).items() if value is not None}
    return provider.perform("send", fields.read(provider.action("send").fields, given))


def payload(simulator: Simulator, place: int = -1) -> Any:
    """What the vendor was sent for a mail it took."""
    return json.loads(simulator.sent_raw(simulator.sent()[place]["seq"]))


class TestContract(ProviderContract):
    """What every provider promises."""

    calls = (
        Call("check", "resend.domains.list"),
        Call("send", "resend.emails.send", MAIL | {"idempotencyKey": "log-1"}),
        Call("list_templates", "resend.templates.list"),
    )

    def make(self, simulator: Simulator, **credentials: str) -> Resend:
        seeded(simulator)
        return Resend(config={"fromEmail": FROM}, credentials={"apiKey": KEY, **credentials})


def test_check_says_that_key_and_domain_work(vendor: Simulator) -> None:
    checked = resend().check()
    assert (checked.limited, checked.message) == (False, "The key works, and mail.example is verified.")
    assert checked.details == {"permission": "full_access", "verifiedDomains": ["mail.example"]}
    assert vendor.sent() == []


@pytest.mark.parametrize(
    ("key", "sender", "words"),
    [
        (SENDING_KEY, FROM, "good for sending only"),
        (KEY, "hub@new.example", "new.example is not verified"),
        (KEY, "hub@unknown.example", "unknown.example is not verified"),
        (KEY, "onboarding@resend.dev", "to your own address only"),
        (KEY, "", "Set fromEmail"),
    ],
    ids=["send-only", "pending", "unknown", "test-domain", "no-sender"],
)
def test_check_says_what_a_good_key_cannot_do(vendor: Simulator, key: str, sender: str, words: str) -> None:
    checked = resend(key, fromEmail=sender).check()
    assert checked.limited
    assert words in checked.message


def test_check_finds_the_domain_on_a_later_page(vendor: Simulator) -> None:
    for number in range(120):
        vendor.control("POST", "/resend/domains", {"name": f"d{number}.example"})
    assert len(resend().check().details["verifiedDomains"]) == 121


@pytest.mark.parametrize("status", [400, 401, 403])
@pytest.mark.parametrize("do", ["check", "send", "list_templates"])
def test_bad_key_is_told_as_such_however_it_is_answered(vendor: Simulator, status: int, do: str) -> None:
    vendor.settings(resend_invalid_key_status=status)
    provider = resend(f"re_wrong_{SECRET_WORD}")
    with pytest.raises(CredentialsRejected) as refused:
        provider.check() if do == "check" else send(provider) if do == "send" else provider.perform(do, {})
    assert refused.value.message == f"Resend answered {status}: API key is invalid"
    assert refused.value.code == "credentials_rejected"


def test_send_brings_everything_and_gives_the_vendors_id(vendor: Simulator) -> None:
    result = send(
        resend(fromName="Hub, Notifications"), cc=["bob@hub.example"], bcc=["ADA@hub.example", "eve@hub.example"],
        replyTo=["re@hub.example"], bodyHtml="<p>Hi</p>",
        attachments=[
            {"fileName": "a.pdf", "contentType": "application/pdf", "contentBase64": "AAAA"},
            {"fileName": "b.bin", "contentType": "application/octet-stream", "contentBase64": "BBBB"},
            {"fileName": "c.odd", "contentType": "text/x-odd", "contentBase64": "CCCC"},
        ],
    )  # fmt: skip
    assert result == {"messageId": vendor.sent()[0]["id"], "status": 200}
    assert payload(vendor) == {
        "from": '"Hub, Notifications" <hub@mail.example>',
        "to": ["ada@hub.example"],
        "cc": ["bob@hub.example"],
        "bcc": ["eve@hub.example"],
        "reply_to": ["re@hub.example"],
        "subject": "Hello",
        "text": "Hi",
        "html": "<p>Hi</p>",
        "attachments": [
            {"filename": "a.pdf", "content": "AAAA"},
            {"filename": "b.bin", "content": "BBBB"},
            {"filename": "c.odd", "content": "CCCC", "content_type": "text/x-odd"},
        ],
    }
    assert vendor.control("GET", "/resend/emails")[0]["dropped"] == []


def test_send_takes_another_sender_and_works_with_a_sending_key(vendor: Simulator) -> None:
    send(resend(SENDING_KEY, fromName="Hub"), fromEmail="other@mail.example")
    assert payload(vendor)["from"] == "Hub <other@mail.example>"
    with pytest.raises(NotConfigured, match="fromEmail"):
        send(resend(fromEmail=""))


def test_send_with_a_template_brings_its_data_and_nothing_empty(vendor: Simulator) -> None:
    wish = {"name": "Welcome", "alias": "welcome", "subject": "Hi", "variables": [{"key": "AGE", "type": "number"}]}
    vendor.control("POST", "/resend/templates", wish)
    send(resend(), body=None, subject=None, templateId="welcome", templateData={"AGE": 7})
    assert payload(vendor) == {
        "from": FROM,
        "to": ["ada@hub.example"],
        "template": {"id": "welcome", "variables": {"AGE": 7}},
    }


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"body": None}, "body"),
        ({"subject": None}, "subject"),
        ({"subject": "Hello\r\nBcc: eve@else.example"}, "subject"),
        ({"to": []}, "to"),
        ({"to": ["nobody"]}, "to"),
        ({"to": [f"a{n}@hub.example" for n in range(51)]}, "to"),
        ({"templateId": "welcome"}, "templateId"),
        ({"templateData": {"A": 1}}, "templateData"),
        ({"body": None, "templateId": "welcome", "templateData": {"A": {"B": 1}}}, "templateData"),
        ({"body": None, "templateId": "welcome", "templateData": {"A": True}}, "templateData"),
        ({"idempotencyKey": "x" * 257}, "idempotencyKey"),
        ({"attachments": [{"fileName": "a.pdf", "contentBase64": "?"}]}, "attachments.0.contentBase64"),
        (
            {"attachments": [{"fileName": "a.pdf", "contentType": "text/plain", "contentBase64": "AAAA"}]},
            "attachments.0.contentType",
        ),
        ({"attachments": [{"fileName": "a", "contentBase64": "A" * 22_000_000}] * 2}, "attachments"),
    ],
    ids=[
        "nothing-said", "no-subject", "header-injection", "no-recipient", "bad-address", "51-recipients",
        "template-and-text", "data-alone", "nested-data", "data-neither-text-nor-number", "long-key", "no-base64",
        "type-against-name", "too-large",
    ],
)  # fmt: skip
def test_send_with_bad_input_names_the_field_and_asks_nobody(
    vendor: Simulator, changes: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        send(resend(), **changes)
    assert list(refused.value.fields) == [field]
    assert vendor.ledger(vendor="resend") == []


def test_send_goes_under_our_own_id_and_the_name_that_was_given(vendor: Simulator) -> None:
    provider = resend(fromName="Hub")
    given = fields.read(provider.action("send").fields, MAIL | {"fromName": "Billing"})
    provider.send(replace(provider.mail(given), reference="0199-ab"))
    assert payload(vendor)["tags"] == [{"name": "patchbay_entry", "value": "0199-ab"}]
    assert payload(vendor)["headers"] == {"X-Patchbay-Message-ID": "<0199-ab@mail.example>"}
    assert payload(vendor)["from"] == f"Billing <{FROM}>"
    with pytest.raises(InvalidInput) as refused:
        provider.refuse_unfit(provider.mail(given | {"fromName": "Eve <eve@else.example>"}))
    assert list(refused.value.fields) == ["fromName"]


def test_name_with_angle_brackets_is_refused_before_it_is_saved() -> None:
    with pytest.raises(InvalidInput) as refused:
        Resend.validate(config={"fromName": "Hub <eve@else.example>"}, credentials={})
    assert list(refused.value.fields) == ["config.fromName"]


def test_send_again_under_its_key_is_one_mail(vendor: Simulator) -> None:
    first, again = (send(resend(), idempotencyKey="log-1") for _ in range(2))
    assert first == again
    assert len(vendor.sent()) == 1
    with pytest.raises(ProviderRejected, match="different request payload"):
        send(resend(), idempotencyKey="log-1", subject="Other")


def test_send_whose_answer_was_lost_can_be_repeated_under_its_key(vendor: Simulator) -> None:
    vendor.fault("hang", operation="resend.emails.send", effect=True, seconds=3, count=1)
    provider = resend()
    provider.timeout = 0.5  # type: ignore[misc]  # of this one
    with pytest.raises(ProviderUnavailable) as lost:
        send(provider, idempotencyKey="log-2")
    assert not isinstance(lost.value, ProviderOutcomeUnknown)
    assert send(resend(), idempotencyKey="log-2")["messageId"] == vendor.sent()[0]["id"]
    assert len(vendor.sent()) == 1


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "hang", "effect": True, "seconds": 3},
        {"kind": "truncate", "effect": True},
        {"kind": "garbage", "effect": True},
        {"kind": "merge", "body": {"id": None}},
        {"kind": "status", "status": 500, "effect": True},
    ],
    ids=lambda fault: str(fault["kind"]),
)
def test_send_without_a_key_that_stays_open_names_the_key_to_repeat_it_with(
    vendor: Simulator, fault: dict[str, Any]
) -> None:
    vendor.fault(operation="resend.emails.send", **fault)
    provider = resend()
    provider.timeout = 0.5  # type: ignore[misc]  # of this one
    with pytest.raises(ProviderOutcomeUnknown) as open_:
        send(provider)
    vendor.clear_faults()
    send(resend(), idempotencyKey=open_.value.extra["idempotencyKey"])
    assert len(vendor.sent()) == 1


def test_send_without_a_key_that_was_surely_not_taken_says_so(vendor: Simulator, settings: Any) -> None:
    settings.RESEND_API_URL = "http://127.0.0.1:9"
    with pytest.raises(ProviderUnavailable) as refused:
        send(resend())
    assert not isinstance(refused.value, ProviderOutcomeUnknown)


def test_send_whose_twin_is_under_way_is_to_be_repeated_later(vendor: Simulator) -> None:
    vendor.fault("latency", operation="resend.emails.send", seconds=0.8, count=1)
    slow = threading.Thread(target=lambda: send(resend(), idempotencyKey="log-3"))
    slow.start()
    time.sleep(0.3)
    with pytest.raises(ProviderUnavailable, match="still in progress"):
        send(resend(), idempotencyKey="log-3")
    slow.join()
    assert len(vendor.sent()) == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"fromEmail": "hub@other.example"}, "The other.example domain is not verified"),
        ({"fromEmail": "onboarding@resend.dev"}, "You can only send testing emails to your own email address"),
        ({"body": None, "templateId": "draft"}, "Template `draft` is not published."),
        ({"body": None, "templateId": "unknown"}, "Template `unknown` not found."),
    ],
    ids=["unverified", "test-mode", "draft", "unknown-template"],
)
def test_refused_mail_comes_with_the_vendors_words(vendor: Simulator, changes: dict[str, Any], words: str) -> None:
    vendor.control("POST", "/resend/templates", {"name": "Draft", "alias": "draft", "published": False})
    with pytest.raises(ProviderRejected, match=words) as refused:
        send(resend(), **changes)
    assert (refused.value.status, refused.value.code) == (422, "provider_rejected")


@pytest.mark.parametrize("name", ["retry-after", "ratelimit-reset"])
def test_throttle_is_obeyed_to_the_second_by_all_workers(vendor: Simulator, name: str) -> None:
    body = {"statusCode": 429, "name": "rate_limit_exceeded", "message": "Too many requests."}
    vendor.fault("status", operation="resend.emails.send", status=429, headers={name: "7"}, body=body)
    provider = resend()
    with pytest.raises(ProviderRateLimited, match="Too many requests") as limited:
        send(provider)
    assert limited.value.retry_after == 7
    assert isinstance(provider.meter, Meter)
    assert provider.meter.closed == [7]


@pytest.mark.parametrize("period", ["daily", "monthly"])
def test_quota_used_up_waits_an_hour_and_stops_nothing_else(vendor: Simulator, period: str) -> None:
    vendor.settings(**{f"resend_{period}_quota": 1})
    send(resend())
    provider = resend()
    with pytest.raises(ProviderRateLimited, match=f"{period} email sending quota") as limited:
        send(provider)
    assert (limited.value.retry_after, limited.value.code) == (3600, "quota_exhausted")
    assert isinstance(provider.meter, Meter)
    assert (provider.meter.closed, provider.meter.spent) == ([], 1)


def test_templates_are_all_published_ones_of_all_pages(vendor: Simulator) -> None:
    made = [
        vendor.control(
            "POST", "/resend/templates", {"name": f"T{n}", "published": n % 3 != 0, "created_at": 1_767_225_600.678 + n}
        )
        for n in range(250)
    ]
    rows = resend().perform("list_templates", {})["templates"]
    assert [row["id"] for row in rows] == [item["id"] for item in reversed(made) if item["status"] == "published"]
    assert rows[-1] == {"id": made[1]["id"], "name": "T1", "created_at": "2026-01-01T00:00:01.678Z"}
    assert len(vendor.ledger(operation="resend.templates.list")) == 3


def test_templates_cannot_be_listed_with_a_sending_key_which_is_no_bad_key(vendor: Simulator) -> None:
    with pytest.raises(ProviderRejected, match="restricted to only send emails") as refused:
        resend(SENDING_KEY).perform("list_templates", {})
    assert refused.value.code == "key_restricted"
    assert not isinstance(refused.value, CredentialsRejected)


@pytest.mark.parametrize(
    "body",
    [{"has_more": True}, {"data": None}, {"data": ["text"]}, {"has_more": True, "data": []}],
    ids=["has-more-for-ever", "null", "texts", "empty-page-with-more"],
)
def test_templates_in_a_form_that_makes_no_sense_are_an_outage_and_no_end(
    vendor: Simulator, body: dict[str, Any]
) -> None:
    vendor.control("POST", "/resend/templates", {"name": "T"})
    vendor.fault("merge", operation="resend.templates.list", body=body)
    with pytest.raises(ProviderUnavailable):
        resend().perform("list_templates", {})
    assert len(vendor.ledger(operation="resend.templates.list")) <= 3


def test_time_that_cannot_be_read_is_none(vendor: Simulator) -> None:
    row = {"id": "t1", "name": "T", "status": "published", "created_at": "yesterday"}
    vendor.fault("merge", operation="resend.templates.list", body={"data": [row]})
    assert resend().perform("list_templates", {})["templates"] == [{"id": "t1", "name": "T", "created_at": None}]


def test_refusal_of_the_network_in_front_is_told_too(vendor: Simulator) -> None:
    vendor.fault(
        "status", operation="resend.domains.list", status=403, body="error code: 1010",
        headers={"content-type": "text/plain"},
    )  # fmt: skip
    with pytest.raises(HubError, match="Resend answered 403: error code: 1010"):
        resend().check()
