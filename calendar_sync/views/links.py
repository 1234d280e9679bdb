"""What people decide by hand about their events and CRM entities; it wins over all matches."""

from __future__ import annotations

from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from calendar_sync.serializers import links as wire
from calendar_sync.services import linking, reading
from calendar_sync.services.reading import Happening
from core.api.serializers import valid
from entities.serializers import EntityFields
from workspaces.authentication import caller
from workspaces.idempotency import idempotent


def _found(request: Request, event_id: str) -> Happening:
    return reading.find(user=caller(request).user, workspace=caller(request).workspace, event_id=event_id)


class EventLinks(APIView):
    """Links of one event."""

    @extend_schema(
        operation_id="calendar_event_link",
        request=EntityFields,
        responses={201: wire.EventLinkShape, 200: wire.EventLinkShape},
    )
    @idempotent
    def post(self, request: Request, event_id: str) -> Response:
        """It is about this entity, in every calendar of it that the caller sees: a series whole, or an occurrence that
        was changed by itself. Decided before: 200."""
        found = _found(request, event_id)
        entity = valid(EntityFields, request.data).validated_data
        link, is_new = linking.link(event=found.source, by=caller(request).user, **entity)
        answer = wire.link(link, found.id if found.source != found.event else str(found.event.pk))
        return Response(answer, status=status.HTTP_201_CREATED if is_new else status.HTTP_200_OK)

    @extend_schema(
        operation_id="calendar_event_unlink",
        parameters=[EntityFields],
        responses={204: OpenApiResponse(description="Done.")},
    )
    def delete(self, request: Request, event_id: str) -> Response:
        """It is not about this entity, whoever takes part, until it is linked again. Repeatable."""
        found = _found(request, event_id)
        entity = valid(EntityFields, request.query_params).validated_data
        linking.unlink(event=found.source, by=caller(request).user, **entity)
        return Response(status=status.HTTP_204_NO_CONTENT)
