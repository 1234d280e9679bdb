"""SLACK: messages into a Slack workspace, by an app's bot token (docs.slack.dev/reference/methods/chat.postMessage) or
by an incoming webhook (docs.slack.dev/messaging/sending-messages-using-incoming-webhooks). docs/providers/slack.md is
the page for users.

The bot token is used where both are set. Neither way can be repeated: Slack knows no idempotency key. The Web API
refuses with 200 and `ok: false`; webhooks refuse with a status and one word as text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, NoReturn

from django.conf import settings

from core.errors import (
    BudgetSpent,
    CredentialsRejected,
    InvalidInput,
    ProviderOutcomeUnknown,
    ProviderRateLimited,
    ProviderRejected,
    ProviderUnavailable,
)
from core.http import Response, clean_words, parse_retry_after
from integrations.fields import Field
from integrations.providers.base import (
    EVENTS,
    Action,
    Announced,
    Announcement,
    Checked,
    IntegrationProvider,
    Pace,
)

MAX_TEXT = 40_000
"""Slack cuts longer texts without an error."""
MAX_BLOCKS = 50
PAGE = 200
"""Channels asked for at a time: what Slack recommends; 1000 is its most."""
MAX_PAGES = 25
MAX_FACTS = 10
MAX_FACT = 200
FOR_PROGRAMS = frozenset({"eventId", "workspaceId"})
"""Facts of every event that tell a reader nothing."""

DEAD_TOKEN = frozenset(
    {"invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired", "not_allowed_token_type"}
)
DEAD_HOOK = frozenset({"invalid_token", "no_service", "no_service_id", "no_team", "no_active_hooks", "team_disabled"})
THROTTLED = frozenset({"ratelimited", "rate_limited", "message_limit_exceeded"})
DOWN = frozenset({"internal_error", "service_unavailable", "request_timeout", "team_added_to_org"})
"""Transient, and nothing was posted."""
HALF_DONE = frozenset({"fatal_error", "rollup_error"})
"""Transient too, but some of it may have succeeded: a post must not be repeated on it."""
ALIVE = frozenset({"no_text", "invalid_payload", "missing_text_or_fallback_or_attachments"})
"""What a living webhook says to a message without a text."""
ADVICE: Mapping[str, str] = {
    "channel_not_found": "there is no such channel, or it is private and the bot is not in it",
    "not_in_channel": "invite the bot into the channel, or give it the scope chat:write.public",
    "is_archived": "the channel is archived",
    "channel_is_archived": "the channel is archived",
    "missing_scope": "the bot token lacks a scope",
    "no_text": "the message has no text",
    "msg_too_long": "the message is too long",
    "msg_blocks_too_long": "the message's blocks are too long together",
    "restricted_action": "the workspace's rules do not let this app post there",
    "token_revoked": "the bot token was revoked: install the app again",
    "account_inactive": "the app's bot was removed from the workspace",
    "token_expired": "the bot token has expired: switch off token rotation for this app or give a new one",
    "no_service": "this incoming webhook no longer exists",
    "no_team": "the workspace of this incoming webhook does not exist",
    "action_prohibited": "the workspace's rules do not let this webhook post",
}
"""What the error's name means, for whoever reads it."""

TITLES: Mapping[str, str] = {
    "email.received": ":inbox_tray: A mail arrived",
    "email.sent": ":outbox_tray: A mail was sent",
    "email.delivered": ":white_check_mark: A mail was delivered",
    "email.failed": ":warning: A mail could not be sent",
    "email.bounced": ":warning: A mail came back",
    "calendar.event.created": ":calendar: A calendar event was created",
    "calendar.event.updated": ":calendar: A calendar event was changed",
    "calendar.event.deleted": ":calendar: A calendar event was cancelled",
    "document.uploaded": ":page_facing_up: A document was uploaded",
    "document.archived": ":file_cabinet: A document was archived",
    "document.deleted": ":wastebasket: A document was deleted",
    "connection.needs_reauth": ":key: An account has to be connected again",
    "connection.recovered": ":white_check_mark: An account works again",
    "sync.failed": ":warning: A sync failed",
    "integration.created": ":electric_plug: An integration was added",
    "integration.updated": ":electric_plug: An integration was changed",
    "integration.deleted": ":electric_plug: An integration was removed",
    "integration.failing": ":warning: An integration stopped working",
    "integration.recovered": ":white_check_mark: An integration works again",
}
"""Event type → its headline; another type is shown by its name."""


