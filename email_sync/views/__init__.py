"""The email API (CONTRACT 4, Email). Views check, call one service and answer; everything starts from the caller's own
mail, so a foreign id answers exactly like a missing one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpResponse, HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema, extend_schema_view
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.api.negotiation import AnyAccept
from core.api.pagination import paged_query
from core.api.serializers import valid
from email_sync import event_stream, serializers, tasks
from email_sync.models import ChangeKind, Message
from email_sync.services import attachments, bulk_changes, changes, reading, shared_threads
from email_sync.services.following import Following
from entities.serializers import EntityFields
from integrations.models import Connection, SyncRun
from integrations.serializers import RunsShape, run_summary
from integrations.serializers.files import DOCUMENT_SHAPE
from integrations.services import sync_runs
from integrations.tasks import ring
from workspaces.authentication import caller, still_good
from workspaces.idempotency import idempotent


def _email(request: Request, email_id: str) -> Message:
    mine = Message.objects.of(user=caller(request).user, workspace=caller(request).workspace)
    return mine.select_related("connection").find(email_id)


class Inbox(APIView):
    """A page of a folder or of a search."""

    @extend_schema(
        operation_id="email_inbox",
        parameters=[serializers.InboxParameters],
        responses=serializers.InboxShape,
    )
    def get(self, request: Request) -> Response:
        """Newest first. `q` knows words, "phrases", -not, from: to: cc: subject: before: after: has:attachment
        is:unread is:starred in:. 404 where `connectionId` is no mailbox of the caller's."""
        query = valid(serializers.InboxParameters, request.query_params).query()
        token = caller(request)
        page = reading.inbox(user=token.user, workspace=token.workspace, query=query)
        answer = paged_query(page, query.paging, serializers.email_summary)
        complete = reading.search_is_complete(user=token.user, workspace=token.workspace, query=query)
        return Response({**answer, "searchComplete": complete})


class Stream(APIView):
    """What happens, while it happens."""

    content_negotiation_class = AnyAccept

    @extend_schema(
        operation_id="email_stream",
        parameters=[OpenApiParameter("Last-Event-ID", str, OpenApiParameter.HEADER, description="Go on after it.")],
        responses={(200, "text/event-stream"): OpenApiTypes.STR},
    )
    def get(self, request: Request) -> HttpResponseBase:
        """Server-sent events: `email.received`, `email.added`, `email.updated`, `email.removed`, `counts`,
        `sync.progress`, `email.sent`, `connection.needs_reauth` … (docs/streaming.md). `id` is where to go on:
        `Last-Event-ID` resumes without a gap, `reset` says that it cannot. 503 where too many are open."""
        if request.method == "HEAD":
            return HttpResponse(content_type=event_stream.CONTENT_TYPE)
        token = caller(request)
        following = Following(
            user=token.user,
            workspace=token.workspace,
            last_seen=request.headers.get("Last-Event-ID", ""),
            may_go_on=lambda: still_good(token),
        )
        return event_stream.response(following.notes(), request.META.get("gunicorn.socket"))


class FolderCounts(APIView):
    """How much is in each folder."""

    @extend_schema(operation_id="email_folder_counts", responses={200: OpenApiTypes.OBJECT})
    def get(self, request: Request) -> Response:
        """From maintained counters: `{"inbox": {"total", "unread"}, …}`."""
        return Response(reading.folder_counts(user=caller(request).user, workspace=caller(request).workspace))


class EmailDetail(APIView):
    """One email."""

    @extend_schema(operation_id="email_detail", responses=serializers.EmailDetailShape)
    def get(self, request: Request, email_id: str) -> Response:
        """With its body, sanitised, and its attachments."""
        return Response(serializers.email_detail(reading.email_detail(_email(request, email_id))))


