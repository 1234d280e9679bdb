"""Slack: tokens and scopes, what a message may be, what refusals look like, webhooks, limits, who is pinged."""

from __future__ import annotations

import json
from typing import Any

import pytest

from simulator.process import Simulator
from simulator.slack import BOT_TOKEN, HOOK_PATH
from simulator.tests.factories import Answer, send


def call(simulator: Simulator, method: str, body: dict[str, Any] | None = None, token: str = BOT_TOKEN) -> Answer:
    headers = {"Content-Type": "application/json; charset=utf-8", "Authorization": f"Bearer {token}"}
    return send(simulator, "POST", f"/api/{method}", headers=headers, body=json.dumps(body or {}).encode())


def post(simulator: Simulator, **body: Any) -> Any:
    answer = call(simulator, "chat.postMessage", {"channel": "C0ALERTS01"} | body)
    assert answer.status == 200
    return answer.json


def hook(simulator: Simulator, body: Any, path: str = HOOK_PATH) -> tuple[int, bytes]:
    answer = send(simulator, "POST", path, json=body)
    assert answer.headers["content-type"].startswith("text/plain")
    return answer.status, answer.body


def messages(simulator: Simulator) -> list[dict[str, Any]]:
    return list(simulator.control("GET", "/slack/messages")["messages"])


def test_auth_test_tells_who_and_with_which_scopes(simulator: Simulator) -> None:
    answer = call(simulator, "auth.test")
    assert (answer.json["ok"], answer.json["team_id"], answer.json["bot_id"]) == (True, "T0HUB0001", "B0HUB0001")
    assert answer.headers["x-oauth-scopes"] == "chat:write,channels:read,groups:read"


@pytest.mark.parametrize(
    ("headers", "error"),
    [({}, "not_authed"), ({"Authorization": "Bearer xoxb-other"}, "invalid_auth")],
    ids=["none", "unknown"],
)
def test_auth_refused_is_200_and_not_ok(simulator: Simulator, headers: dict[str, str], error: str) -> None:
    answer = send(simulator, "POST", "/api/auth.test", headers=headers)
    assert (answer.status, answer.json) == (200, {"ok": False, "error": error})


def test_bot_revoked_by_the_control_api_is_refused_everywhere(simulator: Simulator) -> None:
    simulator.control("PUT", f"/slack/bots/{BOT_TOKEN}", {"error": "token_revoked"})
    assert call(simulator, "auth.test").json["error"] == "token_revoked"
    assert post(simulator, text="x")["error"] == "token_revoked"
    assert messages(simulator) == []


def test_message_posted_is_kept_in_the_ledger_and_shown(simulator: Simulator) -> None:
    answer = post(simulator, channel="#alerts", text="Hello", thread_ts="1.000001")
    assert (answer["ok"], answer["channel"], answer["message"]["thread_ts"]) == (True, "C0ALERTS01", "1.000001")
    [message] = messages(simulator)
    assert (message["ts"], message["text"], message["via"]) == (answer["ts"], "Hello", "bot")
    [entry] = simulator.ledger(operation="slack.chat.postMessage")
    effect = {"kind": "message.posted", "channel": "C0ALERTS01", "ts": answer["ts"], "via": "bot"}
    assert (entry["account"], entry["effect"]) == ("B0HUB0001", effect)


