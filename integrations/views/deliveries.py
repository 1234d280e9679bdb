"""Deliveries of an integration: what went out, what waits, once more (CONTRACT 5). For ADMIN and OWNER."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.api.pagination import paged_query
from core.api.serializers import valid
from integrations.serializers import deliveries as shapes
from integrations.services import delivery_log
from integrations.tasks import ring_deliveries
from integrations.views.integrations import find
from workspaces.authentication import caller
from workspaces.idempotency import idempotent
from workspaces.permissions import IsAdmin


class Deliveries(APIView):
    """All of an integration."""

    permission_classes = (IsAdmin,)

    @extend_schema(operation_id="deliveries", parameters=[shapes.DeliveryParameters], responses=shapes.DeliveriesShape)
    def get(self, request: Request, integration_id: str) -> Response:
        """Newest first, each with its attempts. Kept for 30 days after they ended."""
        asked = valid(shapes.DeliveryParameters, request.query_params)
        row, query = find(request, integration_id), asked.page_query()
        page = delivery_log.listed(integration=row, query=query, only=asked.only())
        return Response(paged_query(page, query, shapes.delivery))


class Replay(APIView):
    """One once more."""

    permission_classes = (IsAdmin,)

    @extend_schema(operation_id="delivery_replay", request=None, responses={202: shapes.DeliveryShape})
    @idempotent
    def post(self, request: Request, integration_id: str, delivery_id: str) -> Response:
        """Sent now under the same webhook-id, whatever became of it before; its schedule begins anew. 409 while an
        attempt is under way, or where the integration is disabled."""
        row = find(request, integration_id)
        again = delivery_log.replay(integration=row, delivery_id=delivery_id, by=caller(request).user)
        ring_deliveries(row.pk)
        return Response(shapes.delivery(again), status=status.HTTP_202_ACCEPTED)


class ReplayRange(APIView):
    """Many once more."""

    permission_classes = (IsAdmin,)

    @extend_schema(operation_id="deliveries_replay", request=shapes.ReplayBody, responses={202: shapes.ReplayedShape})
    @idempotent
    def post(self, request: Request, integration_id: str) -> Response:
        """All that were made from `from` until before `to` and have ended, oldest first; `status` and `type` narrow it.
        What is still on its way is left alone. Too many for once: go on from `nextFrom`. 409 where the integration is
        disabled."""
        only = valid(shapes.ReplayBody, request.data).only()
        row = find(request, integration_id)
        again = delivery_log.replay_range(integration=row, only=only, by=caller(request).user)
        ring_deliveries(row.pk)
        return Response(shapes.replayed(again), status=status.HTTP_202_ACCEPTED)
