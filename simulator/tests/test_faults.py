"""Faults: what the caller sees, whether the work was done, and what the ledger says about it."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import urlsplit

import pytest

from simulator.process import Simulator, SimulatorError
from simulator.tests.factories import GmailApi, connect, connect_google, message, raw_field, send, trade

SEND = {"raw": raw_field(message("Once", From="ada@hub.example", To="bob@else.example", message_id="<once@x>"))}


def statuses(api: GmailApi, count: int) -> list[int]:
    return [api.call("GET", "/profile").status for _ in range(count)]


def last_entry(api: GmailApi) -> dict[str, Any]:
    return api.simulator.ledger(limit=1)[0]


def test_status_fault_answers_in_the_vendors_words_and_does_no_work(ada: GmailApi) -> None:
    ada.simulator.fault("status", path=r"/messages/send", status=503, headers={"Retry-After": "7"})
    answer = ada.call("POST", "/messages/send", json=SEND)
    assert (answer.status, answer.reason, answer.headers["retry-after"]) == (503, "backendError", "7")
    assert ada.simulator.sent() == []
    assert last_entry(ada) | {"status": 503, "effect": None, "fault": "fault-1"} == last_entry(ada)


def test_status_fault_with_effect_does_the_work_first(ada: GmailApi) -> None:
    ada.simulator.fault("status", path="send", status=502, effect=True, body="<h1>Bad gateway</h1>")
    answer = ada.call("POST", "/messages/send", json=SEND)
    assert (answer.status, answer.headers["content-type"]) == (502, "text/html")
    assert len(ada.simulator.sent()) == 1


def test_status_fault_with_a_body_sends_that_body(ada: GmailApi) -> None:
    ada.simulator.fault("status", status=403, body={"error": {"errors": [{"reason": "domainPolicy"}]}})
    assert ada.call("GET", "/profile").reason == "domainPolicy"


def test_status_fault_reason_is_used_at_token_endpoints(simulator: Simulator) -> None:
    simulator.create_account("google", "ada@hub.example")
    tokens = connect(simulator, "google", "ada@hub.example")
    simulator.fault("status", operation=r"google\.oauth\.token", account="ada@hub.example", status=400)
    answer = trade(simulator, "google", refresh_token=tokens["refresh_token"])
    assert (answer.status, answer.json["error"]) == (400, "invalid_grant")


def test_rule_counts_skips_and_stops(ada: GmailApi) -> None:
    ada.simulator.fault("status", status=500, skip=1, count=2)
    assert statuses(ada, 5) == [200, 500, 500, 200, 200]
    rule = ada.simulator.faults()[0]
    assert (rule["seen"], rule["fired"]) == (5, 2)


def test_rule_matches_method_path_with_query_operation_and_account(simulator: Simulator, ada: GmailApi) -> None:
    simulator.create_account("google", "bob@hub.example")
    bob = connect_google(simulator, "bob@hub.example")
    simulator.fault("status", status=500, account="bob@hub.example", path="/profile", method="get")
    assert (ada.call("GET", "/profile").status, bob.call("GET", "/profile").status) == (200, 500)
    simulator.clear_faults()
    simulator.fault("status", status=500, path=r"/messages\?.*maxResults=5\b")
    assert ada.call("GET", "/messages", query={"maxResults": 5}).status == 500
    assert ada.call("GET", "/messages", query={"maxResults": 50}).status == 200


def test_rule_with_probability_repeats_with_the_same_seed(simulator: Simulator) -> None:
    runs = []
    for _ in range(2):
        simulator.reset(seed=42)
        simulator.create_account("google", "ada@hub.example")
        api = connect_google(simulator, "ada@hub.example")
        simulator.fault("status", status=500, path="/profile", probability=0.5)
        runs.append(statuses(api, 30))
    assert runs[0] == runs[1]
    assert {200, 500} == set(runs[0])


def test_rule_removed_no_longer_fires(ada: GmailApi) -> None:
    identity = ada.simulator.fault("status", status=500)
    ada.simulator.remove_fault(identity)
    assert statuses(ada, 1) == [200]
    with pytest.raises(SimulatorError, match="no such fault"):
        ada.simulator.remove_fault(identity)


@pytest.mark.parametrize("rule", [{"kind": "explode"}, {"kind": "status", "colour": 1}, {"kind": "close", "path": "("}])
def test_rule_that_makes_no_sense_is_refused(simulator: Simulator, rule: dict[str, Any]) -> None:
    with pytest.raises(SimulatorError, match="400"):
        simulator.fault(**rule)


def test_close_before_the_work_leaves_no_trace_but_the_ledger(ada: GmailApi) -> None:
    ada.simulator.fault("close", path="send", count=1)
    with pytest.raises(http.client.RemoteDisconnected):
        ada.call("POST", "/messages/send", json=SEND)
    assert ada.simulator.sent() == []
    assert last_entry(ada)["status"] == 0
    assert last_entry(ada)["effect"] is None


def test_close_after_the_work_is_the_unknown_outcome(ada: GmailApi) -> None:
    ada.simulator.fault("close", path="send", count=1, effect=True)
    with pytest.raises(http.client.RemoteDisconnected):
        ada.call("POST", "/messages/send", json=SEND)
    assert [mail["message_id"] for mail in ada.simulator.sent()] == ["<once@x>"]
    assert last_entry(ada)["status"] == 0
    assert last_entry(ada)["effect"]["kind"] == "mail.sent"
    assert len(ada.get("/messages", q="rfc822msgid:once@x in:sent")["messages"]) == 1


def test_close_with_reset_tears_the_connection(ada: GmailApi) -> None:
    ada.simulator.fault("close", path="profile", reset=True)
    with pytest.raises(ConnectionResetError):
        ada.call("GET", "/profile")


def test_hang_keeps_the_caller_waiting_and_others_served(ada: GmailApi) -> None:
    ada.simulator.fault("hang", path="send", seconds=30, effect=True)
    parts = urlsplit(ada.simulator.base_url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=0.2)
    headers = {"Authorization": f"Bearer {ada.token}", "Content-Type": "application/json"}
    connection.request("POST", "/gmail/v1/users/me/messages/send", f'{{"raw": "{SEND["raw"]}"}}', headers)
    with pytest.raises(TimeoutError):
        connection.getresponse()
    connection.close()
    assert len(ada.simulator.sent()) == 1
    assert statuses(ada, 1) == [200]


def test_truncate_sends_less_than_promised(ada: GmailApi) -> None:
    ada.simulator.fault("truncate", path="profile", fraction=0.5)
    with pytest.raises(http.client.IncompleteRead):
        ada.call("GET", "/profile")


def test_garbage_is_200_that_is_no_json(ada: GmailApi) -> None:
    ada.simulator.fault("garbage", path="profile")
    answer = ada.call("GET", "/profile")
    assert answer.status == 200
    with pytest.raises(ValueError, match="Expecting value"):
        json.loads(answer.body)


def test_merge_lays_wrong_values_over_the_real_answer(ada: GmailApi) -> None:
    ada.deliver()
    ada.simulator.fault("merge", path="/messages", body={"nextPageToken": "again", "resultSizeEstimate": None})
    page = ada.get("/messages")
    assert (page["nextPageToken"], page["resultSizeEstimate"], len(page["messages"])) == ("again", None, 1)


def test_slow_and_latency_deliver_the_whole_answer_in_the_end(ada: GmailApi) -> None:
    ada.simulator.fault("latency", path="profile", seconds=0.05)
    ada.simulator.fault("slow", path="profile", bytes_per_second=2_000)
    assert ada.get("/profile")["emailAddress"] == ada.email
    assert [rule["fired"] for rule in ada.simulator.faults()] == [1, 1]


def test_control_api_is_never_under_a_fault(simulator: Simulator) -> None:
    simulator.fault("status", status=500)
    assert simulator.health()["ok"] is True
    assert simulator.ledger() == []
    assert send(simulator, "GET", "/v1.0/me").status == 500
