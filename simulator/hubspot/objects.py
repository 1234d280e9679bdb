"""Account details, and objects one by one: listed, read, created, changed, archived."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from simulator.hubspot.access import VENDOR, Access, Call, error
from simulator.hubspot.portal import CrmObject
from simulator.hubspot.properties import read
from simulator.routing import Router
from simulator.state import World
from simulator.wire import Response, json_response

ROOT = "/crm/v3/objects/{kind}"
MAX_LIST = 100
EMAIL_TO_CONTACT = 198


def register(router: Router, world: World) -> None:
    calls: tuple[tuple[str, str, str, str, Callable[[Call], Response]], ...] = (
        ("GET", "/account-info/v3/details", "account.details", "", details),
        ("GET", ROOT, "objects.list", "read", listed),
        ("POST", ROOT, "objects.create", "write", create),
        ("GET", f"{ROOT}/{{id}}", "objects.get", "read", get),
        ("PATCH", f"{ROOT}/{{id}}", "objects.update", "write", update),
        ("DELETE", f"{ROOT}/{{id}}", "objects.archive", "write", archive),
    )
    for method, path, operation, verb, handler in calls:
        router.add(method, path, VENDOR, f"hubspot.{operation}", Access(world, verb, handler))


def details(call: Call) -> Response:
    return json_response(
        {
            "portalId": call.portal.portal_id,
            "accountType": "STANDARD",
            "timeZone": call.portal.time_zone,
            "companyCurrency": "USD",
            "additionalCurrencies": [],
            "utcOffset": "-05:00",
            "utcOffsetMilliseconds": -18_000_000,
            "uiDomain": "app.hubspot.com",
            "dataHostingLocation": "na1",
        }
    )


def wanted_of(call: Call) -> list[str]:
    return [name for given in call.request.query.get("properties", []) for name in given.split(",") if name]


def listed(call: Call) -> Response:
    """In the order of ids; `after` is where to go on. Archived ones are a list of their own."""
    limit = call.request.argument("limit", "10")
    if not limit.isdigit() or not 1 <= int(limit) <= MAX_LIST:
        raise error(400, "VALIDATION_ERROR", f"Invalid limit {limit}: must be between 1 and {MAX_LIST}")
    found = call.portal.living(call.kind, archived=call.request.argument("archived") == "true")
    after = call.request.argument("after")
    rest = [item for item in found if not after or int(item.id) >= int(after)]
    page = rest[: int(limit)]
    answer: dict[str, Any] = {"results": [item.show(wanted_of(call)) for item in page]}
    if len(rest) > len(page):
        after = rest[len(page)].id
        answer["paging"] = {
            "next": {"after": after, "link": f"https://api.hubapi.com{call.request.path}?after={after}"}
        }
    return json_response(answer)


def find(call: Call, identity: str) -> CrmObject | None:
    """By id, or by `idProperty` (a contact's address, any of them)."""
    if call.request.argument("idProperty") == "email" and call.kind == "contacts":
        identity = call.portal.by_address.get(identity.lower(), "")
    found = call.portal.objects[call.kind].get(identity)
    return found if found is not None and found.archived_at is None else None


def _existing(call: Call) -> CrmObject:
    found = find(call, call.request.params["id"])
    if found is None:
        raise error(404, "OBJECT_NOT_FOUND", "resource not found")
    return found


def get(call: Call) -> Response:
    return json_response(_existing(call).show(wanted_of(call)))


def create(call: Call) -> Response:
    body = call.body()
    properties = read(call, call.kind, body.get("properties", {}))
    if call.kind == "emails":
        return _log(call, properties, body.get("associations") or [])
    refuse_taken(call, properties, None)
    made = call.portal.add(call.kind, properties, call.world.now())
    call.request.effect = {"kind": f"{call.kind}.created", "id": made.id, "properties": properties}
    return json_response(made.show(sorted(properties)), 201)


def _log(call: Call, properties: dict[str, str], associations: list[dict[str, Any]]) -> Response:
    """An email engagement, hung on contacts by the association type that is defined for it."""
    if not properties.get("hs_timestamp"):
        raise error(400, "VALIDATION_ERROR", "Some required properties were not set. hs_timestamp is required.")
    for item in associations:
        kinds = [kind.get("associationTypeId") for kind in item.get("types", [])]
        contact = call.portal.objects["contacts"].get(str(item.get("to", {}).get("id")))
        if kinds != [EMAIL_TO_CONTACT] or contact is None or contact.archived_at is not None:
            raise error(400, "VALIDATION_ERROR", f"Some associations are invalid: {item.get('to')}")
    made = call.portal.add("emails", properties, call.world.now())
    made.associations = associations
    contacts = [str(item["to"]["id"]) for item in associations]
    call.request.effect = {"kind": "emails.created", "id": made.id, "contacts": contacts, "properties": properties}
    return json_response(made.show(sorted(properties)), 201)


def refuse_taken(call: Call, properties: dict[str, str], own: CrmObject | None) -> None:
    """409 where another contact has the address already."""
    holder = call.portal.by_address.get(properties.get("email", "").lower())
    if call.kind == "contacts" and holder and (own is None or holder != own.id):
        raise error(409, "CONFLICT", f"Contact already exists. Existing ID: {holder}")


def update(call: Call) -> Response:
    found = _existing(call)
    properties = read(call, call.kind, call.body().get("properties", {}))
    refuse_taken(call, properties, found)
    call.portal.change(found, properties, call.world.now())
    call.request.effect = {"kind": f"{call.kind}.updated", "id": found.id, "properties": properties}
    return json_response(found.show(sorted(properties)))


def archive(call: Call) -> Response:
    found = find(call, call.request.params["id"])
    if found is not None:
        call.portal.archive(found, call.world.now())
        call.request.effect = {"kind": f"{call.kind}.archived", "id": found.id}
    return Response(204)
