"""Nobody sees what is not theirs (reference reliability S1, S2, S12): every route of the API.

The routes come from the URL resolver, so a new one without a row in `EXPECT` fails by its name. Each is called by
everybody with everybody's ids: a foreign id must answer byte for byte what an unknown one does, and no refused call may
change a row.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any
from urllib.parse import urlencode

import pytest
from django.http import HttpResponseBase
from django.urls import URLPattern, URLResolver, get_resolver
from drf_spectacular.generators import SchemaGenerator
from rest_framework.test import APIClient
from rest_framework.views import APIView

from core.ids import uuid7
from tests.world import People, World, fingerprint, tried
from workspaces.models import Role

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("people", "configured", "mailboxes_stay")]

EVERYBODY = frozenset(Role.values)
CONSOLE = frozenset({Role.OWNER, Role.ADMIN})
OWNERS = frozenset({Role.OWNER})
METHODS = ("get", "post", "put", "patch", "delete")

ROWS_OF = {
    "connection_id": "connection",
    "email_id": "message",
    "thread_id": "thread",
    "attachment_id": "attachment",
    "submission_id": "submission",
    "export_id": "export",
    "log_export_id": "log_export",
    "import_id": "imported",
    "draft_id": "draft",
    "member_id": "membership",
    "token_id": "token",
    "match_id": "match",
    "integration_id": "integration",
    "delivery_id": "delivery",
    "calendar_id": "calendar",
    "event_id": "event",
    "suppression_id": "suppression",
    "table_id": "log_table",
    "row_id": "log_entry",
    "erasure_id": "erasure",
    "document_id": "document",
    "copy_id": "copy",
}
"""Path parameter → the row of a `World` it names."""
FIXED = {"provider": "google", "action": "ping", "entity_type": "contact", "entity_id": "42", "link": "nobodys"}
"""Path parameters that name no row."""
NOT_OURS = {"entityId", "messageId", "templateId"}
"""Ids of the product that embeds the hub, of mails and of vendors' templates: any text is one, and the answer is about
the caller's own only."""


OF_THE_WORKSPACE = {"document"}
"""Rows that a whole workspace may name, wherever."""
REFUSED = {"document": 422}
"""What naming a foreign row answers where it is not 404: a document is no part of the address, the mail is refused."""


@dataclass(frozen=True)
class Expect:
    """Who may call a route, and what a rightful call answers."""

    status: int
    roles: frozenset[str] = EVERYBODY
    body: Any = None
    query: Mapping[str, str] = field(default_factory=dict)
    references: Mapping[str, str] = field(default_factory=dict)
    """Fields of the body or the query that name a row: field → row of a `World`. Dotted where it lies in a list of the
    body: "attachments.0.documentId"."""
    refused: Mapping[str, int] = field(default_factory=lambda: REFUSED)
    """What naming a foreign row of a kind answers where it is not 404. 409: nothing sends mail there, which is said
    first."""
    shared: bool = False
    """The row belongs to the workspace, not to one user: those with the role may have anybody's."""
    others: frozenset[str] = EVERYBODY
    """Of a shared row: the roles that may have a colleague's; others only what they made themselves, else 403."""
    fixed: Mapping[str, str] = field(default_factory=lambda: FIXED)


@dataclass(frozen=True)
class Open:
    """No token needed; what it answers without one."""

    status: int


