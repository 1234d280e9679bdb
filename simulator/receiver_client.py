"""Drives one endpoint of `receiver` in a running simulator, for tests and the demo.

orders = Receiver(simulator, "orders")
orders.answers({"status": 503, "headers": {"Retry-After": "7"}, "times": 2}, {"status": 200})
…                                                     # the hub posts to orders.url
[first, *_] = orders.received()                       # first.headers["webhook-id"], first.body, first.json
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from simulator.process import Simulator


@dataclass(frozen=True)
class Got:
    """One request: `headers` with lower-case names, `body` as the bytes that came, `time` by the simulator's clock,
    `status` what it was answered."""

    seq: int
    time: float
    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    status: int

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Receiver:
    """An endpoint of one name at `url`; it answers 200 until told otherwise."""

    def __init__(self, simulator: Simulator, name: str) -> None:
        self.simulator = simulator
        self.url = f"{simulator.base_url}/receiver/{quote(name, safe='')}"
        self._path = f"/receiver/{quote(name, safe='')}"

    def answer(self, status: int = 200, **more: Any) -> None:
        """From now on, always: `headers`, `body`, `content_type`, `delay` (seconds)."""
        self.answers({"status": status} | more)

    def answers(self, *sequence: dict[str, Any]) -> None:
        """From now on, in this order, each `times` (1) requests long and the last for ever; see `receiver.Answer`."""
        self.simulator.control("PUT", f"{self._path}/answers", {"answers": list(sequence)})

    def redirect(self, location: str, status: int = 302) -> None:
        self.answer(status, headers={"Location": location})

    def received(self) -> list[Got]:
        """Every request, oldest first."""
        found = self.simulator.control("GET", f"{self._path}/requests")["requests"]
        return [Got(**item | {"body": base64.b64decode(item["body"])}) for item in found]

    def forget(self) -> None:
        """Requests so far; the answers stay."""
        self.simulator.control("DELETE", f"{self._path}/requests")
