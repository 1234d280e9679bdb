"""Conversations: one by its id, those of a CRM entity, and what somebody decided about them by hand.

A member sees their own whole, and of colleagues what is linked to an entity and their mailboxes show.
"""

from __future__ import annotations

from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.api.pagination import Page, PageParameters, paged_query, paged_shape, read_page
from core.api.serializers import valid
from email_sync.models import Thread
from email_sync.serializers import timelines as wire
from email_sync.services import linking, shared_threads, timeline_items, timelines
from email_sync.services.visibility import Mailbox
from entities.serializers import EntityFields
from workspaces.authentication import caller
from workspaces.idempotency import idempotent


def _thread(request: Request, thread_id: str) -> tuple[Thread, Mailbox]:
    return shared_threads.find(user=caller(request).user, workspace=caller(request).workspace, thread_id=thread_id)


class ThreadDetail(APIView):
    """One thread."""

    @extend_schema(operation_id="email_thread", responses=wire.ThreadShape)
    def get(self, request: Request, thread_id: str) -> Response:
        """Its emails, oldest first. A colleague's where it is linked to an entity and their mailbox shows it: whole, or
        who, when and what about."""
        thread, mailbox = _thread(request, thread_id)
        return Response(wire.thread_detail(thread, mailbox, shared_threads.details(thread, mailbox)))


class EntityThreads(APIView):
    """The conversations of a CRM entity."""

    @extend_schema(
        operation_id="email_entity_threads",
        parameters=[PageParameters],
        responses=paged_shape(wire.TimelineItemShape),
    )
    def get(self, request: Request, entity_type: str, entity_id: str) -> Response:
        """Newest first, of all mailboxes the caller sees; one that several members have is one item."""
        entity = valid(EntityFields, {"entityType": entity_type, "entityId": entity_id}).validated_data
        paging = read_page(request.query_params)
        page, of = timelines.timeline(
            user=caller(request).user, workspace=caller(request).workspace, paging=paging, **entity
        )
        shown = Page(timeline_items.items(page.rows, of.seen), page.total, page.next_cursor, page.total_is_exact)
        return Response(paged_query(shown, paging, wire.timeline_item))


class ThreadLinks(APIView):
    """What is decided about a conversation by hand; it wins over all matches."""

    @extend_schema(
        operation_id="email_thread_link",
        request=EntityFields,
        responses={201: wire.LinkShape, 200: wire.LinkShape},
    )
    @idempotent
    def post(self, request: Request, thread_id: str) -> Response:
        """It is about this entity, in every mailbox of it that the caller sees. Decided before: 200."""
        thread, _ = _thread(request, thread_id)
        entity = valid(EntityFields, request.data).validated_data
        link, is_new = shared_threads.decide(
            thread=thread,
            how=linking.link_thread,
            workspace=caller(request).workspace,
            by=caller(request).user,
            **entity,
        )
        return Response(wire.link(link), status=status.HTTP_201_CREATED if is_new else status.HTTP_200_OK)

    @extend_schema(
        operation_id="email_thread_unlink",
        parameters=[EntityFields],
        responses={204: OpenApiResponse(description="Done.")},
    )
    def delete(self, request: Request, thread_id: str) -> Response:
        """It is not about this entity, whatever its addresses say, until it is linked again. Repeatable."""
        thread, _ = _thread(request, thread_id)
        entity = valid(EntityFields, request.query_params).validated_data
        shared_threads.decide(
            thread=thread,
            how=linking.unlink_thread,
            workspace=caller(request).workspace,
            by=caller(request).user,
            **entity,
        )
        return Response(status=status.HTTP_204_NO_CONTENT)
