"""Addresses the workspace does not write to. Any member sees them; changes are for ADMIN and OWNER."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.api.pagination import paged_query
from core.api.serializers import valid
from email_logs.models import Suppression
from email_logs.serializers import suppressions as shapes
from email_logs.services import suppressions
from workspaces.authentication import caller
from workspaces.idempotency import idempotent
from workspaces.permissions import IsAdmin, IsMember


class Suppressions(APIView):
    """All of a workspace."""

    def get_permissions(self) -> list[BasePermission]:
        """Members may look."""
        return [IsAdmin() if self.request.method == "POST" else IsMember()]

    @extend_schema(
        operation_id="suppressions", parameters=[shapes.SuppressionParameters], responses=shapes.SuppressionsShape
    )
    def get(self, request: Request) -> Response:
        """Newest first. Hard bounces, complaints and unsubscribes add to them by themselves."""
        asked = valid(shapes.SuppressionParameters, request.query_params)
        query = asked.page_query()
        page = suppressions.listed(workspace=caller(request).workspace, query=query, only=asked.validated_data)
        return Response(paged_query(page, query, shapes.suppression))

    @extend_schema(
        operation_id="suppression_add", request=shapes.SuppressionBody, responses={201: shapes.SuppressionShape}
    )
    @idempotent
    def post(self, request: Request) -> Response:
        """From now on no mail of the workspace's email providers goes there. 409 where it is suppressed already."""
        form = valid(shapes.SuppressionBody, request.data).validated_data
        actor = caller(request)
        row = suppressions.add(workspace=actor.workspace, address=form["address"], words=form["note"], by=actor.user)
        return Response(shapes.suppression(row), status=status.HTTP_201_CREATED)


class SuppressionDetail(APIView):
    """One of them."""

    permission_classes = (IsAdmin,)

    @extend_schema(operation_id="suppression_remove", responses={204: None})
    def delete(self, request: Request, suppression_id: str) -> Response:
        """Mail goes there again. The vendor may have a list of its own, which this does not change."""
        actor = caller(request)
        rows = Suppression.objects.in_workspace(actor.workspace).select_related("workspace")
        suppressions.remove(suppression=rows.fetch(suppression_id), by=actor.user)
        return Response(status=status.HTTP_204_NO_CONTENT)
