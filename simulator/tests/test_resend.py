"""Resend as it is: keys, idempotency, templates and their paging, limits, refusals in its words, signed events."""

from __future__ import annotations

import base64
import hashlib
import hmac
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from simulator.process import Simulator
from simulator.tests.doorbell import Doorbell, doorbell
from simulator.tests.factories import Answer, send

KEY, SENDING_KEY = "re_full", "re_sending"
MAIL = {"from": "Hub <hub@mail.example>", "to": ["ada@hub.example"], "subject": "Hello", "text": "Hi"}
AGENT = {"User-Agent": "tests"}


@pytest.fixture
def resend(simulator: Simulator) -> Simulator:
    """A team with a key of each kind and a verified domain, its rate unlimited."""
    simulator.settings(resend_requests_per_second=0)
    simulator.control("POST", "/resend/keys", {"key": KEY, "owner": "me@hub.example"})
    simulator.control("POST", "/resend/keys", {"key": SENDING_KEY, "permission": "sending_access"})
    simulator.control("POST", "/resend/domains", {"name": "mail.example"})
    return simulator


@pytest.fixture
def bell() -> Iterator[Doorbell]:
    with doorbell() as found:
        yield found


def ask(simulator: Simulator, method: str, path: str, *, token: str = KEY, **more: Any) -> Answer:
    headers = AGENT | more.pop("headers", {})
    return send(simulator, method, path, token=token, headers=headers, **more)


def post(simulator: Simulator, *, key: str | None = None, token: str = KEY, **changes: Any) -> Answer:
    """A mail; a change of None leaves the field out."""
    body = {name: value for name, value in (MAIL | changes).items() if value is not None}
    headers = {} if key is None else {"Idempotency-Key": key}
    return ask(simulator, "POST", "/emails", token=token, json=body, headers=headers)


def error(answer: Answer) -> tuple[int, str]:
    assert answer.json["statusCode"] == answer.status
    return answer.status, str(answer.json["name"])


def test_call_without_user_agent_is_403_in_plain_text(resend: Simulator) -> None:
    answer = send(resend, "GET", "/domains", token=KEY)
    assert (answer.status, answer.body) == (403, b"error code: 1010")
    assert answer.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize(
    ("status", "name"), [(400, "validation_error"), (401, "validation_error"), (403, "invalid_api_key")]
)
def test_wrong_key_is_refused_in_each_way_that_was_seen(resend: Simulator, status: int, name: str) -> None:
    resend.settings(resend_invalid_key_status=status)
    answer = ask(resend, "GET", "/domains", token="re_wrong")
    assert error(answer) == (status, name)
    assert answer.json["message"] == "API key is invalid"
    assert error(send(resend, "GET", "/domains", headers=AGENT)) == (401, "missing_api_key")


def test_sending_key_sends_and_reads_nothing(resend: Simulator) -> None:
    assert post(resend, token=SENDING_KEY).status == 200
    for path in ("/domains", "/templates", "/emails/x"):
        assert error(ask(resend, "GET", path, token=SENDING_KEY)) == (401, "restricted_api_key")


def test_mail_accepted_is_in_the_ledger_and_can_be_read(resend: Simulator) -> None:
    identity = post(resend, cc="bob@hub.example", reply_to="re@hub.example").json["id"]
    (sent,) = resend.sent()
    assert (sent["vendor"], sent["id"], sent["to"], sent["cc"]) == (
        "resend", identity, ["ada@hub.example"], ["bob@hub.example"],
    )  # fmt: skip
    assert [entry["effect"]["id"] for entry in resend.ledger(operation="resend.emails.send")] == [identity]
    found = ask(resend, "GET", f"/emails/{identity}").json
    assert (found["last_event"], found["subject"], found["reply_to"]) == ("delivered", "Hello", ["re@hub.example"])
    assert error(ask(resend, "GET", "/emails/other")) == (404, "not_found")


