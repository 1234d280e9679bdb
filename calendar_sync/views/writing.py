"""Writing events over the API (CONTRACT 4, Calendar): the provider first, then what it made of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from calendar_sync import serializers as wire
from calendar_sync import views
from calendar_sync.serializers import writing as bodies
from calendar_sync.services import changing, linking, writing
from calendar_sync.services.changing import Asked
from calendar_sync.services.reading import Happening
from calendar_sync.views import Events
from core.api.serializers import valid
from core.errors import Conflict
from workspaces.authentication import caller
from workspaces.idempotency import idempotent

IF_MATCH = OpenApiParameter(
    "If-Match", str, OpenApiParameter.HEADER, description="The event's `etag` as it was seen; or `etag`."
)


def shown(request: Request, found: Happening) -> dict[str, Any]:
    """As GET shows it."""
    token = caller(request)
    entities = linking.entities_of(workspace_id=token.workspace.pk, event_ids=[found.source.pk])
    return wire.happening(found.shown(), entities)


class EventList(Events):
    """What takes place, and a new event."""

    @extend_schema(operation_id="calendar_event_create", request=bodies.NewEventBody, responses={201: wire.EventShape})
    @idempotent
    def post(self, request: Request) -> Response:
        """201 once the provider has it; attendees are invited where the provider does that. 503 with
        `provider_outcome_unknown` where nobody knows: the same request with the same Idempotency-Key makes no second
        event. 404 where a named calendar or connection is not the caller's, 409 where there is none to write to."""
        new = valid(bodies.NewEventBody, request.data).new(request.headers.get("Idempotency-Key", ""))
        token = caller(request)
        found = writing.create(user=token.user, workspace=token.workspace, new=new, by=token.user)
        return Response(shown(request, found), status=status.HTTP_201_CREATED)


def _asked(request: Request, event_id: str, given: Mapping[str, Any]) -> Asked:
    """What a write is about; If-Match before `etag`."""
    token = caller(request)
    etag = request.headers.get("If-Match", "") or given.get("etag", "")
    said = [given.get(name, "") for name in ("send_updates", "calendar_id")]
    return Asked(token.user, token.workspace, event_id, given.get("scope", ""), etag, *said)


@contextmanager
def _with_current(request: Request) -> Iterator[None]:
    """A conflict shows the event as it is now, under `current`."""
    try:
        yield
    except writing.ChangedMeanwhile as error:
        extra = {"current": shown(request, error.current) if error.current else None}
        raise Conflict(error.message, extra=extra) from error


class EventDetail(views.EventDetail):
    """One event, read and written."""

    @extend_schema(
        operation_id="calendar_event_update",
        parameters=[IF_MATCH],
        request=bodies.EventChanges,
        responses=wire.EventShape,
    )
    def patch(self, request: Request, event_id: str) -> Response:
        """What is said is changed, of the occurrence, of it and all later ones, or of the series (`scope`). 409 with
        `current` where it was changed elsewhere since `If-Match` or `etag`; nothing is written then."""
        return self._written(request, event_id, bodies.EventChanges)

    def _written(self, request: Request, event_id: str, kind: type[bodies.EventChanges]) -> Response:
        body = valid(kind, request.data)
        asked = _asked(request, event_id, body.validated_data)
        with _with_current(request):
            found = changing.change(asked, body.given(), by=caller(request).user)
        return Response(shown(request, found))

    @extend_schema(
        operation_id="calendar_event_replace",
        parameters=[IF_MATCH],
        request=bodies.EventChanges,
        responses=wire.EventShape,
    )
    def put(self, request: Request, event_id: str) -> Response:
        """As PATCH: an event as GET showed it may come back; what cannot be written of it is passed over. 409 as
        PATCH."""
        return self._written(request, event_id, bodies.WholeEvent)

    @extend_schema(
        operation_id="calendar_event_delete", parameters=[bodies.RemovalParameters, IF_MATCH], responses={204: None}
    )
    def delete(self, request: Request, event_id: str) -> Response:
        """Of an occurrence it alone, it and all later ones, or the series (`scope`). What was gone already is a 204."""
        given = valid(bodies.RemovalParameters, request.query_params).validated_data
        with _with_current(request):
            changing.remove(_asked(request, event_id, given), by=caller(request).user)
        return Response(status=status.HTTP_204_NO_CONTENT)


class Rsvp(APIView):
    """The caller's answer to an invitation."""

    @extend_schema(
        operation_id="calendar_event_rsvp", parameters=[IF_MATCH], request=bodies.RsvpBody, responses=wire.EventShape
    )
    @idempotent
    def post(self, request: Request, event_id: str) -> Response:
        """The event with the answer; 422 where the account is not invited."""
        given = valid(bodies.RsvpBody, request.data).validated_data
        with _with_current(request):
            found = changing.respond(
                _asked(request, event_id, given), given["response"], given["comment"], by=caller(request).user
            )
        return Response(shown(request, found))
