"""Writing events over the API (CONTRACT 4, Calendar): the provider first, then what it made of it."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from calendar_sync import serializers as wire
from calendar_sync.serializers import writing as bodies
from calendar_sync.services import linking, writing
from calendar_sync.services.reading import Happening
from calendar_sync.views import Events
from core.api.serializers import valid
from workspaces.authentication import caller
from workspaces.idempotency import idempotent


def shown(request: Request, found: Happening) -> dict[str, Any]:
    """As GET shows it."""
    token = caller(request)
    entities = linking.entities_of(workspace_id=token.workspace.pk, event_ids=[found.source.pk])
    return wire.happening(found, entities)


class EventList(Events):
    """What takes place, and a new event."""

    @extend_schema(operation_id="calendar_event_create", request=bodies.NewEventBody, responses={201: wire.EventShape})
    @idempotent
    def post(self, request: Request) -> Response:
        """201 once the provider has it; attendees are invited where the provider does that. 503 with
        `provider_outcome_unknown` where nobody knows: the same request with the same Idempotency-Key makes no second
        event."""
        new = valid(bodies.NewEventBody, request.data).new(request.headers.get("Idempotency-Key", ""))
        token = caller(request)
        found = writing.create(user=token.user, workspace=token.workspace, new=new, by=token.user)
        return Response(shown(request, found), status=status.HTTP_201_CREATED)
