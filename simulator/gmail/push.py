"""users.watch and users.stop, and what Pub/Sub then pushes: a doorbell with an address and a history id, wrapped and
signed as a push subscription with OIDC authentication does it."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from simulator import rs256
from simulator.gmail.access import Call, Handler
from simulator.google_access import invalid
from simulator.mailbox import HistoryRecord, Mailbox
from simulator.state import World

TOPIC = re.compile(r"projects/[a-z][a-z0-9-]{4,28}[a-z0-9]/topics/[A-Za-z][\w.~+%-]{2,254}")
WATCH_SECONDS = 7 * 86_400
ISSUER = "https://accounts.google.com"


@dataclass
class Watch:
    topic: str
    labels: frozenset[str]
    excludes: bool
    expires_at: float
    told: int
    """The history id last announced."""
    told_at: float = 0.0

    def describe(self) -> dict[str, Any]:
        return vars(self) | {"labels": sorted(self.labels)}


def watch(call: Call) -> dict[str, Any]:
    """One topic per user and project; the same one again renews."""
    body = call.body()
    topic, labels = str(body.get("topicName") or ""), frozenset(body.get("labelIds") or [])
    if not TOPIC.fullmatch(topic):
        raise invalid("Invalid topicName does not match projects/*/topics/*")
    if labels - call.mailbox.labels.keys():
        raise invalid(f"Invalid label: {sorted(labels - call.mailbox.labels.keys())[0]}")
    old = call.world.watches.get(call.account.email)
    if old and old.topic != topic and old.expires_at > call.world.now():
        raise invalid("Only one user push notification client allowed per developer (call /stop then try again)")
    behavior = str(body.get("labelFilterBehavior") or body.get("labelFilterAction") or "include").lower()
    expires_at = call.world.now() + WATCH_SECONDS
    call.world.watches[call.account.email] = Watch(
        topic, labels, behavior == "exclude", expires_at, call.mailbox.history_id
    )
    call.changed("watch.started", topic=topic)
    return {"historyId": str(call.mailbox.history_id), "expiration": str(int(expires_at * 1000))}


def stop(call: Call) -> None:
    """No error when there was no watch."""
    call.world.watches.pop(call.account.email, None)
    call.changed("watch.stopped")


def due_pushes(world: World) -> Iterator[tuple[str, dict[str, Any], dict[str, str]]]:
    """Account, body and headers of what is to be pushed now. At most one a second and user: more are dropped."""
    for email, found in world.watches.items():
        account, now = world.account("google", email), world.now()
        if account is None or account.mailbox is None or found.expires_at <= now:
            continue
        if not _concerns(account.mailbox, found):
            continue
        found.told = account.mailbox.history_id
        if now - found.told_at < world.settings.gmail_push_interval_seconds:
            continue
        found.told_at = now
        yield email, envelope(world, email, found.told), {"Authorization": f"Bearer {oidc_token(world)}"}


def _concerns(mailbox: Mailbox, found: Watch) -> bool:
    """Whether something happened since that the watch's labels let through."""
    if mailbox.history_id <= found.told:
        return False
    records = mailbox.history_after(found.told)
    return not found.labels or any(_touches(record, found.labels) != found.excludes for record in records)


def _touches(record: HistoryRecord, labels: frozenset[str]) -> bool:
    touched = set(record.labels).union(*record.kinds.values())
    return bool(touched & labels)


def envelope(world: World, email: str, history_id: int) -> dict[str, Any]:
    """Pub/Sub's wrapping, with each name in both of its spellings. The history id is a number, as Gmail really sends
    it; the documentation's example shows a string."""
    data = base64.b64encode(json.dumps({"emailAddress": email, "historyId": history_id}).encode()).decode()
    number = str(10**15 + world.ledger.next_seq())
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(world.now()))
    names = {"messageId": number, "message_id": number, "publishTime": when, "publish_time": when}
    return {"message": {"data": data} | names, "subscription": world.settings.pubsub_subscription}


def oidc_token(world: World, changes: dict[str, Any] | None = None) -> str:
    """The token of a push: who signed, for whom, on whose behalf. `changes` are laid over its claims."""
    settings, now = world.settings, int(world.now())
    claims = {
        "aud": settings.pubsub_audience or settings.pubsub_push_endpoint,
        "azp": "100000000000000000001",
        "email": settings.pubsub_service_account,
        "email_verified": True,
        "exp": now + settings.pubsub_token_seconds,
        "iat": now,
        "iss": ISSUER,
        "sub": "100000000000000000001",
    }
    return rs256.token(claims | (changes or {}))


HANDLERS: dict[str, Handler] = {"gmail.users.watch": watch, "gmail.users.stop": stop}
