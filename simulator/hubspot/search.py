"""Search: filters joined by `and` in groups joined by `or`, one sort, at most 200 a page and 10,000 in all, behind the
truth by a settable lag."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from simulator.hubspot.access import VENDOR, Access, Call, error
from simulator.hubspot.objects import ROOT
from simulator.hubspot.portal import CrmObject
from simulator.hubspot.properties import exists
from simulator.routing import Router
from simulator.state import World
from simulator.wire import Response, json_response

MAX_PAGE, MAX_GROUPS, MAX_FILTERS, MAX_BODY = 200, 5, 6, 3000
DATES = {"createdate", "hs_createdate", "lastmodifieddate", "hs_lastmodifieddate"}


def register(router: Router, world: World) -> None:
    router.add("POST", f"{ROOT}/search", VENDOR, "hubspot.objects.search", Access(world, "read", search, search=True))


def search(call: Call) -> Response:
    if len(call.request.body) > MAX_BODY:
        raise error(400, "VALIDATION_ERROR", f"Request body is too large, the limit is {MAX_BODY} characters")
    body = call.body()
    limit, after = int(body.get("limit") or 10), int(body.get("after") or 0)
    if not 1 <= limit <= MAX_PAGE:
        raise error(400, "VALIDATION_ERROR", f"Invalid limit {limit}: must be between 1 and {MAX_PAGE}")
    if after + limit > call.portal.settings.search_cap:
        words = f"Search results are limited to {call.portal.settings.search_cap}; 'after' may not go beyond it"
        raise error(400, "VALIDATION_ERROR", words)
    found = _sorted(call, _matching(call, body.get("filterGroups") or []), body.get("sorts") or [])
    page = found[after : after + limit]
    shown = [_as_indexed(call, item).show([str(name) for name in body.get("properties") or []]) for item in page]
    answer: dict[str, Any] = {"total": len(found), "results": shown}
    if after + limit < len(found):
        answer["paging"] = {"next": {"after": str(after + limit)}}
    return json_response(answer)


def _as_indexed(call: Call, item: CrmObject) -> CrmObject:
    """The object as search knows it: as it was before a change that is too young."""
    if call.world.now() - item.updated >= call.portal.settings.search_lag_seconds or not item.indexed_at:
        return item
    return CrmObject(item.kind, item.id, item.indexed, item.created, item.indexed_at)


def _matching(call: Call, groups: list[dict[str, Any]]) -> list[CrmObject]:
    if len(groups) > MAX_GROUPS or any(len(group.get("filters", [])) > MAX_FILTERS for group in groups):
        raise error(400, "VALIDATION_ERROR", "Too many filters")
    for group in groups:
        for item in group.get("filters", []):
            if not exists(call, call.kind, str(item.get("propertyName"))):
                raise error(400, "VALIDATION_ERROR", f"Property {item.get('propertyName')} does not exist")
    lag, now = call.portal.settings.search_lag_seconds, call.world.now()
    seen = [item for item in call.portal.living(call.kind) if now - item.created >= lag]
    if not groups:
        return seen
    return [
        item
        for item in seen
        if any(all(_fits(_as_indexed(call, item), rule) for rule in group.get("filters", [])) for group in groups)
    ]


def _fits(item: CrmObject, rule: dict[str, Any]) -> bool:
    name, operator = str(rule["propertyName"]), rule.get("operator")
    own = item.value(name)
    if operator in ("HAS_PROPERTY", "NOT_HAS_PROPERTY"):
        return (own is not None) == (operator == "HAS_PROPERTY")
    if own is None:
        return False
    left, right = comparable(name, own), comparable(name, str(rule.get("value")))
    if operator == "BETWEEN":
        return right <= left <= comparable(name, str(rule.get("highValue")))
    tests = {"EQ": left == right, "NEQ": left != right, "GT": left > right, "GTE": left >= right}
    tests |= {"LT": left < right, "LTE": left <= right}
    if operator not in tests:
        raise error(400, "VALIDATION_ERROR", f"Invalid operator {operator}")
    return tests[operator]


def comparable(name: str, value: str) -> float:
    """Dates in milliseconds, ids as numbers; other values by their text are all equal or not, so a hash will do."""
    if name in DATES and not value.isdigit():
        return round(datetime.fromisoformat(value).timestamp() * 1000)
    return float(value) if value.isdigit() else float(hash(value.lower()))


def _sorted(call: Call, found: list[CrmObject], sorts: list[Any]) -> list[CrmObject]:
    if not sorts:
        return found
    rule = sorts[0] if isinstance(sorts[0], dict) else {"propertyName": sorts[0]}
    name = str(rule.get("propertyName"))
    ordered = sorted(found, key=lambda item: comparable(name, _as_indexed(call, item).value(name) or "0"))
    return ordered[::-1] if rule.get("direction") == "DESCENDING" else ordered
