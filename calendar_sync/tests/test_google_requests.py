"""Every request to Google's calendars against Google's own description of the API (the discovery document that
google-api-python-client carries): path, method, parameters, their types and values, and the fields of bodies."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

import pytest

from calendar_sync.providers.doorbells.google import EventsChannel
from calendar_sync.records import ACCEPTED, NOTIFY_ALL, PRIVATE, Invited, RemoteCalendar, Target
from calendar_sync.tests.google_simulator import GoogleHarness, account_at
from calendar_sync.tests.test_google_calendar_writing import ADA, KEY, LUNCH, SECOND, WEEKLY
from core import http
from core.http import Response
from integrations.doorbells import Hooks
from simulator.process import Simulator, running

DOCUMENT: dict[str, Any] = json.loads(
    files("googleapiclient.discovery_cache").joinpath("documents/calendar.v3.json").read_text()
)
METHODS: list[dict[str, Any]] = [
    method for resource in DOCUMENT["resources"].values() for method in resource["methods"].values()
]


@dataclass(frozen=True)
class Asked:
    """A request as it left."""

    method: str
    path: str
    params: dict[str, Any]
    body: Any


@pytest.fixture(scope="module")
def process() -> Iterator[Simulator]:
    with running() as simulator:
        yield simulator


@pytest.fixture
def asked(process: Simulator, settings: Any, monkeypatch: pytest.MonkeyPatch) -> list[Asked]:
    """What a whole life of the provider asks for."""
    settings.EGRESS_ALLOW_CIDRS = ["127.0.0.0/8"]
    process.reset(seed=6)
    found: list[Asked] = []
    whole = http.request

    def noted(method: str, url: str, **arguments: Any) -> Response:
        params = {name: value for name, value in (arguments.get("params") or {}).items() if value is not None}
        found.append(Asked(method, urlsplit(url).path, params, arguments.get("json")))
        return whole(method, url, **arguments)

    harness = GoogleHarness(process, ADA)
    monkeypatch.setattr(http, "request", noted)
    live(harness)
    return found


def live(harness: GoogleHarness) -> None:
    """Every call once."""
    provider = harness.provider()
    [calendar] = provider.calendars()
    people = (Invited("bob@else.test", "Bob"), Invited("room@else.test", "Room", is_resource=True))
    provider.create(
        calendar, replace(LUNCH, attendees=people, conference=True, visibility=PRIVATE, busy=False), key=KEY,
        notify=NOTIFY_ALL,
    )  # fmt: skip
    seen = provider.create(calendar, WEEKLY, key=KEY[::-1], notify=NOTIFY_ALL)
    at = Target(seen.remote_id, seen.etag, seen.raw)
    provider.update(
        calendar, replace(at, recurrence_key=SECOND), replace(LUNCH, title="Once"), frozenset({"title", "span"}),
        notify=NOTIFY_ALL,
    )  # fmt: skip
    _listed(harness, calendar)
    [again] = provider.fetch(calendar, [seen.remote_id])
    provider.delete(calendar, Target(again.remote_id, again.etag, again.raw), notify=NOTIFY_ALL)
    invited = harness.truth_of.add(
        ADA, {
            "summary": "Theirs", "organizer": {"email": "eve@else.test"}, "attendees": [{"email": ADA}],
            "start": {"date": "2026-01-05"}, "end": {"date": "2026-01-06"},
        },
    )  # fmt: skip
    [theirs] = provider.fetch(calendar, [invited])
    answered = Target(theirs.remote_id, theirs.etag, theirs.raw)
    provider.respond(calendar, answered, ACCEPTED, notify=NOTIFY_ALL, comment="Gladly")
    bell = EventsChannel(account_at(harness.simulator, harness.email, harness.token))
    for about in (calendar.remote_id, ""):
        bell.stop(bell.subscribe(Hooks("https://hub.example.org/push", ""), "s" * 43, about).remote_id)


def _listed(harness: GoogleHarness, calendar: RemoteCalendar) -> None:
    """All pages, and what changed since."""
    provider, page = harness.provider(), harness.provider().listing(calendar, "")
    while page.next_token:
        page = provider.listing(calendar, page.next_token)
    provider.changes(calendar, page.cursor)


def described(request: Asked) -> dict[str, Any]:
    """The method of the document that a request calls."""
    for method in METHODS:
        path = DOCUMENT["basePath"] + re.sub(r"\{\w+\}", "[^/]+", method["path"])
        if method["httpMethod"] == request.method and re.fullmatch(path, request.path):
            return method
    raise AssertionError(f"Google knows no {request.method} {request.path}")


def check_query(method: dict[str, Any], params: dict[str, Any]) -> None:
    """Known parameters, of their type, repeated only where that is allowed."""
    own = method.get("parameters", {})
    known = DOCUMENT["parameters"] | {name: given for name, given in own.items() if given["location"] == "query"}
    for name, given in params.items():
        assert name in known, f"{method['id']} has no parameter {name}"
        assert known[name].get("repeated") or not isinstance(given, (list, tuple))
        for value in given if isinstance(given, (list, tuple)) else [given]:
            assert type(value) is {"string": str, "integer": int, "boolean": bool}[known[name]["type"]], name
            assert value in known[name].get("enum", [value])
            assert int(known[name].get("minimum", 0)) <= (value if type(value) is int else 1)


def check_value(value: Any, schema: dict[str, Any], where: str) -> None:
    """Known fields of their types, all the way down; null takes a field away."""
    if "$ref" in schema:
        schema = DOCUMENT["schemas"][schema["$ref"]]
    kind = schema["type"]
    if value is None:
        return
    if kind == "object":
        assert isinstance(value, dict), where
        for name, inner in value.items():
            own = schema.get("properties", {}).get(name) or schema.get("additionalProperties")
            assert own, f"{where} has no field {name}"
            check_value(inner, own, f"{where}.{name}")
    elif kind == "array":
        assert isinstance(value, list), where
        for inner in value:
            check_value(inner, schema["items"], f"{where}[]")
    else:
        assert type(value) is {"string": str, "integer": int, "boolean": bool}[kind], f"{where} is {value!r}"


def test_every_request_is_one_that_google_describes(asked: list[Asked]) -> None:
    called = set()
    for request in asked:
        method = described(request)
        called.add(method["id"])
        check_query(method, request.params)
        if request.body is not None:
            check_value(request.body, method["request"], method["id"])
    assert called == {
        "calendar.calendarList.list", "calendar.calendarList.watch", "calendar.events.list", "calendar.events.get",
        "calendar.events.insert", "calendar.events.patch", "calendar.events.delete", "calendar.events.watch",
        "calendar.channels.stop",
    }  # fmt: skip
