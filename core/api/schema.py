"""OpenAPI: what holds for every operation and is written once: the error shape, the statuses an operation may answer.

`describe_errors` is listed in SPECTACULAR_SETTINGS["POSTPROCESSING_HOOKS"], `OperationSchema` is DRF's
DEFAULT_SCHEMA_CLASS. Names are camelCase already, because the serializers' fields are; the Bearer scheme is declared
beside the authentication class (`workspaces.authentication`). Promised: a refusal that a view's words name by its
status ("409 `not_ready` until it is done") stands among its answers.
"""

from __future__ import annotations

import re
from typing import Any

from drf_spectacular.openapi import AutoSchema

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
NAMED = {
    "401": "Not who it must be.",
    "403": "Not allowed to the caller.",
    "404": "There is no such thing.",
    "409": "The state of things does not allow this.",
    "413": "Too large.",
    "422": "Understood and refused, in the provider's words where it was the provider.",
    "502": "The provider failed.",
}
"""Refusals that an operation's words may name, and what each means everywhere (CONTRACT 3)."""
_IN_WORDS = re.compile(rf"\b({'|'.join(NAMED)})\b")


class OperationSchema(AutoSchema):
    """Adds the refusals that follow from what a view declares: its roles and the types of its bodies."""

    def get_operation(self, *args: Any, **kwargs: Any) -> Any:
        """With 403 where not every role may, and 415 where not every body is taken."""
        operation = super().get_operation(*args, **kwargs)
        if not operation:
            return operation
        roles = [words for permission in self.view.get_permissions() if (words := getattr(permission, "only_for", ""))]
        if roles:
            operation["responses"].setdefault("403", _response(f"Only for {roles[0]}.", {}))
        if "requestBody" in operation and "*/*" not in {parser.media_type for parser in self.view.parser_classes}:
            operation["responses"].setdefault("415", _response("The body is of another type than these.", {}))
        return operation


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
    if operation.get("requestBody"):
        found.append(("413", "The body is too large.", {}))
    if any(parameter.get("name") == "Idempotency-Key" for parameter in parameters):
        words = f"{NAMED['409']} Also `idempotency_key_reused`, `idempotency_in_progress`."
        found.append(("409", words, {}))
    if operation.get("security"):
        found.append(("401", "No valid token.", CHALLENGE))
        found.append(("429", "Too many requests.", WAIT))
    if any(parameter.get("in") == "path" for parameter in parameters):
        found.append(("404", "There is no such thing, or it is not the caller's.", {}))
    found += [(status, NAMED[status], {}) for status in _IN_WORDS.findall(operation.get("description", ""))]
    return [*found, ("503", "The database or a limit says wait.", WAIT), ("default", "Any other error.", {})]


def _response(text: str, headers: dict[str, Any]) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {"description": text, "content": content} | ({"headers": headers} if headers else {})
