"""Time-ordered ids (UUID version 7, RFC 9562 section 5.7): rows made later sort later, nothing can be guessed."""

from __future__ import annotations

import os
import time
import uuid
from datetime import UTC, datetime

OWN_ID_HEADER = "X-Patchbay-Message-ID"
"""Of every mail we send: carries our id of it beside the Message-ID, in whose place providers may put one of their own
(reference 2.2)."""


def uuid7() -> uuid.UUID:
    """A new id: 48 bits of milliseconds since the epoch, 12 bits of the fraction of the millisecond (RFC 9562 6.2,
    method 3: rows made within one millisecond sort too), 62 random bits."""
    milliseconds, nanoseconds = divmod(time.time_ns(), 1_000_000)
    fraction = nanoseconds * 4096 // 1_000_000
    random = int.from_bytes(os.urandom(8), "big") >> 2
    version, variant = 0x7, 0x2
    return uuid.UUID(int=milliseconds << 80 | version << 76 | fraction << 64 | variant << 62 | random)


def oldest_kept(keep_days: float) -> uuid.UUID:
    """The least id that was made within these days: rows older than that are found by their id alone."""
    return uuid.UUID(int=max(time.time_ns() // 1_000_000 - int(keep_days * 86_400_000), 0) << 80)


def least_at(moment: datetime) -> uuid.UUID:
    """The least id that can have been made then or later."""
    return uuid.UUID(int=max(int(moment.timestamp() * 1000), 0) << 80)


def made_at(id: uuid.UUID) -> datetime:
    """When an id of ours was made, to the millisecond."""
    return datetime.fromtimestamp((id.int >> 80) / 1000, UTC)
