"""WEBHOOK_PLATFORM against the simulator's Zapier and Make: receipts, refusals, and addresses that are no hooks."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any, ClassVar

import pytest

from core.errors import (
    CredentialsRejected,
    InvalidInput,
    ProviderOutcomeUnknown,
    ProviderRateLimited,
    ProviderRejected,
    ProviderUnavailable,
    TooLarge,
)
from integrations.providers.base import Announcement
from integrations.providers.webhook_platform import WebhookPlatform
from integrations.tests.provider_contract import Call, ProviderContract
from simulator.process import Simulator
from workspaces.tests.fixtures import Actor

ZAPIER = "/hooks/catch/1234567/canary1/"
MAKE = "/make/canaryhook000000000000000001"
PAYLOAD = {"payload": {"name": "Zo\u00eb", "n": 1}}


def at(simulator: Simulator, path: str = ZAPIER, **changes: Any) -> WebhookPlatform:
    simulator.control("PUT", "/hook-platforms/hooks", {"path": path} | changes)
    return WebhookPlatform(config={"webhookUrl": f"{simulator.base_url}{path}"}, credentials={})


def taken(simulator: Simulator) -> list[dict[str, Any]]:
    return list(simulator.control("GET", "/hook-platforms/taken")["taken"])


def event() -> Announcement:
    body = b'{"type":"email.sent","timestamp":"2026-11-21T09:30:00Z","data":{"n":1}}'
    return Announcement("msg_7", "email.sent", datetime(2026, 11, 21, 9, 30, tzinfo=UTC), body, {"n": 1})


class TestContract(ProviderContract):
    """The check asks nobody, so the only call is the trigger."""

    calls: ClassVar[tuple[Call, ...]] = (Call("trigger", r"zapier\.hook", PAYLOAD, repeatable=False),)

    def make(self, simulator: Simulator, **credentials: str) -> WebhookPlatform:
        return at(simulator)

    @pytest.mark.parametrize(
        "fault",
        [("status", {"status": 500}), ("close", {}), ("truncate", {"fraction": 0.5})],
        ids=["500", "close", "truncate"],
    )
    def test_call_that_fails_is_unavailable_or_unknown(
        self, simulator: Simulator, call: Call, fault: tuple[str, dict[str, Any]]
    ) -> None:
        """Without garbage: a flow may answer with anything, and any 2xx is a receipt."""
        kind, how = fault
        simulator.fault(kind, operation=call.operation, **how)
        self.refused(simulator, call, ProviderOutcomeUnknown)


def test_check_asks_nobody_and_says_so(simulator: Simulator) -> None:
    checked = at(simulator).check()
    assert "not asked" in checked.message
    assert "receipt only" in checked.message
    assert checked.details == {"platform": "self-hosted", "asked": False, "proves": "receipt"}
    assert simulator.ledger() == []


@pytest.mark.parametrize("path", [ZAPIER, MAKE], ids=["zapier", "make"])
def test_trigger_sends_the_payload_as_it_is_and_promises_receipt_only(simulator: Simulator, path: str) -> None:
    result = at(simulator, path).perform("trigger", PAYLOAD)
    assert (result["status"], result["proves"]) == (200, "receipt")
    [got] = taken(simulator)
    assert json.loads(base64.b64decode(got["body"])) == PAYLOAD["payload"]
    assert got["headers"]["content-type"] == "application/json"
    assert got["headers"]["webhook-id"] == result["messageId"]
    assert ("Accepted" if path == MAKE else "success") in result["answer"]


def test_trigger_of_a_flow_that_is_off_looks_the_same(simulator: Simulator) -> None:
    result = at(simulator, state="off").perform("trigger", PAYLOAD)
    assert result["status"] == 200
    assert [item["runs"] for item in taken(simulator)] == [0]


@pytest.mark.parametrize(
    ("path", "changes", "kind", "words"),
    [
        (MAKE, {"state": "gone"}, CredentialsRejected, "410 .There is no scenario listening"),
        (MAKE, {"state": "off", "queue_limit": 0}, ProviderRateLimited, "queue for this hook is full"),
        (MAKE, {"max_bytes": 3}, ProviderRejected, "413"),
        (MAKE, {"per_window": 0}, ProviderRateLimited, "429"),
        (ZAPIER, {"per_window": 0, "retry_after": 9}, ProviderRateLimited, "429"),
        (MAKE, {"answer": {"status": 422, "body": "name is missing"}}, ProviderRejected, "name is missing"),
    ],
    ids=["gone", "queue", "size", "make-429", "zapier-429", "own-answer"],
)
def test_trigger_refused_says_why_without_the_address(
    simulator: Simulator, path: str, changes: dict[str, Any], kind: type[Exception], words: str
) -> None:
    provider = at(simulator, path, **changes)
    with pytest.raises(kind, match=words) as caught:
        provider.perform("trigger", PAYLOAD)
    assert "canary" not in str(caught.value)
    if isinstance(caught.value, ProviderRateLimited):
        assert caught.value.retry_after == (changes.get("retry_after") or 60)


def test_trigger_whose_answer_is_lost_is_never_repeated(simulator: Simulator) -> None:
    provider = at(simulator)
    simulator.fault("close", operation=r"zapier\.hook", effect=True)
    with pytest.raises(ProviderOutcomeUnknown):
        provider.perform("trigger", PAYLOAD)
    assert len(taken(simulator)) == 1


def test_trigger_without_an_answer_in_time_may_have_started_the_flow(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WebhookPlatform, "timeout", 0.2)
    provider = at(simulator, MAKE, answer={"delay": 2})
    with pytest.raises(ProviderOutcomeUnknown, match="in time"):
        provider.perform("trigger", PAYLOAD)
    assert len(taken(simulator)) == 1


def test_trigger_too_large_is_refused_before_anybody_is_asked(simulator: Simulator) -> None:
    with pytest.raises(TooLarge):
        at(simulator).perform("trigger", {"payload": {"text": "x" * 5_000_001}})
    assert simulator.ledger() == []


def test_event_goes_out_byte_for_byte_under_its_id(simulator: Simulator) -> None:
    told = at(simulator).announce(event())
    assert (told.accepted, told.status) == (True, 200)
    [got] = taken(simulator)
    assert base64.b64decode(got["body"]) == event().body
    assert got["headers"]["webhook-id"] == "msg_7"


def test_event_refused_is_told_with_what_to_do_next(simulator: Simulator) -> None:
    gone = at(simulator, MAKE, state="gone").announce(event())
    assert (gone.accepted, gone.gone, gone.status) == (False, True, 410)
    full = at(simulator, MAKE, state="off", queue_limit=0).announce(event())
    assert (full.accepted, full.gone, full.retry_after) == (False, False, 60.0)
    fast = at(simulator, per_window=0, retry_after=9).announce(event())
    assert (fast.accepted, fast.retry_after) == (False, 9)


def test_event_without_an_answer_is_raised(simulator: Simulator) -> None:
    provider = at(simulator)
    simulator.fault("close", operation=r"zapier\.hook")
    with pytest.raises(ProviderUnavailable):
        provider.announce(event())


@pytest.mark.parametrize(
    ("url", "platform"),
    [
        ("https://hooks.zapier.com/hooks/catch/1/abc/", "Zapier"),
        ("https://hook.eu1.make.com/abcdef", "Make"),
        ("https://hook.integromat.com/abcdef", "Make"),
        ("https://acme.app.n8n.cloud/webhook/1-2-3", "n8n"),
        ("https://flows.example.org/webhook/1-2-3", "self-hosted"),
        ("https://hooks.zapier.com.example.org/hooks/catch/1/abc/", "self-hosted"),
    ],
    ids=lambda value: str(value),
)
def test_address_of_a_hook_is_taken_and_named(url: str, platform: str) -> None:
    WebhookPlatform.validate(config={"webhookUrl": url}, credentials={})
    assert WebhookPlatform(config={"webhookUrl": url}, credentials={}).check().details["platform"] == platform


@pytest.mark.parametrize(
    "url",
    [
        "https://zapier.com/app/editor/123",
        "https://hooks.zapier.com/",
        "https://hooks.zapier.com/app/1",
        "http://hooks.zapier.com/hooks/catch/1/abc/",
        "https://make.com/en/login",
        "https://flows.example.org/",
    ],
    ids=lambda value: str(value),
)
def test_address_that_is_no_hook_is_refused_and_never_asked(url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        WebhookPlatform.validate(config={"webhookUrl": url}, credentials={})
    assert set(caught.value.fields) == {"config.webhookUrl"}
    with pytest.raises(ProviderRejected):
        WebhookPlatform(config={"webhookUrl": url}, credentials={}).perform("trigger", PAYLOAD)


def test_answer_that_quotes_the_address_is_shown_without_it(simulator: Simulator) -> None:
    said = 'The requested webhook "POST canaryhook000000000000000001" is not registered.'
    provider = at(simulator, MAKE, answer={"status": 422, "body": said})
    with pytest.raises(ProviderRejected, match=r"POST \*\*\*. is not registered"):
        provider.perform("trigger", PAYLOAD)
    assert "canary" not in provider.announce(event()).excerpt
    taking = at(simulator, MAKE, answer={"status": 200, "body": said})
    assert taking.perform("trigger", PAYLOAD)["answer"] == 'The requested webhook "POST ***" is not registered.'


@pytest.mark.django_db
def test_api_hides_the_address_triggers_and_refuses_another_page(simulator: Simulator, admin: Actor) -> None:
    body = {"name": "Zap", "type": "WEBHOOK_PLATFORM", "config": at(simulator).config}
    made = admin.client.post("/api/integrations", body, format="json")
    assert made.status_code == 201, made.content
    assert "canary" not in made.content.decode()
    path = f"/api/integrations/{made.json()['id']}"
    assert admin.client.post(f"{path}/test").json()["details"]["asked"] is False
    answer = admin.client.post(f"{path}/actions/trigger", PAYLOAD, format="json")
    assert (answer.status_code, answer.json()["result"]["proves"]) == (200, "receipt")
    for url in ("https://zapier.com/app/editor/123", "http://169.254.169.254/latest/meta-data", "javascript:alert(1)"):
        changed = admin.client.patch(path, {"config": {"webhookUrl": url}}, format="json")
        assert (changed.status_code, set(changed.json()["error"]["fields"])) == (400, {"config.webhookUrl"}), url
    assert len(taken(simulator)) == 1
