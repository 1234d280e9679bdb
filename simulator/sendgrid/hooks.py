"""SendGrid's event webhook: arrays of events, ending with CRLF, signed by ECDSA over timestamp and raw body."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from typing import Any

from simulator.p256 import Signer
from simulator.push import Message, Push, on_loopback
from simulator.sendgrid.access import VENDOR
from simulator.sendgrid.state import Account, Mail
from simulator.state import World

ANSWER_SECONDS = 10.0
STEP_SECONDS = 0.05
SIGNATURE = "X-Twilio-Email-Event-Webhook-Signature"
TIMESTAMP = "X-Twilio-Email-Event-Webhook-Timestamp"
DETAILS: dict[str, dict[str, Any]] = {
    "delivered": {"response": "250 OK"},
    "deferred": {"response": "400 try again later", "attempt": "5"},
    "bounce": {"reason": "550 5.1.1 no such user", "status": "5.1.1", "type": "bounce"},
    "dropped": {"reason": "Bounced Address", "status": "5.0.0"},
}


@dataclass(frozen=True)
class Wish:
    """How events are to be posted. `signed_ago`: the signature was made so many seconds before now; `forged`: by
    another key."""

    signed_ago: float = 0.0
    copies: int = 1
    delay: float = 0.0
    forged: bool = False


def follow(world: World, push: Push, account: Account, mail: Mail) -> None:
    """What happens to a mail by itself, to each of its addresses: the setting `sendgrid_events`."""
    names = ["processed", "dropped"] if mail.dropped else world.settings.sendgrid_events
    for index, name in enumerate(names):
        events = [event(world, mail, name, address) for address in mail.recipients]
        post(world, push, account, events, Wish(delay=index * STEP_SECONDS))


def event(
    world: World, mail: Mail, name: str, address: str, ago: float = 0.0, more: dict[str, Any] | None = None
) -> dict[str, Any]:
    """One event: custom args lie flat among its own names, and may hide them (reference workspace 18, 38)."""
    args = dict(mail.payload.get("custom_args") or {})
    for item in mail.payload["personalizations"]:
        args |= item.get("custom_args") or {}
    moment = int(world.now() - ago)
    digest = hashlib.sha256(f"{mail.id}/{world.ledger.next_seq()}".encode()).digest()
    facts: dict[str, Any] = {
        "email": address,
        "timestamp": moment,
        "smtp-id": f"<{mail.id}@geopod-ismtpd-1>",
        "event": name,
        "sg_event_id": base64.urlsafe_b64encode(digest).decode()[:22],
        "sg_message_id": f"{mail.id}.recvd-5f54b5d587-sqnkx-1-{'0' * 8}-12.0",
    }
    if mail.payload.get("categories"):
        facts["category"] = mail.payload["categories"]
    return facts | DETAILS.get(name, {}) | args | (more or {})


def post(world: World, push: Push, account: Account, events: list[dict[str, Any]], wish: Wish) -> None:
    if not on_loopback(account.hook_url):
        return
    signer = Signer.named("somebody else") if wish.forged else account.signer

    def pack(body: Any) -> tuple[bytes, dict[str, str]]:
        raw = as_sent(body)
        stamp = str(int(world.now() - wish.signed_ago))
        return raw, {SIGNATURE: signer.sign(stamp.encode() + raw), TIMESTAMP: stamp}

    message = Message(VENDOR, account.name, "events", account.hook_url, events, {}, ANSWER_SECONDS, pack)
    push.send(message, copies=wish.copies, delay=wish.delay)


def as_sent(events: list[dict[str, Any]]) -> bytes:
    """An event a line: who writes the JSON anew gets other bytes."""
    lines = [json.dumps(item, separators=(",", ":")) for item in events]
    return b"[" + ",\r\n".join(lines).encode() + b"]\r\n"
