"""How often a token and a workspace may call: requests per minute, shared by all processes through Django's cache.

Default throttles of every view; rates are `THROTTLE_TOKEN_PER_MINUTE` and `THROTTLE_WORKSPACE_PER_MINUTE` (0 is off).
`AddressThrottle` (`THROTTLE_ADDRESS_PER_MINUTE`) is for the views that take no token.
The count slides: the last minute's is faded out over this one, so that a client cannot take twice its rate at the turn
of a minute. Where the cache is away, each process counts for itself until it is back (documented local limit).
"""

from __future__ import annotations

import functools
import logging
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from django.conf import settings
from django.core.cache import BaseCache, cache
from django.core.cache.backends.locmem import LocMemCache
from redis.exceptions import RedisError
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

if TYPE_CHECKING:
    from rest_framework.views import APIView  # it imports its throttles: us

logger = logging.getLogger("patchbay.api")

WINDOW = 60
BATCHES = 50
MAX_HELD = 10_000


class _RateThrottle(BaseThrottle):
    """One rate over one kind of caller; requests without a token pass (they end at authentication)."""

    scope: ClassVar[str]
    setting: ClassVar[str]
    per_minute: ClassVar[int]
    """Where the setting is not given."""

    def __init__(self) -> None:
        self._wait: float | None = None

    def allow_request(self, request: Request, view: APIView) -> bool:
        """Count this request."""
        limit = int(getattr(settings, self.setting, self.per_minute))
        who = self.identity(request)
        if limit <= 0 or who is None:
            return True
        self._wait = seconds_to_wait(f"throttle:{self.scope}:{who}", limit, time.time())
        return self._wait is None

    def wait(self) -> float | None:
        """Seconds, for Retry-After."""
        return self._wait

    def identity(self, request: Request) -> str | None:
        """Whose count this is."""
        raise NotImplementedError


class TokenThrottle(_RateThrottle):
    """Per API token."""

    scope = "token"
    setting = "THROTTLE_TOKEN_PER_MINUTE"
    per_minute = 600

    def identity(self, request: Request) -> str | None:
        """The token's id."""
        return None if request.auth is None else str(request.auth.pk)


class WorkspaceThrottle(_RateThrottle):
    """Per workspace, over all its tokens."""

    scope = "workspace"
    setting = "THROTTLE_WORKSPACE_PER_MINUTE"
    per_minute = 3000

    def identity(self, request: Request) -> str | None:
        """The workspace's id."""
        workspace = getattr(request.auth, "workspace_id", None)
        return None if workspace is None else str(workspace)


class AddressThrottle(_RateThrottle):
    """Per network address, for addresses of ours that providers call without a token. Behind a proxy all callers share
    its address, and one count."""

    scope = "address"
    setting = "THROTTLE_ADDRESS_PER_MINUTE"
    per_minute = 12_000

    def identity(self, request: Request) -> str | None:
        """The caller's address."""
        return str(request.META.get("REMOTE_ADDR") or "unknown")


def seconds_to_wait(key: str, limit: int, now: float) -> float | None:
    """Count one request under `key` at `now`; None where it is within `limit` per minute, else how long to wait.

    A process reserves a fiftieth of the rate at a time, so that most requests cost no round trip to the cache.
    """
    minute = int(now // WINDOW)
    with _lock:
        held = _held.get(key)
        if held is not None and now < held.blocked_until:
            return held.blocked_until - now
        if held is not None and held.minute == minute and held.left > 0:
            held.left -= 1
            return None
    return _reserve(key, limit, now, minute)


def _reserve(key: str, limit: int, now: float, minute: int) -> float | None:
    batch = max(1, limit // BATCHES)
    before, count = _count_somewhere(key, minute, batch)
    passed = now % WINDOW
    free = limit - before * (WINDOW - passed) / WINDOW - (count - batch)
    granted = max(0, min(batch, int(free)))
    if granted < batch:
        _count_somewhere(key, minute, granted - batch)
    if granted:
        _keep(key, _Held(minute, left=granted - 1))
        return None
    wait = WINDOW - passed
    if before and count - batch < limit:  # what is left of the last minute's count fades before this minute ends
        wait = min(wait, max(1.0, (1 - free) * WINDOW / before))
    _keep(key, _Held(minute, left=0, blocked_until=now + wait))
    return wait


@dataclass
class _Held:
    """What this process knows of one caller: requests it may still let through this minute, or until when none."""

    minute: int
    left: int
    blocked_until: float = 0.0


_held: dict[str, _Held] = {}
_lock = threading.Lock()


def _keep(key: str, held: _Held) -> None:
    with _lock:
        if len(_held) > MAX_HELD:
            _held.clear()
        _held[key] = held


def _count_somewhere(key: str, minute: int, by: int) -> tuple[int, int]:
    try:
        return _count(cache, key, minute, by)
    except (RedisError, OSError):
        logger.warning("The cache is away: rates are counted per process.")
        return _count(_local(), key, minute, by)


def _count(store: BaseCache, key: str, minute: int, by: int) -> tuple[int, int]:
    """(count of the last minute, count of this one after adding `by`)."""
    current, last = f"{key}:{minute}", f"{key}:{minute - 1}"
    found = store.get_many([current, last])
    if current not in found and store.add(current, by, timeout=2 * WINDOW):
        return int(found.get(last, 0)), by
    try:
        count = store.incr(current, by)
    except ValueError:  # the entry was evicted meanwhile
        store.set(current, by, timeout=2 * WINDOW)
        count = by
    return int(found.get(last, 0)), count


@functools.cache
def _local() -> LocMemCache:
    return LocMemCache("throttle", {"OPTIONS": {"MAX_ENTRIES": 10_000}})
