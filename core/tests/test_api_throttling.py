"""Rates per token and per workspace."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import time_machine
from django.core.cache import cache
from django.core.cache.backends.locmem import LocMemCache
from django.test import Client
from redis.exceptions import ConnectionError as RedisGone

from core.api import throttling
from core.api.throttling import seconds_to_wait

pytestmark = pytest.mark.urls("core.tests.api_urls")

MINUTE = 1_800_000_000.0


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Iterator[None]:
    """A cache of this test's own; the throttles of a view are DRF's to read, so they are set here too."""
    monkeypatch.setattr(throttling, "cache", LocMemCache(uuid.uuid4().hex, {}))
    monkeypatch.setattr(throttling, "_held", {})
    monkeypatch.setattr(throttling, "WINDOW", 60)
    settings.THROTTLE_TOKEN_PER_MINUTE = 5
    settings.THROTTLE_WORKSPACE_PER_MINUTE = 8
    with time_machine.travel(MINUTE, tick=False):
        yield


def ask(client: Client, token: str = "t1", workspace: str = "w1") -> Any:
    return client.get("/api/limited", headers={"x-token": token, "x-workspace": workspace})


def test_throttle_token_beyond_its_rate_is_told_to_wait(client: Client) -> None:
    assert [ask(client).status_code for _ in range(6)] == [200] * 5 + [429]
    response = ask(client)
    assert response.json()["error"]["code"] == "throttled"
    assert response["Retry-After"] == "60"


def test_throttle_tokens_of_a_workspace_share_its_rate(client: Client) -> None:
    assert [ask(client, token).status_code for token in "aaaabbbbc"] == [200] * 8 + [429]
    assert ask(client, "d", "w2").status_code == 200


def test_throttle_other_tokens_are_not_touched(client: Client) -> None:
    for _ in range(7):
        ask(client)
    assert ask(client, "t2", "w2").status_code == 200


def test_throttle_is_over_after_the_time_it_named(client: Client) -> None:
    for _ in range(6):
        ask(client)
    with time_machine.travel(MINUTE + 72, tick=False):
        assert ask(client).status_code == 200


def test_throttle_zero_is_off(client: Client, settings: Any) -> None:
    settings.THROTTLE_TOKEN_PER_MINUTE = settings.THROTTLE_WORKSPACE_PER_MINUTE = 0
    assert {ask(client).status_code for _ in range(30)} == {200}


def passed(key: str, limit: int, times: list[float]) -> int:
    return sum(seconds_to_wait(key, limit, MINUTE + at) is None for at in times)


def test_seconds_to_wait_turn_of_the_minute_gives_no_second_rate() -> None:
    assert passed("k", 60, [59.0] * 60) == 60
    assert passed("k", 60, [61.0] * 60) <= 2


def test_seconds_to_wait_steady_caller_within_the_rate_always_passes() -> None:
    assert passed("k", 60, [1.05 * n for n in range(600)]) == 600
    assert passed("k2", 600, [0.105 * n for n in range(3000)]) == 3000


def test_seconds_to_wait_is_enough_and_not_far_too_long() -> None:
    passed("k", 60, [30.0] * 60)
    wait = seconds_to_wait("k", 60, MINUTE + 65)
    assert wait is None or wait <= 5
    at = MINUTE + 65 + (wait or 0) + 0.01
    assert seconds_to_wait("k", 60, at) is None


def test_seconds_to_wait_hammering_costs_one_minute_and_not_two() -> None:
    passed("k", 10, [0.1 * n for n in range(500)])
    assert seconds_to_wait("k", 10, MINUTE + 125) is None


def test_seconds_to_wait_processes_share_one_count(monkeypatch: pytest.MonkeyPatch) -> None:
    total = 0
    for _ in range(4):  # four processes, each with its own memory
        monkeypatch.setattr(throttling, "_held", {})
        total += passed("k", 100, [1.0] * 100)
    assert total == 100


def test_seconds_to_wait_most_requests_cost_no_round_trip(monkeypatch: pytest.MonkeyPatch) -> None:
    trips: list[str] = []
    counting = throttling._count
    monkeypatch.setattr(throttling, "_count", lambda *args: trips.append(args[1]) or counting(*args))
    assert passed("k", 600, [1.0] * 600) == 600
    assert len(trips) == 50


def test_seconds_to_wait_cache_away_counts_per_process(monkeypatch: pytest.MonkeyPatch) -> None:
    class Away(LocMemCache):
        def get_many(self, *args: Any, **kwargs: Any) -> Any:
            raise RedisGone("refused")

    monkeypatch.setattr(throttling, "cache", Away("away", {}))
    assert passed(f"k{uuid.uuid4()}", 5, [1.0] * 9) == 5


@pytest.mark.django_db
def test_seconds_to_wait_works_on_the_projects_own_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttling, "cache", cache)
    assert passed(f"k{uuid.uuid4()}", 5, [1.0] * 9) == 5