MAIL = {"to": ["bob@example.com"], "subject": "Hello", "body": "Hello"}
NOBODYS = {"ids": [str(uuid7())], "action": "read"}
ENCLOSED = {"attachments.0.documentId": "document"}
MAIL_REFERENCES = {"integrationId": "integration", **ENCLOSED}
DRAFT_REFERENCES = {"connectionId": "connection", "replyToId": "message", **ENCLOSED}
SEND_REFERENCES = {**DRAFT_REFERENCES, "forwardOfId": "message"}
LOGIN = {"host": "mail.example.org", "password": "pass"}
IMAP = {"email": "new@example.org", "imap": LOGIN, "smtp": LOGIN}
ENTITY = {"entityType": "contact", "entityId": "42"}
DOCUMENT = {"fileName": "contract.pdf", "contentType": "application/pdf", "entityType": "account", "entityId": 1}
MATCH = {"emailAddress": "new@example.org", "entityType": "contact", "entityId": 42}
HOOK = {
    "name": "New",
    "type": "WEBHOOK",
    "config": {"url": "https://198.45.48.1/"},
    "credentials": {"secret": "a secret of a webhook"},
}
NEW_EVENT = {"title": "New", "start": "2026-02-01T09:00:00Z", "end": "2026-02-01T10:00:00Z"}
YEAR = {"start": "2026-01-01T00:00:00Z", "end": "2027-01-01T00:00:00Z"}
SPAN = {"from": "2026-01-01T00:00:00Z", "to": "2100-01-01T00:00:00Z"}
V1 = "/api/v1/integrations"
ALL = "/api/integrations"

