"""The OAuth and connections API (CONTRACT 4). Everything concerns the caller's own connections: a colleague's, an
OWNER's included, answers exactly like a missing one."""

from __future__ import annotations

from django.http import HttpResponseBase, HttpResponseRedirect
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.api.negotiation import AnyAccept
from core.api.pagination import Page, paged_query, paged_shape, paginate
from core.api.serializers import valid, wire_time
from core.errors import HubError
from integrations import browser_answers, serializers
from integrations.models import Connection, Purge
from integrations.oauth import CONNECTION_PROVIDERS
from integrations.serializers.discovery import ServersParameters, ServersShape, servers
from integrations.serializers.purges import PurgeShape, purge
from integrations.services import connections, disconnecting, oauth_flow, server_discovery, tokens
from integrations.tasks import ring, ring_purges
from workspaces.authentication import caller
from workspaces.idempotency import idempotent
from workspaces.scoping import fetch


def _wants_json(request: Request) -> bool:
    accept = request.headers.get("Accept", "")
    return "application/json" in accept and "text/html" not in accept


def _connection(request: Request, connection_id: str) -> Connection:
    return Connection.objects.of(user=caller(request).user, workspace=caller(request).workspace).find(connection_id)


class Providers(APIView):
    """What accounts can be connected."""

    @extend_schema(operation_id="oauth_providers", responses=serializers.ProvidersShape)
    def get(self, request: Request) -> Response:
        """`configured`: this server can connect it. `connected`: the caller has one. `capabilities`: what is synced."""
        mine = Connection.objects.of(user=caller(request).user, workspace=caller(request).workspace)
        have = set(mine.connected().order_by().values_list("provider", flat=True))
        rows = [
            serializers.provider_row(CONNECTION_PROVIDERS.get(key), connected=key in have)
            for key in CONNECTION_PROVIDERS
        ]
        return Response({"providers": rows})


class Authorize(APIView):
    """The first leg of a consent flow."""

    http_method_names = ("get", "options")  # a HEAD that looks ahead must not begin one
    content_negotiation_class = AnyAccept

    @extend_schema(
        operation_id="oauth_authorize",
        parameters=[serializers.AuthorizeParameters],
        responses={200: serializers.AuthorizationShape, 302: OpenApiResponse(description="To the consent screen.")},
    )
    def get(self, request: Request, provider: str) -> HttpResponseBase:
        """With `Accept: application/json` the consent URL, else a redirect there; then the browser gets a cookie that
        the callback must bring back. `connectionId` re-authorises that connection. 409 `not_configured` where this
        server has no client at the provider, 422 of a provider without consent."""
        asked = valid(serializers.AuthorizeParameters, request.query_params)
        started = oauth_flow.begin(
            user=caller(request).user,
            workspace=caller(request).workspace,
            provider=provider,
            browser=not _wants_json(request),
            asked=asked.asked(),
            back_to=asked.validated_data["return_to"],
            connection_id=asked.validated_data["connection_id"],
        )
        if _wants_json(request):
            return Response({"authorizationUrl": started.url, "expiresAt": wire_time(started.expires_at)})
        return browser_answers.to_consent(started)


class Callback(APIView):
    """The second leg: the provider sends the user's browser here, without a token of ours."""

    http_method_names = ("get", "options")  # a HEAD that looks ahead must not use up the state
    authentication_classes = ()
    permission_classes = (AllowAny,)
    content_negotiation_class = AnyAccept

    @extend_schema(
        operation_id="oauth_callback",
        auth=[],
        parameters=[OpenApiParameter(name, str) for name in ("state", "code", "error", "iss")],
        responses={
            200: serializers.ConnectionShape,
            (200, "text/html"): OpenApiTypes.STR,
            302: OpenApiResponse(description="To `returnTo`."),
        },
    )
    def get(self, request: Request, provider: str) -> HttpResponseBase:
        """Finishes the flow for whoever began it: a redirect to `returnTo`, a result page, or JSON on request."""
        answer = {name: value for name, value in request.query_params.items() if isinstance(value, str)}
        try:
            done = oauth_flow.finish(provider=provider, answer=answer, cookies=request.COOKIES)
        except HubError as error:
            if _wants_json(request):
                raise
            return browser_answers.failed(error)
        ring(done.runs)
        if _wants_json(request):
            return Response(serializers.connection_summary(done.connection))
        response = HttpResponseRedirect(done.return_to) if done.return_to else browser_answers.succeeded(done)
        response.delete_cookie(oauth_flow.cookie_name(answer["state"]), path=request.path, samesite="Lax")
        return response


class Disconnect(APIView):
    """Disconnecting."""

    @extend_schema(
        operation_id="oauth_disconnect", parameters=[serializers.DisconnectParameters], responses={204: None}
    )
    def delete(self, request: Request, provider: str) -> Response:
        """Revokes at the provider where it can, forgets the credential, stops syncs: one connection, or all of the
        caller's with this provider. `purge=true` deletes what was synced too: hidden at once, and gone at once or, of a
        large mailbox, within minutes (`connections/:id/purge`). A purge of several accounts at once wants `all=true`:
        without it 409 `several_connections` names them, and nothing has happened."""
        asked = valid(serializers.DisconnectParameters, request.query_params).validated_data
        purges = disconnecting.disconnect_all(
            user=caller(request).user,
            workspace=caller(request).workspace,
            provider=provider,
            connection_id=asked["connection_id"],
            purge=asked["purge"],
            every=asked["all"],
        )
        ring_purges(purges)
        return Response(status=status.HTTP_204_NO_CONTENT)


