"""A workspace's mail vendors through the API, against their stand-ins: made, checked, used, refused, switched off."""

from __future__ import annotations

from typing import Any

import pytest

from integrations.models import Integration
from integrations.tests.provider_contract import SECRET_WORD
from simulator.process import Simulator
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db

API = "/api/integrations"
KEYS = {"EMAIL_PROVIDER": f"re_{SECRET_WORD}_key", "EMAIL_PROVIDER_ALT": f"SG.{SECRET_WORD}_key"}
TEMPLATES = {"EMAIL_PROVIDER": "email-provider-a", "EMAIL_PROVIDER_ALT": "email-provider-b"}
MAIL = {"to": ["ada@hub.example"], "subject": "Hello", "body": "Hi"}


@pytest.fixture(params=sorted(KEYS))
def type(request: pytest.FixtureRequest, simulator: Simulator) -> str:
    """A type whose vendor knows its key, its sender and a template."""
    simulator.settings(resend_requests_per_second=0)
    simulator.control("POST", "/resend/keys", {"key": KEYS["EMAIL_PROVIDER"]})
    simulator.control("POST", "/resend/domains", {"name": "mail.example"})
    simulator.control("POST", "/sendgrid/keys", {"key": KEYS["EMAIL_PROVIDER_ALT"]})
    simulator.control("POST", "/sendgrid/senders", {"sender": "mail.example"})
    moment = 1_767_949_200  # 2026-01-09T09:00:00Z
    simulator.control("POST", "/resend/templates", {"name": "Welcome", "created_at": moment})
    simulator.control("POST", "/sendgrid/templates", {"name": "Welcome", "updated_at": moment})
    return str(request.param)


def made(actor: Actor, type: str, key: str = "") -> str:
    body = {
        "name": "Mail",
        "type": type,
        "config": {"fromEmail": "hub@mail.example", "fromName": "Hub"},
        "credentials": {"apiKey": key or KEYS[type]},
    }
    answer = actor.client.post(API, body, format="json")
    assert answer.status_code == 201, answer.content
    assert SECRET_WORD not in answer.content.decode()
    return f"{API}/{answer.json()['id']}"


def test_vendor_is_checked_sends_and_lists_templates(
    admin: Actor, member: Actor, simulator: Simulator, type: str
) -> None:
    one = made(admin, type)
    tested: dict[str, Any] = admin.client.post(f"{one}/test").json()
    assert tested["ok"], tested
    sent = admin.client.post(f"{one}/actions/send", MAIL, format="json")
    assert sent.status_code == 200, sent.content
    (mail,) = simulator.sent()
    assert sent.json()["result"]["messageId"] == mail["id"]
    listed = member.client.get(f"{API}/{TEMPLATES[type]}/templates")
    assert listed.status_code == 200, listed.content
    (template,) = listed.json()["templates"]
    assert (template["name"], template["created_at"]) == ("Welcome", "2026-01-09T09:00:00.000Z")
    assert set(template) == {"id", "name", "created_at"}
    assert admin.client.get(one).json()["health"]["status"] == "ok"


def test_vendor_that_refuses_the_key_is_422_everywhere_and_failing(admin: Actor, type: str) -> None:
    one = made(admin, type, key=f"wrong_{SECRET_WORD}")
    answers = [
        admin.client.post(f"{one}/actions/send", MAIL, format="json"),
        admin.client.get(f"{API}/{TEMPLATES[type]}/templates"),
    ]
    for answer in answers:
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "credentials_rejected")
        assert SECRET_WORD not in answer.content.decode()
    tested = admin.client.post(f"{one}/test").json()
    assert (tested["ok"], tested["code"]) == (False, "credentials_rejected")
    assert admin.client.get(one).json()["health"]["status"] == "failing"


def test_vendor_that_is_switched_off_or_not_there_is_409_and_not_asked(
    admin: Actor, simulator: Simulator, type: str
) -> None:
    listing = f"{API}/{TEMPLATES[type]}/templates"
    assert admin.client.get(listing).json()["error"]["code"] == "not_configured"
    one = made(admin, type)
    Integration.objects.update(enabled=False)
    assert admin.client.get(listing).status_code == 409
    assert admin.client.post(f"{one}/actions/send", MAIL, format="json").status_code == 409
    assert [entry for entry in simulator.ledger() if entry["vendor"] in ("resend", "sendgrid")] == []


def test_vendor_that_refuses_the_mail_is_422_in_its_words(admin: Actor, type: str) -> None:
    one = made(admin, type)
    wish = {"to": ["ada@hub.example"], "templateId": "unknown"}
    answer = admin.client.post(f"{one}/actions/send", wish, format="json")
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "provider_rejected")
    assert "unknown" in answer.json()["error"]["message"]
    assert admin.client.get(one).json()["health"]["status"] != "failing"


def test_vendor_that_throttles_keeps_the_mail_waiting_and_says_so(
    admin: Actor, simulator: Simulator, type: str
) -> None:
    one = made(admin, type)
    simulator.fault("status", path="/emails|/mail/send", status=429)
    answer = admin.client.post(f"{one}/actions/send", MAIL, format="json")
    assert answer.status_code == 200, answer.content
    assert answer.json()["result"]["status"] == "queued"
    assert "too many requests" in answer.json()["result"]["error"].lower()
    assert simulator.sent() == []
