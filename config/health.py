"""The probes: is the process up, is the product ready, and its figures for Prometheus. No log-in: they tell no content.

`/readyz` names each part and what is wrong with it; figures come from the database, so every process serves the same.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from config.figures import exposition
from core.api.errors import error_body
from workspaces.runtime.readiness import parts


def probe(view: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Reads only. Whoever asks otherwise is a program, so it is told in the API's shape and not by a page."""

    @csrf_exempt  # it would answer first, with its page
    @wraps(view)
    def answered(request: HttpRequest) -> HttpResponse:
        if request.method in ("GET", "HEAD"):
            return view(request)
        body = error_body("method_not_allowed", f"Method {request.method} is not allowed.")
        return JsonResponse(body, status=405, headers={"Allow": "GET, HEAD"})

    return answered


@probe
def healthz(request: HttpRequest) -> JsonResponse:
    """200 while the process answers. It asks nothing else, so a database that is away restarts no web server."""
    return JsonResponse({"status": "ok"})


@probe
def readyz(request: HttpRequest) -> JsonResponse:
    """200 when every part is ready, else 503 with Retry-After."""
    found = parts()
    ready = all(part.ready for part in found)
    body = {
        "status": "ready" if ready else "not_ready",
        "checks": {part.name: {"ready": part.ready, "message": part.message} for part in found},
    }
    return JsonResponse(body, status=200 if ready else 503, headers={} if ready else {"Retry-After": "5"})


@probe
def metrics(request: HttpRequest) -> HttpResponse:
    """Prometheus' text format, version 0.0.4."""
    return HttpResponse(exposition(), content_type="text/plain; version=0.0.4; charset=utf-8")