EXPECT: dict[str, Expect | Open] = {
    "GET /api/docs": Open(200),
    "GET /api/schema": Open(200),
    "GET /api/members": Expect(200, CONSOLE),
    "POST /api/members": Expect(201, CONSOLE, {"email": "new@example.org", "role": "MEMBER"}),
    "PATCH /api/members/<member_id>": Expect(200, CONSOLE, {"role": "MEMBER"}, shared=True),
    "DELETE /api/members/<member_id>": Expect(204, CONSOLE, shared=True),
    "GET /api/tokens": Expect(200),
    "POST /api/tokens": Expect(201, body={"name": "New"}),
    "DELETE /api/tokens/<token_id>": Expect(204),
    "GET /api/audit": Expect(200, OWNERS, shared=True),
    "POST /api/email/send": Expect(
        409, CONSOLE, MAIL, references=MAIL_REFERENCES, refused={"document": 409}, shared=True
    ),
    f"GET {ALL}": Expect(200, shared=True),
    f"POST {ALL}": Expect(201, CONSOLE, HOOK),
    f"GET {ALL}/stats": Expect(200),
    f"GET {ALL}/types": Expect(200),
    f"GET {ALL}/email-provider-a/templates": Expect(409),
    f"GET {ALL}/email-provider-b/templates": Expect(409),
    f"GET {ALL}/<integration_id>": Expect(200, CONSOLE, shared=True),
    f"PATCH {ALL}/<integration_id>": Expect(200, CONSOLE, {"name": "Other"}, shared=True),
    f"DELETE {ALL}/<integration_id>": Expect(204, CONSOLE, shared=True),
    f"POST {ALL}/<integration_id>/test": Expect(200, CONSOLE, shared=True),
    f"POST {ALL}/<integration_id>/actions/<action>": Expect(404, CONSOLE, {}, shared=True),  # it has no actions
    f"GET {ALL}/<integration_id>/deliveries": Expect(200, CONSOLE, shared=True),
    f"POST {ALL}/<integration_id>/deliveries/replay": Expect(202, CONSOLE, SPAN, shared=True),
    f"POST {ALL}/<integration_id>/deliveries/<delivery_id>/replay": Expect(202, CONSOLE, shared=True),
    "GET /api/tables/stats": Expect(200, shared=True),
    "POST /api/tables/integration/init": Expect(200, CONSOLE, shared=True),
    "GET /api/tables": Expect(200, shared=True),
    "GET /api/tables/<table_id>": Expect(200, shared=True),
    "GET /api/tables/<table_id>/rows": Expect(200, shared=True),
    "GET /api/tables/<table_id>/rows/<row_id>": Expect(200, shared=True),
    "GET /api/tables/<table_id>/export": Expect(200, CONSOLE, shared=True),
    "GET /api/tables/<table_id>/exports": Expect(200, CONSOLE, shared=True),
    "POST /api/tables/<table_id>/exports": Expect(201, CONSOLE, {"format": "csv"}, shared=True),
    "GET /api/tables/<table_id>/exports/<log_export_id>": Expect(200, CONSOLE, shared=True),
    "DELETE /api/tables/<table_id>/exports/<log_export_id>": Expect(204, CONSOLE, shared=True),
    "GET /api/tables/<table_id>/exports/<log_export_id>/content": Expect(200, CONSOLE, shared=True),
    "GET /api/personal-data": Expect(200, OWNERS, query={"address": "ada@example.org"}),
    "POST /api/personal-data/erase": Expect(200, OWNERS, {"address": "ada@example.org"}),
    "GET /api/personal-data/erasures/<erasure_id>": Expect(200, OWNERS, shared=True),
    "POST /api/hooks/<provider>/<integration_id>": Open(401),
    "GET /api/suppressions": Expect(200, shared=True),
    "POST /api/suppressions": Expect(201, CONSOLE, {"address": "new@example.org"}),
    "DELETE /api/suppressions/<suppression_id>": Expect(204, CONSOLE, shared=True),
    f"GET {V1}/oauth/providers": Expect(200),
    f"GET {V1}/oauth/<provider>/authorize": Expect(302, references={"connectionId": "connection"}),
    f"GET {V1}/oauth/<provider>/callback": Open(400),
    f"DELETE {V1}/oauth/<provider>": Expect(204, references={"connectionId": "connection"}, fixed={"provider": "imap"}),
    f"GET {V1}/connections": Expect(200),
    f"POST {V1}/connections/imap": Expect(201, body=IMAP),
    f"GET {V1}/connections/imap/servers": Expect(200, query={"email": "ada@icloud.com"}),
    f"PATCH {V1}/connections/<connection_id>": Expect(200, body={"visibility": "full"}),
    f"GET {V1}/connections/<connection_id>/status": Expect(200),
    f"GET {V1}/connections/<connection_id>/purge": Expect(200),
    f"POST {V1}/connections/<connection_id>/sync": Expect(202, body={"type": "email"}),
    f"POST {V1}/connections/<connection_id>/refresh": Expect(422),  # a password needs no refresh
    f"GET {V1}/email/match": Expect(200, shared=True),
    f"POST {V1}/email/match": Expect(201, body=MATCH),
    f"DELETE {V1}/email/match/<match_id>": Expect(204, shared=True, others=CONSOLE),
    f"GET {V1}/email/inbox": Expect(200, references={"connectionId": "connection"}),
    f"GET {V1}/email/folders/counts": Expect(200),
    f"POST {V1}/email/bulk": Expect(200, body=NOBODYS),  # somebody's are in email_sync/tests/test_bulk_changes.py
    f"POST {V1}/email/send": Expect(201, body=MAIL, references=SEND_REFERENCES),
    f"GET {V1}/email/stream": Expect(200),
    f"POST {V1}/email/sync": Expect(202),
    f"POST {V1}/email/export/<connection_id>": Expect(201),
    f"GET {V1}/email/exports": Expect(200),
    f"GET {V1}/email/exports/<export_id>": Expect(200),
    f"DELETE {V1}/email/exports/<export_id>": Expect(204),
    f"GET {V1}/email/exports/<export_id>/file": Expect(200),
    f"POST {V1}/email/import/<connection_id>": Expect(201, body={"Subject": "any bytes are a mail"}),
    f"GET {V1}/email/imports": Expect(200),
    f"GET {V1}/email/imports/<import_id>": Expect(200),
    f"DELETE {V1}/email/imports/<import_id>": Expect(204),
    f"GET {V1}/email/trace": Expect(200, query={"messageId": "any@contract.test"}),
    f"POST {V1}/email/push/<provider>": Open(401),
    f"POST {V1}/email/push/<provider>/lifecycle": Open(404),
    f"GET {V1}/email/scope/<connection_id>": Expect(200),
    f"PATCH {V1}/email/scope/<connection_id>": Expect(200, body={"blocklist": ["spam.example"]}),
    f"POST {V1}/email/scope/<connection_id>/preview": Expect(200, body={"metadataOnly": True}),
    f"GET {V1}/email/thread/<thread_id>": Expect(200),
    f"POST {V1}/email/thread/<thread_id>/links": Expect(201, body=ENTITY),
    f"DELETE {V1}/email/thread/<thread_id>/links": Expect(204, query=ENTITY),
    f"GET {V1}/email/threads/<entity_type>/<entity_id>": Expect(200),
    f"GET {V1}/email/submissions": Expect(200, references={"connectionId": "connection"}),
    f"GET {V1}/email/submissions/<submission_id>": Expect(200),
    f"DELETE {V1}/email/submissions/<submission_id>": Expect(409),  # it has left
    f"GET {V1}/email/drafts": Expect(200),
    f"POST {V1}/email/drafts": Expect(201, body={"subject": "Hello"}, references=DRAFT_REFERENCES),
    f"GET {V1}/email/drafts/<draft_id>": Expect(200),
    f"PATCH {V1}/email/drafts/<draft_id>": Expect(200, body={"subject": "Hello"}, references=ENCLOSED),
    f"DELETE {V1}/email/drafts/<draft_id>": Expect(204),
    f"POST {V1}/email/drafts/<draft_id>/send": Expect(201, body={}),
    f"GET {V1}/email/aliases": Expect(200),
    f"PUT {V1}/email/aliases/<connection_id>": Expect(422, body={"aliases": []}),  # its provider names them
    f"GET {V1}/email/<email_id>": Expect(200),
    f"PATCH {V1}/email/<email_id>/read": Expect(200, body={"read": True}),
    f"POST {V1}/email/<email_id>/read": Expect(200, body={"read": True}),
    f"PATCH {V1}/email/<email_id>/star": Expect(200, body={"starred": True}),
    f"POST {V1}/email/<email_id>/star": Expect(200, body={}),
    f"PATCH {V1}/email/<email_id>/archive": Expect(200, body={"archived": True}),
    f"POST {V1}/email/<email_id>/archive": Expect(200, body={}),
    f"GET {V1}/email/<email_id>/attachments/<attachment_id>": Expect(200),
    f"POST {V1}/email/<email_id>/attachments/<attachment_id>/save": Expect(201, body=ENTITY),
    f"GET {V1}/calendar/events": Expect(200, query=YEAR, references={"calendarId": "calendar"}),
    f"POST {V1}/calendar/events": Expect(
        201, body=NEW_EVENT, references={"calendarId": "calendar", "connectionId": "connection"}
    ),
    f"GET {V1}/calendar/events/<event_id>": Expect(200),
    f"PATCH {V1}/calendar/events/<event_id>": Expect(  # the provider has none of it
        404, body={"title": "Other"}, references={"calendarId": "calendar"}
    ),
    f"PUT {V1}/calendar/events/<event_id>": Expect(404, body={"title": "Other"}, references={"calendarId": "calendar"}),
    f"DELETE {V1}/calendar/events/<event_id>": Expect(204),
    f"POST {V1}/calendar/events/<event_id>/rsvp": Expect(422, body={"response": "accepted"}),  # nobody invited them
    f"GET {V1}/calendar/events/<event_id>.ics": Expect(200),
    f"GET {V1}/calendar/events/entity/<entity_type>/<entity_id>": Expect(200),
    f"POST {V1}/calendar/events/<event_id>/entities": Expect(201, body=ENTITY),
    f"DELETE {V1}/calendar/events/<event_id>/entities": Expect(204, query=ENTITY),
    f"GET {V1}/calendar/feed": Expect(200),
    f"POST {V1}/calendar/feed": Expect(201, body={"showsPrivate": True}),
    f"DELETE {V1}/calendar/feed": Expect(204),
    f"GET {V1}/calendar/feeds/<token>.ics": Open(404),
    f"GET {V1}/calendar/freebusy": Expect(200, query=YEAR, references={"calendarId": "calendar"}),
    f"GET {V1}/calendar/slots": Expect(200, query={**YEAR, "duration": "30"}),
    f"GET {V1}/calendar/calendars": Expect(200),
    f"PATCH {V1}/calendar/calendars/<calendar_id>": Expect(200, body={"selected": False}),
    f"POST {V1}/calendar/sync": Expect(202),
    f"POST {V1}/calendar/push/<provider>": Open(204),
    f"POST {V1}/calendar/push/<provider>/lifecycle": Open(404),
    f"GET {V1}/documents": Expect(200, shared=True),
    f"GET {V1}/documents/config": Expect(200),
    f"GET {V1}/documents/copies/<copy_id>": Expect(200, shared=True),
    f"POST {V1}/documents/upload": Expect(201, body=DOCUMENT),
    f"GET {V1}/documents/content/<link>": Open(403),
    f"PUT {V1}/documents/content/<link>": Open(403),
    f"GET {V1}/documents/preview/<link>": Open(403),
    f"GET {V1}/documents/entity/<entity_type>/<entity_id>": Expect(200, shared=True),
    f"GET {V1}/documents/<document_id>": Expect(200, shared=True),
    f"DELETE {V1}/documents/<document_id>": Expect(204, shared=True, others=CONSOLE),
    f"GET {V1}/documents/<document_id>/parts": Expect(409, shared=True),  # nothing more is to be sent
    f"POST {V1}/documents/<document_id>/confirm": Expect(200, shared=True),
    f"GET {V1}/documents/<document_id>/download": Expect(200, shared=True),
    f"GET {V1}/documents/<document_id>/preview": Expect(422, shared=True),  # it is plain text
    f"POST {V1}/documents/<document_id>/archive": Expect(200, body={"archived": True}, shared=True),
    f"PATCH {V1}/documents/<document_id>/archive": Expect(200, body={}, shared=True),
}

