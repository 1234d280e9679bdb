"""The schema tells the truth (reference reliability S3): what each route really answers has the documented shape, no
field more and none less."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import pytest
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema
from jsonschema import Draft202012Validator, FormatChecker

from tests.test_tenancy import EVERYBODY, EXPECT, PROTECTED, call, ids_of, unknown_ids
from tests.world import People, World, tried

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("people", "configured", "mailboxes_stay")]

JSON = "application/json"
ANYWHERE = frozenset({405, 406})
"""Refusals that no operation lists."""


@cache
def schema() -> dict[str, Any]:
    """As `/api/schema` gives it."""
    made: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)
    return made


@cache
def operations() -> dict[str, dict[str, Any]]:
    """`GET /api/tokens` → the operation; parameters by their place, since the schema may name them otherwise."""
    return {
        _nameless(f"{method.upper()} {path.replace('{', '<').replace('}', '>')}"): operation
        for path, methods in schema()["paths"].items()
        for method, operation in methods.items()
    }


def _nameless(route: str) -> str:
    return re.sub(r"<\w+>", "<>", route)


def operation_of(name: str) -> dict[str, Any]:
    """What the schema says of a route of the matrix."""
    return operations()[_nameless(name)]


def problems(name: str, status: int, body: Any) -> list[str]:
    """What about this answer the schema does not say."""
    responses = operations()[_nameless(name)]["responses"]
    documented = responses.get(str(status)) or (responses.get("default") if status in ANYWHERE else None)
    if documented is None:
        return [f"{status} is not documented"]
    content = documented.get("content", {})
    if JSON not in content:
        return [] if body is None else [f"a JSON body for {status} is not documented"]
    closed = {**_closed(content[JSON]["schema"]), "components": _components()}
    validator = Draft202012Validator(closed, format_checker=FormatChecker())
    return [f"{error.json_path}: {error.message[:300]}" for error in validator.iter_errors(body)]


@cache
def _components() -> Any:
    return _closed(schema()["components"])


def _closed(node: Any) -> Any:
    """The same schema, in which an object has no property but those it names."""
    if isinstance(node, list):
        return [_closed(item) for item in node]
    if not isinstance(node, Mapping):
        return node
    closed = {key: _closed(value) for key, value in node.items()}
    if "properties" in closed and "allOf" not in closed and "additionalProperties" not in closed:
        closed["additionalProperties"] = False
    return closed


def _json(response: Any) -> Any:
    """None for what is no JSON. Read to its end: an export holds a transaction until then, and another test must not
    see it end."""
    content = response.getvalue()
    return json.loads(content) if response.headers.get("Content-Type", "").startswith(JSON) and content else None


def test_schema_is_valid_openapi() -> None:
    validate_schema(schema())


def test_checker_sees_a_missing_and_an_unknown_field() -> None:
    name = "GET /api/v1/integrations/email/folders/counts"
    tokens = {"data": [], "pagination": {"page": 1, "limit": 25, "total": 0, "totalPages": 0, "nextCursor": None}}
    assert problems("GET /api/tokens", 200, {"data": []})
    assert problems("GET /api/tokens", 200, {**tokens, "more": 1})
    assert problems(name, 299, {}) == ["299 is not documented"]
    assert problems(name, 404, {"error": "not found"})


def _owned(people: People, name: str) -> tuple[World, World]:
    """Who calls, and whose row."""
    mine = people.worlds["owner"]
    return mine, (people.spare if PROTECTED[name].shared else mine)


@pytest.mark.parametrize("name", PROTECTED)
def test_answer_has_the_documented_shape(people: People, name: str) -> None:
    mine, target = _owned(people, name)
    with tried():
        response = call(mine.actor.client, name, ids_of(name, target))
        body = _json(response)
    assert problems(name, response.status_code, body) == []


@pytest.mark.parametrize("name", PROTECTED)
def test_refusal_has_the_documented_shape(people: People, name: str) -> None:
    """401 without a token, 404 for an unknown id."""
    refused = [call(people.strangers["anonymous"], name, ids_of(name, people.worlds["owner"]))]
    if unknown_ids(name):
        refused.append(call(people.worlds["owner"].actor.client, name, unknown_ids(name)))
    for response in refused:
        assert problems(name, response.status_code, _json(response)) == []


HARMLESS_AGAIN = {"POST /api/v1/integrations/email/import/<>", "POST /api/v1/integrations/documents/<>/confirm"}
"""Mail read as a stream, of which the same stores nothing twice; and what says the same as often as it is asked."""


def test_every_post_that_creates_or_sends_takes_an_idempotency_key() -> None:
    without = {
        name
        for name, operation in operations().items()
        if name.startswith("POST ") and {"201", "202"} & set(operation["responses"]) and operation.get("security")
        if "Idempotency-Key" not in {parameter["name"] for parameter in operation.get("parameters", [])}
    }
    assert without == HARMLESS_AGAIN


def test_every_operation_that_not_all_may_call_lists_403() -> None:
    for name, expected in PROTECTED.items():
        listed = "403" in operations()[_nameless(name)]["responses"]
        assert listed or expected.roles == EVERYBODY, name


def test_every_documented_operation_is_in_the_matrix() -> None:
    assert set(operations()) <= {_nameless(name) for name in EXPECT}
