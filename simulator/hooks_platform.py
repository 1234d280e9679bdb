"""Zapier's and Make's webhooks: they take a request, say so, and run something later or never.

Zapier's are at their own path, /hooks/catch/<user>/<hook>/ (legacy: /hooks/catch/<hook>/). Make's have a host of their
own and the path /<token>; on the one port of the stand-in they are at /make/<token>. A receipt proves nothing: `runs`
in the control API says what was run (reference workspace 8; Make's figures there are unconfirmed, so each hook carries
its limits).
"""

from __future__ import annotations

import base64
import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

from simulator import control
from simulator.errors import TYPICAL
from simulator.routing import Router
from simulator.state import World
from simulator.wire import Request, Response, json_response

ZAPIER, MAKE = "zapier", "make"
ZAPIER_HOOK = "/hooks/catch/1234567/simzap1/"
MAKE_HOOK = "/make/simulatormakehook00000001"
STATES = ("on", "off", "gone")
NOBODY_LISTENS = "There is no scenario listening for this webhook."


@dataclass
class PlatformHook:
    """One hook. `off`: the Zap is off (dropped) or the scenario paused (queued), both answered 200; `gone`: 410, at
    Make."""

    path: str
    state: str = "on"
    per_window: int = 30
    """Requests taken per `window_seconds`, then 429."""
    window_seconds: float = 1.0
    retry_after: int = 0
    """What a 429 says in Retry-After; 0: nothing."""
    max_bytes: int = 10_000_000
    queue_limit: int = 10_000
    """Make: how many wait while the scenario is paused before it answers 400."""
    answer: dict[str, Any] = field(default_factory=dict)
    """Make: `status, body, content_type, delay` of a Webhook response module, which answers instead."""
    seen: deque[float] = field(default_factory=deque, repr=False)


@dataclass(frozen=True)
class Taken:
    """A request that was answered 2xx: `runs` is how often something ran for it, 0 where the hook is off."""

    path: str
    headers: dict[str, str]
    body: bytes
    payload: Any
    runs: int

    def describe(self) -> dict[str, Any]:
        return vars(self) | {"body": base64.b64encode(self.body).decode()}


def _hooks() -> dict[str, PlatformHook]:
    make = PlatformHook(MAKE_HOOK, per_window=300, window_seconds=10.0, max_bytes=5_000_000)
    return {ZAPIER_HOOK: PlatformHook(ZAPIER_HOOK), MAKE_HOOK: make}


@dataclass
class HookPlatforms:
    """The part of the world that is kept here."""

    hooks: dict[str, PlatformHook] = field(default_factory=_hooks)
    taken: list[Taken] = field(default_factory=list)
    zapier_per_user: int = 20_000
    """Within five minutes; a legacy hook, which names no user, has 1,000."""
    zapier_seen: dict[str, deque[float]] = field(default_factory=dict)


def register(router: Router, world: World) -> None:
    platforms = Platforms(world)
    TYPICAL[ZAPIER] = lambda operation, status, reason: zapier_error(status, reason or "Please try again later.")
    TYPICAL[MAKE] = lambda operation, status, reason: text(
        status, reason or ("Queue is full." if status == 400 else "")
    )
    for method in ("POST", "PUT", "GET"):
        for path in ("/hooks/catch/{user}/{hook}", "/hooks/catch/{user}/{hook}/{end}"):
            router.add(method, path, ZAPIER, "zapier.hook", platforms.zapier)
        router.add(method, "/make/{token}", MAKE, "make.hook", platforms.make)
    for http, path, call in platforms.calls():
        control.add_call(router, http, f"/hook-platforms{path}", call)


def text(status: int, words: str) -> Response:
    return Response(status, words.encode(), {}, "text/plain; charset=utf-8")


def zapier_error(status: int, words: str) -> Response:
    return json_response({"status": "error", "errors": [words]}, status)


