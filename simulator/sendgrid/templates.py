"""GET /v3/templates: pages by a token inside `_metadata.next`, and legacy templates unless told otherwise."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from simulator.sendgrid.access import Call, refusal

GENERATIONS = {"legacy", "dynamic"}
MAX_PAGE = 200


def listing(call: Call) -> dict[str, Any]:
    size = _page_size(call)
    generations = call.request.argument("generations", "legacy")
    wanted = set(generations.split(","))
    if not wanted or wanted - GENERATIONS:
        raise refusal(400, ("generations must be legacy, dynamic or both", "generations"))
    rows = sorted(
        (item for item in call.account.templates if item.generation in wanted),
        key=lambda item: item.updated_at, reverse=True,
    )  # fmt: skip
    start = _place(call)
    metadata: dict[str, Any] = {"self": _link(call, generations, size, start), "count": len(rows)}
    if start + size < len(rows):
        metadata["next"] = _link(call, generations, size, start + size)
    if start:
        metadata["prev"] = _link(call, generations, size, max(0, start - size))
    return {"result": [item.show() for item in rows[start : start + size]], "_metadata": metadata}


def _page_size(call: Call) -> int:
    text = call.request.argument("page_size")
    if not text.isdigit() or not 1 <= int(text) <= MAX_PAGE:
        raise refusal(400, ("page_size is required and must be between 1 and 200", "page_size"))
    return int(text)


def _place(call: Call) -> int:
    token = call.request.argument("page_token")
    if not token:
        return 0
    try:
        return int(bytes.fromhex(token).removeprefix(b"row "))
    except ValueError as error:
        raise refusal(400, ("page_token is not valid", "page_token")) from error


def _link(call: Call, generations: str, size: int, start: int) -> str:
    """The vendor's own address, whatever address it was asked at."""
    query = {"generations": generations, "page_size": size, "page_token": f"row {start}".encode().hex()}
    return f"https://api.sendgrid.com/v3/templates?{urlencode(query)}"
