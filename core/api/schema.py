"""OpenAPI: what holds for every operation and is written once: the error shape, the statuses everybody meets.

`describe_errors` is listed in SPECTACULAR_SETTINGS["POSTPROCESSING_HOOKS"]. Names are camelCase already, because the
serializers' fields are; the Bearer scheme is declared beside the authentication class (`workspaces.authentication`).
"""

from __future__ import annotations

from typing import Any

ERROR: dict[str, Any] = {
    "type": "object",
    "description": "Every error of the API.",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "requestId"],
            "additionalProperties": True,
            "properties": {
                "code": {"type": "string", "description": "A stable word to branch on.", "examples": ["not_found"]},
                "message": {"type": "string", "description": "For people."},
                "fields": {
                    "type": "object",
                    "description": "What is wrong, by the dotted name of the input.",
                    "additionalProperties": {"type": "array", "items": {"type": "string"}},
                },
                "requestId": {"type": "string", "description": "Also in X-Request-Id, and in the log."},
            },
        }
    },
}
WAIT = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}}
CHALLENGE = {"WWW-Authenticate": {"description": "Bearer", "schema": {"type": "string"}}}
METHODS = ("get", "put", "post", "delete", "options", "head", "patch")


def describe_errors(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """Postprocessing hook: adds the Error component and the error answers of each operation."""
    result.setdefault("components", {}).setdefault("schemas", {})["Error"] = ERROR
    for item in result.get("paths", {}).values():
        for method in METHODS:
            if method in item:
                _describe(item[method])
    return result


def _describe(operation: dict[str, Any]) -> None:
    responses = operation.setdefault("responses", {})
    for status, text, headers in _errors(operation):
        responses.setdefault(status, _response(text, headers))


def _errors(operation: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """(status, words, headers) that this operation may answer with."""
    found: list[tuple[str, str, dict[str, Any]]] = []
    parameters = operation.get("parameters", [])
    if operation.get("requestBody") or parameters:
        found.append(("400", "The input is not valid; `fields` says where.", {}))
    if operation.get("security"):
        found.append(("401", "No valid token.", CHALLENGE))
        found.append(("429", "Too many requests.", WAIT))
    if any(parameter.get("in") == "path" for parameter in parameters):
        found.append(("404", "There is no such thing, or it is not the caller's.", {}))
    return [*found, ("503", "The database or a limit says wait.", WAIT), ("default", "Any other error.", {})]


def _response(text: str, headers: dict[str, Any]) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {"description": text, "content": content} | ({"headers": headers} if headers else {})
