"""What leaves a mailbox: sending, what became of it, taking it back, and the addresses to send as.

Everything starts from the caller's own mailboxes.
"""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.api.pagination import PageParameters, paged_query, paged_shape, paginate, read_page
from core.api.serializers import valid
from email_sync.models import Alias, Submission
from email_sync.serializers import outgoing as wire
from email_sync.services import aliases, outbox, sending
from email_sync.views.scope import own_connection
from integrations.models import Connection
from workspaces.authentication import caller
from workspaces.idempotency import idempotent


class Send(APIView):
    """Send from the caller's own mailbox."""

    @extend_schema(operation_id="email_send", request=wire.SendBody, responses={201: wire.SubmissionShape})
    @idempotent
    def post(self, request: Request) -> Response:
        """201 with the state it is in: `sent`, `scheduled` (`sendAt`, `undoSeconds`), `sending` (the provider was away;
        tried again) or `unconfirmed` (it did not answer; Sent will tell). Refused at once: 422 with its words.
        404 where a named mailbox or mail is not the caller's, 409 without a mailbox."""
        letter = valid(wire.SendBody, request.data).letter(request.headers.get("Idempotency-Key", ""))
        sent = sending.send(
            user=caller(request).user, workspace=caller(request).workspace, letter=letter, by=caller(request).user
        )
        outbox.raise_if_refused(sent)
        return Response(wire.submission(sent), status=status.HTTP_201_CREATED)


class SubmissionList(APIView):
    """The caller's outgoing mail."""

    @extend_schema(
        operation_id="email_submissions",
        parameters=[wire.SubmissionParameters],
        responses=paged_shape(wire.SubmissionShape),
    )
    def get(self, request: Request) -> Response:
        """Newest first; `status=scheduled` is what still waits for its time. 404 where `connectionId` is no mailbox
        of the caller's."""
        query = valid(wire.SubmissionParameters, request.query_params)
        rows = outbox.of(user=caller(request).user, workspace=caller(request).workspace, **query.filters())
        paging = query.page_query()
        return Response(paged_query(paginate(rows, paging), paging, wire.submission))


class SubmissionDetail(APIView):
    """What became of a mail that was sent."""

    @extend_schema(operation_id="email_submission", responses=wire.SubmissionShape)
    def get(self, request: Request, submission_id: str) -> Response:
        """Its state now."""
        return Response(wire.submission(_own(request, submission_id)))

    @extend_schema(operation_id="email_submission_cancel", responses={200: wire.SubmissionShape})
    def delete(self, request: Request, submission_id: str) -> Response:
        """Take it back: 200 `cancelled`, 409 where it has left or may have."""
        taken_back = outbox.cancel(submission=_own(request, submission_id), by=caller(request).user)
        return Response(wire.submission(taken_back))


def _own(request: Request, submission_id: str) -> Submission:
    own = Submission.objects.of(user=caller(request).user, workspace=caller(request).workspace)
    return own.select_related("connection").find(submission_id)


class AliasList(APIView):
    """The addresses the caller may send as."""

    @extend_schema(operation_id="email_aliases", parameters=[PageParameters], responses=paged_shape(wire.AliasShape))
    def get(self, request: Request) -> Response:
        """Of all mailboxes, each mailbox's own first. Asked of the provider once a day."""
        own = Connection.objects.of(user=caller(request).user, workspace=caller(request).workspace).connected()
        rows = Alias.objects.filter(connection__in=own).order_by("connection_id", "-is_primary", "email")
        paging = read_page(request.query_params)
        return Response(paged_query(paginate(rows, paging), paging, wire.alias))


class ConnectionAliases(APIView):
    """The aliases of a mailbox whose provider knows none (IMAP)."""

    @extend_schema(operation_id="email_aliases_set", request=wire.AliasesBody, responses=wire.AliasShape(many=True))
    def put(self, request: Request, connection_id: str) -> Response:
        """Replaces the list. 422 where the provider names the aliases itself. The outgoing server has the last word."""
        connection = own_connection(request, connection_id)
        named = valid(wire.AliasesBody, request.data).addresses()
        rows = aliases.name(connection=connection, aliases=named, by=caller(request).user)
        return Response([wire.alias(row) for row in rows])
