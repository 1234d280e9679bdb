"""GET /domains and /templates: newest first, paged by the id of the last row, `has_more` says whether to go on."""

from __future__ import annotations

from typing import Any

from simulator.resend.access import Call, invalid, refusal
from simulator.resend.state import Domain, Team, Template

MAX_LIMIT = 100
USUAL_LIMIT = 20


def domains(call: Call) -> dict[str, Any]:
    return _page(call, call.team.domains)


def templates(call: Call) -> dict[str, Any]:
    """Drafts too, although only published ones can be sent."""
    return _page(call, call.team.templates)


def template(call: Call) -> dict[str, Any]:
    found = find_template(call.team, call.request.params["id"])
    if found is None:
        raise refusal(404, "not_found", "Template not found")
    return found.describe()


def find_template(team: Team, name: str) -> Template | None:
    """By id or by alias."""
    return next((item for item in team.templates if name in (item.id, item.alias)), None)


def _page(call: Call, found: list[Domain] | list[Template]) -> dict[str, Any]:
    limit = _limit(call)
    rows: list[Domain | Template] = sorted(found, key=lambda item: item.created_at, reverse=True)
    after, before = call.request.argument("after"), call.request.argument("before")
    if after and before:
        raise invalid("You can only use one of `after` and `before`.")
    if after:
        rows = rows[_place(rows, after) + 1 :]
        page, more = rows[:limit], len(rows) > limit
    elif before:
        rows = rows[: _place(rows, before)]
        page, more = rows[-limit:], len(rows) > limit
    else:
        page, more = rows[:limit], len(rows) > limit
    return {"object": "list", "has_more": more, "data": [item.show() for item in page]}


def _limit(call: Call) -> int:
    text = call.request.argument("limit", str(USUAL_LIMIT))
    if not text.isdigit() or not 1 <= int(text) <= MAX_LIMIT:
        raise invalid("The `limit` must be between 1 and 100.")
    return int(text)


def _place(rows: list[Any], identity: str) -> int:
    place = next((index for index, row in enumerate(rows) if row.id == identity), None)
    if place is None:
        raise invalid("The pagination cursor is not an id of this list.")
    return place
