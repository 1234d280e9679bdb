"""WEBHOOK_PLATFORM: a catch hook of Zapier (help.zapier.com/hc/en-us/articles/8496288690317), a custom webhook of Make
(help.make.com/webhooks), or one of an n8n of one's own. docs/providers/webhook-platform.md is the page for users.

The address is the credential. An acceptance proves receipt and nothing more: both platforms answer 200 while the Zap is
off or the scenario paused. Neither verifies a signature; the message's id goes along so that a flow can drop a repeat.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar
from urllib.parse import SplitResult, urlsplit

from core.errors import CredentialsRejected, InvalidInput, ProviderRateLimited, ProviderRejected, TooLarge
from core.http import Response, clean_words
from core.ids import uuid7
from integrations.fields import Field
from integrations.providers.base import (
    EVENTS,
    Action,
    Announced,
    Announcement,
    Checked,
    IntegrationProvider,
    Pace,
    announced,
)

MAX_BODY = 5_000_000
"""Make's limit in bytes; Zapier takes 10 MB."""
MAX_ANSWER = 64 * 1024
QUEUE_FULL = "queue is full"
QUEUE_SECONDS = 60.0
"""How long a full queue is given; Make names no time."""
RECEIPT = "This proves receipt only: the platform answers the same while the flow is switched off."
SELF_HOSTED = "self-hosted"
HOSTS: tuple[tuple[str, str], ...] = (
    ("hooks.zapier.com", "Zapier"),
    (".make.com", "Make"),
    (".integromat.com", "Make"),
    (".n8n.cloud", "n8n"),
)
"""Host, or the end of one, → platform."""
NO_HOOKS = ("zapier.com", "make.com", "integromat.com", "n8n.cloud")
"""Domains of platforms: a host in one of them that is not in `HOSTS` is a page of theirs and no hook."""


class WebhookPlatform(IntegrationProvider):
    """One hook."""

    key = "WEBHOOK_PLATFORM"
    name = "Zapier, Make or n8n"
    description = "Starts a flow of an automation platform, by hand or by what happens."
    config_fields: ClassVar[tuple[Field, ...]] = (
        Field(
            "webhookUrl",
            "Hook's address",
            kind="url",
            secret=True,
            help="https://hooks.zapier.com/hooks/catch/…, https://hook.eu1.make.com/… or your own n8n's webhook.",
        ),
    )
    capabilities: ClassVar[frozenset[str]] = frozenset({EVENTS})
    actions: ClassVar[tuple[Action, ...]] = (
        Action(
            "trigger",
            "Trigger the flow",
            (Field("payload", "Payload", kind="json", help="Sent as it is; flat objects map best."),),
            help="Success proves receipt, not that the flow ran. Asked twice, it triggers twice.",
        ),
    )
    pace: ClassVar[Pace | None] = Pace(units=30, window_seconds=1.0)
    timeout: ClassVar[float] = 45.0
    """Make answers when its flow has, where the flow ends in a "Webhook response": up to 40 seconds."""

    @classmethod
    def validate(cls, *, config: Mapping[str, Any], credentials: Mapping[str, Any]) -> None:
        """The address has to be one of a hook."""
        problem = _problem(urlsplit(str(config.get("webhookUrl", ""))))
        if problem:
            raise InvalidInput(fields={"config.webhookUrl": [problem]})

    def check(self) -> Checked:
        """The address only, by its looks: asking a hook starts its flow."""
        platform = self._platform()
        words = f"The address has the form of a hook of {platform}."
        if platform == SELF_HOSTED:
            words = "The address has the form of a hook on a server of your own."
        words += " It was not asked, because that would start the flow. Success of a trigger proves receipt only."
        return Checked(words, details={"platform": platform, "asked": False, "proves": "receipt"})

    def perform_trigger(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """{"platform", "status", "messageId", "answer", "proves": "receipt", "note"}."""
        platform, message_id = self._platform(), f"msg_{uuid7().hex}"
        response = self.judged(self._post(message_id, json.dumps(given["payload"], ensure_ascii=False).encode()))
        return {
            "platform": platform, "status": response.status, "messageId": message_id,
            "answer": self._without_secrets(clean_words(response.text)), "proves": "receipt", "note": RECEIPT,
        }  # fmt: skip

    def announce(self, announcement: Announcement) -> Announced:
        """The event as it is. A full queue asks to wait; 410 wants no more."""
        self._platform()
        response = self._post(announcement.id, announcement.body)
        taken = announced(response)
        taken = replace(taken, excerpt=self._without_secrets(taken.excerpt))
        if _queue_full(response):
            return replace(taken, reason="The platform's queue for this hook is full.", retry_after=QUEUE_SECONDS)
        return taken

    def refusal(self, response: Response) -> None:
        """A hook that is gone is a credential that is no longer good."""
        if response.status in (401, 403, 404, 410):
            words = clean_words(response.text, 120) if "text/plain" in response.headers.get("content-type", "") else ""
            told = f" ({words})" if words else ""
            raise CredentialsRejected(f"The platform has no such hook, or not any more: {response.status}{told}.")
        if _queue_full(response):
            words = "The platform's queue for this hook is full; nothing was taken."
            raise ProviderRateLimited(words, retry_after=QUEUE_SECONDS)

    def _platform(self) -> str:
        """Whose hook it is. The settings may be older than the rules: they are held to them here as well."""
        parts = urlsplit(self.need("webhookUrl"))
        problem = _problem(parts)
        if problem:
            raise ProviderRejected(problem)
        return _platform_of(parts.hostname or "")

    def _post(self, message_id: str, body: bytes) -> Response:
        if len(body) > MAX_BODY:
            raise TooLarge(f"A hook takes at most {MAX_BODY} bytes.")
        headers = {
            "content-type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": str(int(time.time())),
        }
        return self.ask_raw(
            "POST", self.need("webhookUrl"), headers=headers, content=body, max_bytes=MAX_ANSWER, secret_url=True
        )


def _platform_of(host: str) -> str:
    """The platform's name, or `SELF_HOSTED`."""
    name = host.lower().rstrip(".")
    return next(
        (platform for end, platform in HOSTS if name == end or (end[0] == "." and name.endswith(end))), SELF_HOSTED
    )


def _problem(parts: SplitResult) -> str:
    """Why this is not the address of a hook; "" where it may be. Whether a server may be reached at all, and by plain
    http, is for `core.egress`."""
    host = (parts.hostname or "").lower().rstrip(".")
    platform = _platform_of(host)
    if platform == SELF_HOSTED:
        if any(host == domain or host.endswith(f".{domain}") for domain in NO_HOOKS):
            return f"{host} is a page of the platform, not a hook: copy the address the platform shows for the webhook."
    elif parts.scheme != "https":
        return "This must begin with https://."
    if platform == "Zapier" and not parts.path.startswith("/hooks/"):
        return "A hook of Zapier is https://hooks.zapier.com/hooks/catch/…"
    return "" if parts.path.strip("/") else "This names a server but no hook: the path is missing."


def _queue_full(response: Response) -> bool:
    """Make's 400 that is no fault of the request."""
    return response.status == 400 and QUEUE_FULL in response.text[:200].lower()
