"""Only what is documented can be written (reference reliability S3): each writing route of the API refuses, by name,
every column of every table of ours and what else a stranger would try, and changes nothing; one that takes no body
keeps nothing of it.

The routes come from the matrix of `test_tenancy`, where a new one must be declared, and the names from the models.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import pytest
from django.apps import apps
from django.db import connection as database

from calendar_sync.serializers.writing import SHOWN_ONLY
from core.api.serializers import camel
from tests.test_openapi import operation_of, schema
from tests.test_tenancy import PROTECTED, call, ids_of
from tests.world import People, fingerprint, tables, tried

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("people", "configured", "mailboxes_stay")]

GUESSES = {
    "__class__", "__proto__", "admin", "constructor", "created_by_id", "credentials", "is_admin", "is_owner", "owner",
    "owner_id", "password", "permissions", "pk", "role", "scopes", "superuser", "token", "user_id", "workspace_id",
}  # fmt: skip
MARK = "surplus-4f1c"
SAID_FIRST = {
    "POST /api/email/send": 409,  # no site email provider
    "POST /api/integrations/<integration_id>/actions/<action>": 404,  # a webhook has none
}
"""What is said before the body is looked at."""
PASSED_OVER = {"PUT /api/v1/integrations/calendar/events/<event_id>": SHOWN_ONLY}
"""What GET shows and nobody can write may come back with the whole, and changes nothing."""


@cache
def names() -> frozenset[str]:
    """Of columns, as they are stored and as the wire would spell them, and guessed ones."""
    columns = {
        name
        for model in apps.get_models()
        if model.__module__.split(".")[0] in {config.label for config in apps.get_app_configs()}
        for field in model._meta.concrete_fields
        for name in (field.name, field.attname)
    }
    return frozenset({*columns, *map(camel, columns), *GUESSES, *map(camel, GUESSES)})


def body_of(name: str) -> Mapping[str, Any] | None:
    """The schema of the route's JSON body; None where it takes none."""
    content = operation_of(name).get("requestBody", {}).get("content", {})
    return content.get("application/json", {}).get("schema") if content else None


def properties(node: Mapping[str, Any]) -> set[str]:
    if "$ref" in node:
        node = schema()["components"]["schemas"][node["$ref"].rsplit("/", 1)[1]]
    own = set(node.get("properties", {}))
    return own.union(*(properties(part) for key in ("allOf", "oneOf", "anyOf") for part in node.get(key, ())))


def rows_with(word: str) -> list[str]:
    """The tables that hold it."""
    with database.cursor() as cursor:
        found = []
        for table in tables():
            cursor.execute(f'SELECT 1 FROM "{table}" AS row WHERE row::text LIKE %s LIMIT 1', [f"%{word}%"])
            found += [table] if cursor.fetchone() else []
    return found


WRITING = [name for name in PROTECTED if name.split(" ")[0] in ("POST", "PUT", "PATCH")]
WITH_A_BODY = [name for name in WRITING if body_of(name) is not None]
WITHOUT = [name for name in WRITING if "requestBody" not in operation_of(name)]


def test_names_are_those_of_our_tables() -> None:
    assert {"refresh_fence", "refreshFence", "is_superuser", "isSuperuser", "workspaceId"} <= names()


def test_every_writing_route_is_tried_but_the_one_that_takes_a_file() -> None:
    left = set(WRITING) - {*WITH_A_BODY, *WITHOUT}
    assert left == {"POST /api/v1/integrations/email/import/<connection_id>"}


@pytest.mark.parametrize("name", WITH_A_BODY)
def test_route_refuses_every_name_that_is_not_its_own_and_changes_nothing(people: People, name: str) -> None:
    owner = people.worlds["owner"]
    surplus = dict.fromkeys(names() - properties(body_of(name) or {}), MARK)
    before = fingerprint()
    response = call(owner.actor.client, name, ids_of(name, owner), surplus)
    assert response.status_code == SAID_FIRST.get(name, 400), response.content
    if name not in SAID_FIRST:
        named = set(response.json()["error"]["fields"]) | PASSED_OVER.get(name, frozenset())
        assert set(surplus) - named == set()
    assert fingerprint() == before


@pytest.mark.parametrize("name", WITHOUT)
def test_route_that_takes_no_body_keeps_nothing_of_one(people: People, name: str) -> None:
    owner = people.worlds["owner"]
    with tried():
        call(owner.actor.client, name, ids_of(name, owner), dict.fromkeys(names(), MARK))
        assert rows_with(owner.mark), "the search finds what is there"
        assert rows_with(MARK) == []