def test_idempotency_key_replays_for_a_day_and_refuses_another_body(resend: Simulator) -> None:
    first = post(resend, key="log-1").json
    assert post(resend, key="log-1").json == first
    assert error(post(resend, key="log-1", subject="Other")) == (409, "invalid_idempotent_request")
    assert len(resend.sent()) == 1
    resend.advance(24 * 3600 + 1)
    assert post(resend, key="log-1").json != first
    assert len(resend.sent()) == 2


@pytest.mark.parametrize("key", ["", "x" * 257], ids=["empty", "257 characters"])
def test_idempotency_key_of_bad_length_is_400(resend: Simulator, key: str) -> None:
    assert error(post(resend, key=key)) == (400, "invalid_idempotency_key")


def test_idempotency_key_in_use_by_a_request_under_way_is_409(resend: Simulator) -> None:
    resend.fault("latency", operation="resend.emails.send", seconds=0.6, count=1)
    answers: list[Answer] = []
    slow = threading.Thread(target=lambda: answers.append(post(resend, key="log-2")))
    slow.start()
    time.sleep(0.2)
    assert error(post(resend, key="log-2")) == (409, "concurrent_idempotent_requests")
    slow.join()
    assert (answers[0].status, len(resend.sent())) == (200, 1)


def test_refused_mail_does_not_use_up_its_key(resend: Simulator) -> None:
    assert post(resend, key="log-3", to=["nobody"]).status == 422
    assert post(resend, key="log-3").status == 200


@pytest.mark.parametrize(
    ("changes", "status", "name"),
    [
        ({"to": None}, 422, "missing_required_field"),
        ({"from": None}, 422, "missing_required_field"),
        ({"subject": None}, 422, "missing_required_field"),
        ({"text": None}, 422, "missing_required_field"),
        ({"from": "nobody"}, 422, "invalid_from_address"),
        ({"bcc": ["a b@hub.example"]}, 422, "validation_error"),
        ({"to": [f"a{n}@hub.example" for n in range(51)]}, 422, "validation_error"),
        ({"from": "hub@other.example"}, 403, "validation_error"),
        ({"from": "onboarding@resend.dev"}, 403, "validation_error"),
        ({"headers": {"X-Number": 5}}, 422, "validation_error"),
        ({"tags": [{"name": "who", "value": "ada@hub.example"}]}, 422, "validation_error"),
        ({"attachments": [{"filename": "a.txt"}]}, 422, "invalid_attachment"),
        ({"attachments": [{"filename": "a.txt", "content": "?"}]}, 422, "invalid_attachment"),
    ],
    ids=lambda value: str(sorted(value)) if isinstance(value, dict) else None,
)
def test_mail_that_is_wrong_is_refused_in_its_words(
    resend: Simulator, changes: dict[str, Any], status: int, name: str
) -> None:
    assert error(post(resend, **changes)) == (status, name)
    assert resend.sent() == []


def test_fifty_recipients_are_taken(resend: Simulator) -> None:
    assert post(resend, to=[f"a{n}@hub.example" for n in range(50)]).status == 200


def test_test_domain_writes_to_the_owner_and_to_the_sinks(resend: Simulator) -> None:
    for recipient in ("me@hub.example", "delivered@resend.dev"):
        assert post(resend, **{"from": "onboarding@resend.dev", "to": [recipient]}).status == 200


def test_attachments_over_40_megabytes_of_base64_are_refused(resend: Simulator) -> None:
    content = "A" * (40 * 1024 * 1024)
    attachment = {"filename": "a.bin", "content": content}
    assert post(resend, attachments=[attachment]).status == 200
    assert post(resend, attachments=[attachment, {"filename": "b.bin", "content": "AAAA"}]).status == 422


def test_attachment_whose_name_belies_its_type_is_dropped_without_a_word(resend: Simulator) -> None:
    attachment = {"filename": "a.pdf", "content": "AAAA", "content_type": "text/plain"}
    assert post(resend, attachments=[attachment]).status == 200
    assert resend.control("GET", "/resend/emails")[0]["dropped"] == ["a.pdf"]


def template(simulator: Simulator, **more: Any) -> str:
    return str(simulator.control("POST", "/resend/templates", {"name": "Welcome", "subject": "Hi"} | more)["id"])


