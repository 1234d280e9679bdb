"""What the email log holds about one address: shown, and erased. For owners."""

from __future__ import annotations

from django.http import HttpResponse, StreamingHttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.api.serializers import valid
from email_logs import tasks
from email_logs.models import PersonalDataErasure
from email_logs.serializers import personal_data as shapes
from email_logs.services import erasing, personal_data
from workspaces.authentication import caller
from workspaces.idempotency import idempotent
from workspaces.permissions import IsOwner
from workspaces.scoping import fetch


class PersonalData(APIView):
    """A copy of it."""

    permission_classes = (IsOwner,)

    @extend_schema(
        operation_id="personal_data", parameters=[shapes.AddressParameters], responses=shapes.PersonalDataShape
    )
    def get(self, request: Request) -> StreamingHttpResponse:
        """Every entry that names the address with what providers told of it, and whether it is suppressed. Streamed.
        Mail of users' own mailboxes as far as their users show it."""
        actor = caller(request)
        asked = valid(shapes.AddressParameters, request.query_params).validated_data
        pieces = personal_data.export(workspace=actor.workspace, address=asked["address"], by=actor.user)
        headers = {"Content-Disposition": 'attachment; filename="personal-data.json"'}
        return StreamingHttpResponse(pieces, content_type="application/json", headers=headers)

    def head(self, request: Request) -> HttpResponse:
        """Nothing is shown, so nothing is written into the audit."""
        valid(shapes.AddressParameters, request.query_params)
        return HttpResponse(content_type="application/json")


class Erase(APIView):
    """Its end."""

    permission_classes = (IsOwner,)

    @extend_schema(
        operation_id="personal_data_erase",
        request=shapes.AddressParameters,
        responses={200: shapes.ErasureShape, 202: shapes.ErasureShape},
    )
    @idempotent
    def post(self, request: Request) -> Response:
        """Takes the address out of every entry and event; subject and error of mails to nobody else are emptied. 200
        where it is done, 202 where work in the background goes on. Again is harmless."""
        actor = caller(request)
        given = valid(shapes.AddressParameters, request.data).validated_data
        row = erasing.start(workspace=actor.workspace, address=given["address"], by=actor.user)
        if row.finished_at is not None:
            return Response(shapes.shown(row))
        tasks.ring_erasure(row.pk)
        return Response(shapes.shown(row), status=status.HTTP_202_ACCEPTED)


class Erasure(APIView):
    """One under way, or done."""

    permission_classes = (IsOwner,)

    @extend_schema(operation_id="personal_data_erasure", responses=shapes.ErasureShape)
    def get(self, request: Request, erasure_id: str) -> Response:
        """How far it is and what it found."""
        rows = PersonalDataErasure.objects.filter(workspace=caller(request).workspace)
        return Response(shapes.shown(fetch(rows, pk=erasure_id)))
