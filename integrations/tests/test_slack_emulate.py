"""Slack against somebody else's imitation of it (emulate 0.11.2). It takes any token as an admin's, names no scopes,
and knows no dead webhook (reference workspace 16): what is refused is tried against our own simulator."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from core.errors import ProviderRejected
from integrations.providers.base import Announcement
from integrations.providers.slack import Slack
from integrations.tests import emulate

pytestmark = [
    pytest.mark.services,
    pytest.mark.skipif(emulate.program() is None, reason="needs `npm install -g emulate@0.11.2`, or EMULATE_BIN"),
]
SEED = """
slack:
  team: {name: Northwind, domain: northwind}
  users: [{name: ada, real_name: Ada Lovelace, email: ada@hub.example}]
  channels: [{name: general, topic: General}, {name: alerts, topic: Alerts}]
"""
TOKEN = "xoxb-any"
EVENT = Announcement("msg_1", "sync.failed", datetime(2026, 11, 21, 9, 30, tzinfo=UTC), b"{}", {"code": "<!channel>"})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with emulate.serving(tmp_path_factory.mktemp("emulate"), ("slack",), SEED) as bases:
        yield bases["slack"]


@pytest.fixture
def slack(server: str, settings: Any) -> Slack:
    settings.SLACK_API_URL, settings.EGRESS_ALLOW_CIDRS = server, ["127.0.0.0/8"]
    return Slack(config={"channel": "alerts"}, credentials={"botToken": TOKEN})


@pytest.fixture
def hook(slack: Slack, server: str) -> Slack:
    return Slack(config={"webhookUrl": f"{server}/services/T1/B1/secret"}, credentials={})


def history(server: str, channel: str) -> list[str]:
    """What stands in a channel, newest first."""
    form, headers = {"channel": channel, "limit": "100"}, {"Authorization": f"Bearer {TOKEN}"}
    answer = httpx.post(f"{server}/api/conversations.history", data=form, headers=headers).json()
    return [message["text"] for message in answer["messages"]]


def test_check_by_token_and_by_webhook(slack: Slack, hook: Slack) -> None:
    assert slack.check().details["team"] == "Northwind"
    assert hook.check().details["answer"] == "no_text"


def test_message_by_token_stands_in_the_channel(slack: Slack, server: str) -> None:
    posted = slack.perform("post_message", {"text": "Hello, *world*"})
    assert history(server, posted["channel"])[0] == "Hello, *world*"
    reply = slack.perform("post_message", {"text": "Again", "threadTs": posted["ts"]})
    assert reply["ts"] != posted["ts"]


def test_message_to_nowhere_is_refused_with_200(slack: Slack) -> None:
    with pytest.raises(ProviderRejected, match="channel_not_found"):
        slack.perform("post_message", {"text": "x", "channel": "nowhere"})


def test_channels_are_listed(slack: Slack) -> None:
    names = {channel["name"] for channel in slack.perform("list_channels", {})["channels"]}
    assert names >= {"general", "alerts"}


def test_message_and_event_by_webhook_are_taken(hook: Slack, slack: Slack, server: str) -> None:
    assert hook.perform("post_message", {"text": "By hook"})["transport"] == "webhook"
    assert hook.announce(EVENT).accepted is True
    channels = slack.perform("list_channels", {})["channels"]
    texts = [text for channel in channels for text in history(server, channel["id"])]
    assert "By hook" in texts
    assert any("code: &lt;!channel&gt;" in text for text in texts)