def test_template_stands_for_subject_and_content(resend: Simulator) -> None:
    identity = template(resend, alias="welcome", variables=[{"key": "NAME", "type": "string"}])
    for name in (identity, "welcome"):
        wanted = {"id": name, "variables": {"NAME": "Ada"}}
        assert post(resend, template=wanted, text=None, subject=None).status == 200


@pytest.mark.parametrize(
    ("wanted", "changes"),
    [
        ({"id": "draft"}, {"text": None}),
        ({"id": "unknown"}, {"text": None}),
        ({"id": "welcome"}, {}),
        ({"id": "welcome"}, {"text": ""}),
        ({"id": "needs"}, {"text": None}),
        ({"id": "needs", "variables": {"AGE": "old"}}, {"text": None}),
        ({"id": "needs", "variables": {"AGE": {"years": 3}}}, {"text": None}),
    ],
    ids=["draft", "unknown", "beside text", "beside empty text", "no value", "other type", "nested"],
)
def test_template_that_cannot_be_sent_is_refused(
    resend: Simulator, wanted: dict[str, Any], changes: dict[str, Any]
) -> None:
    template(resend, alias="draft", published=False)
    template(resend, alias="welcome")
    template(resend, alias="needs", variables=[{"key": "AGE", "type": "number"}])
    assert error(post(resend, template=wanted, **changes)) == (422, "validation_error")


def test_templates_are_paged_by_the_last_id_with_drafts_among_them(resend: Simulator) -> None:
    made = [template(resend, name=f"T{n}", published=n != 3, created_at=1000.678 + n) for n in range(5)]
    found: list[dict[str, Any]] = []
    after, more = "", True
    while more:
        page = ask(resend, "GET", f"/templates?limit=2&after={after}" if after else "/templates?limit=2").json
        found, more = found + page["data"], page["has_more"]
        after = found[-1]["id"]
    assert [item["id"] for item in found] == made[::-1]
    assert [item["status"] for item in found] == ["published", "draft", "published", "published", "published"]
    assert found[-1]["created_at"] == "1970-01-01 00:16:40.678+00"
    assert datetime.fromisoformat(found[-1]["created_at"]).timestamp() == 1000.678
    assert error(ask(resend, "GET", "/templates?limit=101")) == (422, "validation_error")
    before = ask(resend, "GET", f"/templates?limit=2&before={made[0]}").json["data"]
    assert [item["id"] for item in before] == [made[2], made[1]]


def test_batch_is_all_or_nothing_unless_permissive(resend: Simulator) -> None:
    mails = [MAIL, MAIL | {"to": ["nobody"]}, MAIL | {"attachments": []}]
    assert error(ask(resend, "POST", "/emails/batch", json=mails))[0] == 422
    assert resend.sent() == []
    answer = ask(resend, "POST", "/emails/batch", json=mails, headers={"x-batch-validation": "permissive"}).json
    assert (len(answer["data"]), [item["index"] for item in answer["errors"]]) == (1, [1, 2])
    assert error(ask(resend, "POST", "/emails/batch", json=[MAIL] * 101))[0] == 422
    assert len(ask(resend, "POST", "/emails/batch", json=[MAIL] * 100).json["data"]) == 100


def test_rate_is_the_teams_and_every_answer_says_what_is_left(resend: Simulator) -> None:
    resend.settings(resend_requests_per_second=2)
    resend.advance(10)
    first, second = post(resend), ask(resend, "GET", "/domains", token=SENDING_KEY)
    assert [first.headers["ratelimit-remaining"], second.headers["ratelimit-remaining"]] == ["1", "0"]
    refused = post(resend)
    assert error(refused) == (429, "rate_limit_exceeded")
    assert (refused.headers["retry-after"], refused.headers["ratelimit-limit"]) == ("1", "2")
    resend.advance(1)
    assert post(resend).status == 200


@pytest.mark.parametrize("period", ["daily", "monthly"])
def test_quota_counts_every_address_and_has_a_name_of_its_own(resend: Simulator, period: str) -> None:
    resend.settings(**{f"resend_{period}_quota": 3})
    assert post(resend, cc="bob@hub.example").status == 200
    assert error(post(resend, cc="bob@hub.example")) == (429, f"{period}_quota_exceeded")
    assert post(resend).status == 200


