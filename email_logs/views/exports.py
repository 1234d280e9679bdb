"""Exports of a log table that are made in the background: `tables/:id/exports…`. For ADMIN and OWNER."""

from __future__ import annotations

from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.api.negotiation import AnyAccept
from core.api.pagination import PageParameters, paged_query, paged_shape, paginate
from core.api.serializers import valid
from email_logs import tasks
from email_logs.files import FORMATS
from email_logs.models import EmailLogExport
from email_logs.serializers import exports as shapes
from email_logs.serializers.tables import ExportParameters
from email_logs.services import exports
from email_logs.views.tables import find
from workspaces.authentication import caller
from workspaces.idempotency import idempotent
from workspaces.permissions import IsAdmin
from workspaces.scoping import fetch


def _one(request: Request, table_id: str, log_export_id: str) -> EmailLogExport:
    return fetch(exports.of(find(request, table_id)), pk=log_export_id)


class Exports(APIView):
    """Of one table."""

    permission_classes = (IsAdmin,)

    @extend_schema(
        operation_id="table_exports", parameters=[PageParameters], responses=paged_shape(shapes.LogExportShape)
    )
    def get(self, request: Request, table_id: str) -> Response:
        """Everybody's, newest first. They go a day after they are done."""
        query = valid(PageParameters, request.query_params).page_query()
        found = exports.of(find(request, table_id))
        return Response(paged_query(paginate(found, query), query, shapes.shown))

    @extend_schema(
        operation_id="table_export_start",
        request=ExportParameters,
        responses={200: shapes.LogExportShape, 201: shapes.LogExportShape},
    )
    @idempotent
    def post(self, request: Request, table_id: str) -> Response:
        """Begins a file of any number of rows, narrowed as the rows are; an XLSX sheet holds 1,048,575: of more, 400.
        200 with the caller's own that is under way where there is one. 409 `too_many` where 20 are kept."""
        asked = valid(ExportParameters, request.data)
        export, begins = exports.start(
            table=find(request, table_id),
            by=caller(request).user,
            filters=asked.filters(),
            oldest_first=asked.oldest_first,
            format=asked.validated_data["format"],
        )
        tasks.ring_export(export.pk)
        return Response(shapes.shown(export), status=status.HTTP_201_CREATED if begins else status.HTTP_200_OK)


class ExportDetail(APIView):
    """One of them."""

    permission_classes = (IsAdmin,)

    @extend_schema(operation_id="table_export_detail", responses=shapes.LogExportShape)
    def get(self, request: Request, table_id: str, log_export_id: str) -> Response:
        """How far it is."""
        return Response(shapes.shown(_one(request, table_id, log_export_id)))

    @extend_schema(operation_id="table_export_delete", responses={204: None})
    def delete(self, request: Request, table_id: str, log_export_id: str) -> Response:
        """Ends it where it is under way, and removes it with its file."""
        exports.remove(export=_one(request, table_id, log_export_id), by=caller(request).user)
        return Response(status=status.HTTP_204_NO_CONTENT)


class ExportContent(APIView):
    """The file of one."""

    permission_classes = (IsAdmin,)
    content_negotiation_class = AnyAccept

    @extend_schema(
        operation_id="table_export_content",
        responses={(200, form.content_type): OpenApiResponse(OpenApiTypes.BINARY) for form in FORMATS.values()},
    )
    def get(self, request: Request, table_id: str, log_export_id: str) -> StreamingHttpResponse:
        """As a download. 409 `not_ready` until it is done; 403 where it shows mail of users' own mailboxes that the
        caller does not see, or no longer."""
        made = exports.fetched(export=_one(request, table_id, log_export_id), by=caller(request).user)
        return StreamingHttpResponse(made.chunks, content_type=made.content_type, headers=made.headers)
