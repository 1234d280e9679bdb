"""The probes: is the process up, is the product ready, and its figures for Prometheus. No log-in: they tell no content.

`/readyz` names each part and what is wrong with it; figures come from the database, so every process serves the same.
"""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe

from config.figures import exposition
from workspaces.runtime.readiness import parts


@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """200 while the process answers. It asks nothing else, so a database that is away restarts no web server."""
    return JsonResponse({"status": "ok"})


@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """200 when every part is ready, else 503 with Retry-After."""
    found = parts()
    ready = all(part.ready for part in found)
    body = {
        "status": "ready" if ready else "not_ready",
        "checks": {part.name: {"ready": part.ready, "message": part.message} for part in found},
    }
    return JsonResponse(body, status=200 if ready else 503, headers={} if ready else {"Retry-After": "5"})


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Prometheus' text format, version 0.0.4."""
    return HttpResponse(exposition(), content_type="text/plain; version=0.0.4; charset=utf-8")
