"""Zapier and Make: receipts that prove nothing, limits, full queues, hooks that are gone."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.hooks_platform import MAKE_HOOK, ZAPIER_HOOK
from simulator.process import Simulator, SimulatorError
from simulator.tests.factories import Answer, send


def fire(simulator: Simulator, path: str, payload: Any = None, **headers: str) -> Answer:
    return send(simulator, "POST", path, headers=headers, json={"n": 1} if payload is None else payload)


def taken(simulator: Simulator) -> list[dict[str, Any]]:
    return list(simulator.control("GET", "/hook-platforms/taken")["taken"])


def put(simulator: Simulator, path: str, **changes: Any) -> None:
    simulator.control("PUT", "/hook-platforms/hooks", {"path": path} | changes)


def test_zapier_answers_success_and_runs(simulator: Simulator) -> None:
    answer = fire(simulator, ZAPIER_HOOK, {"id": "evt_1"}, **{"Webhook-Id": "msg_1"})
    assert (answer.status, answer.json["status"]) == (200, "success")
    assert answer.json["request_id"] == answer.json["id"]
    [item] = taken(simulator)
    assert (item["payload"], item["runs"], item["headers"]["webhook-id"]) == ({"id": "evt_1"}, 1, "msg_1")
    [entry] = simulator.ledger(vendor="zapier")
    assert entry["effect"] == {"kind": "hook.taken", "path": ZAPIER_HOOK, "id": "msg_1", "runs": 1}


@pytest.mark.parametrize("path", [ZAPIER_HOOK, "/hooks/catch/7/nobodys/"], ids=["off", "unknown"])
def test_zapier_success_also_where_nothing_runs(simulator: Simulator, path: str) -> None:
    put(simulator, ZAPIER_HOOK, state="off")
    assert fire(simulator, path).json["status"] == "success"
    assert [item["runs"] for item in taken(simulator)] == [0]


def test_zapier_list_runs_once_for_each_item(simulator: Simulator) -> None:
    fire(simulator, ZAPIER_HOOK, [{"n": 1}, {"n": 2}, {"n": 3}])
    assert [item["runs"] for item in taken(simulator)] == [3]


def test_zapier_throttles_a_hook_and_a_user(simulator: Simulator) -> None:
    put(simulator, ZAPIER_HOOK, per_window=2, retry_after=9)
    answers = [fire(simulator, ZAPIER_HOOK) for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    assert answers[2].headers["retry-after"] == "9"
    simulator.advance(1.5)
    assert fire(simulator, ZAPIER_HOOK).status == 200
    simulator.control("PATCH", "/hook-platforms", {"zapier_per_user": 1})
    assert fire(simulator, "/hooks/catch/1234567/another/").status == 429
    assert fire(simulator, "/hooks/catch/7/another/").status == 200


def test_zapier_legacy_address_names_no_user(simulator: Simulator) -> None:
    assert fire(simulator, "/hooks/catch/legacy1/").json["status"] == "success"
    assert taken(simulator)[0]["path"] == "/hooks/catch/legacy1/"


def test_make_answers_accepted_which_is_no_json(simulator: Simulator) -> None:
    answer = fire(simulator, MAKE_HOOK)
    assert (answer.status, answer.body) == (200, b"Accepted")
    assert answer.headers["content-type"].startswith("text/plain")
    assert [item["runs"] for item in taken(simulator)] == [1]


def test_make_paused_queues_until_the_queue_is_full(simulator: Simulator) -> None:
    put(simulator, MAKE_HOOK, state="off", queue_limit=2)
    answers = [fire(simulator, MAKE_HOOK) for _ in range(3)]
    assert [(answer.status, answer.body) for answer in answers] == [(200, b"Accepted")] * 2 + [(400, b"Queue is full.")]
    assert [item["runs"] for item in taken(simulator)] == [0, 0]


def test_make_gone_unknown_too_large_and_too_fast(simulator: Simulator) -> None:
    put(simulator, MAKE_HOOK, state="gone")
    assert fire(simulator, MAKE_HOOK).status == 410
    assert fire(simulator, "/make/nobodys").status == 404
    put(simulator, MAKE_HOOK, max_bytes=5)
    assert fire(simulator, MAKE_HOOK).status == 413
    put(simulator, MAKE_HOOK, per_window=1, window_seconds=10.0)
    assert [fire(simulator, MAKE_HOOK).status for _ in range(2)] == [200, 429]


def test_make_response_module_answers_instead(simulator: Simulator) -> None:
    put(simulator, MAKE_HOOK, answer={"status": 201, "body": "<ok/>", "content_type": "application/xml"})
    answer = fire(simulator, MAKE_HOOK)
    assert (answer.status, answer.body, answer.headers["content-type"]) == (201, b"<ok/>", "application/xml")


def test_control_shows_hooks_and_refuses_what_is_none(simulator: Simulator) -> None:
    assert [hook["path"] for hook in simulator.control("GET", "/hook-platforms")] == [ZAPIER_HOOK, MAKE_HOOK]
    with pytest.raises(SimulatorError, match="state must be"):
        put(simulator, MAKE_HOOK, state="asleep")
