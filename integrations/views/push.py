"""Where providers call when something changed: `email/push/:provider`, `calendar/push/:provider` and their lifecycle
twins. No token of ours.

What arrives is proved by the provider's doorbell or dropped; either way only a mark is left, so that the answer goes
out in milliseconds (Microsoft counts one after three seconds as none).
"""

from __future__ import annotations

from typing import Any, ClassVar

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.views import APIView

from core.api.negotiation import AnyAccept
from core.api.parsers import AsItCame
from core.api.throttling import AddressThrottle
from integrations.services.doorbells import Answer, Doorbells
from integrations.tasks import ring

MAX_BODY_BYTES = 1024 * 1024
"""A thousand notifications."""


class Notifications(AsItCame):
    """Within the cap."""

    max_bytes = MAX_BODY_BYTES


def describe(operation_id: str) -> Any:
    """The shape that both addresses share."""
    return extend_schema(
        operation_id=operation_id,
        auth=[],
        parameters=[
            OpenApiParameter("provider", str, OpenApiParameter.PATH),
            OpenApiParameter("validationToken", str, description="Echoed: the provider tries whether we are here."),
        ],
        request={"application/json": OpenApiTypes.OBJECT},
        responses={
            (200, "text/plain"): OpenApiResponse(OpenApiTypes.STR, "The validation token."),
            202: OpenApiResponse(description="Taken, or dropped without a word."),
            204: OpenApiResponse(description="Taken, or dropped without a word."),
        },
    )


class Push(APIView):
    """Notifications of changes."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    throttle_classes = (AddressThrottle,)
    content_negotiation_class = AnyAccept
    parser_classes = (Notifications,)
    bells: ClassVar[Doorbells]
    lifecycle: ClassVar[bool] = False

    def post(self, request: Request, provider: str) -> HttpResponse:
        """For providers."""
        query = {name: value for name, value in request.query_params.items() if isinstance(value, str)}
        answer = self.bells.greeted(provider, query, lifecycle=self.lifecycle) or self._heard(request, provider)
        ring(answer.runs)
        return HttpResponse(answer.text, status=answer.status, content_type="text/plain; charset=utf-8")

    def _heard(self, request: Request, provider: str) -> Answer:
        headers = {name.lower(): value for name, value in request.headers.items()}
        body = request.data if isinstance(request.data, bytes) else b""
        return self.bells.heard(provider, headers, body, lifecycle=self.lifecycle)
