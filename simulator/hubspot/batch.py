"""Batches: read and upsert up to a hundred objects; an upsert may succeed in part (207)."""

from __future__ import annotations

import json
from typing import Any

from simulator.errors import Refusal
from simulator.hubspot.access import VENDOR, Access, Call, error
from simulator.hubspot.objects import ROOT, refuse_taken
from simulator.hubspot.portal import CrmObject, iso
from simulator.hubspot.properties import read
from simulator.routing import Router
from simulator.state import World
from simulator.wire import Response, json_response

MAX_INPUTS = 100


def register(router: Router, world: World) -> None:
    router.add("POST", f"{ROOT}/batch/upsert", VENDOR, "hubspot.objects.upsert", Access(world, "write", upsert))
    router.add("POST", f"{ROOT}/batch/read", VENDOR, "hubspot.objects.batch_read", Access(world, "read", batch_read))


def upsert(call: Call) -> Response:
    """By a contact's address or by id. An input that is refused is told in `errors`; one alone too."""
    results, errors, created, updated = [], [], [], []
    checked = [(item, read(call, call.kind, item.get("properties", {}))) for item in _inputs(call)]
    for item, properties in checked:
        try:
            found = _target(call, item)
            refuse_taken(call, properties, found)
        except Refusal as refusal:
            errors.append(_said(refusal, item))
            continue
        if found is None:
            own = {"email": str(item["id"])} if item.get("idProperty") == "email" else {}
            found = call.portal.add(call.kind, own | properties, call.world.now())
            created.append(found.id)
        else:
            call.portal.change(found, properties, call.world.now())
            updated.append(found.id)
        results.append(found.show(sorted(properties)) | {"new": found.id in created})
    call.request.effect = {"kind": f"{call.kind}.upserted", "created": created, "updated": updated}
    return _answer(call, results, errors)


def _said(refusal: Refusal, item: dict[str, Any]) -> dict[str, Any]:
    """An error of a batch: as the single call would say it, and which input it is about."""
    body = json.loads(refusal.response.body)
    told = {"status": "error", "category": body["category"], "message": body["message"]}
    return told | {"context": {"id": [str(item.get("id"))]}}


def _target(call: Call, item: dict[str, Any]) -> CrmObject | None:
    if item.get("idProperty") != "email":
        return call.portal.objects[call.kind].get(str(item.get("id")))
    address = str(item.get("id")).lower()
    holder = call.portal.by_address.get(address)
    if holder is None:
        return None
    found = call.portal.objects[call.kind][holder]
    if found.properties.get("email", "").lower() != address and not call.portal.settings.upsert_follows_additional:
        raise error(409, "CONFLICT", f"Contact already exists. Existing ID: {holder}")
    return found


def batch_read(call: Call) -> Response:
    body = call.body()
    wanted = [str(name) for name in body.get("properties") or []]
    results, errors = [], []
    for item in _inputs(call):
        identity = str(item.get("id"))
        if body.get("idProperty") == "email":
            identity = call.portal.by_address.get(identity.lower(), "")
        found = call.portal.objects[call.kind].get(identity)
        if found is None or found.archived_at is not None:
            words = "Could not get some " + call.kind.upper() + " objects, they may be deleted or not exist."
            errors.append({"status": "error", "category": "OBJECT_NOT_FOUND", "message": words})
        else:
            results.append(found.show(wanted))
    return _answer(call, results, errors)


def _inputs(call: Call) -> list[dict[str, Any]]:
    inputs = call.body().get("inputs")
    if not isinstance(inputs, list) or not 1 <= len(inputs) <= MAX_INPUTS:
        raise error(400, "VALIDATION_ERROR", f"inputs must have between 1 and {MAX_INPUTS} objects")
    return inputs


def _answer(call: Call, results: list[dict[str, Any]], errors: list[dict[str, Any]]) -> Response:
    when = iso(call.world.now())
    body: dict[str, Any] = {"status": "COMPLETE", "results": results, "startedAt": when, "completedAt": when}
    if errors:
        return json_response(body | {"numErrors": len(errors), "errors": errors}, 207)
    return json_response(body)