class _Flag(APIView):
    """A flag that an empty body toggles and a value sets; answers the email at once."""

    kind: ChangeKind
    field: str

    def post(self, request: Request, email_id: str) -> Response:
        """See `patch`."""
        return self.patch(request, email_id)

    def patch(self, request: Request, email_id: str) -> Response:
        """200 the email as it now is; the provider follows (`pendingChanges`)."""
        body = valid(serializers.FlagBody, request.data, only=(self.field,)).validated_data
        message = changes.change(message=_email(request, email_id), kind=self.kind, value=body.get(self.field))
        tasks.ring_changes(message.connection)
        return Response(serializers.email_summary(reading.email_row(message)))


def _described(name: str) -> Callable[[type[_Flag]], type[_Flag]]:
    """Names of the two operations: views that share methods still need names of their own in the schema."""

    def operation(operation_id: str) -> Callable[[Any], Any]:
        return extend_schema(operation_id=operation_id, request=serializers.FlagBody, responses=serializers.EmailShape)

    return extend_schema_view(post=operation(f"{name}_post"), patch=operation(name))


@_described("email_read")
class Read(_Flag):
    """Read or unread."""

    kind, field = ChangeKind.READ, "read"


@_described("email_star")
class Star(_Flag):
    """Starred or not."""

    kind, field = ChangeKind.STARRED, "starred"


@_described("email_archive")
class Archive(_Flag):
    """In the archive or back in the inbox."""

    kind, field = ChangeKind.ARCHIVED, "archived"


class Bulk(APIView):
    """One action on many emails."""

    @extend_schema(
        operation_id="email_bulk", request=serializers.BulkBody, responses={200: serializers.BulkResultShape}
    )
    def post(self, request: Request) -> Response:
        """200 with what became of each: an id that is not yours is told under `failed` as `not_found` and stops no
        other. At most 1,000 ids; the provider follows (`pendingChanges`)."""
        wanted = valid(serializers.BulkBody, request.data).change()
        done = bulk_changes.change_all(user=caller(request).user, workspace=caller(request).workspace, **wanted)
        for connection in done.connections:
            tasks.ring_changes(connection)
        return Response(serializers.bulk_result(done))


class Sync(APIView):
    """Sync all the caller's mailboxes."""

    @extend_schema(operation_id="email_sync", request=None, responses={202: RunsShape})
    @idempotent
    def post(self, request: Request) -> Response:
        """202 with a run for each; one already under way is given back, not doubled."""
        own = Connection.objects.of(user=caller(request).user, workspace=caller(request).workspace).connected()
        runs: list[SyncRun] = sync_runs.start_all(connections=list(own), type="email", trigger="user")
        ring(runs)
        return Response({"runs": [run_summary(run) for run in runs]}, status=status.HTTP_202_ACCEPTED)


class AttachmentDownload(APIView):
    """The bytes of an attachment."""

    @extend_schema(
        operation_id="email_attachment",
        responses={(200, "application/octet-stream"): OpenApiResponse(OpenApiTypes.BINARY)},
    )
    def get(self, request: Request, email_id: str, attachment_id: str) -> HttpResponse:
        """Fetched from the provider now; always a download, never shown inline. A colleague's too, where their mailbox
        shows all and the conversation is linked to an entity."""
        email = shared_threads.find_email(
            user=caller(request).user, workspace=caller(request).workspace, email_id=email_id
        )
        part, content = attachments.fetch(message=email, attachment_id=attachment_id)
        return attachments.as_download(part, content)


class AttachmentSave(APIView):
    """An attachment becomes a document of the workspace."""

    @extend_schema(
        operation_id="email_attachment_save",
        request=EntityFields,
        responses={200: DOCUMENT_SHAPE, 201: DOCUMENT_SHAPE},
    )
    @idempotent
    def post(self, request: Request, email_id: str, attachment_id: str) -> Response:
        """201 the document, `ready`; 200 where this entity has it already. Of the caller's own mail only. 413 or 409
        `quota_exceeded` before it is fetched, 422 where it is not what it is said to be, or is infected."""
        entity = valid(EntityFields, request.data).validated_data
        kept = attachments.save(
            message=_email(request, email_id), attachment_id=attachment_id, by=caller(request).user, **entity
        )
        return Response(kept.shown, status=status.HTTP_201_CREATED if kept.made else status.HTTP_200_OK)
