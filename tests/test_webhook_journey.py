"""Events going out of the running product: they leave within seconds, and a worker killed between an endpoint's answer
and its own commit costs nothing but a second delivery under the same id (DESIGN 1; reference reliability R1, R13)."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from simulator.process import Simulator, running
from simulator.receiver_client import Receiver
from simulator.visitor import Visitor
from tests.running import Product

SECRET = "a secret of more than twenty-four bytes"
SOON_SECONDS = 5.0
"""Two in normal running; this machine may be busy with other tests."""


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with running() as process:
        yield process


@pytest.fixture(scope="module")
def product(simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    product = Product(tmp_path_factory.mktemp("webhooks") / "data", **simulator.env())
    product.start()
    product.wait_until_ready()
    yield product
    product.stop()


def ask(product: Product, method: str, path: str, body: Any = None) -> Any:
    token = re.search(r"API token\s+(\S+)", product.output)
    assert token, product.output
    status, answer = Visitor(f"http://127.0.0.1:{product.port}", token[1]).request(method, f"/api/{path}", body)
    assert status < 300, answer
    return json.loads(answer) if answer else None


def waited(product: Product, happened: Callable[[], bool], what: str) -> float:
    began = time.monotonic()
    assert product.wait_until(happened), f"{what} did not happen\n{product.output[-3000:]}"
    return time.monotonic() - began


def hook(product: Product, endpoint: Receiver) -> str:
    """Told of what happens to integrations, its own making first."""
    body = {
        "name": "Hook",
        "type": "WEBHOOK",
        "config": {"url": endpoint.url, "events": ["integration.*"]},
        "credentials": {"secret": SECRET},
    }
    return str(ask(product, "POST", "integrations", body)["id"])


def test_event_leaves_soon_after_its_commit(product: Product, simulator: Simulator) -> None:
    endpoint = Receiver(simulator, "soon")
    integration = hook(product, endpoint)
    waited(product, lambda: len(endpoint.received()) == 1, "the first delivery")
    ask(product, "PATCH", f"integrations/{integration}", {"name": "Other"})
    assert waited(product, lambda: len(endpoint.received()) == 2, "the second delivery") < SOON_SECONDS
    assert [got.json["type"] for got in endpoint.received()] == ["integration.created", "integration.updated"]
    ask(product, "DELETE", f"integrations/{integration}")


def test_worker_killed_after_the_call_left_is_followed_by_the_same_id(product: Product, simulator: Simulator) -> None:
    endpoint = Receiver(simulator, "killed")
    endpoint.answers({"status": 200, "delay": 5}, {"status": 200})
    integration = hook(product, endpoint)
    waited(product, lambda: len(endpoint.received()) == 1, "the first attempt")
    worker = product.children()["deliver"]
    worker.kill()
    psutil.wait_procs([worker], timeout=10)

    def delivered() -> bool:
        [delivery] = ask(product, "GET", f"integrations/{integration}/deliveries")["data"]
        return bool(delivery["status"] == "delivered")

    waited(product, delivered, "the delivery by another worker")
    first, second = endpoint.received()
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body
    [delivery] = ask(product, "GET", f"integrations/{integration}/deliveries")["data"]
    assert ["died" in attempt["error"] for attempt in delivery["attempts"]] == [True, False]
