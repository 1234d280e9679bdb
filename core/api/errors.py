"""The one error shape of the API (CONTRACT 3), whatever went wrong and wherever: `{"error": {code, message, …}}`.

`handle` is DRF's EXCEPTION_HANDLER; `not_found`, `server_error`, `bad_request` and `permission_denied` are Django's
handlers; `ApiErrorMiddleware` catches what neither sees (unknown paths, refused methods, refused hosts). Promised: no
detail of an unexpected failure leaves the log, and `fields` of a HubError are the caller's own (wire) names, as raised.
"""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.core.signals import got_request_exception
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse, UnreadablePostError
from django.views import defaults
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import set_rollback

from core.api.middleware import GetResponse, current_request_id, is_api_path
from core.errors import HubError, ServiceBusy

logger = logging.getLogger("patchbay.api")

DATABASE_RETRY_AFTER = 5.0
NON_FIELD = "nonFieldErrors"
INTERNAL_MESSAGE = "Something failed on our side. The request id finds it in the log."
CODES = {
    400: "bad_request",
    401: "not_authenticated",
    403: "permission_denied",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    413: "too_large",
    415: "unsupported_media_type",
    429: "throttled",
    500: "internal_error",
    503: "unavailable",
}
MESSAGES = {404: "Not found.", 413: "The request is too large.", 500: INTERNAL_MESSAGE, 503: "Try again in a moment."}
Fields = Mapping[str, list[str]]


def handle(error: Exception, context: Mapping[str, Any]) -> Response:
    """DRF's EXCEPTION_HANDLER: every exception of a view as an answer."""
    set_rollback()
    if isinstance(error, HubError):
        return _hub(error)
    if isinstance(error, exceptions.APIException):
        return _framework(error)
    if isinstance(error, Http404):
        return _answer(404)
    if isinstance(error, PermissionDenied):
        return _answer(403)
    if isinstance(error, RequestDataTooBig):
        return _answer(413)
    if isinstance(error, SuspiciousOperation | UnreadablePostError):
        return _answer(400)
    if isinstance(error, OperationalError | InterfaceError):
        logger.warning("The database did not serve a request: %s", type(error).__name__)
        return _hub(ServiceBusy(retry_after=DATABASE_RETRY_AFTER))
    return _unexpected(error, context.get("request"))


def error_body(
    code: str, message: str, fields: Mapping[str, Any] | None = None, extra: Mapping[str, object] | None = None
) -> dict[str, Any]:
    """The shape itself."""
    error: dict[str, Any] = {**(extra or {}), "code": code, "message": message}
    if fields:
        error["fields"] = {name: list(words) for name, words in fields.items()}
    return {"error": {**error, "requestId": current_request_id()}}


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Django's handler400."""
    return _plain(request, 400) or defaults.bad_request(request, exception or Exception())


