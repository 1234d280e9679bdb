"""GET `email/trace`: why a mail is (not) here."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.api.serializers import valid
from email_sync.serializers import tracing as wire
from email_sync.services import tracing
from workspaces.authentication import caller


class Trace(APIView):
    """The fate of one mail."""

    @extend_schema(operation_id="email_trace", parameters=[wire.TraceParameters], responses=wire.TraceShape)
    def get(self, request: Request) -> Response:
        """For each of the caller's mailboxes: whether the mail with this Message-ID is here, where, since when, linked
        to what and seen by whom; or why it is not."""
        asked = valid(wire.TraceParameters, request.query_params).validated_data
        found = tracing.trace(user=caller(request).user, workspace=caller(request).workspace, **asked)
        return Response({"messageId": asked["message_id"], "mailboxes": [wire.trace(one) for one in found]})