OUTSIDE_THE_API = {"/", "/admin", "/favicon.ico", "/healthz", "/readyz", "/metrics"}
"""Pages that are no API views; none takes an id or shows a row of anybody. The console has tests of its own
(`test_console_tenancy`)."""


# --- routes -------------------------------------------------------------------------------------------------------


def patterns(resolver: URLResolver, prefix: str = "/") -> Iterator[tuple[str, URLPattern]]:
    """Every address with its pattern, converters left out: `/api/tokens/<token_id>`. Not the console's."""
    for entry in resolver.url_patterns:
        address = prefix + re.sub(r"<\w+:(\w+)>", r"<\1>", str(entry.pattern))
        if isinstance(entry, URLResolver):
            if entry.app_name != "admin":
                yield from patterns(entry, address)
        else:
            yield address, entry


def routes() -> dict[str, type[APIView]]:
    """`GET /api/tokens` → the view."""
    found = {}
    for address, pattern in patterns(get_resolver()):
        view = getattr(pattern.callback, "cls", None)
        if view is not None and issubclass(view, APIView):
            found |= {f"{method.upper()} {address}": view for method in METHODS if hasattr(view, method)}
    return found


ROUTES = routes()
PROTECTED = {name: row for name, row in EXPECT.items() if isinstance(row, Expect)}
WITH_IDS = [name for name in PROTECTED if set(re.findall(r"<(\w+)>", name)) & set(ROWS_OF)]
WITH_REFERENCES = [(name, reference) for name, row in PROTECTED.items() for reference in row.references]