class Slack(IntegrationProvider):
    """One workspace of Slack."""

    key = "SLACK"
    name = "Slack"
    description = "Messages into a Slack channel, by hand or about what happens."
    config_fields: ClassVar[tuple[Field, ...]] = (
        Field(
            "channel",
            "Channel",
            required=False,
            longest=80,
            help="Id (C0123ABCD; best) or name of the channel the bot posts to. A webhook has its own.",
        ),
        Field(
            "webhookUrl",
            "Incoming webhook",
            kind="url",
            required=False,
            secret=True,
            help="https://hooks.slack.com/services/…, for use without a bot token.",
        ),
    )
    credential_fields: ClassVar[tuple[Field, ...]] = (
        Field("botToken", "Bot token", kind="key", required=False, help="xoxb-…, with the scope chat:write."),
    )
    capabilities: ClassVar[frozenset[str]] = frozenset({EVENTS})
    actions: ClassVar[tuple[Action, ...]] = (
        Action(
            "post_message",
            "Post a message",
            (
                Field(
                    "text",
                    "Text",
                    kind="long_text",
                    longest=MAX_TEXT,
                    help="Slack's mrkdwn; with blocks: the notification.",
                ),
                Field(
                    "blocks", "Blocks", kind="json", many=True, required=False, longest=MAX_BLOCKS, help="Block Kit."
                ),
                Field(
                    "channel", "Channel", required=False, longest=80, help="Another than the configured one; bot only."
                ),
                Field("threadTs", "Thread", required=False, longest=30, help="ts of the message to reply to."),
            ),
            help="Not repeatable: asked twice, it posts twice.",
        ),
        Action(
            "list_channels",
            "List channels",
            help="Channels the bot can see; needs the scope channels:read, and groups:read for private ones.",
            idempotent=True,
        ),
    )
    pace: ClassVar[Pace | None] = Pace(units=1, window_seconds=1.0)

    @classmethod
    def validate(cls, *, config: Mapping[str, Any], credentials: Mapping[str, Any]) -> None:
        """One of the two ways to post."""
        if not credentials.get("botToken") and not config.get("webhookUrl"):
            raise InvalidInput(fields={"credentials.botToken": ["Give a bot token, or config.webhookUrl."]})

    def check(self) -> Checked:
        """By token: whose it is and whether it may write. By webhook: an empty message, which a living one refuses."""
        return self._check_bot() if self.credentials.get("botToken") else self._check_hook()

    def perform_post_message(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """{"transport": "bot" | "webhook", "channel", "ts"}: a webhook tells neither channel nor ts."""
        return self._post(given)

    def perform_list_channels(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """{"channels": [{"id", "name", "isPrivate", "isMember"}]}, archived ones left out."""
        self.need("botToken")
        private = {"types": "public_channel,private_channel"}
        try:
            return {"channels": list(self._channels(private))}
        except ProviderRejected as error:
            if error.code != "missing_scope":
                raise
        return {"channels": list(self._channels({"types": "public_channel"}))}

    def announce(self, announcement: Announcement) -> Announced:
        """A short message about the event. What may not be repeated without a person is raised: dead credentials, and
        ProviderOutcomeUnknown."""
        try:
            self._post({"text": message_about(announcement), "unfurl": False})
        except (CredentialsRejected, BudgetSpent):
            raise
        except ProviderRateLimited as error:
            return Announced(429, accepted=False, reason=error.message, retry_after=error.retry_after)
        except ProviderRejected as error:
            return Announced(200, accepted=False, reason=error.message)
        return Announced(200, accepted=True)

    def refusal(self, response: Response) -> None:
        """`ok: false` of the Web API, the one word of a webhook."""
        if "json" in response.headers.get("content-type", ""):
            answer = response.json()
            if isinstance(answer, dict) and answer.get("ok") is False:
                _refuse(str(answer.get("error", "")), answer, response)
        elif not response.ok and re.fullmatch(r"[a-z_]{3,60}", response.text.strip()):
            _refuse(response.text.strip(), {}, response)

    # By bot token

    def _check_bot(self) -> Checked:
        response = self._call("auth.test", {}, idempotent=True)
        answer = _answer(response)
        granted = response.headers.get("x-oauth-scopes")
        scopes = [scope.strip() for scope in (granted or "").split(",") if scope.strip()]
        if granted is not None and "chat:write" not in scopes:
            raise ProviderRejected("Slack: the bot token lacks the scope chat:write. Add it and install the app again.")
        team, user = clean_words(str(answer.get("team", "")), 80), clean_words(str(answer.get("user", "")), 80)
        facts = {"transport": "bot", "team": team, "user": user, "scopes": scopes}
        if not self.config.get("channel"):
            return Checked(f"{user} of {team} may post; set a channel for events.", limited=True, details=facts)
        return Checked(
            f"{user} of {team} may post. Whether it is in the channel shows with the first message.", details=facts
        )

    def _call(self, method: str, body: Mapping[str, Any], *, idempotent: bool) -> Response:
        return self.ask(
            "POST",
            f"{settings.SLACK_API_URL}/api/{method}",
            bearer=self.need("botToken"),
            headers={"content-type": "application/json; charset=utf-8"},
            content=json.dumps(body).encode(),
            idempotent=idempotent,
        )

    def _channels(self, body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        cursor = ""
        for _ in range(MAX_PAGES):
            query = {"limit": PAGE, "exclude_archived": "true", "cursor": cursor, **body}
            url = f"{settings.SLACK_API_URL}/api/conversations.list"
            # A form: methods that read take no JSON (docs.slack.dev/apis/web-api, "Post bodies").
            answer = _answer(self.ask("POST", url, bearer=self.need("botToken"), data=query, idempotent=True))
            for item in answer.get("channels") or ():
                yield {
                    "id": str(item.get("id", "")), "name": str(item.get("name", "")),
                    "isPrivate": bool(item.get("is_private")), "isMember": bool(item.get("is_member")),
                }  # fmt: skip
            cursor = str((answer.get("response_metadata") or {}).get("next_cursor") or "")
            if not cursor:
                return

    # Both ways

    def _post(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        body: dict[str, Any] = {"text": given["text"]}
        if given.get("blocks"):
            body["blocks"] = given["blocks"]
        if given.get("threadTs"):
            body["thread_ts"] = given["threadTs"]
        if given.get("unfurl") is False:
            body |= {"unfurl_links": False, "unfurl_media": False}
        if not self.credentials.get("botToken"):
            return self._post_by_hook(body, given)
        body["channel"] = given.get("channel") or self.need("channel")
        answer = _answer(self._call("chat.postMessage", body, idempotent=False))
        posted = {"transport": "bot", "channel": str(answer.get("channel", "")), "ts": str(answer.get("ts", ""))}
        warning = clean_words(str(answer.get("warning") or ""))
        return posted | ({"warning": warning} if warning else {})

    # By incoming webhook

    def _check_hook(self) -> Checked:
        response = self._ask_hook({}, idempotent=True)
        word = response.text.strip()
        if response.status != 400 or word not in ALIVE:
            self.judged(response)
            raise ProviderUnavailable("The webhook's answer is not one of Slack's.")
        words = "The incoming webhook exists: it refused an empty message, as a living one does."
        return Checked(words, details={"transport": "webhook", "answer": word})

    def _post_by_hook(self, body: Mapping[str, Any], given: Mapping[str, Any]) -> Mapping[str, Any]:
        if given.get("channel"):
            raise InvalidInput(
                fields={"channel": ["An incoming webhook posts to its own channel only; give a bot token."]}
            )
        response = self.judged(self._ask_hook(body, idempotent=False))
        if response.text.strip() != "ok":
            raise ProviderOutcomeUnknown("Slack's webhook did not say that it took the message.")
        return {"transport": "webhook", "channel": None, "ts": None}

    def _ask_hook(self, body: Mapping[str, Any], *, idempotent: bool) -> Response:
        return self.ask_raw("POST", self.need("webhookUrl"), json=body, idempotent=idempotent, secret_url=True)


def message_about(announcement: Announcement) -> str:
    """The event as a message of a few lines in mrkdwn; nothing in it can mention anybody."""
    title = TITLES.get(announcement.type) or f"*{escaped(announcement.type)}*"
    moment = announcement.at.strftime("%Y-%m-%d %H:%M UTC")
    facts = [f"• {escaped(_words(name))}: {escaped(value)}" for name, value in _facts(announcement.data)]
    return "\n".join([f"{title} ({moment})", *facts[:MAX_FACTS]])


def escaped(text: str) -> str:
    """Text as mrkdwn shows it literally: `<!channel>` would notify everybody
    (docs.slack.dev/messaging/formatting-message-text, "Escaping text")."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _facts(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Name and value of what fits into a line and is of use to people: single values, and lists of them."""
    for name, value in data.items():
        if name in FOR_PROGRAMS:
            continue
        values = value if isinstance(value, list | tuple) else [value]
        shown = [str(item) for item in values if isinstance(item, str | int | float) and item != ""]
        if shown:
            yield name, clean_words(", ".join(shown), MAX_FACT)


def _words(name: str) -> str:
    """`integrationType` → `integration type`."""
    return clean_words(re.sub(r"(?<=[a-z0-9])([A-Z])", lambda found: f" {found[1].lower()}", name), 40)


def _answer(response: Response) -> dict[str, Any]:
    """The body of a call that was not refused; what is no answer of Slack's leaves a post open."""
    try:
        answer = response.json_object()
    except ProviderUnavailable as error:
        raise _unclear(response, error.message) from error
    if answer.get("ok") is not True:
        raise _unclear(response, "Slack's answer does not say whether it did it.")
    return answer


def _unclear(response: Response, words: str) -> ProviderUnavailable:
    return ProviderUnavailable(words) if response.idempotent else ProviderOutcomeUnknown(words)


def _refuse(error: str, answer: Mapping[str, Any], response: Response) -> NoReturn:
    """What the name of an error means to a caller."""
    message = f"Slack: {_explained(error, answer)}"
    if error in DEAD_TOKEN | DEAD_HOOK or response.status == 401:
        raise CredentialsRejected(message)
    if error in THROTTLED or response.status == 429:
        # Seconds (docs.slack.dev/apis/web-api/rate-limits).
        raise ProviderRateLimited(message, retry_after=parse_retry_after(response.headers.get("retry-after")))
    if error in HALF_DONE or (response.status >= 500 and response.status != 503):
        raise _unclear(response, message)
    if error in DOWN or response.status >= 500:
        raise ProviderUnavailable(message)
    raise ProviderRejected(message, code="missing_scope" if error == "missing_scope" else "")


def _explained(error: str, answer: Mapping[str, Any]) -> str:
    parts = [clean_words(error, 80) or "refused without a reason"]
    parts += [ADVICE[error]] if error in ADVICE else []
    if answer.get("needed"):
        parts.append(f"needed: {clean_words(str(answer['needed']), 100)}")
    metadata = answer.get("response_metadata")
    messages = metadata.get("messages") if isinstance(metadata, dict) else None
    parts += [clean_words(str(item), 200) for item in messages[:3]] if isinstance(messages, list) else []
    return ": ".join(parts[:2]) + "".join(f" ({part})" for part in parts[2:])
