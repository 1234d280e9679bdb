"""What every request and answer carries: an id that the log repeats, and the policy of what a browser may do with it.

Listed in settings; `current_request_id` is read by the error shape, the audit trail and the log. Promised: the id is
ours or a sane one of the caller's (a caller cannot write into the log with it), and no answer leaves without a policy.
"""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Callable
from contextvars import ContextVar

from django.http import HttpRequest, HttpResponseBase

GetResponse = Callable[[HttpRequest], HttpResponseBase]

_request_id: ContextVar[str] = ContextVar("request_id", default="")
_SANE_ID = re.compile(r"[A-Za-z0-9._\-]{1,64}")

API_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox"
PAGE_POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
# The console's toolkit evaluates expressions and styles inline (reference ecosystem.md 4.1). No form-action: browsers
# hold it against redirects too, and the connect button leads to the provider's consent page.
CONSOLE_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; object-src 'none'; base-uri 'self'; frame-ancestors 'none'"
)


def current_request_id() -> str:
    """The id of the request this code runs for; empty outside of one."""
    return _request_id.get()


class RequestIdMiddleware:
    """Gives each request an id: `X-Request-Id` as sent where it is sane, else a new one; every answer carries it."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        given = request.headers.get("X-Request-Id", "")
        request_id = given if _SANE_ID.fullmatch(given) else uuid.uuid4().hex
        request.request_id = request_id  # type: ignore[attr-defined]  # Django logs an answer when we have left
        token = _request_id.set(request_id)
        try:
            response = self.get_response(request)
            response["X-Request-Id"] = _request_id.get()
            return response
        finally:
            _request_id.reset(token)


class RequestIdFilter(logging.Filter):
    """Adds `request_id` to every record, `-` outside of a request."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Never drops a record."""
        answered = getattr(getattr(record, "request", None), "request_id", "")
        record.request_id = current_request_id() or answered or "-"
        return True


class ContentSecurityPolicyMiddleware:
    """A policy for every answer that does not bring its own: nothing for data, ourselves for pages, more for /admin."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        response.headers.setdefault("Content-Security-Policy", _policy(request.path, response))
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        response.headers.setdefault("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
        if is_api_path(request.path):
            response.headers.setdefault("Cache-Control", "private, no-store")
        return response


def is_api_path(path: str) -> bool:
    """Does this path promise the API's shapes?"""
    return path == "/api" or path.startswith("/api/")


def _policy(path: str, response: HttpResponseBase) -> str:
    if path.startswith("/admin"):
        return CONSOLE_POLICY
    is_page = response.headers.get("Content-Type", "").startswith("text/html")
    return PAGE_POLICY if is_page else API_POLICY