def test_every_route_has_a_declared_expectation() -> None:
    assert sorted(set(ROUTES) - set(EXPECT)) == []


def test_no_expectation_is_left_of_a_route_that_is_gone() -> None:
    assert sorted(set(EXPECT) - set(ROUTES)) == []


def test_every_page_outside_the_api_is_known() -> None:
    others = {address for address, pattern in patterns(get_resolver()) if not hasattr(pattern.callback, "cls")}
    assert others == OUTSIDE_THE_API


def test_every_id_a_request_may_carry_is_declared_as_a_reference() -> None:
    """From the OpenAPI schema: parameters and body fields that end in `Id`."""
    schema = SchemaGenerator().get_schema(request=None, public=True)
    undeclared: list[str] = []
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            name = f"{method.upper()} {path.replace('{', '<').replace('}', '>')}"
            row = EXPECT[re.sub(r"<(\w+)>", lambda m: f"<{_snake(m[1])}>", name)]
            declared = {name.split(".")[-1] for name in row.references} if isinstance(row, Expect) else set()
            undeclared += [f"{name}: {field}" for field in _id_fields(schema, operation) - declared - NOT_OURS]
    assert undeclared == []


def _snake(name: str) -> str:
    return re.sub(r"([A-Z])", lambda m: "_" + m[1].lower(), name)


