"""Mail out as a file and in from one: `email/export…` and `email/import…`. Own mailboxes only."""

from __future__ import annotations

from collections.abc import Callable

from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.api.pagination import Page, PageParameters, paged_query, paged_shape, paginate, read_page
from core.errors import InvalidInput
from email_sync import tasks
from email_sync.models import MailTransfer, TransferKind
from email_sync.serializers import transfers as wire
from email_sync.services import exporting, importing, transfers
from email_sync.views.scope import own_connection
from workspaces.authentication import caller
from workspaces.idempotency import idempotent
from workspaces.scoping import fetch


def _own(request: Request, kind: TransferKind, transfer_id: str) -> MailTransfer:
    mine = transfers.of(user=caller(request).user, workspace=caller(request).workspace, kind=kind)
    return fetch(mine, pk=transfer_id)


def _listed(request: Request, kind: TransferKind) -> Page[MailTransfer]:
    mine = transfers.of(user=caller(request).user, workspace=caller(request).workspace, kind=kind)
    return paginate(mine, read_page(request.query_params))


class StartExport(APIView):
    """Begin an export."""

    @extend_schema(
        operation_id="email_export_start", request=None, responses={200: wire.ExportShape, 201: wire.ExportShape}
    )
    @idempotent
    def post(self, request: Request, connection_id: str) -> Response:
        """201; the file is made in the background: `GET email/exports/:id` says how far, and where it is. 200 with the
        one under way where there is one: it is not doubled."""
        export, begins = exporting.start(own_connection(request, connection_id), by=caller(request).user)
        tasks.ring_transfer(export)
        return Response(wire.export(export), status=status.HTTP_201_CREATED if begins else status.HTTP_200_OK)


class Exports(APIView):
    """The caller's exports."""

    @extend_schema(operation_id="email_exports", parameters=[PageParameters], responses=paged_shape(wire.ExportShape))
    def get(self, request: Request) -> Response:
        """Newest first."""
        page = _listed(request, TransferKind.EXPORT)
        return Response(paged_query(page, read_page(request.query_params), wire.export))


class ExportDetail(APIView):
    """One export."""

    @extend_schema(operation_id="email_export", responses=wire.ExportShape)
    def get(self, request: Request, export_id: str) -> Response:
        """How far it is."""
        return Response(wire.export(_own(request, TransferKind.EXPORT, export_id)))

    @extend_schema(operation_id="email_export_end", responses={204: None})
    def delete(self, request: Request, export_id: str) -> Response:
        """Cancels it where it is under way; forgets it and its file where it has ended."""
        transfers.end(_own(request, TransferKind.EXPORT, export_id))
        return Response(status=status.HTTP_204_NO_CONTENT)


class ExportFile(APIView):
    """The file of a finished export."""

    @extend_schema(
        operation_id="email_export_file",
        responses={(200, "application/mbox"): OpenApiResponse(OpenApiTypes.BINARY)},
    )
    def get(self, request: Request, export_id: str) -> StreamingHttpResponse:
        """mbox (mboxrd). 409 `not_ready` until it is done, 409 `expired` after a week."""
        found = _own(request, TransferKind.EXPORT, export_id)
        found.require_content()
        headers = {
            "Content-Length": str(found.size),
            "Content-Disposition": f'attachment; filename="mailbox-{found.pk}.mbox"',
            "Cache-Control": "private, no-store",
        }
        return StreamingHttpResponse(found.content(), content_type="application/mbox", headers=headers)


class StartImport(APIView):
    """Begin an import."""

    parser_classes = (MultiPartParser,)

    @extend_schema(
        operation_id="email_import_start",
        request={
            "application/mbox": OpenApiTypes.BINARY,
            "message/rfc822": OpenApiTypes.BINARY,
            "multipart/form-data": {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}},
        },
        responses={201: wire.ImportShape},
    )
    def post(self, request: Request, connection_id: str) -> Response:
        """The body is the file: mbox, or one message (.eml); or a form with `file`. 201 once it is received; it is read
        in the background. The same file again stores nothing twice. 413 over the operator's limit."""
        connection = own_connection(request, connection_id)
        begun = importing.receive(connection, _reader(request), by=caller(request).user)
        tasks.ring_transfer(begun)
        return Response(wire.imported(begun), status=status.HTTP_201_CREATED)


def _reader(request: Request) -> Callable[[int], bytes]:
    """What gives the uploaded bytes: the body itself is read as it comes and never held whole."""
    if (request.content_type or "").startswith("multipart/"):
        uploaded = request.FILES.get("file")
        if uploaded is None:
            raise InvalidInput(fields={"file": ["Send the file under this name."]})
        return uploaded.read
    stream = request.stream
    return (lambda size: b"") if stream is None else stream.read


class Imports(APIView):
    """The caller's imports."""

    @extend_schema(operation_id="email_imports", parameters=[PageParameters], responses=paged_shape(wire.ImportShape))
    def get(self, request: Request) -> Response:
        """Newest first."""
        page = _listed(request, TransferKind.IMPORT)
        return Response(paged_query(page, read_page(request.query_params), wire.imported))


class ImportDetail(APIView):
    """One import."""

    @extend_schema(operation_id="email_import", responses=wire.ImportShape)
    def get(self, request: Request, import_id: str) -> Response:
        """How far it is, and which messages were refused and why."""
        return Response(wire.imported(_own(request, TransferKind.IMPORT, import_id)))

    @extend_schema(operation_id="email_import_end", responses={204: None})
    def delete(self, request: Request, import_id: str) -> Response:
        """Cancels it where it is under way, forgets it where it has ended. What was imported stays."""
        transfers.end(_own(request, TransferKind.IMPORT, import_id))
        return Response(status=status.HTTP_204_NO_CONTENT)
