"""When people are busy, and when they all are free."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from calendar_sync.serializers import freebusy as wire
from calendar_sync.services import finding, freebusy
from core.api.pagination import paged_query
from core.api.serializers import valid
from workspaces.authentication import caller


class FreeBusy(APIView):
    """Blocks of time."""

    @extend_schema(operation_id="calendar_freebusy", parameters=[wire.FreeBusyParameters], responses=wire.FreeBusyShape)
    def get(self, request: Request) -> Response:
        """When the caller is busy from `start` to `end`, and colleagues by their addresses: without titles, and only
        where an account's `visibility` is not `private`. 404 where `calendarId` is no calendar of the caller's."""
        asked, token = valid(wire.FreeBusyParameters, request.query_params), caller(request)
        start, end, zone = asked.stretch()
        answer = freebusy.ask(
            user=token.user,
            workspace=token.workspace,
            start=start,
            end=end,
            zone=zone,
            calendar_id=asked.validated_data["calendar_id"],
            emails=asked.validated_data["emails"],
        )
        return Response(wire.free_busy(asked, answer))


class SlotList(APIView):
    """Free times."""

    @extend_schema(operation_id="calendar_slots", parameters=[wire.SlotParameters], responses=wire.SlotPageShape)
    def get(self, request: Request) -> Response:
        """Times of `duration` minutes within working hours at which the caller and all attendees whose calendars are
        known are free, by start. `unknown` names attendees who are not regarded."""
        asked, token = valid(wire.SlotParameters, request.query_params), caller(request)
        wanted = asked.wanted()
        found = finding.find(user=token.user, workspace=token.workspace, wanted=wanted)
        return Response({**paged_query(found.page, wanted.paging, wire.slot), **wire.not_regarded(asked, found)})