class Platforms:
    def __init__(self, world: World) -> None:
        self.world = world

    @property
    def state(self) -> HookPlatforms:
        return self.world.part(HookPlatforms)

    def zapier(self, request: Request) -> Response:
        """Any hook is answered with success, also one whose Zap is off or that nobody made."""
        path = "/" + "/".join(part for part in request.segments if part) + "/"
        hook = self.state.hooks.get(path) or PlatformHook(path, state="off")
        request.account = path
        if len(request.body) > hook.max_bytes:
            return zapier_error(413, "Payload too large.")
        user = request.params["user"] if request.params["hook"] else ""
        seen = self.state.zapier_seen.setdefault(user or path, deque())
        everything = self._take(seen, self.state.zapier_per_user if user else 1_000, 300.0)
        if not everything or not self._take(hook.seen, hook.per_window, hook.window_seconds):
            return _wait(zapier_error(429, "Too many requests."), hook)
        payload = _payload(request)
        # A list starts the Zap once for each of its items.
        runs = (len(payload) if isinstance(payload, list) else 1) if hook.state == "on" else 0
        number = self._note(request, path, payload, runs)
        identity = f"sim-{number:08d}"
        return json_response({"status": "success", "id": identity, "request_id": identity, "attempt": identity})

    def make(self, request: Request) -> Response:
        hook = self.state.hooks.get(request.path)
        request.account = request.path
        if hook is None:
            return text(404, "Not found")
        if hook.state == "gone":
            return text(410, NOBODY_LISTENS)
        if len(request.body) > hook.max_bytes:
            return text(413, "Payload too large.")
        if not self._take(hook.seen, hook.per_window, hook.window_seconds):
            return _wait(text(429, "Too many requests."), hook)
        queued = sum(item.path == request.path and not item.runs for item in self.state.taken)
        if hook.state == "off" and queued >= hook.queue_limit:
            return text(400, "Queue is full.")
        self._note(request, request.path, _payload(request), int(hook.state == "on"))
        return _own(hook.answer) if hook.answer else text(200, "Accepted")

    def _take(self, seen: deque[float], limit: int, seconds: float) -> bool:
        now = self.world.now()
        while seen and seen[0] <= now - seconds:
            seen.popleft()
        if len(seen) >= limit:
            return False
        seen.append(now)
        return True

    def _note(self, request: Request, path: str, payload: Any, runs: int) -> int:
        self.state.taken.append(Taken(path, dict(request.headers), request.body, payload, runs))
        identity = request.headers.get("webhook-id", "")
        request.effect = {"kind": "hook.taken", "path": path, "id": identity, "runs": runs}
        return len(self.state.taken)

    # The control API

    def calls(self) -> list[tuple[str, str, Callable[[Request], object]]]:
        return [
            ("GET", "", self.hooks),
            ("PUT", "/hooks", self.put_hook),
            ("PATCH", "", self.change),
            ("GET", "/taken", self.taken),
        ]

    def hooks(self, request: Request) -> list[dict[str, Any]]:
        return [_described(hook) for hook in self.state.hooks.values()]

    def put_hook(self, request: Request) -> dict[str, Any]:
        """`path` and what else a `PlatformHook` has: the hook as it is from now on."""
        given = request.json()
        if given.get("state", "on") not in STATES or "seen" in given:
            raise ValueError(f"state must be one of {', '.join(STATES)}")
        hook = PlatformHook(**given)
        self.state.hooks[hook.path] = hook
        return _described(hook)

    def change(self, request: Request) -> dict[str, Any]:
        """`zapier_per_user`: requests per user within five minutes."""
        self.state.zapier_per_user = int(request.json()["zapier_per_user"])
        return {"zapier_per_user": self.state.zapier_per_user}

    def taken(self, request: Request) -> dict[str, Any]:
        """Every request answered with success, oldest first, and how often something ran for it."""
        return {"taken": [item.describe() for item in self.state.taken]}


def _described(hook: PlatformHook) -> dict[str, Any]:
    return {item.name: getattr(hook, item.name) for item in fields(hook) if item.name != "seen"}


def _payload(request: Request) -> Any:
    try:
        return json.loads(request.body)
    except ValueError:
        return None


def _wait(response: Response, hook: PlatformHook) -> Response:
    if hook.retry_after:
        response.headers["Retry-After"] = str(hook.retry_after)
    return response


def _own(answer: dict[str, Any]) -> Response:
    kind = str(answer.get("content_type", "text/plain"))
    status, delay = int(answer.get("status", 200)), float(answer.get("delay", 0))
    return Response(status, str(answer.get("body", "")).encode(), {}, kind, delay)
