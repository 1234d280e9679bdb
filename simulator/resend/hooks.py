"""Delivery events as Resend posts them through Svix: signed anew at each attempt, one id for all attempts."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import Any

from simulator.push import Message, Push, on_loopback
from simulator.resend.access import VENDOR
from simulator.resend.state import Email, Team, iso, new_id
from simulator.state import World

ANSWER_SECONDS = 15.0
STEP_SECONDS = 0.05
SINKS = {"bounced@resend.dev": ["sent", "bounced"], "complained@resend.dev": ["sent", "delivered", "complained"]}
DETAILS: dict[str, dict[str, Any]] = {
    "bounced": {
        "bounce": {
            "message": "The recipient's email address does not exist.",
            "type": "Permanent",
            "subType": "General",
            "diagnosticCode": ["smtp; 550 5.1.1 no such user"],
        }
    },
    "failed": {"failed": {"reason": "reached_daily_quota"}},
}


@dataclass(frozen=True)
class Wish:
    """How an event is to be posted. `ago`: the event happened so many seconds before now; `signed_ago`: and the
    signature was made then; `forged`: by another secret."""

    identity: str = ""
    ago: float = 0.0
    signed_ago: float = 0.0
    copies: int = 1
    delay: float = 0.0
    forged: bool = False


def follow(world: World, push: Push, team: Team, email: Email) -> None:
    """What happens to a mail by itself: the setting `resend_events`, or what a sink address stands for."""
    events = next((SINKS[item] for item in email.recipients["to"] if item in SINKS), world.settings.resend_events)
    for index, event in enumerate(events):
        tell(world, push, team, email, event, Wish(delay=index * STEP_SECONDS))


def tell(
    world: World, push: Push, team: Team, email: Email, event: str, wish: Wish, data: dict[str, Any] | None = None
) -> str:
    """Notes the event on the mail and posts it, if the team has an address on loopback; the message's id."""
    identity = wish.identity or f"msg_{new_id(world).replace('-', '')}"
    email.last_event = event
    if not on_loopback(team.hook_url):
        return identity
    secret = team.hook_secret if not wish.forged else "whsec_" + base64.b64encode(b"not the secret at all...").decode()

    def pack(body: Any) -> tuple[bytes, dict[str, str]]:
        raw = json.dumps(body, separators=(",", ":")).encode()
        stamp = str(int(world.now() - wish.signed_ago))
        headers = {"svix-id": identity, "svix-timestamp": stamp, "svix-signature": sign(secret, identity, stamp, raw)}
        return raw, headers | {"User-Agent": "Svix-Webhooks/1.62.0"}

    body = envelope(email, event, world.now() - wish.ago, data or {})
    message = Message(VENDOR, team.name, f"email.{event}", team.hook_url, body, {}, ANSWER_SECONDS, pack)
    push.send(message, copies=wish.copies, delay=wish.delay)
    return identity


def envelope(email: Email, event: str, moment: float, data: dict[str, Any]) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "created_at": iso(email.created_at),
        "email_id": email.id,
        "message_id": email.message_id,
        "from": email.sender,
        "to": email.recipients["to"],
        "subject": email.subject,
    }
    if email.tags():
        facts["tags"] = email.tags()
    return {"type": f"email.{event}", "created_at": iso(moment), "data": facts | DETAILS.get(event, {}) | data}


def sign(secret: str, identity: str, stamp: str, raw: bytes) -> str:
    """`v1,` and the base64 of HMAC-SHA256 over id, timestamp and body, by the decoded secret."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, f"{identity}.{stamp}.".encode() + raw, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"
