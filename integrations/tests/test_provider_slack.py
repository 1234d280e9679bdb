"""SLACK against the simulator: both ways to post, refusals with 200, events that ping nobody."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

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
from integrations.models.event import SUBSCRIBABLE
from integrations.providers.base import Announcement
from integrations.providers.slack import TITLES, Slack, message_about
from integrations.tests.provider_contract import Call, ProviderContract
from simulator.process import Simulator
from workspaces.tests.fixtures import Actor

TOKEN = "xoxb-canary-of-the-hub"
HOOK = "/services/T0HUB0001/B0HUB0001/canaryOfTheHub"
POSTED = {"text": "Hello"}


def bot(simulator: Simulator, *, scopes: list[str] | None = None, error: str = "", **config: Any) -> Slack:
    """By token, to #alerts."""
    known = {"error": error} | ({} if scopes is None else {"scopes": scopes})
    simulator.control("PUT", f"/slack/bots/{TOKEN}", known)
    return Slack(config={"channel": "C0ALERTS01"} | config, credentials={"botToken": TOKEN})


def hook(simulator: Simulator, *, error: str = "", channel: str = "C0ALERTS01") -> Slack:
    """By incoming webhook."""
    simulator.control("PUT", "/slack/hooks", {"path": HOOK, "channel": channel, "error": error})
    return Slack(config={"webhookUrl": f"{simulator.base_url}{HOOK}"}, credentials={})


def messages(simulator: Simulator) -> list[dict[str, Any]]:
    return list(simulator.control("GET", "/slack/messages")["messages"])


def about(type: str = "integration.failing", **data: Any) -> Announcement:
    return Announcement("msg_1", type, datetime(2026, 11, 21, 9, 30, tzinfo=UTC), b"{}", data)


class TestBot(ProviderContract):
    calls: ClassVar[tuple[Call, ...]] = (
        Call("check", r"slack\.auth\.test"),
        Call("post_message", r"slack\.chat\.postMessage", POSTED, repeatable=False),
        Call("list_channels", r"slack\.conversations\.list"),
    )

    def make(self, simulator: Simulator, **credentials: str) -> Slack:
        return bot(simulator)


class TestHook(ProviderContract):
    calls: ClassVar[tuple[Call, ...]] = (
        Call("check", r"slack\.webhook"),
        Call("post_message", r"slack\.webhook", POSTED, repeatable=False),
    )

    def make(self, simulator: Simulator, **credentials: str) -> Slack:
        return hook(simulator)


# --- checks -------------------------------------------------------------------------------------------------------


def test_check_by_token_tells_whose_it_is_and_posts_nothing(simulator: Simulator) -> None:
    checked = bot(simulator).check()
    assert checked.limited is False
    assert checked.details["team"] == "Northwind"
    assert checked.details["scopes"] == ["chat:write", "channels:read", "groups:read"]
    assert messages(simulator) == []


def test_check_by_token_without_a_channel_is_limited(simulator: Simulator) -> None:
    assert bot(simulator, channel="").check().limited is True


def test_check_by_token_that_may_not_write_is_refused(simulator: Simulator) -> None:
    with pytest.raises(ProviderRejected, match="chat:write"):
        bot(simulator, scopes=["channels:read"]).check()


def test_check_by_webhook_posts_nothing(simulator: Simulator) -> None:
    assert hook(simulator).check().details == {"transport": "webhook", "answer": "no_text"}
    assert messages(simulator) == []


@pytest.mark.parametrize("error", ["no_service", "no_team", "invalid_token"])
def test_check_by_webhook_that_is_dead_rejects_it(simulator: Simulator, error: str) -> None:
    with pytest.raises(CredentialsRejected, match=error):
        hook(simulator, error=error).check()


# --- posting ------------------------------------------------------------------------------------------------------


