"""How often a token and a workspace may call: requests per minute, shared by all processes through Django's cache.

Default throttles of every view; rates are `THROTTLE_TOKEN_PER_MINUTE` and `THROTTLE_WORKSPACE_PER_MINUTE` (0 is off).
The count slides: the last minute's is faded out over this one, so that a client cannot take twice its rate at the turn
of a minute. Where the cache is away, each process counts for itself until it is back (documented local limit).
"""

from __future__ import annotations

import functools
import logging
import time
from typing import ClassVar

from django.conf import settings
from django.core.cache import BaseCache, cache
from django.core.cache.backends.locmem import LocMemCache
from redis.exceptions import RedisError
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView

logger = logging.getLogger("patchbay.api")

WINDOW = 60


class _RateThrottle(BaseThrottle):
    """One rate over one kind of caller; requests without a token pass (they end at authentication)."""

    scope: ClassVar[str]
    setting: ClassVar[str]
    per_minute: ClassVar[int]
    """Where the setting is not given."""

    def __init__(self) -> None:
        self._wait: float | None = None

    def allow_request(self, request: Request, view: APIView) -> bool:
        """Count this request; refused ones count too, so that a client that hammers on stays out."""
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


def seconds_to_wait(key: str, limit: int, now: float) -> float | None:
    """Count one request under `key` at `now`; None where it is within `limit` per minute, else how long to wait."""
    try:
        before, count = _count(cache, key, now)
    except (RedisError, OSError):
        logger.warning("The cache is away: rates are counted per process.")
        before, count = _count(_local(), key, now)
    passed = now % WINDOW
    if before * (WINDOW - passed) / WINDOW + count <= limit:
        return None
    if count > limit or not before:
        return WINDOW - passed
    # The moment at which the last minute's count has faded enough.
    return min(WINDOW - passed, max(1.0, WINDOW - (limit - count) * WINDOW / before - passed))


def _count(store: BaseCache, key: str, now: float) -> tuple[int, int]:
    """(requests of the last minute, requests of this one with this request)."""
    minute = int(now // WINDOW)
    current = f"{key}:{minute}"
    store.add(current, 0, timeout=2 * WINDOW)
    try:
        count = store.incr(current)
    except ValueError:  # the entry was evicted between the two calls
        store.set(current, 1, timeout=2 * WINDOW)
        count = 1
    return int(store.get(f"{key}:{minute - 1}", 0)), count


@functools.cache
def _local() -> LocMemCache:
    return LocMemCache("throttle", {"OPTIONS": {"MAX_ENTRIES": 10_000}})
