"""Graph's batch form: up to 20 calls in one JSON request, each with an answer and a status of its own.

https://learn.microsoft.com/en-us/graph/json-batching: answers come in any order and are matched by id; 200 outside says
nothing about the parts; each part is throttled and counted on its own. Graph runs four parts at a time, as many as a
mailbox takes (https://learn.microsoft.com/en-us/answers/questions/1660054), so nothing may be under way beside it.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from core.errors import ProviderUnavailable
from core.http import Response
from integrations.providers.graph.answers import Json, child, number, objects, text

PATH = "/$batch"
MAX_CALLS = 20
AT_ONCE = 4
"""Parts that Graph runs side by side."""
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]*={0,2}")


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a batch. `path` is below /v1.0, with its query."""

    path: str
    method: str = "GET"
    body: Json | None = None


def packed(calls: Sequence[Call], headers: Mapping[str, str]) -> Json:
    """The calls as a request body; a batch's own headers do not hold for its parts."""
    return {"requests": [_packed(place, call, headers) for place, call in enumerate(calls)]}


def _packed(place: int, call: Call, headers: Mapping[str, str]) -> Json:
    request: dict[str, object] = {"id": str(place), "method": call.method, "url": call.path}
    if call.body is None:
        return request | {"headers": dict(headers)}
    return request | {"headers": {**headers, "Content-Type": "application/json"}, "body": call.body}


def unpacked(answer: Response, count: int) -> list[Response | None]:
    """The answers in the order of the calls; None for one that is missing or cannot be read.

    ProviderUnavailable where the whole is no batch answer.
    """
    answers: list[Response | None] = [None] * count
    for part in objects(answer.json_object(), "responses"):
        place = text(part, "id")
        if place.isdecimal() and int(place) < count:
            answers[int(place)] = _response(answer, part)
    if count and not any(answers):
        raise ProviderUnavailable("Microsoft answered a batch with something that is not a batch.")
    return answers


def _response(outer: Response, part: Json) -> Response | None:
    """The HTTP answer inside a part."""
    status = number(part, "status")
    if status is None:
        return None
    headers = outer.headers.copy()
    headers.clear()
    for name, value in child(part, "headers").items():
        if isinstance(value, str):
            headers[name] = value
    return replace(outer, status=status, headers=headers, content=_content(part.get("body")))


def _content(body: object) -> bytes:
    """JSON stays JSON. Anything else comes as text: base64, or the characters themselves where its type is text/*
    (OData JSON 4.01, 19.2). A mail's header has a colon, which base64 has not."""
    if not isinstance(body, str):
        return b"" if body is None else json.dumps(body).encode()
    compact = "".join(body.split())
    if not _BASE64.fullmatch(compact):
        return body.encode("utf-8", "replace")
    try:
        plain = compact.rstrip("=").replace("-", "+").replace("_", "/")
        return base64.b64decode(plain + "=" * (-len(plain) % 4))
    except (binascii.Error, ValueError):
        return body.encode("utf-8", "replace")
