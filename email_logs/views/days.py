"""Counts of outbound mail by day."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.api.serializers import valid
from email_logs.serializers import days as shapes
from email_logs.services import days
from workspaces.authentication import caller


class Days(APIView):
    """For charts."""

    @extend_schema(operation_id="table_stats", parameters=[shapes.DaysParameters], responses=shapes.DaysShape)
    def get(self, request: Request) -> Response:
        """All outbound mail of the workspace by day and true state. Counted in the background: a mail is in it within
        about a minute."""
        asked = valid(shapes.DaysParameters, request.query_params).validated_data
        return Response(shapes.shown(days.series(workspace=caller(request).workspace, days=asked["days"])))