LONG = [{"type": "section", "text": {"type": "mrkdwn", "text": "x" * 2_700}}]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"channel": ""}, "invalid_arguments"),
        ({"channel": "C0NOWHERE1", "text": "x"}, "channel_not_found"),
        ({"channel": "C0PRIVATE1", "text": "x"}, "channel_not_found"),
        ({"channel": "C0ARCHIVE1", "text": "x"}, "is_archived"),
        ({"channel": "C0OUTSIDE1", "text": "x"}, "not_in_channel"),
        ({"text": ""}, "no_text"),
        ({"text": "x", "blocks": {"type": "section"}}, "invalid_blocks_format"),
        ({"text": "x", "blocks": [{"type": "divider"}] * 51}, "invalid_blocks"),
        ({"text": "x", "blocks": [{"type": "header", "text": {"text": "x" * 151}}]}, "invalid_blocks"),
        ({"text": "x", "blocks": LONG * 5}, "msg_blocks_too_long"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_message_refused_is_200_with_its_reason(simulator: Simulator, body: dict[str, Any], error: str) -> None:
    assert post(simulator, **body)["error"] == error
    assert messages(simulator) == []


def test_message_without_the_scope_names_what_is_needed(simulator: Simulator) -> None:
    simulator.control("PUT", f"/slack/bots/{BOT_TOKEN}", {"scopes": ["channels:read"]})
    answer = post(simulator, text="x")
    assert (answer["error"], answer["needed"], answer["provided"]) == ("missing_scope", "chat:write", "channels:read")


def test_message_to_a_public_channel_needs_no_membership_with_its_scope(simulator: Simulator) -> None:
    simulator.control("PUT", f"/slack/bots/{BOT_TOKEN}", {"scopes": ["chat:write", "chat:write.public"]})
    assert post(simulator, channel="random", text="x")["ok"] is True


def test_message_too_long_is_cut_with_a_warning(simulator: Simulator) -> None:
    answer = post(simulator, text="x" * 50_000)
    assert (answer["ok"], answer["warning"]) == (True, "message_truncated")
    assert len(messages(simulator)[0]["text"]) == 40_000


def test_message_that_mentions_pings_and_an_escaped_one_does_not(simulator: Simulator) -> None:
    blocks = [{"type": "section", "text": {"type": "mrkdwn", "text": "<!here> <@U123>"}}]
    plain = [{"type": "section", "text": {"type": "plain_text", "text": "<!here>"}}]
    post(simulator, text="<!channel> hi", blocks=blocks)
    post(simulator, text="&lt;!channel&gt; hi <https://a.example|a>", blocks=plain)
    assert [message["pings"] for message in messages(simulator)] == [["!channel", "!here", "@U123"], []]


def test_channel_takes_about_one_message_a_second_and_others_are_free(simulator: Simulator) -> None:
    simulator.control("PATCH", "/slack", {"messages_per_second": 0.2, "burst": 2})
    assert [post(simulator, text="x")["ok"] for _ in range(2)] == [True, True]
    answer = call(simulator, "chat.postMessage", {"channel": "C0ALERTS01", "text": "x"})
    assert (answer.status, answer.headers["retry-after"]) == (429, "5")
    assert answer.json == {"ok": False, "error": "ratelimited"}
    status, words = hook(simulator, {"text": "x"})
    assert (status, words) == (429, b"rate_limited")
    assert post(simulator, channel="general", text="x")["ok"] is True
    simulator.advance(5)
    assert post(simulator, text="x")["ok"] is True


def test_conversations_come_in_pages_of_public_channels(simulator: Simulator) -> None:
    names, cursor = [], ""
    while True:
        page = call(simulator, "conversations.list", {"limit": 2, "cursor": cursor, "exclude_archived": True}).json
        names.append([item["name"] for item in page["channels"]])
        cursor = page["response_metadata"]["next_cursor"]
        if not cursor:
            break
    assert names == [["general", "alerts"], ["random"]]
    assert call(simulator, "conversations.list", {"cursor": "nonsense"}).json["error"] == "invalid_cursor"


def test_webhook_answers_ok_and_ignores_another_channel(simulator: Simulator) -> None:
    assert hook(simulator, {"text": "Hi", "channel": "C0GENERAL1"}) == (200, b"ok")
    [message] = messages(simulator)
    assert (message["channel"], message["via"]) == ("C0ALERTS01", "webhook")


@pytest.mark.parametrize(
    ("body", "path", "answer"),
    [
        ({}, HOOK_PATH, (400, b"no_text")),
        (["x"], HOOK_PATH, (400, b"invalid_payload")),
        ({"text": "x", "attachments": [{}] * 101}, HOOK_PATH, (400, b"too_many_attachments")),
        ({"text": "x"}, "/services/T0HUB0001/B0HUB0001/other", (404, b"no_service")),
        ({"text": "x"}, "/services/T0OTHER01/B0HUB0001/other", (404, b"no_team")),
    ],
    ids=["empty", "list", "attachments", "secret", "team"],
)
def test_webhook_refuses_in_plain_words(simulator: Simulator, body: Any, path: str, answer: tuple[int, bytes]) -> None:
    assert hook(simulator, body, path) == answer
    assert messages(simulator) == []


@pytest.mark.parametrize(
    ("error", "status"),
    [("no_service", 404), ("invalid_token", 403), ("action_prohibited", 403), ("channel_is_archived", 410)],
)
def test_webhook_dead_says_so_also_to_an_empty_probe(simulator: Simulator, error: str, status: int) -> None:
    simulator.control("PUT", "/slack/hooks", {"path": HOOK_PATH, "channel": "C0ALERTS01", "error": error})
    assert hook(simulator, {}) == (status, error.encode())


def test_webhook_of_an_archived_channel_is_410(simulator: Simulator) -> None:
    simulator.control("PUT", "/slack/hooks", {"path": HOOK_PATH, "channel": "C0ARCHIVE1"})
    assert hook(simulator, {"text": "x"}) == (410, b"channel_is_archived")


def test_fault_speaks_as_slack_does(simulator: Simulator) -> None:
    simulator.fault("status", path="/api/", status=200, reason="fatal_error", count=1)
    assert post(simulator, text="x") == {"ok": False, "error": "fatal_error"}
    simulator.fault("status", path="/services/", status=500)
    assert hook(simulator, {"text": "x"}) == (500, b"rollup_error")