def _id_fields(schema: Mapping[str, Any], operation: Mapping[str, Any]) -> set[str]:
    names = {item["name"] for item in operation.get("parameters", []) if item["in"] == "query"}
    for content in operation.get("requestBody", {}).get("content", {}).values():
        names |= _properties(schema, content["schema"])
    return {name for name in names if re.search(r"(^id|Ids?)$", name)}


def _properties(schema: Mapping[str, Any], node: Mapping[str, Any]) -> set[str]:
    if "$ref" in node:
        node = schema["components"]["schemas"][node["$ref"].rsplit("/", 1)[1]]
    names = set(node.get("properties", {}))
    inner = [*node.get("properties", {}).values(), *node.get("allOf", [])]
    inner += [node["items"]] if "items" in node else []
    return names.union(*(_properties(schema, child) for child in inner))


# --- the people ---------------------------------------------------------------------------------------------------


def named(reference: str, identity: object) -> dict[str, Any]:
    """A body or a query that names this row in this field."""
    outer, _, inner = reference.partition(".0.")
    return {outer: [named(inner, identity)]} if inner else {outer: str(identity)}


def address_of(name: str, ids: Mapping[str, str]) -> str:
    """The route's, with these path parameters."""
    address, row = name.split(" ")[1], PROTECTED.get(name)
    for parameter, value in {**(row.fixed if row else FIXED), **ids}.items():
        address = address.replace(f"<{parameter}>", value)
    return address


def call(client: APIClient, name: str, ids: Mapping[str, str], extra: Mapping[str, Any] | None = None) -> Any:
    """The route with these path parameters; `extra` goes into the body or, without one, the query."""
    method, address = name.split(" ")[0], address_of(name, ids)
    row = PROTECTED.get(name)
    if method in ("GET", "DELETE"):
        query = {**(row.query if row else {}), **(extra or {})}
        return getattr(client, method.lower())(address, query_params=query)
    body = row.body if row else None
    if extra:
        body = {**(body or {}), **extra}
    return getattr(client, method.lower())(address, body)


def parameters(name: str) -> list[str]:
    """The path parameters that name rows."""
    return [parameter for parameter in re.findall(r"<(\w+)>", name) if parameter in ROWS_OF]


def ids_of(name: str, *worlds: World) -> dict[str, str]:
    """The route's path parameters; several worlds give one each."""
    every = list(worlds) * 2
    return {
        parameter: str(getattr(world, ROWS_OF[parameter]).pk)
        for parameter, world in zip(parameters(name), every, strict=False)
    }


def unknown_ids(name: str) -> dict[str, str]:
    return {parameter: str(uuid7()) for parameter in parameters(name)}


def seen(response: HttpResponseBase) -> tuple[int, dict[str, str], bytes]:
    """All that a caller learns, without the request's id."""
    headers = {key: value for key, value in response.headers.items() if key != "X-Request-Id"}
    content = getattr(response, "content", b"")
    request_id = response.headers.get("X-Request-Id", "").encode()
    assert request_id, "every answer carries X-Request-Id"
    return response.status_code, headers, content.replace(request_id, b"")


