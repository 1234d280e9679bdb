"""The calendar API (CONTRACT 4, Calendar). Views check, call one service and answer; everything starts from the
caller's own calendars, so a foreign id answers exactly like a missing one."""

from __future__ import annotations

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from calendar_sync import serializers as wire
from calendar_sync.models import Calendar
from calendar_sync.services import calendars, exporting, linking, reading, timelines
from core.api.negotiation import AnyAccept
from core.api.pagination import PageParameters, paged_query, paged_shape, paginate, read_page
from core.api.serializers import valid
from entities.serializers import EntityFields
from integrations.models import Connection
from integrations.serializers import RunsShape, run_summary
from integrations.services import schedule, sync_runs
from integrations.tasks import ring
from workspaces.authentication import caller
from workspaces.idempotency import idempotent


class Events(APIView):
    """What takes place."""

    @extend_schema(operation_id="calendar_events", parameters=[wire.RangeParameters], responses=wire.EventRangeShape)
    def get(self, request: Request) -> Response:
        """Occurrences in the half-open range from `start` to `end`, recurrences expanded, by start; a meeting that
        several of one's calendars have is shown once. `incomplete` names series that were cut off. 404 where
        `calendarId` is no calendar of the caller's."""
        asked = valid(wire.RangeParameters, request.query_params).asked()
        token = caller(request)
        found = reading.in_range(user=token.user, workspace=token.workspace, asked=asked)
        ids = {one.source.id for one in found.page.rows}
        entities = linking.entities_of(workspace_id=token.workspace.pk, event_ids=ids)
        answer = paged_query(found.page, asked.paging, lambda one: wire.happening(one, entities))
        return Response({**answer, "incomplete": [wire.cut(one) for one in found.incomplete]})


class EventDetail(APIView):
    """One event."""

    @extend_schema(operation_id="calendar_event", responses=wire.EventShape)
    def get(self, request: Request, event_id: str) -> Response:
        """A single event, a series (with its `recurrence`), or one occurrence of a series."""
        token = caller(request)
        found = reading.find(user=token.user, workspace=token.workspace, event_id=event_id)
        entities = linking.entities_of(workspace_id=token.workspace.pk, event_ids=[found.source.pk])
        return Response(wire.happening(found.shown(), entities))


class EventFile(APIView):
    """One event as a file."""

    content_negotiation_class = AnyAccept

    @extend_schema(
        operation_id="calendar_event_ics", responses={(200, "text/calendar"): OpenApiResponse(OpenApiTypes.STR)}
    )
    def get(self, request: Request, event_id: str) -> HttpResponse:
        """iCalendar: the whole series with its changed occurrences, always a download."""
        token = caller(request)
        found = reading.find(user=token.user, workspace=token.workspace, event_id=event_id)
        answer = HttpResponse(exporting.as_ics(found.event), content_type="text/calendar; charset=utf-8")
        answer["Content-Disposition"] = f'attachment; filename="{found.event.pk}.ics"'
        return answer


class EntityEvents(APIView):
    """The events of a CRM entity."""

    @extend_schema(
        operation_id="calendar_entity_events", parameters=[PageParameters], responses=paged_shape(wire.EventShape)
    )
    def get(self, request: Request, entity_type: str, entity_id: str) -> Response:
        """The latest start first, a series once, of all calendars the caller sees; `access` says how much of each."""
        entity = valid(EntityFields, {"entityType": entity_type, "entityId": entity_id}).validated_data
        paging, token = read_page(request.query_params), caller(request)
        page = timelines.timeline(user=token.user, workspace=token.workspace, paging=paging, **entity)
        ids = {one.event.id for one in page.rows}
        entities = linking.entities_of(workspace_id=token.workspace.pk, event_ids=ids)
        return Response(paged_query(page, paging, lambda one: wire.seen(one, entities)))


class Sync(APIView):
    """Sync all the caller's calendars."""

    @extend_schema(operation_id="calendar_sync", request=None, responses={202: RunsShape})
    @idempotent
    def post(self, request: Request) -> Response:
        """202 with a run for each account; one already under way is given back, not doubled."""
        own = Connection.objects.of(user=caller(request).user, workspace=caller(request).workspace).connected()
        runs = sync_runs.start_all(connections=list(own), type="calendar", trigger="user")
        ring(runs)
        return Response({"runs": [run_summary(run) for run in runs]}, status=status.HTTP_202_ACCEPTED)


class Calendars(APIView):
    """The caller's calendars."""

    @extend_schema(
        operation_id="calendar_calendars", parameters=[PageParameters], responses=paged_shape(wire.CalendarShape)
    )
    def get(self, request: Request) -> Response:
        """Of all accounts, those that are not selected too."""
        paging = read_page(request.query_params)
        own = Calendar.objects.of(user=caller(request).user, workspace=caller(request).workspace).present()
        return Response(paged_query(paginate(own, paging), paging, wire.calendar_row))


class CalendarDetail(APIView):
    """One calendar."""

    @extend_schema(operation_id="calendar_calendar_update", request=wire.CalendarChanges, responses=wire.CalendarShape)
    def patch(self, request: Request, calendar_id: str) -> Response:
        """Select it, so that it is synced and shown, or not: then it is kept and hidden."""
        own = Calendar.objects.of(user=caller(request).user, workspace=caller(request).workspace).present()
        calendar = own.select_related("connection__workspace").find(calendar_id)
        selected = valid(wire.CalendarChanges, request.data).validated_data.get("selected", calendar.selected)
        if calendars.select(calendar, selected=selected, by=caller(request).user) and selected:
            schedule.soon(connection=calendar.connection, type="calendar")
        return Response(wire.calendar_row(calendar))
