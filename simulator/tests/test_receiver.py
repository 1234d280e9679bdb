"""The plain webhook receiver: keeps every request byte for byte, answers as it was told, in order."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from simulator.process import Simulator, SimulatorError
from simulator.receiver_client import Receiver
from simulator.tests.factories import Answer, send

BODY = b'{"type":"email.sent",  "data":{"n":"\xc3\xa9\x00"}}'


@pytest.fixture
def orders(simulator: Simulator) -> Iterator[Receiver]:
    return Receiver(simulator, "orders")


def post(receiver: Receiver, body: bytes = BODY, **headers: str) -> Answer:
    target = receiver.url.removeprefix(receiver.simulator.base_url)
    return send(receiver.simulator, "POST", target, headers=headers, body=body)


def test_receiver_keeps_headers_and_the_very_bytes(orders: Receiver) -> None:
    answer = post(orders, **{"Webhook-Id": "msg_1", "Webhook-Signature": "v1,abc v1,def"})
    assert (answer.status, answer.body) == (200, b"")
    [got] = orders.received()
    assert (got.method, got.target, got.body, got.status) == ("POST", "/receiver/orders", BODY, 200)
    assert (got.headers["webhook-id"], got.headers["webhook-signature"]) == ("msg_1", "v1,abc v1,def")
    assert abs(got.time - time.time()) < 60


def test_receiver_is_in_the_ledger_under_its_name(orders: Receiver) -> None:
    post(orders, **{"Webhook-Id": "msg_1"})
    [entry] = orders.simulator.ledger(vendor="receiver")
    assert (entry["account"], entry["operation"], entry["status"]) == ("orders", "receiver.post", 200)
    assert (entry["effect"]["kind"], entry["effect"]["id"]) == ("webhook.received", "msg_1")
    assert entry["effect"]["request"] == orders.received()[0].seq


def test_answers_come_in_order_and_the_last_stays(orders: Receiver) -> None:
    orders.answers(
        {"status": 503, "headers": {"Retry-After": "7"}, "times": 2}, {"status": 410, "body": "gone"}, {"status": 204}
    )
    answers = [post(orders) for _ in range(5)]
    assert [answer.status for answer in answers] == [503, 503, 410, 204, 204]
    assert (answers[0].headers["retry-after"], answers[2].body) == ("7", b"gone")
    assert [got.status for got in orders.received()] == [503, 503, 410, 204, 204]


def test_redirect_names_its_target_and_nobody_else_is_asked(orders: Receiver) -> None:
    other = Receiver(orders.simulator, "other")
    orders.redirect(other.url, 307)
    answer = post(orders)
    assert (answer.status, answer.headers["location"]) == (307, other.url)
    assert other.received() == []


def test_delay_lets_the_caller_wait_but_takes_the_request_at_once(orders: Receiver) -> None:
    orders.answer(delay=0.2)
    began = time.monotonic()
    post(orders)
    assert time.monotonic() - began >= 0.2


def test_fault_applies_as_everywhere(orders: Receiver) -> None:
    orders.simulator.fault("status", path="/receiver/orders", status=502, count=1)
    assert [post(orders).status, post(orders).status] == [502, 200]
    assert len(orders.received()) == 1


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD"])
def test_every_method_is_noted_so_that_a_wrong_one_is_seen(orders: Receiver, method: str) -> None:
    send(orders.simulator, method, "/receiver/orders?x=1")
    assert [(got.method, got.target) for got in orders.received()] == [(method, "/receiver/orders?x=1")]


def test_forget_and_reset_empty_it(orders: Receiver) -> None:
    orders.answer(500)
    post(orders)
    orders.forget()
    assert orders.received() == []
    assert post(orders).status == 500
    orders.simulator.reset()
    assert orders.received() == []
    assert post(orders).status == 200
    assert orders.simulator.control("GET", "/receiver") == {"orders": 1}


@pytest.mark.parametrize("wrong", [{"status": 5}, {"colour": 1}, {"delay": -1}, {"times": 0}], ids=str)
def test_answers_that_make_no_sense_are_refused(orders: Receiver, wrong: dict[str, int]) -> None:
    with pytest.raises(SimulatorError, match="400"):
        orders.answers(wrong)