# --- the matrix ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PROTECTED)
def test_route_without_a_good_token_is_401_and_changes_nothing(people: People, name: str) -> None:
    before = fingerprint()
    for who, client in people.strangers.items():
        for ids in (ids_of(name, people.worlds["member"]), unknown_ids(name)):
            response = call(client, name, ids)
            assert response.status_code == 401, who
            assert response.headers["WWW-Authenticate"].startswith("Bearer"), who
            assert set(response.json()["error"]) == {"code", "message", "requestId"}, who
    assert fingerprint() == before


@pytest.mark.parametrize("name", [name for name, row in EXPECT.items() if isinstance(row, Open)])
def test_open_route_answers_without_a_token_and_shows_nothing_of_anybody(people: People, name: str) -> None:
    before = fingerprint()
    response = call(APIClient(), name, {})
    assert response.status_code == EXPECT[name].status
    assert b"mark-of" not in response.content
    assert fingerprint() == before


@pytest.mark.parametrize("name", WITH_IDS)
def test_route_with_a_foreign_id_answers_exactly_as_with_an_unknown_one(people: People, name: str) -> None:
    row = PROTECTED[name]
    before = fingerprint()
    for who, mine in people.worlds.items():
        client, role = mine.actor.client, mine.actor.role
        unknown = seen(call(client, name, unknown_ids(name)))
        assert unknown[0] == (404 if role in row.roles else 403), who
        for other, foreign in {**people.others(who), "spare": people.spare}.items():
            if row.shared and role in row.roles and foreign.actor.workspace == mine.actor.workspace:
                if role not in row.others:
                    assert call(client, name, ids_of(name, foreign)).status_code == 403, f"{who} with {other}'s"
                continue  # a rightful call: the next test
            for mixed in product((mine, foreign), repeat=len(parameters(name))):
                if foreign in mixed:
                    assert seen(call(client, name, ids_of(name, *mixed))) == unknown, f"{who} with {other}'s"
        for malformed in ("7", "null", "a" * 300, "%2e%2e", "00000000-0000-0000-0000-00000000000g"):
            ids = dict.fromkeys(parameters(name), malformed)
            assert seen(call(client, name, ids)) == unknown, malformed
    assert fingerprint() == before


@pytest.mark.parametrize(("name", "reference"), WITH_REFERENCES)
def test_request_that_names_a_foreign_row_answers_exactly_as_with_an_unknown_one(
    people: People, name: str, reference: str
) -> None:
    row = PROTECTED[name]
    kind = row.references[reference]
    before = fingerprint()
    for who, mine in people.worlds.items():
        client, ids = mine.actor.client, ids_of(name, mine)
        unknown = seen(call(client, name, ids, named(reference, uuid7())))
        assert unknown[0] == (row.refused.get(kind, 404) if mine.actor.role in row.roles else 403), who
        for other, foreign in people.others(who).items():
            shared = row.shared or kind in OF_THE_WORKSPACE
            if shared and foreign.actor.workspace == mine.actor.workspace:
                continue
            answer = seen(call(client, name, ids, named(reference, getattr(foreign, kind).pk)))
            assert answer == unknown, f"{who} with {other}'s"
    assert fingerprint() == before


