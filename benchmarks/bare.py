"""The baselines beside the product's routes: a DRF view that answers the newest 50 rows by `.values()` and does nothing
else, for `inbox`; and a view that takes a file and gives it, for `documents`.

No token, no throttle, no counts, no cursor, no shape of its own. Served by the same gunicorn as the product.
"""

from __future__ import annotations

import os
from pathlib import Path

from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseBase
from django.urls import include, path
from django.views.decorators.csrf import csrf_exempt
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from email_sync.models import Message
from email_sync.services.reading import LIST_COLUMNS

CHUNK = 64 * 1024


class Bare(APIView):
    """The newest 50 of an inbox."""

    authentication_classes = ()
    permission_classes = ()
    throttle_classes = ()

    def get(self, request: Request, connection_id: str) -> Response:
        """As an exercise book would write it."""
        rows = Message.objects.filter(connection_id=connection_id, in_inbox=True).order_by("-received_at", "-id")
        return Response({"data": list(rows.values(*LIST_COLUMNS)[:50])})


@csrf_exempt
def bare_file(request: HttpRequest) -> HttpResponseBase:
    """The file BENCH_FILE: written by PUT, given by GET."""
    place = Path(os.environ["BENCH_FILE"])
    if request.method != "PUT":
        return FileResponse(place.open("rb"))
    with place.open("wb") as file:
        while part := request.read(CHUNK):
            file.write(part)
        file.flush()
        os.fsync(file.fileno())
    return HttpResponse(status=204)


urlpatterns = [
    path("bare/file", bare_file),
    path("bare/<uuid:connection_id>", Bare.as_view()),
    path("", include("config.urls")),
]
