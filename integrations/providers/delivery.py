"""What a vendor tells of a mail after it left: the post as it came, what it says in neutral words, how it is refused.

Called by the mail vendors' files, which prove and read their own posts, and by who keeps what they say. Nothing here
knows a vendor or a database. Promised: a text of a record is one line without control characters, within a limit.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import sha256
from typing import Any

from core.errors import HubError, InvalidInput
from core.ids import OWN_ID_HEADER
from core.redaction import clean_words

REFERENCE = "patchbay_entry"
"""Under what name a mail's reference is given to a vendor; its delivery events carry it back."""
TOLERANCE_SECONDS = 300
"""How far from now a signature may have been made, both ways (Standard Webhooks 1.0.0)."""
MOST_SIGNATURES = 10
"""Of one post: several while a secret is being rotated."""
MAX_WORDS = 500
MAX_ID = 255


class HookRefused(HubError):
    """401: what arrived does not prove that the vendor sent it to this integration. Nothing is done, and why is not
    told."""

    status = 401
    default_code = "hook_refused"
    default_message = "This post does not prove where it comes from."


class Told(StrEnum):
    """What can be told of a mail. A vendor's own word that means none of these is left aside."""

    ACCEPTED = "accepted"
    DEFERRED = "deferred"
    FAILED = "failed"
    """The vendor did not try, or gave up."""
    DELIVERED = "delivered"
    BOUNCED = "bounced"
    """The recipient's server refused it, and the vendor does not try again."""
    COMPLAINED = "complained"
    OPENED = "opened"
    CLICKED = "clicked"
    UNSUBSCRIBED = "unsubscribed"


class Unwanted(StrEnum):
    """Why an address is not to be written to any more."""

    BOUNCED = "bounced"
    COMPLAINED = "complained"
    UNSUBSCRIBED = "unsubscribed"


@dataclass(frozen=True, slots=True)
class Posted:
    """What came to the hook, unjudged. `repr` shows neither."""

    headers: Mapping[str, str] = field(repr=False)
    """By lower-case name."""
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing a vendor told of one mail."""

    key: str
    """The vendor's id of the event: the same again is the same event."""
    kind: Told
    at: datetime
    """When it happened, by the vendor's clock, in UTC."""
    message_id: str = ""
    """The vendor's id of the mail, as the answer to the send named it."""
    reference: str = ""
    """Our own id of the mail, as text, where it came back."""
    recipients: tuple[str, ...] = ()
    """Whom it is about, where the vendor says."""
    words: str = ""
    """The refusing server's or the vendor's reason."""
    unwanted: Unwanted | None = None
    """Its recipients are not to be written to any more."""


def own_headers(reference: str, sender: str) -> dict[str, str]:
    """Headers by which a report that comes back as mail names what it is about; none without a reference."""
    return {OWN_ID_HEADER: f"<{reference}@{sender.rpartition('@')[2]}>"} if reference else {}


def is_fresh(stamp: str) -> bool:
    """Whether a signature's time (digits, seconds since 1970) is near enough to now."""
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 12):
        return False
    return abs(time.time() - int(stamp)) <= TOLERANCE_SECONDS


def prove_standard(posted: Posted, prefix: str, key: bytes) -> None:
    """HookRefused unless the post carries a signature of Standard Webhooks 1.0.0 by this key: HMAC-SHA256 over id, time
    and body. `prefix` is that of its three headers."""
    identity, stamp, given = (posted.headers.get(f"{prefix}-{name}", "") for name in ("id", "timestamp", "signature"))
    if not key or not 0 < len(identity) <= MAX_ID or "." in identity or not is_fresh(stamp):
        raise HookRefused
    content = f"{identity}.{stamp}.".encode() + posted.body
    wanted = b"v1," + base64.b64encode(hmac.new(key, content, sha256).digest())
    if not any(hmac.compare_digest(one.encode(), wanted) for one in given.split(" ")[:MOST_SIGNATURES]):
        raise HookRefused


def webhook_key(secret: str) -> bytes:
    """The key in a secret of Standard Webhooks, `whsec_` and base64; empty where it is none."""
    packed = secret.removeprefix("whsec_")
    try:
        return base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b""


def reference_in(facts: Mapping[str, Any]) -> str:
    """Our own id of the mail among what the vendor gave back; "" where it is not there."""
    return one_line(facts.get(REFERENCE))


def parsed(body: bytes) -> Any:
    """The JSON of a post that has proved itself; InvalidInput where it is none."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise garbled() from error


def garbled() -> InvalidInput:
    """The vendor signed something that is no event of any kind known."""
    return InvalidInput("The body is not what this provider's events look like.")


def one_line(value: object, limit: int = MAX_ID) -> str:
    """A text or a number of a post, fit to keep; "" for anything else."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    return clean_words(str(value), limit)


def moment(seconds: object) -> datetime:
    """Of seconds since 1970; now where it is no such number, or one that is yet to come."""
    now = datetime.now(UTC)
    if isinstance(seconds, bool) or not isinstance(seconds, str | int | float):
        return now
    try:
        return min(datetime.fromtimestamp(float(seconds), UTC), now)
    except (ValueError, OverflowError, OSError):
        return now
