"""SendGrid as it is: scopes, a send without idempotency, all problems at once, templates by token, signed events."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from simulator.process import Simulator
from simulator.tests.doorbell import Doorbell, doorbell
from simulator.tests.factories import Answer, send

KEY = "SG.full"
ADA, BOB = {"email": "ada@hub.example"}, {"email": "bob@hub.example", "name": "Bob"}
MAIL: dict[str, Any] = {
    "personalizations": [{"to": [ADA]}],
    "from": {"email": "hub@mail.example", "name": "Hub"},
    "subject": "Hello",
    "content": [{"type": "text/plain", "value": "Hi"}],
}


@pytest.fixture
def sendgrid(simulator: Simulator) -> Simulator:
    """An account with a key and a verified domain."""
    simulator.control("POST", "/sendgrid/keys", {"key": KEY})
    simulator.control("POST", "/sendgrid/senders", {"sender": "mail.example"})
    return simulator


@pytest.fixture
def bell() -> Iterator[Doorbell]:
    with doorbell() as found:
        yield found


def ask(simulator: Simulator, method: str, path: str, *, token: str = KEY, **more: Any) -> Answer:
    return send(simulator, method, f"/v3{path}", token=token, **more)


def post(simulator: Simulator, **changes: Any) -> Answer:
    """A mail; a change of None leaves the field out."""
    body = {name: value for name, value in (MAIL | changes).items() if value is not None}
    return ask(simulator, "POST", "/mail/send", json=body)


def to(**more: Any) -> dict[str, Any]:
    return {"personalizations": [{"to": [ADA]} | more]}


def test_scopes_are_the_keys(sendgrid: Simulator) -> None:
    assert ask(sendgrid, "GET", "/scopes").json == {"scopes": ["mail.send", "templates.read"]}


@pytest.mark.parametrize(
    ("token", "message"),
    [
        ("", "authorization required"),
        ("SG.wrong", "The provided authorization grant is invalid, expired, or revoked"),
    ],
    ids=["none", "wrong"],
)
def test_bad_key_is_401(sendgrid: Simulator, token: str, message: str) -> None:
    answer = ask(sendgrid, "GET", "/scopes", token=token)
    assert (answer.status, answer.json["errors"]) == (401, [{"message": message, "field": None, "help": None}])


def test_key_of_europe_works_in_europe_only(sendgrid: Simulator) -> None:
    sendgrid.control("POST", "/sendgrid/keys", {"key": "SG.eu", "region": "eu"})
    assert ask(sendgrid, "GET", "/scopes", token="SG.eu").status == 401
    assert send(sendgrid, "GET", "/eu/v3/scopes", token="SG.eu").status == 200
    assert send(sendgrid, "GET", "/eu/v3/scopes", token=KEY).status == 401


def test_key_without_the_scope_is_403_where_it_counts(sendgrid: Simulator) -> None:
    sendgrid.control("POST", "/sendgrid/keys", {"key": "SG.few", "scopes": []})
    assert ask(sendgrid, "GET", "/scopes", token="SG.few").json == {"scopes": []}
    for method, path in (("POST", "/mail/send"), ("GET", "/templates?page_size=1")):
        answer = ask(sendgrid, method, path, token="SG.few", json=MAIL)
        assert (answer.status, answer.json["errors"][0]["message"]) == (403, "access forbidden")


def test_mail_is_202_without_a_body_and_twice_is_two_mails(sendgrid: Simulator) -> None:
    first, second = post(sendgrid, **to(cc=[BOB])), post(sendgrid, **to(cc=[BOB]))
    assert (first.status, first.body) == (202, b"")
    ids = [first.headers["x-message-id"], second.headers["x-message-id"]]
    sent = sendgrid.sent()
    assert [mail["id"] for mail in sent] == ids
    assert (sent[0]["vendor"], sent[0]["to"], sent[0]["cc"]) == ("sendgrid", ["ada@hub.example"], ["bob@hub.example"])
    assert len(set(ids)) == 2


def test_sandbox_answers_200_and_sends_nothing(sendgrid: Simulator) -> None:
    answer = post(sendgrid, mail_settings={"sandbox_mode": {"enable": True}})
    assert (answer.status, answer.body, sendgrid.sent()) == (200, b"", [])
    assert post(sendgrid, mail_settings={"sandbox_mode": {"enable": True}}, content=[]).status == 400


CONTENT = [{"type": "text/html", "value": "<p>Hi</p>"}, {"type": "text/plain", "value": "Hi"}]
MANY = [{"email": f"a{n}@hub.example"} for n in range(1000)]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"personalizations": []}, "personalizations"),
        ({"personalizations": [{"to": [ADA]}] * 1001}, "personalizations"),
        ({"personalizations": [{"to": []}]}, "personalizations.0.to"),
        ({"personalizations": [{"to": [{"email": "nobody"}]}]}, "personalizations.0.to.0.email"),
        (to(bcc=[{"email": "ADA@hub.example"}]), "personalizations.0"),
        (to(cc=MANY), None),
        ({"from": {"email": "nobody"}}, "from.email"),
        ({"reply_to": ADA, "reply_to_list": [BOB]}, "reply_to_list"),
        ({"subject": None}, "subject"),
        ({"content": None}, "content"),
        ({"content": [{"type": "text/plain", "value": ""}]}, "content.0.value"),
        ({"content": CONTENT}, "content"),
        ({"template_id": "welcome"}, "template_id"),
        ({"template_id": f"d-{'0' * 32}"}, "template_id"),
        ({"attachments": [{"filename": "a.txt", "content": "?"}]}, "attachments.0.content"),
        ({"attachments": [{"content": "AAAA"}]}, "attachments.0.filename"),
        ({"categories": [str(n) for n in range(11)]}, "categories"),
        ({"custom_args": {"a": "x" * 10_000}}, "custom_args"),
        ({"custom_args": {"a": 5}}, None),
        ({"send_at": 4_000_000_000}, "send_at"),
    ],
    ids=[
        "no personalization", "1001 personalizations", "no to", "bad address", "address twice", "1001 recipients",
        "bad from", "both reply_to", "no subject", "no content", "empty content", "html before text", "no guid",
        "unknown template", "not base64", "no file name", "11 categories", "long args", "args not text",
        "too far ahead",
    ],
)  # fmt: skip
def test_mail_that_is_wrong_is_400_with_the_field(sendgrid: Simulator, changes: dict[str, Any], field: Any) -> None:
    answer = post(sendgrid, **changes)
    assert (answer.status, answer.json["errors"][0]["field"]) == (400, field)
    assert sendgrid.sent() == []


def test_problems_are_told_all_at_once(sendgrid: Simulator) -> None:
    answer = post(sendgrid, subject=None, content=None)
    assert [item["field"] for item in answer.json["errors"]] == ["subject", "content"]


def test_thousand_recipients_are_taken_and_thirty_megabytes_are_not(sendgrid: Simulator) -> None:
    assert post(sendgrid, **to(cc=MANY[:999])).status == 202
    assert post(sendgrid, attachments=[{"filename": "a", "content": "A" * 30 * 1024 * 1024}]).status == 413


def test_sender_that_is_not_verified_is_403(sendgrid: Simulator) -> None:
    answer = post(sendgrid, **{"from": {"email": "hub@other.example"}})
    assert (answer.status, answer.json["errors"][0]["field"]) == (403, "from")


def test_credits_spent_look_like_a_bad_key(sendgrid: Simulator) -> None:
    sendgrid.control("POST", "/sendgrid/credits", {"credits": 1})
    assert post(sendgrid).status == 202
    answer = post(sendgrid)
    assert (answer.status, answer.json["errors"][0]["message"]) == (401, "Maximum credits exceeded")


def template(simulator: Simulator, **more: Any) -> str:
    return str(simulator.control("POST", "/sendgrid/templates", {"name": "Welcome"} | more)["id"])


def test_template_stands_for_subject_and_content_if_a_version_is_active(sendgrid: Simulator) -> None:
    active, idle = template(sendgrid), template(sendgrid, active=False)
    data = to(dynamic_template_data={"name": "Ada", "lines": [1, 2]})
    assert post(sendgrid, template_id=active, subject=None, content=None, **data).status == 202
    assert post(sendgrid, template_id=idle, subject=None, content=None, **data).status == 400
    substitutions = to(substitutions={"-name-": "Ada"})
    assert post(sendgrid, template_id=active, subject=None, content=None, **substitutions).status == 400


def test_unknown_template_may_be_taken_and_dropped(sendgrid: Simulator, bell: Doorbell) -> None:
    sendgrid.settings(sendgrid_drops_unknown_templates=True)
    sendgrid.control("POST", "/sendgrid/webhook", {"url": bell.url})
    assert post(sendgrid, template_id=f"d-{'0' * 32}").status == 202
    assert sorted(batch[0]["event"] for batch in bell.wait(2)) == ["dropped", "processed"]


def test_templates_are_paged_by_the_token_in_next_and_legacy_unless_told(sendgrid: Simulator) -> None:
    made = [template(sendgrid, name=f"T{n}", updated_at=1000 + n) for n in range(5)]
    old = template(sendgrid, generation="legacy")
    assert ask(sendgrid, "GET", "/templates").status == 400
    assert ask(sendgrid, "GET", "/templates?page_size=201").status == 400
    assert [item["id"] for item in ask(sendgrid, "GET", "/templates?page_size=200").json["result"]] == [old]
    found: list[dict[str, Any]] = []
    query = "generations=dynamic&page_size=2"
    while query:
        page = ask(sendgrid, "GET", f"/templates?{query}").json
        found += page["result"]
        query = urlsplit(page["_metadata"].get("next", "")).query
    assert [item["id"] for item in found] == made[::-1]
    assert (found[-1]["updated_at"], "created_at" in found[-1]) == ("1970-01-01 00:16:40", False)
    assert found[0]["versions"][0]["active"] == 1
    both = ask(sendgrid, "GET", "/templates?generations=legacy,dynamic&page_size=200").json
    assert both["_metadata"]["count"] == 6
    assert parse_qs(urlsplit(both["_metadata"]["self"]).query)["generations"] == ["legacy,dynamic"]


def test_rate_is_kept_per_endpoint_and_reset_is_an_epoch(sendgrid: Simulator) -> None:
    sendgrid.settings(sendgrid_requests_per_minute=1)
    sendgrid.advance(60 - sendgrid.health()["now"] % 60)
    assert ask(sendgrid, "GET", "/scopes").status == 200
    refused = ask(sendgrid, "GET", "/scopes")
    assert (refused.status, refused.json["errors"][0]["message"]) == (429, "too many requests")
    assert "retry-after" not in refused.headers
    assert 0 < int(refused.headers["x-ratelimit-reset"]) - sendgrid.health()["now"] <= 60
    assert post(sendgrid).status == 202
    sendgrid.advance(60)
    assert ask(sendgrid, "GET", "/scopes").status == 200


def test_fault_without_a_body_speaks_as_sendgrid(sendgrid: Simulator) -> None:
    sendgrid.fault("status", operation="sendgrid.scopes", status=503)
    assert ask(sendgrid, "GET", "/scopes").json["errors"][0]["message"] == "service unavailable"


def hook(simulator: Simulator, bell: Doorbell) -> EllipticCurvePublicKey:
    made = simulator.control("POST", "/sendgrid/webhook", {"url": bell.url})
    key = load_der_public_key(base64.b64decode(made["public_key"]))
    assert isinstance(key, EllipticCurvePublicKey)
    return key


def signed(key: EllipticCurvePublicKey, headers: dict[str, str], raw: bytes) -> bool:
    signature = base64.b64decode(headers["x-twilio-email-event-webhook-signature"])
    stamp = headers["x-twilio-email-event-webhook-timestamp"].encode()
    try:
        key.verify(signature, stamp + raw, ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True


def test_events_are_signed_arrays_ending_with_crlf(sendgrid: Simulator, bell: Doorbell) -> None:
    key = hook(sendgrid, bell)
    identity = post(sendgrid, **to(cc=[BOB]), custom_args={"log": "42"}).headers["x-message-id"]
    batches = bell.wait(2)
    assert sorted(item["event"] for batch in batches for item in batch) == ["delivered"] * 2 + ["processed"] * 2
    assert all(item["sg_message_id"].startswith(f"{identity}.") for batch in batches for item in batch)
    assert len({item["sg_event_id"] for batch in batches for item in batch}) == 4
    assert {item["log"] for batch in batches for item in batch} == {"42"}
    for (headers, body), raw in zip(bell.received, bell.raw, strict=True):
        assert raw.endswith(b"]\r\n")
        assert signed(key, headers, raw)
        assert not signed(key, headers, json.dumps(body).encode())


def test_event_can_be_repeated_late_stale_and_forged(sendgrid: Simulator, bell: Doorbell) -> None:
    sendgrid.settings(sendgrid_events=[])
    key = hook(sendgrid, bell)
    identity = post(sendgrid).headers["x-message-id"]
    bounce = {"event": "bounce", "ago": 3600, "more": {"sg_event_id": "same"}}
    sendgrid.control("POST", "/sendgrid/events", {"message_id": identity, "events": [bounce, bounce], "copies": 2})
    first, second = bell.wait(2)
    assert first == second
    assert [(item["sg_event_id"], item["type"]) for item in first] == [("same", "bounce")] * 2
    assert first[0]["timestamp"] < time.time() - 3500
    for count, more in ((3, {"signed_ago": 900}), (4, {"forged": True})):
        wish = {"message_id": identity, "events": [{"event": "delivered"}]}
        sendgrid.control("POST", "/sendgrid/events", wish | more)
        bell.wait(count)
    stale, forged = bell.received[2][0], bell.received[3][0]
    assert int(stale["x-twilio-email-event-webhook-timestamp"]) < time.time() - 800
    assert signed(key, stale, bell.raw[2])
    assert not signed(key, forged, bell.raw[3])
