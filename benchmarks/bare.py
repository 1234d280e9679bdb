"""The baseline of `inbox`: a DRF view that answers the newest 50 rows by `.values()` and does nothing else.

No token, no throttle, no counts, no cursor, no shape of its own. Served by the same gunicorn as the product.
"""

from __future__ import annotations

from django.urls import include, path
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from email_sync.models import Message
from email_sync.services.reading import LIST_COLUMNS


class Bare(APIView):
    """The newest 50 of an inbox."""

    authentication_classes = ()
    permission_classes = ()
    throttle_classes = ()

    def get(self, request: Request, connection_id: str) -> Response:
        """As an exercise book would write it."""
        rows = Message.objects.filter(connection_id=connection_id, in_inbox=True).order_by("-received_at", "-id")
        return Response({"data": list(rows.values(*LIST_COLUMNS)[:50])})


urlpatterns = [path("bare/<uuid:connection_id>", Bare.as_view()), path("", include("config.urls"))]