def test_post_by_token_carries_everything_and_gives_channel_and_ts(simulator: Simulator) -> None:
    blocks = [{"type": "section", "text": {"type": "mrkdwn", "text": "*Hi* <!here>"}}]
    given = {"text": "Hi", "blocks": blocks, "channel": "#general", "threadTs": "1.000001"}
    posted = bot(simulator).perform("post_message", given)
    [message] = messages(simulator)
    assert posted == {"transport": "bot", "channel": "C0GENERAL1", "ts": message["ts"]}
    assert (message["blocks"], message["thread_ts"]) == (blocks, "1.000001")
    assert message["pings"] == ["!here"]


def test_post_prefers_the_token_where_both_are_set(simulator: Simulator) -> None:
    both = Slack(config={**hook(simulator).config, "channel": "C0GENERAL1"}, credentials=bot(simulator).credentials)
    assert both.perform("post_message", POSTED)["transport"] == "bot"
    assert [message["via"] for message in messages(simulator)] == ["bot"]


def test_post_by_webhook_cannot_choose_the_channel(simulator: Simulator) -> None:
    provider = hook(simulator)
    assert provider.perform("post_message", POSTED) == {"transport": "webhook", "channel": None, "ts": None}
    with pytest.raises(InvalidInput) as caught:
        provider.perform("post_message", POSTED | {"channel": "general"})
    assert set(caught.value.fields) == {"channel"}
    assert len(messages(simulator)) == 1


def test_post_by_token_without_a_channel_asks_for_one(simulator: Simulator) -> None:
    with pytest.raises(NotConfigured, match="channel"):
        bot(simulator, channel="").perform("post_message", POSTED)


PERMANENT = [
    "channel_not_found", "not_in_channel", "is_archived", "missing_scope", "no_permission", "ekm_access_denied",
    "restricted_action", "restricted_action_read_only_channel", "no_text", "msg_too_long", "msg_blocks_too_long",
    "invalid_blocks", "invalid_blocks_format", "too_many_attachments", "team_access_not_granted", "invalid_arguments",
]  # fmt: skip
ANSWERS: Mapping[type[HubError], list[str]] = {
    ProviderRejected: PERMANENT,
    CredentialsRejected: ["invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired"],
    ProviderRateLimited: ["ratelimited", "rate_limited", "message_limit_exceeded"],
    ProviderUnavailable: ["internal_error", "service_unavailable", "request_timeout"],
    ProviderOutcomeUnknown: ["fatal_error"],
}


@pytest.mark.parametrize(
    ("error", "kind"),
    [(error, kind) for kind, errors in ANSWERS.items() for error in errors],
    ids=lambda value: str(value),
)
def test_post_refused_with_200_is_understood(simulator: Simulator, error: str, kind: type[HubError]) -> None:
    simulator.fault("status", operation=r"slack\.chat\.postMessage", status=200, reason=error)
    with pytest.raises(kind, match=error) as caught:
        bot(simulator).perform("post_message", POSTED)
    assert type(caught.value) is kind
    assert TOKEN not in caught.value.message
    assert simulator.summary()["slack.chat.postMessage"] == {"200": 1}


def test_post_refused_for_a_scope_names_it(simulator: Simulator) -> None:
    with pytest.raises(ProviderRejected, match=r"missing_scope: .*\(needed: chat:write\)") as caught:
        bot(simulator, scopes=["channels:read"]).perform("post_message", POSTED)
    assert caught.value.code == "missing_scope"


def test_post_refused_for_its_arguments_repeats_slacks_details(simulator: Simulator) -> None:
    blocks = [{"type": "header", "text": {"type": "plain_text", "text": "x" * 151}}]
    with pytest.raises(ProviderRejected, match=r"invalid_blocks: .*must be less than 151 characters"):
        bot(simulator).perform("post_message", POSTED | {"blocks": blocks})


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("no_service", CredentialsRejected),
        ("invalid_token", CredentialsRejected),
        ("action_prohibited", ProviderRejected),
        ("channel_is_archived", ProviderRejected),
    ],
)
def test_post_refused_by_a_webhook_is_understood(simulator: Simulator, error: str, kind: type[HubError]) -> None:
    with pytest.raises(kind, match=error) as caught:
        hook(simulator, error=error).perform("post_message", POSTED)
    assert type(caught.value) is kind
    assert "canary" not in caught.value.message


