"""A customer's own endpoint for webhooks, with nothing of a vendor in it: takes whatever is sent to `/receiver/<name>`,
answers as the control API says, and keeps every request with its headers and raw body.

A name needs no set-up: it answers 200 until told otherwise. Several names are several endpoints that know nothing of
each other. Requests are in the ledger as `receiver.<method>` with the endpoint's name as account. `receiver_client`
is the other end of the control calls.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from simulator import control
from simulator.errors import TYPICAL
from simulator.routing import Router
from simulator.state import World
from simulator.wire import Request, Response

VENDOR = "receiver"
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
ROOT = "/receiver"


@dataclass(frozen=True)
class Answer:
    """What a request gets. `times` is how many requests get it; the last of a sequence goes on for ever."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""
    content_type: str = "text/plain; charset=utf-8"
    delay: float = 0.0
    """Seconds until it answers; the request is taken at once."""
    times: int = 1

    def __post_init__(self) -> None:
        if not 100 <= self.status <= 999 or self.delay < 0 or self.times < 1:
            raise ValueError("status must be of three digits, delay not negative and times at least 1")


@dataclass(frozen=True)
class Received:
    """One request as it came. `seq` is its number in the ledger's counting, `status` what it was answered."""

    seq: int
    time: float
    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    status: int

    def describe(self) -> dict[str, Any]:
        return vars(self) | {"body": base64.b64encode(self.body).decode()}


@dataclass
class Endpoint:
    """One name: what it will answer, what it got."""

    answers: list[Answer] = field(default_factory=lambda: [Answer()])
    used: int = 0
    """How many requests had the first of `answers`."""
    received: list[Received] = field(default_factory=list)

    def next_answer(self) -> Answer:
        answer = self.answers[0]
        self.used += 1
        if self.used >= answer.times and len(self.answers) > 1:
            del self.answers[0]
            self.used = 0
        return answer


@dataclass
class Endpoints:
    """By name; the part of the world that is kept here."""

    by_name: dict[str, Endpoint] = field(default_factory=dict)

    def named(self, name: str) -> Endpoint:
        return self.by_name.setdefault(name, Endpoint())


def register(router: Router, world: World) -> None:
    receiver = Receiver(world)
    TYPICAL[VENDOR] = lambda operation, status, reason: Response(status, reason.encode(), {}, "text/plain")
    for method in METHODS:
        router.add(method, f"{ROOT}/{{name}}", VENDOR, f"{VENDOR}.{method.lower()}", receiver.receive)
    for method, path, handler in receiver.calls():
        control.add_call(router, method, f"{ROOT}{path}", handler)


class Receiver:
    def __init__(self, world: World) -> None:
        self.world = world

    def calls(self) -> list[tuple[str, str, Callable[[Request], object]]]:
        return [
            ("GET", "", self.receivers),
            ("PUT", "/{name}/answers", self.set_answers),
            ("GET", "/{name}/requests", self.received),
            ("DELETE", "/{name}/requests", self.forget_received),
        ]

    def receive(self, request: Request) -> Response:
        name = request.params["name"]
        endpoint = self.world.part(Endpoints).named(name)
        answer = endpoint.next_answer()
        headers, seq = dict(request.headers), self.world.ledger.next_seq()
        endpoint.received.append(
            Received(seq, self.world.now(), request.method, request.target, headers, request.body, answer.status)
        )
        request.account = name
        digest = hashlib.sha256(request.body).hexdigest()
        webhook_id = request.headers.get("webhook-id", "")
        request.effect = {"kind": "webhook.received", "id": webhook_id, "request": seq, "sha256": digest}
        body = b"" if answer.status in (204, 304) else answer.body.encode()
        return Response(answer.status, body, dict(answer.headers), answer.content_type, answer.delay)

    # The control API

    def receivers(self, request: Request) -> dict[str, int]:
        """Name → how many requests it got."""
        return {name: len(endpoint.received) for name, endpoint in self.world.part(Endpoints).by_name.items()}

    def set_answers(self, request: Request) -> dict[str, Any]:
        """`answers`: a list of Answers, in order; none given is 200 again."""
        given = request.json()["answers"]
        answers = [Answer(**item) for item in given] or [Answer()]
        endpoint = self.world.part(Endpoints).named(request.params["name"])
        endpoint.answers, endpoint.used = answers, 0
        return {"answers": [vars(answer) for answer in answers]}

    def received(self, request: Request) -> dict[str, Any]:
        """`requests`, oldest first, `body` in base64."""
        endpoint = self.world.part(Endpoints).named(request.params["name"])
        return {"requests": [item.describe() for item in endpoint.received]}

    def forget_received(self, request: Request) -> dict[str, Any]:
        self.world.part(Endpoints).named(request.params["name"]).received.clear()
        return {}
