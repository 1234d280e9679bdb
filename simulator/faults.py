"""Faults by rule. The control API adds rules, `server` asks which apply to a request and acts on them.

A rule matches by regular expressions on method, `path?query` and operation and by account; it may skip its first
matches, fire a limited number of times, or fire with a probability drawn from a generator seeded by the world's seed
and the rule's id, so that a run can be repeated. The first rule that fires wins; `latency` rules add up before it.
"""

from __future__ import annotations

import base64
import json
import random
import re
from dataclasses import dataclass, field
from typing import Any

from simulator.errors import typical
from simulator.wire import Request, Response

# Kinds that can be acted on inside a batch, where one part has no connection of its own.
ANSWERS = {"status", "garbage", "merge"}
KINDS = ANSWERS | {"hang", "close", "truncate", "slow", "latency"}
GARBAGE = b'<!DOCTYPE html><html><head><title>502</title></head><body>Something went wrong\x00{"half": '


@dataclass
class Fault:
    """`effect` decides whether the request's work is done before the fault shows: with it, `close` and `hang` are the
    "unknown outcome" (the mail was sent, the answer never came)."""

    id: str
    kind: str
    method: str = ""
    path: str = ""
    operation: str = ""
    account: str = ""
    skip: int = 0
    count: int | None = None
    probability: float | None = None
    effect: bool = False
    status: int = 503
    reason: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    body_base64: str = ""
    seconds: float = 60.0
    fraction: float = 0.5
    bytes_per_second: int = 200
    reset: bool = False
    seen: int = 0
    fired: int = 0
    random: random.Random = field(default_factory=random.Random, repr=False)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(sorted(KINDS))}")
        for pattern in (self.method, self.path, self.operation):
            re.compile(pattern)

    def fits(self, request: Request, account: str) -> bool:
        return (
            (not self.method or bool(re.fullmatch(self.method, request.method, re.IGNORECASE)))
            and (not self.path or bool(re.search(self.path, request.target)))
            and (not self.operation or bool(re.fullmatch(self.operation, request.operation)))
            and (not self.account or self.account == account)
        )

    def fires(self) -> bool:
        """Counts a match and says whether the fault happens this time."""
        self.seen += 1
        if self.seen <= self.skip or (self.count is not None and self.fired >= self.count):
            return False
        if self.probability is not None and self.random.random() >= self.probability:
            return False
        self.fired += 1
        return True

    def answer(self, request: Request) -> Response:
        """The answer of `status` and `garbage`: the given body, else the vendor's usual one."""
        headers = {name: value for name, value in self.headers.items() if name.lower() != "content-type"}
        if self.kind == "status" and self.body is None and not self.body_base64:
            response = typical(request.vendor, request.operation, self.status, self.reason)
            named = {name.lower() for name in headers}
            usual = {name: value for name, value in response.headers.items() if name.lower() not in named}
            response.headers = usual | headers
            return response
        content_type = "text/html" if isinstance(self.body, str) else "application/json; charset=UTF-8"
        given = [value for name, value in self.headers.items() if name.lower() == "content-type"]
        status = self.status if self.kind == "status" else 200
        return Response(status, self._body() or GARBAGE, headers, given[0] if given else content_type)

    def _body(self) -> bytes:
        if self.body_base64:
            return base64.b64decode(self.body_base64)
        if self.body is None:
            return b""
        return self.body.encode() if isinstance(self.body, str) else json.dumps(self.body).encode()

    def merge(self, response: Response) -> Response:
        """The real answer with `body` laid over it: a repeated page token, a null id, a wrong type."""
        try:
            value = json.loads(response.body)
        except ValueError:
            return response
        response.body = json.dumps(_laid_over(value, self.body)).encode()
        return response

    def describe(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "random"}


def _laid_over(value: Any, patch: Any) -> Any:
    """Objects are merged key by key, everything else is replaced (null included)."""
    if not isinstance(value, dict) or not isinstance(patch, dict):
        return patch
    return value | {name: _laid_over(value.get(name), part) for name, part in patch.items()}


class Faults:
    def __init__(self, seed: int) -> None:
        self.reset(seed)

    def reset(self, seed: int) -> None:
        self.seed = seed
        self.rules: dict[str, Fault] = {}
        self._added = 0

    def add(self, rule: dict[str, Any]) -> Fault:
        """Raises ValueError, TypeError or re.error when the rule is not one."""
        self._added += 1
        identity = str(rule.pop("id", f"fault-{self._added}"))
        fault = Fault(id=identity, **rule, random=random.Random(f"{self.seed}/{identity}"))
        self.rules[identity] = fault
        return fault

    def pick(self, request: Request, account: str) -> tuple[float, Fault | None]:
        """Seconds to wait first, and the fault that happens."""
        wait = 0.0
        for fault in self.rules.values():
            if request.batch and fault.kind not in ANSWERS:
                continue
            if not fault.fits(request, account) or not fault.fires():
                continue
            if fault.kind != "latency":
                return wait, fault
            wait += fault.seconds
        return wait, None
