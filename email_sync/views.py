"""The email API (CONTRACT 4, Email). Views check, call one service and answer; everything starts from the caller's own
mail, so a foreign id answers exactly like a missing one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema, extend_schema_view
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.api.pagination import paged_query, paged_shape
from core.api.serializers import valid
from email_sync import serializers, tasks
from email_sync.models import ChangeKind, Message, Submission
from email_sync.services import attachments, changes, reading, sending
from integrations.models import Connection, SyncRun
from integrations.serializers import RunsShape, run_summary
from integrations.services import sync_runs
from integrations.tasks import ring
from workspaces.authentication import caller
from workspaces.idempotency import idempotent
from workspaces.scoping import fetch


def _email(request: Request, email_id: str) -> Message:
    mine = Message.objects.of(user=caller(request).user, workspace=caller(request).workspace)
    return mine.select_related("connection").find(email_id)


class Inbox(APIView):
    """A page of a folder or of a search."""

    @extend_schema(
        operation_id="email_inbox",
        parameters=[serializers.InboxParameters],
        responses=paged_shape(serializers.EmailShape),
    )
    def get(self, request: Request) -> Response:
        """Newest first. `q` knows words, "phrases", -not, from: to: cc: subject: before: after: has:attachment
        is:unread is:starred in:."""
        query = valid(serializers.InboxParameters, request.query_params).query()
        page = reading.inbox(user=caller(request).user, workspace=caller(request).workspace, query=query)
        return Response(paged_query(page, query.paging, serializers.email_summary))


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


class Send(APIView):
    """Send from the caller's own mailbox."""

    @extend_schema(
        operation_id="email_send", request=serializers.SendBody, responses={201: serializers.SubmissionShape}
    )
    @idempotent
    def post(self, request: Request) -> Response:
        """201 with the state it is in: `sent`, `sending` (the provider was away; tried again) or `unconfirmed` (it did
        not answer; Sent will tell). Refused at once: 422 with its words."""
        draft = valid(serializers.SendBody, request.data).draft(request.headers.get("Idempotency-Key", ""))
        sent = sending.send(
            user=caller(request).user, workspace=caller(request).workspace, draft=draft, by=caller(request).user
        )
        sending.raise_if_refused(sent)
        return Response(serializers.submission(sent), status=status.HTTP_201_CREATED)


class SubmissionDetail(APIView):
    """What became of a mail that was sent."""

    @extend_schema(operation_id="email_submission", responses=serializers.SubmissionShape)
    def get(self, request: Request, submission_id: str) -> Response:
        """Its state now."""
        mine = Submission.objects.filter(
            connection__user=caller(request).user, connection__workspace=caller(request).workspace
        )
        return Response(serializers.submission(fetch(mine, pk=submission_id)))


class ThreadDetail(APIView):
    """One thread."""

    @extend_schema(operation_id="email_thread", responses=serializers.ThreadShape)
    def get(self, request: Request, thread_id: str) -> Response:
        """All its emails, oldest first."""
        thread = reading.find_thread(
            user=caller(request).user, workspace=caller(request).workspace, thread_id=thread_id
        )
        return Response(serializers.thread_detail(thread, reading.thread_details(thread)))


class Sync(APIView):
    """Sync all the caller's mailboxes."""

    @extend_schema(operation_id="email_sync", request=None, responses={202: RunsShape})
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
        """Fetched from the provider now; always a download, never shown inline."""
        part, content = attachments.fetch(message=_email(request, email_id), attachment_id=attachment_id)
        return attachments.as_download(part, content)