@pytest.mark.parametrize("way", [bot, hook], ids=["bot", "webhook"])
def test_post_whose_answer_is_lost_is_never_repeated(simulator: Simulator, way: Any) -> None:
    provider = way(simulator)
    simulator.fault("close", path="/api/chat|/services/", effect=True)
    with pytest.raises(ProviderOutcomeUnknown):
        provider.perform("post_message", POSTED)
    assert len(messages(simulator)) == 1


@pytest.mark.parametrize("way", [bot, hook], ids=["bot", "webhook"])
def test_vendor_that_does_not_answer_in_time_is_told_from_a_lost_post(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch, way: Any
) -> None:
    monkeypatch.setattr(Slack, "timeout", 0.2)
    provider = way(simulator)
    simulator.fault("hang", path="/api/|/services/", seconds=2)
    with pytest.raises(ProviderUnavailable, match="in time") as caught:
        provider.check()
    assert not isinstance(caught.value, ProviderOutcomeUnknown)
    with pytest.raises(ProviderOutcomeUnknown, match="in time"):
        provider.perform("post_message", POSTED)


def test_post_past_the_limit_waits_as_long_as_slack_says(simulator: Simulator) -> None:
    simulator.control("PATCH", "/slack", {"messages_per_second": 0.1, "burst": 1})
    provider = bot(simulator)
    provider.perform("post_message", POSTED)
    with pytest.raises(ProviderRateLimited) as caught:
        provider.perform("post_message", POSTED)
    assert caught.value.retry_after == 10


def test_post_redirected_goes_nowhere(simulator: Simulator) -> None:
    headers = {"Location": f"{simulator.base_url}/receiver/elsewhere"}
    simulator.fault("status", operation=r"slack\.webhook", status=302, headers=headers, body="")
    with pytest.raises(ProviderRejected, match="redirect"):
        hook(simulator).perform("post_message", POSTED)
    assert simulator.ledger(vendor="receiver") == []


# --- channels -----------------------------------------------------------------------------------------------------


def test_channels_come_from_all_pages_without_archived_ones(simulator: Simulator) -> None:
    for number in range(205):
        simulator.control("PUT", f"/slack/channels/C1{number:08d}", {"name": f"team-{number}"})
    channels = bot(simulator).perform("list_channels", {})["channels"]
    assert len(channels) == 208
    assert {"id": "C0OUTSIDE1", "name": "random", "isPrivate": False, "isMember": False} in channels
    assert "old-news" not in {channel["name"] for channel in channels}
    assert len(simulator.ledger(operation="slack.conversations.list")) == 2


def test_channels_without_the_scope_for_private_ones_are_the_public_ones(simulator: Simulator) -> None:
    channels = bot(simulator, scopes=["channels:read"]).perform("list_channels", {})["channels"]
    assert [channel["name"] for channel in channels] == ["general", "alerts", "random"]


# --- events -------------------------------------------------------------------------------------------------------


def test_every_event_has_a_headline() -> None:
    assert [type for type in SUBSCRIBABLE if type not in TITLES] == []


def test_event_reads_as_a_short_message() -> None:
    text = message_about(about(integrationType="SLACK", code="x", tags=["a", "b"], nested={"no": 1}, empty=""))
    assert text.splitlines() == [
        ":warning: An integration stopped working (2026-11-21 09:30 UTC)",
        "• integration type: SLACK",
        "• code: x",
        "• tags: a, b",
    ]