def test_fault_without_a_body_speaks_as_resend(resend: Simulator) -> None:
    resend.fault("status", operation="resend.domains.list", status=429, reason="daily_quota_exceeded")
    assert error(ask(resend, "GET", "/domains")) == (429, "daily_quota_exceeded")


def hook(simulator: Simulator, bell: Doorbell) -> bytes:
    """Where the team's events go; the decoded secret."""
    made = simulator.control("POST", "/resend/webhook", {"url": bell.url})
    return base64.b64decode(made["signing_secret"].removeprefix("whsec_"))


def signed(secret: bytes, headers: dict[str, str], raw: bytes) -> bool:
    content = f"{headers['svix-id']}.{headers['svix-timestamp']}.".encode() + raw
    expected = base64.b64encode(hmac.new(secret, content, hashlib.sha256).digest()).decode()
    return headers["svix-signature"] == f"v1,{expected}"


def test_events_of_a_mail_are_posted_signed(resend: Simulator, bell: Doorbell) -> None:
    secret = hook(resend, bell)
    identity = post(resend, tags=[{"name": "log", "value": "42"}]).json["id"]
    sent, delivered = sorted(bell.wait(2), key=lambda body: str(body["type"]), reverse=True)
    assert (sent["type"], delivered["type"]) == ("email.sent", "email.delivered")
    assert (sent["data"]["email_id"], sent["data"]["tags"]) == (identity, {"log": "42"})
    for (headers, _), raw in zip(bell.received, bell.raw, strict=True):
        assert signed(secret, headers, raw)
        assert abs(int(headers["svix-timestamp"]) - time.time()) < 60


def test_event_can_be_repeated_late_stale_and_forged(resend: Simulator, bell: Doorbell) -> None:
    resend.settings(resend_events=[])
    secret = hook(resend, bell)
    identity = post(resend).json["id"]
    wish = {"email_id": identity, "type": "bounced", "id": "msg_1", "copies": 2, "ago": 3600}
    assert resend.control("POST", "/resend/events", wish) == {"id": "msg_1"}
    first, second = bell.wait(2)
    assert first == second
    assert first["data"]["bounce"]["type"] == "Permanent"
    assert datetime.fromisoformat(first["created_at"]).timestamp() < time.time() - 3500
    for count, more in ((3, {"signed_ago": 900}), (4, {"forged": True})):
        resend.control("POST", "/resend/events", {"email_id": identity, "type": "complained"} | more)
        bell.wait(count)
    stale, forged = bell.received[2][0], bell.received[3][0]
    assert int(stale["svix-timestamp"]) < time.time() - 800
    assert signed(secret, stale, bell.raw[2])
    assert not signed(secret, forged, bell.raw[3])
    assert ask(resend, "GET", f"/emails/{identity}").json["last_event"] == "complained"


def test_event_not_taken_is_signed_anew_with_the_same_id(resend: Simulator, bell: Doorbell) -> None:
    resend.settings(resend_events=["delivered"], push_attempts=2)
    secret = hook(resend, bell)
    bell.status = 500
    post(resend)
    bell.wait(2)
    (first, _), (second, _) = bell.received
    assert first["svix-id"] == second["svix-id"]
    assert signed(secret, first, bell.raw[0])
    assert signed(secret, second, bell.raw[1])


def test_sink_address_bounces_and_nothing_is_posted_off_loopback(resend: Simulator, bell: Doorbell) -> None:
    hook(resend, bell)
    post(resend, to=["bounced@resend.dev"])
    assert {body["type"] for body in bell.wait(2)} == {"email.sent", "email.bounced"}
    resend.control("POST", "/resend/webhook", {"url": "http://192.0.2.1/hook"})
    while len(resend.pushes(vendor="resend")) < 2:  # the ledger's line follows the bell
        threading.Event().wait(0.01)
    post(resend)
    assert len(resend.pushes(vendor="resend")) == 2
