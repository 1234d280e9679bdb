"""Log tables: made, listed, read, exported (CONTRACT 5). Any member reads; the rest is for ADMIN and OWNER."""

from __future__ import annotations

from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.api.negotiation import AnyAccept
from core.api.pagination import PageParameters, paged_query, paged_shape, paginate
from core.api.serializers import valid
from email_logs.files import FORMATS
from email_logs.models import EmailLogTable
from email_logs.serializers import tables as wire
from email_logs.services import exporting, reading, tables
from workspaces.authentication import caller
from workspaces.idempotency import idempotent
from workspaces.permissions import IsAdmin


def find(request: Request, table_id: str) -> EmailLogTable:
    """One of the caller's workspace."""
    rows = EmailLogTable.objects.in_workspace(caller(request).workspace).select_related("workspace", "integration")
    return rows.defer("integration__credentials").fetch(table_id)


class Init(APIView):
    """What the source document calls initialising."""

    permission_classes = (IsAdmin,)

    @extend_schema(operation_id="tables_init", request=None, responses=wire.InitialisedShape)
    @idempotent
    def post(self, request: Request) -> Response:
        """Makes the tables of the active email providers that have none; answers those of all active ones, oldest
        first. Calling it again, also at once, changes nothing."""
        found = tables.active(workspace=caller(request).workspace)
        return Response({"success": True, "tables": [wire.table(row) for row in found]})


class Tables(APIView):
    """All of a workspace."""

    @extend_schema(operation_id="tables", parameters=[PageParameters], responses=paged_shape(wire.LogTableShape))
    def get(self, request: Request) -> Response:
        """Oldest first, those of disabled and deleted providers too; makes what is missing."""
        query = valid(PageParameters, request.query_params).page_query()
        found = tables.initialise(workspace=caller(request).workspace)
        return Response(paged_query(paginate(found, query), query, wire.table))


class TableDetail(APIView):
    """One table."""

    @extend_schema(operation_id="table", responses=wire.LogTableShape)
    def get(self, request: Request, table_id: str) -> Response:
        """With its columns."""
        return Response(wire.table(find(request, table_id)))


class Rows(APIView):
    """The rows of a table."""

    @extend_schema(operation_id="table_rows", parameters=[wire.RowsParameters], responses=paged_shape(wire.LogRowShape))
    def get(self, request: Request, table_id: str) -> Response:
        """Newest first. Many rows are counted by an estimate, and what was searched for no further than the page:
        `totalIsExact` says so. Of users' own mailboxes as far as each one's visibility allows."""
        query = valid(wire.RowsParameters, request.query_params).query()
        table = find(request, table_id)
        page = reading.listed(table=table, user=caller(request).user, query=query)
        return Response(paged_query(page, query.paging, lambda row: wire.row(row, table.provider)))


class RowDetail(APIView):
    """One row."""

    @extend_schema(operation_id="table_row", responses=wire.LogRowShape)
    def get(self, request: Request, table_id: str, row_id: str) -> Response:
        """With its history."""
        table = find(request, table_id)
        return Response(wire.row(reading.one(table=table, user=caller(request).user, row_id=row_id), table.provider))


class Export(APIView):
    """A table as a file."""

    permission_classes = (IsAdmin,)
    content_negotiation_class = AnyAccept

    @extend_schema(
        operation_id="table_export",
        parameters=[wire.ExportParameters],
        responses={(200, form.content_type): OpenApiResponse(OpenApiTypes.BINARY) for form in FORMATS.values()},
    )
    def get(self, request: Request, table_id: str) -> StreamingHttpResponse:
        """The 13 columns, narrowed as the rows are; cells that a spreadsheet would take for formulas are made text. An
        XLSX sheet holds 1,048,576 rows: of more, 400. 503 where too many exports are under way."""
        asked = valid(wire.ExportParameters, request.query_params)
        made = exporting.export(
            table=find(request, table_id),
            by=caller(request).user,
            filters=asked.filters(),
            oldest_first=asked.oldest_first,
            format=asked.validated_data["format"],
        )
        return StreamingHttpResponse(made.chunks, content_type=made.content_type, headers=made.headers)