@pytest.mark.parametrize("way", [bot, hook], ids=["bot", "webhook"])
def test_event_pings_nobody_and_unfolds_no_link(simulator: Simulator, way: Any) -> None:
    evil = "<!channel> <@U123> <!subteam^S1> & \r\n<https://evil.example|click>"
    event = about(f"email.{evil}", **{"subject": evil, f"{evil}Key": "v"})
    assert way(simulator).announce(event).accepted is True
    [message] = messages(simulator)
    assert message["pings"] == []
    assert "&lt;!channel&gt; &lt;@U123&gt;" in message["text"]
    assert "<" not in message["text"]


def test_event_throttled_or_refused_is_told_and_not_raised(simulator: Simulator) -> None:
    simulator.control("PATCH", "/slack", {"messages_per_second": 0.1, "burst": 1})
    provider = bot(simulator)
    provider.announce(about())
    throttled = provider.announce(about())
    assert (throttled.accepted, throttled.status, throttled.retry_after) == (False, 429, 10)
    archived = bot(simulator, channel="C0ARCHIVE1").announce(about())
    assert (archived.accepted, archived.gone) == (False, False)
    assert "is_archived" in archived.reason


def test_event_with_a_dead_credential_or_no_answer_is_raised(simulator: Simulator) -> None:
    with pytest.raises(CredentialsRejected):
        bot(simulator, error="token_revoked").announce(about())
    with pytest.raises(CredentialsRejected):
        hook(simulator, error="no_service").announce(about())
    simulator.fault("close", effect=True)
    with pytest.raises(ProviderOutcomeUnknown):
        bot(simulator).announce(about())


# --- the form -----------------------------------------------------------------------------------------------------


def test_form_wants_one_of_the_two_ways() -> None:
    with pytest.raises(InvalidInput) as caught:
        Slack.validate(config={"channel": "x"}, credentials={})
    assert set(caught.value.fields) == {"credentials.botToken"}
    Slack.validate(config={"webhookUrl": "https://hooks.slack.com/services/T/B/x"}, credentials={})
    Slack.validate(config={}, credentials={"botToken": TOKEN})


# --- over the API -------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_api_with_a_webhook_alone_hides_it_tests_it_and_posts(simulator: Simulator, admin: Actor) -> None:
    url = hook(simulator).config["webhookUrl"]
    body = {"name": "Alerts", "type": "SLACK", "config": {"webhookUrl": url, "events": ["sync.failed"]}}
    made = admin.client.post("/api/integrations", body, format="json")
    assert made.status_code == 201, made.content
    assert "canary" not in made.content.decode()
    assert made.json()["config"]["webhookUrl"] == "http://127.0.0.1/...****"
    path = f"/api/integrations/{made.json()['id']}"
    assert admin.client.post(f"{path}/test").json()["ok"] is True
    answer = admin.client.post(f"{path}/actions/post_message", {"text": "Hi"}, format="json")
    assert answer.json()["result"] == {"transport": "webhook", "channel": None, "ts": None}
    emptied = admin.client.patch(path, {"config": {"webhookUrl": None}}, format="json")
    assert (emptied.status_code, set(emptied.json()["error"]["fields"])) == (400, {"credentials.botToken"})


@pytest.mark.django_db
def test_api_repeats_slacks_refusal_and_shows_a_dead_token(simulator: Simulator, admin: Actor) -> None:
    provider = bot(simulator)
    body = {"name": "Alerts", "type": "SLACK", "config": provider.config, "credentials": provider.credentials}
    path = f"/api/integrations/{admin.client.post('/api/integrations', body, format='json').json()['id']}"
    answer = admin.client.post(f"{path}/actions/post_message", {"text": "Hi", "channel": "nowhere"}, format="json")
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "provider_rejected")
    assert "channel_not_found" in answer.json()["error"]["message"]
    bot(simulator, error="token_revoked")
    tested = admin.client.post(f"{path}/test").json()
    assert (tested["ok"], tested["code"]) == (False, "credentials_rejected")
    assert admin.client.get(path).json()["health"]["status"] == "failing"
