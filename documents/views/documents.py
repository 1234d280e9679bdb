"""Documents of the caller's workspace. Every member reads and writes; what another uploaded ADMIN and OWNER delete."""

from __future__ import annotations

from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.api.pagination import PageParameters, paged_query, read_page
from core.api.serializers import valid
from documents import serializers as wire
from documents import tasks
from documents.models import Document, DocumentStatus
from documents.services import changing, confirming, copying, downloading, in_parts, reading, standing, uploading
from documents.services.reading import DocumentsQuery, Filters
from entities.serializers import EntityFields
from workspaces.authentication import caller
from workspaces.idempotency import idempotent


def find(request: Request, document_id: str) -> Document:
    """One of the caller's workspace."""
    return reading.find(workspace=caller(request).workspace, document_id=document_id)


class Config(APIView):
    """How documents are stored."""

    @extend_schema(operation_id="documents_config", responses=wire.DocumentConfigShape)
    def get(self, request: Request) -> Response:
        """`check` has just tried it: wrote, read and deleted a test object."""
        return Response(wire.standing(standing.of_store()))


class Upload(APIView):
    """A new document."""

    @extend_schema(operation_id="documents_upload", request=wire.UploadBody, responses={201: wire.BegunShape})
    @idempotent
    def post(self, request: Request) -> Response:
        """Begin an upload: send the file as `upload` says, within `expiresAt`, then confirm. 413 for a file over the
        limit, 409 `quota_exceeded`. Where `upload` has `parts`, send these, ask for the missing ones, then confirm."""
        given = valid(wire.UploadBody, request.data).validated_data
        begun = uploading.begin(workspace=caller(request).workspace, by=caller(request).user, **given)
        answer = {"document": wire.document(begun.document), "upload": wire.upload(begun.upload)}
        return Response(answer, status=status.HTTP_201_CREATED)


class Parts(APIView):
    """What is still to be sent of an upload in parts."""

    @extend_schema(operation_id="document_parts", responses=wire.MissingPartsShape)
    def get(self, request: Request, document_id: str) -> Response:
        """The parts that have not come, with fresh addresses, 100 at a time: send them and ask again until `missing` is
        0, then confirm. 409 `not_in_parts`, `not_pending`; `upload_missing` where the store gave the upload up."""
        return Response(wire.missing(in_parts.missing(find(request, document_id))))


class Confirm(APIView):
    """An upload is done."""

    @extend_schema(
        operation_id="documents_confirm",
        request=None,
        responses={200: wire.DocumentShape, 202: wire.DocumentShape},
    )
    def post(self, request: Request, document_id: str) -> Response:
        """Looks at what was uploaded: its size, its SHA-256 and what it is. 409 `upload_missing` where nothing came;
        422 where it is not what was announced, and then the file is gone. Repeatable. Of an upload in parts it joins
        them first: 409 names those that are missing. 202 with the document `checking` where that goes on in the
        background (files larger than DOCUMENT_CHECK_AT_ONCE_BYTES): `GET documents/:id` says how far it is; confirming
        again answers 202 while it lasts and as ever once it has ended."""
        document = confirming.confirm(document=find(request, document_id), by=caller(request).user)
        if document.status == DocumentStatus.CHECKING:
            tasks.ring_confirmation(document.pk)
            return Response(wire.document(document), status=status.HTTP_202_ACCEPTED)
        return Response(wire.document(document))


class Documents(APIView):
    """All of a workspace."""

    @extend_schema(operation_id="documents", parameters=[wire.DocumentParameters], responses=wire.DocumentPageShape)
    def get(self, request: Request) -> Response:
        """Newest first, in every state unless it is narrowed. Counted as far as 10,000: `totalIsExact` says so."""
        query = valid(wire.DocumentParameters, request.query_params).query()
        page = reading.listed(workspace=caller(request).workspace, query=query)
        return Response(paged_query(page, query.paging, wire.document))


class EntityDocuments(APIView):
    """Those of a CRM entity."""

    @extend_schema(operation_id="documents_entity", parameters=[PageParameters], responses=wire.EntityDocumentsShape)
    def get(self, request: Request, entity_type: str, entity_id: str) -> Response:
        """Newest first, with how many there are in each state."""
        entity = valid(EntityFields, {"entityType": entity_type, "entityId": entity_id}).validated_data
        query = DocumentsQuery(Filters(**entity), read_page(request.query_params))
        workspace = caller(request).workspace
        page = reading.listed(workspace=workspace, query=query)
        counts = reading.counts(workspace=workspace, **entity)
        return Response(wire.with_counts(paged_query(page, query.paging, wire.document), counts))


class DocumentDetail(APIView):
    """One document."""

    @extend_schema(operation_id="document", responses=wire.DocumentShape)
    def get(self, request: Request, document_id: str) -> Response:
        """In whatever state it is."""
        return Response(wire.document(find(request, document_id)))

    @extend_schema(operation_id="document_delete", responses={204: OpenApiResponse(description="Done.")})
    def delete(self, request: Request, document_id: str) -> Response:
        """Row and file, also while the store is down: then the file follows."""
        changing.delete(document=find(request, document_id), by=caller(request).user)
        return Response(status=status.HTTP_204_NO_CONTENT)


class Download(APIView):
    """Its file."""

    @extend_schema(
        operation_id="document_download",
        parameters=[wire.DownloadParameters],
        responses={200: wire.DownloadShape, 302: OpenApiResponse(description="With redirect=true: the file itself.")},
    )
    def get(self, request: Request, document_id: str) -> Response:
        """An address it can be had at for five minutes, by anybody who has the address; always an attachment.
        409 `not_ready` before it is confirmed."""
        asked = valid(wire.DownloadParameters, request.query_params).validated_data
        made = downloading.download(document=find(request, document_id))
        if asked["redirect"]:
            return Response(status=status.HTTP_302_FOUND, headers={"Location": made.url})
        return Response(wire.download(made))


class Preview(APIView):
    """Its file, to be looked at."""

    @extend_schema(operation_id="document_preview", responses=wire.DownloadShape)
    def get(self, request: Request, document_id: str) -> Response:
        """As a download, to be shown in a frame: pictures and PDF only, else 422 `no_preview`."""
        return Response(wire.download(downloading.preview(document=find(request, document_id))))


class Archive(APIView):
    """Put away, and taken out again."""

    @extend_schema(operation_id="document_archive", request=wire.ArchiveBody, responses=wire.DocumentShape)
    def post(self, request: Request, document_id: str) -> Response:
        """An empty body turns it over, `archived` sets it. Nothing is deleted. 409 where it is not ready."""
        document = find(request, document_id)
        wanted = valid(wire.ArchiveBody, request.data).validated_data.get("archived")
        row = changing.archive(document=document, by=caller(request).user, archived=wanted)
        return Response(wire.document(row))

    @extend_schema(operation_id="document_archive_update", request=wire.ArchiveBody, responses=wire.DocumentShape)
    def patch(self, request: Request, document_id: str) -> Response:
        """As POST, 409 too."""
        return self.post(request, document_id)


class Copy(APIView):
    """A copy to a file store of the workspace, or from one."""

    @extend_schema(operation_id="document_copy", responses=wire.DocumentCopyShape)
    def get(self, request: Request, copy_id: str) -> Response:
        """How far it is, why it waits or failed, and what came of it. Remembered for 30 days after its end."""
        return Response(wire.copy(copying.find(workspace=caller(request).workspace, copy_id=copy_id)))
