"""The stand-in against Google's own description of the Calendar API, as it ships inside google-api-python-client."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import pytest

from simulator.google_calendar import HANDLERS
from simulator.google_calendar.methods import METHODS
from simulator.tests.test_google_calendar import EVENTS, CalendarApi, ada, event

__all__ = ["ada"]
DOCUMENT: dict[str, Any] = json.loads(
    files("googleapiclient.discovery_cache").joinpath("documents/calendar.v3.json").read_text()
)


def described(operation: str) -> dict[str, Any]:
    """The vendor's description of `calendar.events.get`."""
    _, resource, name = operation.split(".")
    method: dict[str, Any] = DOCUMENT["resources"][resource]["methods"][name]
    return method


def check_schema(value: Any, schema: dict[str, Any], where: str) -> None:
    """Every key is in the schema and has its type."""
    if "$ref" in schema:
        schema = DOCUMENT["schemas"][schema["$ref"]]
    kind = schema.get("type", "object")
    if kind == "object":
        assert isinstance(value, dict), where
        for key, item in value.items():
            assert key in schema["properties"], f"{where}.{key}"
            check_schema(item, schema["properties"][key], f"{where}.{key}")
    elif kind == "array":
        assert isinstance(value, list), where
        for item in value:
            check_schema(item, schema["items"], f"{where}[]")
    else:
        types = {"string": str, "integer": int, "boolean": bool}
        assert type(value) is types[kind], f"{where} is {value!r}"


def check(operation: str, value: Any) -> None:
    check_schema(value, described(operation)["response"], operation)


def test_methods_and_handlers_are_the_same_set() -> None:
    assert set(METHODS) == set(HANDLERS)


@pytest.mark.parametrize("operation", sorted(METHODS))
def test_method_path_verb_scopes_and_parameters_are_the_vendors(operation: str) -> None:
    ours, theirs = METHODS[operation], described(operation)
    assert ours.path == f"{DOCUMENT['basePath']}{theirs['path']}"
    assert ours.http == theirs["httpMethod"]
    assert set(ours.scopes) == set(theirs["scopes"])
    assert ours.parameters <= set(theirs.get("parameters", {})) | set(DOCUMENT["parameters"])


def test_answers_fit_the_vendors_schemas(ada: CalendarApi) -> None:
    people = {"attendees": [{"email": "bob@else.example"}, {"email": ada.email}]}
    conference = {"conferenceData": {"createRequest": {"requestId": "one"}}}
    series = ada.add({"recurrence": ["RRULE:FREQ=DAILY;COUNT=3"], **people, **conference}, conferenceDataVersion=1)
    check("calendar.events.insert", series)
    changed = f"{EVENTS}/{series['id']}_20260328T130000Z"
    check("calendar.events.patch", ada.call("PATCH", changed, json={"summary": "Late"}).json)
    check("calendar.events.update", ada.call("PUT", changed, json=event(summary="Later")).json)
    ada.call("DELETE", f"{EVENTS}/{series['id']}_20260329T130000Z")
    check("calendar.events.list", ada.get(EVENTS))
    check("calendar.events.get", ada.get(changed))
    check("calendar.events.instances", ada.get(f"{EVENTS}/{series['id']}/instances", showDeleted="true"))
    check("calendar.calendarList.list", ada.get("/users/me/calendarList"))
    check("calendar.calendarList.get", ada.get("/users/me/calendarList/primary"))
    ada.truth("POST", "/calendars", {"id": "home@group.calendar.google.com"})
    moved = ada.call("POST", f"{EVENTS}/{series['id']}/move?destination=home%40group.calendar.google.com").json
    check("calendar.events.move", moved)
    channel = {"id": "one", "type": "web_hook", "address": "https://hub.example/hook", "token": "secret"}
    check("calendar.events.watch", ada.call("POST", f"{EVENTS}/watch", json=channel).json)
    listed = ada.call("POST", "/users/me/calendarList/watch", json=channel | {"id": "two"}).json
    check("calendar.calendarList.watch", listed)
