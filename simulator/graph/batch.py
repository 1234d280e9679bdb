"""POST /v1.0/$batch: up to 20 requests as JSON, answered in no particular order, each with its own status, headers and
throttling. 200 outside says nothing about the parts."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from simulator.errors import graph_error
from simulator.graph.access import bad_request, caller
from simulator.state import World
from simulator.wire import Request, Response, json_response

MAX_CALLS = 20

Perform = Callable[[Request], Response]


class Batch:
    def __init__(self, world: World, perform: Perform) -> None:
        self.world, self.perform = world, perform

    def __call__(self, request: Request) -> Response:
        _, account = caller(self.world, request)
        parts = _parts(request)
        done: dict[str, int] = {}
        answers = []
        for part in parts:
            answer = self._answer(part, request, done)
            done[str(part["id"])] = answer["status"]
            answers.append(answer)
        if account.exchange is not None:
            account.exchange.random.shuffle(answers)
        return json_response({"responses": answers})

    def _answer(self, part: dict[str, Any], outer: Request, done: dict[str, int]) -> dict[str, Any]:
        needs = [done.get(str(name), 0) for name in part.get("dependsOn") or []]
        if any(not 200 <= status < 300 for status in needs):
            error = {"code": "FailedDependency", "message": "A request that this one depends on has failed."}
            return {"id": part["id"], "status": 424, "headers": {}, "body": {"error": error}}
        response = self.perform(_request_of(part, outer))
        return {"id": part["id"], "status": response.status} | _shown(response)


def _parts(request: Request) -> list[dict[str, Any]]:
    try:
        parts = request.json().get("requests")
    except ValueError as error:
        raise bad_request("Invalid batch payload format.") from error
    if not isinstance(parts, list) or not parts or not all(isinstance(part, dict) for part in parts):
        raise bad_request("Invalid batch payload format.")
    if len(parts) > MAX_CALLS:
        raise bad_request(
            f"Number of batch request steps exceeds the maximum value of {MAX_CALLS}.", "MaximumValueExceeded"
        )
    ids = [str(part.get("id") or "") for part in parts]
    if "" in ids or len(set(ids)) != len(ids):
        raise bad_request("Every batch step needs an id of its own.")
    if any(not part.get("method") or not str(part.get("url") or "").startswith("/") for part in parts):
        raise bad_request("Every batch step needs a method and a relative url.")
    return parts


def _request_of(part: dict[str, Any], outer: Request) -> Request:
    """The inner request: only the token and the host are inherited, Prefer is not."""
    headers = {str(name).lower(): str(value) for name, value in (part.get("headers") or {}).items()}
    headers.setdefault("authorization", outer.headers.get("authorization", ""))
    headers["host"] = outer.headers.get("host", "")
    body = part.get("body")
    if body is not None and "content-type" not in headers:
        raise graph_error(400, "BadRequest", "A batch step with a body needs a Content-Type header.")
    content = body.encode() if isinstance(body, str) else b"" if body is None else json.dumps(body).encode()
    url = urlsplit(str(part["url"]))
    target = "/v1.0" + url.path + (f"?{url.query.replace(' ', '%20')}" if url.query else "")
    return Request(str(part["method"]).upper(), target, headers, content, batch=True)


def _shown(response: Response) -> dict[str, Any]:
    """JSON as JSON, everything else as base64."""
    headers = dict(response.headers)
    if not response.body:
        return {"headers": headers}
    headers["Content-Type"] = response.content_type
    if response.content_type.startswith("application/json"):
        return {"headers": headers, "body": json.loads(response.body)}
    return {"headers": headers, "body": base64.b64encode(response.body).decode()}