class Connections(APIView):
    """The caller's connections."""

    @extend_schema(
        operation_id="connections",
        parameters=[serializers.ConnectionParameters],
        responses=paged_shape(serializers.ConnectionShape),
    )
    def get(self, request: Request) -> Response:
        """Oldest first; disconnected ones, whose mail is kept, with `includeDisconnected=true`."""
        asked = valid(serializers.ConnectionParameters, request.query_params)
        mine = Connection.objects.of(user=caller(request).user, workspace=caller(request).workspace)
        rows = mine if asked.validated_data["include_disconnected"] else mine.connected()
        page: Page[Connection] = paginate(rows, asked.page_query())
        return Response(paged_query(page, asked.page_query(), serializers.connection_summary))


class ConnectImap(APIView):
    """Connecting a mail account by its log-in."""

    @extend_schema(
        operation_id="connect_imap",
        request={"application/json": serializers.imap_schema()},
        responses={201: serializers.ConnectionStatusShape, 200: serializers.ConnectionStatusShape},
    )
    @idempotent
    def post(self, request: Request) -> Response:
        """Logs in to IMAP and SMTP before anything is saved. 201; the same account again is renewed and answers 200.
        422 `credentials_rejected`, `connection_failed` or `address_not_allowed` where the log-in does not work."""
        form = valid(serializers.ImapBody, request.data).login()
        actor = caller(request)
        connection, created, runs = connections.connect_imap(
            user=actor.user, workspace=actor.workspace, by=actor.user, **form
        )
        ring(runs)
        answer = serializers.connection_status(connection)
        return Response(answer, status=status.HTTP_201_CREATED if created else status.HTTP_200_OK)


class MailServers(APIView):
    """Finding the servers of an address."""

    @extend_schema(operation_id="connect_imap_servers", parameters=[ServersParameters], responses=ServersShape)
    def get(self, request: Request) -> Response:
        """A proposal for the form of `connections/imap`: from a table of well-known ones, the domain's SRV records, its
        autoconfig or its mail exchanger, within ten seconds. `foundBy` null: fill the form by hand. Show it to the user
        before a password is sent there."""
        asked = valid(ServersParameters, request.query_params)
        return Response(servers(server_discovery.discover(asked.validated_data["email"])))


class ConnectionDetail(APIView):
    """Changing a connection."""

    @extend_schema(
        operation_id="connection_change",
        request=serializers.ConnectionChanges,
        responses=serializers.ConnectionStatusShape,
    )
    def patch(self, request: Request, connection_id: str) -> Response:
        """Who sees its mail on an entity's timeline, whether it syncs, and what."""
        connection = _connection(request, connection_id)
        changes = valid(serializers.ConnectionChanges, request.data).validated_data
        ring(connections.update(connection, changes=changes, by=caller(request).user))
        return Response(serializers.connection_status(connection))


class ConnectionStatus(APIView):
    """How a connection stands."""

    @extend_schema(operation_id="connection_status", responses=serializers.ConnectionStatusShape)
    def get(self, request: Request, connection_id: str) -> Response:
        """What is wrong, in the provider's words; how far each sync is; when it goes on."""
        return Response(serializers.connection_status(_connection(request, connection_id)))


class PurgeDetail(APIView):
    """What became of a purge."""

    @extend_schema(operation_id="connection_purge", responses=PurgeShape)
    def get(self, request: Request, connection_id: str) -> Response:
        """How far it is and, once done, the proof: the rows of every table before, and after the last was deleted."""
        mine = Purge.objects.filter(user=caller(request).user, workspace=caller(request).workspace)
        return Response(purge(fetch(mine, connection_id=connection_id)))


class Sync(APIView):
    """Syncing now."""

    @extend_schema(operation_id="connection_sync", request=serializers.SyncBody, responses={202: serializers.RunsShape})
    @idempotent
    def post(self, request: Request, connection_id: str) -> Response:
        """202 with the runs; one under way is given back, not doubled."""
        connection = _connection(request, connection_id)
        asked = valid(serializers.SyncBody, request.data)
        wanted = asked.validated_data
        runs = connections.sync_now(
            connection,
            type=wanted["type"],
            trigger=asked.trigger(),
            check=wanted["check_coverage"],
            by=caller(request).user,
        )
        ring(runs)
        shown = {"runs": [serializers.run_summary(run) for run in runs]}
        return Response(shown, status=status.HTTP_202_ACCEPTED)


class Refresh(APIView):
    """Refreshing the access token now."""

    @extend_schema(operation_id="connection_refresh", request=None, responses=serializers.ConnectionStatusShape)
    def post(self, request: Request, connection_id: str) -> Response:
        """200 with the status; 409 `needs_reauth` where the grant is dead, 422 where a password is the log-in."""
        connection = _connection(request, connection_id)
        tokens.access_token(connection, force=True)
        connection.refresh_from_db()
        return Response(serializers.connection_status(connection))
