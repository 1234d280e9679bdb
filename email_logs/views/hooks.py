"""Where email providers post delivery events: `hooks/:provider/:integrationId`. No token of ours: a post proves itself
by the vendor's signature over its bytes, or it is refused and changes nothing."""

from __future__ import annotations

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.api.negotiation import AnyAccept
from core.api.parsers import AsItCame
from core.api.throttling import AddressThrottle
from email_logs.serializers import hooks as shapes
from email_logs.services import hooks
from integrations.providers.delivery import Posted


class HookThrottle(AddressThrottle):
    """Per network address and integration: who floods one hook, from behind the same proxy even, locks no other
    integration's provider out."""

    scope = "hook"

    def identity(self, request: Request) -> str | None:
        """The caller's address and the integration it names."""
        named = str((request.parser_context or {}).get("kwargs", {}).get("integration_id", ""))[:40]
        return f"{super().identity(request)}:{named}"


class Events(AsItCame):
    """Some thousands of events: providers post them in batches."""

    max_bytes = 5 * 1024 * 1024


class Hook(APIView):
    """Delivery events of one email provider."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    throttle_classes = (HookThrottle,)
    content_negotiation_class = AnyAccept
    parser_classes = (Events,)

    @extend_schema(
        operation_id="hook",
        auth=[],
        parameters=[
            OpenApiParameter("provider", str, OpenApiParameter.PATH, description="The vendor's word, or the type's."),
            OpenApiParameter("integration_id", str, OpenApiParameter.PATH),
        ],
        request={"application/json": OpenApiTypes.OBJECT},
        responses={200: shapes.HeardShape},
    )
    def post(self, request: Request, provider: str, integration_id: str) -> Response:
        """For email providers, signed as theirs are signed. 401 `hook_refused` for whatever does not prove that this
        integration's provider sent it within the last five minutes; an event that is known already counts once."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        posted = Posted(headers, request.data if isinstance(request.data, bytes) else b"")
        return Response(shapes.heard(hooks.heard(provider=provider, integration_id=integration_id, posted=posted)))
