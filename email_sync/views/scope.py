"""What of a mailbox is synced: GET and PATCH `email/scope/:connectionId`, and a dry run. Own connections only."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.api.serializers import valid
from email_sync import tasks
from email_sync.serializers import scope as wire
from email_sync.services import scope_changes, scope_preview
from integrations.models import Connection
from integrations.tasks import ring
from workspaces.authentication import caller


def own_connection(request: Request, connection_id: str) -> Connection:
    """One of the caller's; a foreign one answers as a missing one."""
    return Connection.objects.of(user=caller(request).user, workspace=caller(request).workspace).find(connection_id)


class ScopeDetail(APIView):
    """The scope of one mailbox."""

    @extend_schema(operation_id="email_scope", responses=wire.ScopeShape)
    def get(self, request: Request, connection_id: str) -> Response:
        """What is wanted, what there is to choose from, how much is kept out and why, how far the last change is."""
        connection = own_connection(request, connection_id)
        return Response(wire.scope(scope_changes.current(connection), scope_changes.latest(connection)))

    @extend_schema(operation_id="email_scope_change", request=wire.ScopeBody, responses=wire.ScopeShape)
    def patch(self, request: Request, connection_id: str) -> Response:
        """Holds from the next page of a sync on. What is stored and falls out is deleted for good (`change` shows how
        far); what is wanted again comes back with the next sync. Imported mail is only held against the blocklist."""
        connection = own_connection(request, connection_id)
        changes = valid(wire.ScopeBody, request.data).changes()
        change, runs = scope_changes.save(connection, changes=changes, by=caller(request).user)
        tasks.ring_scope_change(change)
        ring(runs)
        return Response(wire.scope(scope_changes.current(connection), scope_changes.latest(connection)))


class ScopePreview(APIView):
    """A dry run."""

    @extend_schema(operation_id="email_scope_preview", request=wire.ScopeBody, responses=wire.PreviewShape)
    def post(self, request: Request, connection_id: str) -> Response:
        """What a wish would do to the newest 500 stored mails: how many stay and go, by which rule, with examples.
        Nothing is changed."""
        connection = own_connection(request, connection_id)
        row = scope_changes.wanted(connection, valid(wire.ScopeBody, request.data).changes())
        return Response(wire.preview(row, scope_preview.preview(connection, row)))