def permission_denied(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Django's handler403."""
    return _plain(request, 403) or defaults.permission_denied(request, exception or PermissionDenied())


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Django's handler404."""
    return _plain(request, 404) or defaults.page_not_found(request, exception or Http404())


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's handler500; Django itself has logged the traceback. A database that is away is a pause and no error,
    also where a middleware met it before any view."""
    away = isinstance(sys.exc_info()[1], OperationalError | InterfaceError)
    return _plain(request, 503 if away else 500) or defaults.server_error(request)


class ApiErrorMiddleware:
    """Under /api, an error that is not JSON (Django's own pages, also with DEBUG on) gets the one shape."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if is_api_path(request.path) and ("\x00" in request.path or "%00" in request.META.get("QUERY_STRING", "")):
            return _json(400, error_body("bad_request", "NUL cannot be part of a URL."))
        response = self.get_response(request)
        is_json = response.headers.get("Content-Type", "").startswith("application/json")
        is_page = getattr(response, "is_page", False)  # made for people on purpose: the end of a consent flow
        if response.status_code < 400 or is_json or is_page or not is_api_path(request.path):
            return response
        shaped = _json(response.status_code, error_body(*_words(response.status_code)))
        for name in ("Allow", "Retry-After", "WWW-Authenticate", "Set-Cookie", "Vary"):
            if name in response.headers:
                shaped.headers[name] = response.headers[name]
        shaped.cookies = response.cookies
        return shaped


def flatten(detail: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """(dotted path, text) for each leaf of a DRF error detail: `{"imap": {"port": ["…"]}}` → `("imap.port", "…")`."""
    if isinstance(detail, Mapping):
        for name, inner in detail.items():
            own = "" if name in ("non_field_errors", NON_FIELD) else str(name)
            yield from flatten(inner, ".".join(filter(None, (path, own))))
    elif isinstance(detail, list):
        for index, inner in enumerate(detail):
            nested = isinstance(inner, Mapping | list)
            yield from flatten(inner, ".".join(filter(None, (path, str(index)))) if nested else path)
    else:
        yield path or NON_FIELD, str(detail)


def _hub(error: HubError) -> Response:
    if error.status >= 500:
        logger.warning("Answered %s %s: %s", error.status, error.code, error.message)
    retry_after = getattr(error, "retry_after", None)
    body = error_body(error.code, error.message, error.fields, error.extra)
    return Response(body, status=error.status, headers=_headers(error.status, retry_after))


def _framework(error: exceptions.APIException) -> Response:
    """DRF's own errors, with the code they carry where it is not just DRF's word for the status."""
    if isinstance(error, exceptions.ValidationError):
        return _invalid(error)
    if isinstance(error, exceptions.NotAuthenticated | exceptions.AuthenticationFailed):
        status = 401
    else:
        status = error.status_code
    code = getattr(error.detail, "code", None)
    if code in (None, "error", error.default_code):
        code = CODES.get(status, "error")
    message = MESSAGES.get(status, str(error.detail))
    headers = _headers(status, getattr(error, "wait", None), getattr(error, "auth_header", None))
    return Response(error_body(str(code), message), status=status, headers=headers)


def _invalid(error: exceptions.ValidationError) -> Response:
    fields: dict[str, list[str]] = {}
    for path, text in flatten(error.detail):
        fields.setdefault(path, []).append(text)
    general = fields.pop(NON_FIELD, [])
    message = " ".join(general) or "The request is not valid."
    return Response(error_body("validation_error", message, fields), status=400)


def _unexpected(error: Exception, request: Any) -> Response:
    """A bug: the traceback goes to the log, to error reporting and, in tests, to the test."""
    logger.error("Unexpected %s", type(error).__name__, exc_info=error)
    django_request = getattr(request, "_request", request)
    got_request_exception.send(sender=None, request=django_request)
    return _answer(500)


def _answer(status: int) -> Response:
    return Response(error_body(*_words(status)), status=status, headers=_headers(status))


def _words(status: int) -> tuple[str, str]:
    """Code and message of a bare status."""
    return CODES.get(status, "error"), MESSAGES.get(status, f"{HTTPStatus(status).phrase}.")


def _headers(status: int, retry_after: float | None = None, challenge: str | None = None) -> dict[str, str]:
    """What HTTP asks for beside the status (RFC 9110 10.2.3 and 11.6.1)."""
    headers: dict[str, str] = {}
    if status == 401:
        headers["WWW-Authenticate"] = challenge if challenge and challenge.startswith("Bearer") else "Bearer"
    if retry_after is None and status in (429, 503):
        retry_after = DATABASE_RETRY_AFTER
    if retry_after is not None:
        headers["Retry-After"] = str(max(1, math.ceil(retry_after)))
    return headers


def _plain(request: HttpRequest, status: int) -> HttpResponse | None:
    return _json(status, error_body(*_words(status))) if is_api_path(request.path) else None


def _json(status: int, body: Mapping[str, Any]) -> JsonResponse:
    return JsonResponse(body, status=status, headers=_headers(status))
