"""Drafts of the caller's own mailboxes, written through to the provider."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.api.pagination import PageParameters, paged_query, paged_shape, paginate, read_page
from core.api.serializers import valid
from email_sync.models import Message
from email_sync.serializers import drafts as wire
from email_sync.serializers import outgoing
from email_sync.services import drafts, outbox
from workspaces.authentication import caller
from workspaces.idempotency import idempotent


def _own(request: Request, draft_id: str) -> Message:
    return drafts.find(user=caller(request).user, workspace=caller(request).workspace, draft_id=draft_id)


class DraftList(APIView):
    """The caller's drafts."""

    @extend_schema(operation_id="email_drafts", parameters=[PageParameters], responses=paged_shape(wire.DraftShape))
    def get(self, request: Request) -> Response:
        """Newest first, those made elsewhere among them."""
        paging = read_page(request.query_params)
        rows = drafts.of(user=caller(request).user, workspace=caller(request).workspace)
        return Response(paged_query(paginate(rows, paging), paging, wire.draft))

    @extend_schema(operation_id="email_draft_create", request=wire.DraftBody, responses={201: wire.DraftShape})
    @idempotent
    def post(self, request: Request) -> Response:
        """201 with its `state`: `saved` where the provider has it, `pending` where it was away; it follows.
        404 where a named mailbox or mail is not the caller's, 409 without a mailbox, 422 of a document that is not
        ready."""
        body = valid(wire.DraftBody, request.data)
        message = drafts.create(
            user=caller(request).user,
            workspace=caller(request).workspace,
            changes=body.changes(),
            connection_id=body.validated_data.get("connection_id"),
            reply_to_id=body.validated_data.get("reply_to_id"),
            idempotency_key=request.headers.get("Idempotency-Key", ""),
            by=caller(request).user,
        )
        return Response(wire.draft(message), status=status.HTTP_201_CREATED)


class DraftDetail(APIView):
    """One draft."""

    @extend_schema(operation_id="email_draft", responses=wire.DraftShape)
    def get(self, request: Request, draft_id: str) -> Response:
        """As it is here."""
        return Response(wire.draft(_own(request, draft_id)))

    @extend_schema(operation_id="email_draft_change", request=wire.DraftChangeBody, responses=wire.DraftShape)
    def patch(self, request: Request, draft_id: str) -> Response:
        """What is left out stays. 409 `conflict` where it is not the one that was seen, here or at the provider, with
        the present one as `draft` (null where there is none) and its `draftId`; `sending` where it is on its way."""
        message = _own(request, draft_id)
        changes = valid(wire.DraftChangeBody, request.data).changes()
        with wire.telling():
            return Response(wire.draft(drafts.change(message=message, changes=changes, by=caller(request).user)))

    @extend_schema(operation_id="email_draft_remove", responses={204: None})
    def delete(self, request: Request, draft_id: str) -> Response:
        """Gone here at once; the provider follows. 409 as PATCH where it was changed at the provider: it stays."""
        with wire.telling():
            drafts.remove(message=_own(request, draft_id), by=caller(request).user)
        return Response(status=status.HTTP_204_NO_CONTENT)


class DraftSend(APIView):
    """Send a draft."""

    @extend_schema(
        operation_id="email_draft_send", request=wire.DraftSendBody, responses={201: outgoing.SubmissionShape}
    )
    @idempotent
    def post(self, request: Request, draft_id: str) -> Response:
        """As `email/send`, once; the draft goes when its mail has left."""
        message = _own(request, draft_id)
        leaving = valid(wire.DraftSendBody, request.data).validated_data
        key = request.headers.get("Idempotency-Key", "")
        with wire.telling():
            sent = drafts.send(message=message, leaving=leaving, idempotency_key=key, by=caller(request).user)
        outbox.raise_if_refused(sent)
        return Response(outgoing.submission(sent), status=status.HTTP_201_CREATED)
