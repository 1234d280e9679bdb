"""Cross-origin calls of the API from the pages that CORS_ALLOWED_ORIGINS names.

The API takes Bearer tokens only, so no credentials of the browser are ever allowed (Fetch standard, CORS protocol).
"""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.cache import patch_vary_headers

METHODS = "GET, POST, PUT, PATCH, DELETE"
REQUEST_HEADERS = "Authorization, Content-Type, Idempotency-Key, If-Match, X-Request-Id"
RESPONSE_HEADERS = "X-Request-Id, Retry-After, Idempotency-Replayed, ETag"


class CorsMiddleware:
    """Answers preflights and marks answers for allowed origins."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not settings.CORS_ALLOWED_ORIGINS or not request.path.startswith("/api/"):
            return self.get_response(request)
        preflight = request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
        response = HttpResponse(status=204) if preflight else self.get_response(request)
        patch_vary_headers(response, ["Origin"])
        origin = request.headers.get("Origin", "")
        if origin in settings.CORS_ALLOWED_ORIGINS:
            self._allow(response, origin, preflight)
        return response

    def _allow(self, response: HttpResponse, origin: str, preflight: bool) -> None:
        response["Access-Control-Allow-Origin"] = origin
        response["Access-Control-Expose-Headers"] = RESPONSE_HEADERS
        if preflight:
            response["Access-Control-Allow-Methods"] = METHODS
            response["Access-Control-Allow-Headers"] = REQUEST_HEADERS
            response["Access-Control-Max-Age"] = "600"