@pytest.mark.parametrize("name", PROTECTED)
def test_route_answers_each_role_as_declared_and_shows_nobody_elses_rows(people: People, name: str) -> None:
    row = PROTECTED[name]
    for who, mine in people.worlds.items():
        rightful = mine.actor.role in row.roles
        target = mine
        if row.shared and parameters(name):
            if mine.actor.workspace != people.spare.actor.workspace:
                continue  # nobody but the caller is there; the rule of the last owner is tested elsewhere
            target = people.spare if mine.actor.role in row.others else mine
        before = fingerprint()
        with tried():
            response = call(mine.actor.client, name, ids_of(name, target))
            assert response.status_code == (row.status if rightful else 403), (who, response.content)
            if not rightful:
                assert fingerprint() == before
            text = b"".join(response) if response.streaming else response.content
        colleagues = set(mine.actor.workspace.memberships.values_list("user__email", flat=True))
        for other, foreign in people.others(who).items():
            if row.shared and foreign.actor.workspace == mine.actor.workspace:
                continue
            leaked = [word for word in (foreign.mark, *foreign.ids()) if word.encode() in text]
            assert leaked == [], f"{who} is shown {other}'s"
            if foreign.actor.workspace != mine.actor.workspace:
                assert f"trail-{foreign.actor.workspace.pk}".encode() not in text, f"{who} is shown {other}'s trail"
                if foreign.actor.user.email not in colleagues:
                    assert foreign.actor.user.email.encode() not in text, f"{who} is shown {other}"


@pytest.mark.parametrize(
    ("path", "word"),
    [
        (f"{V1}/connections", "mark-of-{who}-"),
        (f"{V1}/email/inbox", "mark-of-{who}-"),
        (f"{V1}/calendar/calendars", "mark-of-{who}-"),
        (f"{V1}/calendar/events?start=2026-01-01T00:00:00Z&end=2027-01-01T00:00:00Z", "mark-of-{who}-"),
        ("/api/tokens", "mark-of-{who}-"),
        ("/api/audit", "trail-{workspace}"),
    ],
)
def test_list_shows_its_caller_their_own(people: People, path: str, word: str) -> None:
    """Else the test above would be content with empty lists."""
    for who in ("owner", "outsider"):
        actor = people.worlds[who].actor
        assert word.format(who=who, workspace=actor.workspace.pk) in actor.client.get(path).content.decode()


WITHOUT_HEAD = {f"{V1}/oauth/<provider>/authorize"}
"""Its GET begins something; whoever only looks ahead must not."""


@pytest.mark.parametrize("address", sorted({name.split(" ")[1] for name in PROTECTED}))
def test_address_asked_with_other_methods_tells_nothing(people: People, address: str) -> None:
    """HEAD as GET without a body; OPTIONS the same for every id; a method that is not there 405, for every id."""
    offered = {name.split(" ")[0] for name in EXPECT if name.split(" ")[1] == address}
    has_head = "GET" in offered and address not in WITHOUT_HEAD
    mine, foreign = people.worlds["outsider"], people.worlds["member"]
    client = mine.actor.client
    before = fingerprint()
    sample = f"GET {address}"
    for method in ("HEAD", "OPTIONS", "TRACE", *{"GET", "POST", "PUT", "PATCH", "DELETE"} - offered):
        answers = []
        for ids in (ids_of(sample, foreign), unknown_ids(sample))[: 2 if parameters(sample) else 1]:
            path = address
            for parameter, value in {**FIXED, **ids}.items():
                path = path.replace(f"<{parameter}>", value)
            if needed := getattr(EXPECT.get(sample), "query", {}):
                path = f"{path}?{urlencode(needed)}"
            assert people.strangers["anonymous"].generic(method, path).status_code == 401
            answers.append(seen(client.generic(method, path)))
        assert answers[0] == answers[-1], method
        status, headers, content = answers[0]
        if method == "OPTIONS":
            assert status == 200
            assert set(headers["Allow"].split(", ")) == {*offered, "OPTIONS", *(("HEAD",) if has_head else ())}
        elif method == "HEAD" and has_head:
            assert content == b""
            assert status in (200, 403, 404, PROTECTED[sample].status)
        else:
            assert status == 405, method
    assert fingerprint() == before


def test_role_that_is_lowered_counts_from_the_next_request(people: People) -> None:
    owner = people.worlds["owner"].actor
    assert owner.client.get("/api/audit").status_code == 200
    type(owner.membership).objects.filter(pk=owner.membership.pk).update(role=Role.MEMBER)
    assert owner.client.get("/api/audit").status_code == 403
