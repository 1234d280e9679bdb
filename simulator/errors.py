"""The vendors' error bodies. Handlers raise `Refusal`; `server` turns it into the answer; faults without a body of
their own borrow the vendor's from `typical`. Shapes as in the vendors' documentation and in public bug reports."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from simulator.wire import Response, json_response

GOOGLE_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    412: "FAILED_PRECONDITION",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}
GOOGLE_TYPICAL = {
    400: ("invalidArgument", "Invalid argument."),
    401: ("authError", "Invalid Credentials"),
    403: ("userRateLimitExceeded", "User-rate limit exceeded."),
    404: ("notFound", "Requested entity was not found."),
    429: ("rateLimitExceeded", "Resource has been exhausted (e.g. check quota)."),
    500: ("backendError", "Internal error encountered."),
    503: ("backendError", "The service is currently unavailable."),
}
GRAPH_TYPICAL = {
    401: ("InvalidAuthenticationToken", "Lifetime validation failed, the token is expired."),
    403: ("ErrorAccessDenied", "Access is denied. Check credentials and try again."),
    404: ("ErrorItemNotFound", "The specified object was not found in the store."),
    429: ("ApplicationThrottled", "Application is over its MailboxConcurrency limit."),
    503: ("ServiceUnavailable", "The service is temporarily unavailable."),
}
USAGE_REASONS = {"userRateLimitExceeded", "rateLimitExceeded", "quotaExceeded", "dailyLimitExceeded"}
AADSTS = {
    50011: "The redirect URI specified in the request does not match the redirect URIs configured for the application.",
    50173: "The provided grant has expired due to it being revoked, a fresh auth token is needed.",
    54005: "OAuth2 Authorization code was already redeemed, please retry with a new valid code or use an existing "
    "refresh token.",
    65001: "The user or administrator has not consented to use the application.",
    65004: "User declined to consent to access the app.",
    70000: "Provided grant is invalid or malformed.",
    70003: "The app requested an unsupported grant type.",
    70008: "The provided authorization code or refresh token has expired due to inactivity.",
    70011: "The provided value for the input parameter 'scope' is not valid.",
    90023: "The request is not valid for this tenant.",
    500112: "The reply address does not match the reply address provided when requesting Authorization code.",
    501481: "The Code_Verifier does not match the code_challenge supplied in the authorization request.",
    700016: "Application was not found in the directory.",
    700082: "The refresh token has expired due to inactivity.",
    900144: "The request body must contain a required parameter.",
    7000215: "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, "
    "not the client secret ID.",
    7000218: "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
}


class Refusal(Exception):
    """A handler's refusal, with the answer the vendor would give."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status)
        self.response = response


def google_error(
    status: int,
    message: str,
    reason: str,
    *,
    headline: str = "",
    details: list[dict[str, Any]] | None = None,
    headers: dict[str, str] | None = None,
    parameter: str = "",
) -> Refusal:
    """Google's JSON error. `headline` is the outer message where it differs from the inner one; `parameter` is the one
    at fault."""
    domain = "usageLimits" if reason in USAGE_REASONS else "global"
    error: dict[str, Any] = {
        "code": status,
        "message": headline or message,
        "errors": [{"message": message, "domain": domain, "reason": reason}],
        "status": GOOGLE_STATUS.get(status, "UNKNOWN"),
    }
    if reason == "authError":
        error["errors"][0] |= {"location": "Authorization", "locationType": "header"}
    if parameter:
        error["errors"][0] |= {"location": parameter, "locationType": "parameter"}
    if details:
        error["details"] = details
    return Refusal(json_response({"error": error}, status, headers))


def oauth_error(status: int, error: str, description: str = "") -> Refusal:
    """RFC 6749, 5.2, as Google words it."""
    body = {"error": error}
    if description:
        body["error_description"] = description
    return Refusal(json_response(body, status, {"Cache-Control": "no-store"}))


def graph_error(status: int, code: str, message: str, when: str = "2026-01-01T00:00:00") -> Refusal:
    trace = trace_id(f"{code}{message}")
    inner = {"date": when, "request-id": trace, "client-request-id": trace}
    body = {"error": {"code": code, "message": message, "innerError": inner}}
    headers = {"request-id": trace}
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/"'
    return Refusal(json_response(body, status, headers))


def aad_body(error: str, code: int, when: str, detail: str = "") -> dict[str, Any]:
    """Entra ID's error object; `error_codes` is what a client should decide on."""
    trace = trace_id(f"{error}{code}{when}")
    text = f"AADSTS{code}: {detail or AADSTS[code]} Trace ID: {trace} Correlation ID: {trace} Timestamp: {when}"
    return {
        "error": error,
        "error_description": text,
        "error_codes": [code],
        "timestamp": when,
        "trace_id": trace,
        "correlation_id": trace,
        "error_uri": f"https://login.microsoftonline.com/error?code={code}",
    }


def aad_error(status: int, error: str, code: int, when: str, detail: str = "") -> Refusal:
    return Refusal(json_response(aad_body(error, code, when, detail), status, {"Cache-Control": "no-store"}))


def trace_id(text: str) -> str:
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-4{digest[13:16]}-a{digest[17:20]}-{digest[20:32]}"


TYPICAL: dict[str, Callable[[str, int, str], Response]] = {}
"""Vendor → what it says to (operation, status, reason); for vendors beside Google and Microsoft, whose modules put
themselves here."""


def typical(vendor: str, operation: str, status: int, reason: str = "") -> Response:
    """What this vendor's endpoint usually says with this status; for faults that give no body."""
    if vendor in TYPICAL:
        return TYPICAL[vendor](operation, status, reason)
    if operation.endswith(".token"):
        error = reason or ("invalid_grant" if status == 400 else "temporarily_unavailable")
        if vendor == "microsoft":
            return aad_error(status, error, 70000, "2026-01-01 00:00:00Z").response
        return oauth_error(status, error, "Bad Request" if status == 400 else "").response
    if vendor == "microsoft":
        code, message = GRAPH_TYPICAL.get(status, ("UnknownError", "An unknown error occurred."))
        return graph_error(status, reason or code, message).response
    usual, message = GOOGLE_TYPICAL.get(status, ("backendError", "Backend Error"))
    return google_error(status, message, reason or usual).response
