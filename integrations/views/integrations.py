"""The workspace's integrations API (CONTRACT 5, and the second source document to the letter). Any member sees the list
and the counts; one of them, and every change, is for ADMIN and OWNER."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.api.serializers import valid
from integrations import tasks
from integrations.models import Integration
from integrations.serializers import integrations as shapes
from integrations.services import integration_actions, integration_use, integrations, templates
from workspaces.authentication import caller
from workspaces.idempotency import idempotent
from workspaces.permissions import IsAdmin, IsMember


def find(request: Request, integration_id: str) -> Integration:
    """One of the caller's workspace."""
    rows = Integration.objects.in_workspace(caller(request).workspace).existing().select_related("workspace")
    return rows.fetch(integration_id)


class Integrations(APIView):
    """All of a workspace."""

    def get_permissions(self) -> list[BasePermission]:
        """Members may look."""
        return [IsAdmin() if self.request.method == "POST" else IsMember()]

    @extend_schema(
        operation_id="integrations",
        parameters=[shapes.IntegrationParameters],
        responses=shapes.IntegrationShape(many=True),
    )
    def get(self, request: Request) -> Response:
        """A bare array, oldest first; at most 200. `type` and `enabled` narrow it."""
        asked = valid(shapes.IntegrationParameters, request.query_params).validated_data
        rows = Integration.objects.in_workspace(caller(request).workspace).listed().filter(**asked)
        return Response([shapes.summary(row) for row in rows])

    @extend_schema(
        operation_id="integration_create",
        request=shapes.IntegrationBody,
        responses={201: shapes.IntegrationDetailShape},
    )
    @idempotent
    def post(self, request: Request) -> Response:
        """Its fields are those that `integrations/types` declares. Nothing is asked of the vendor yet: see `test`."""
        actor = caller(request)
        form = valid(shapes.IntegrationBody, request.data).validated_data
        row = integrations.create(workspace=actor.workspace, by=actor.user, **form)
        return Response(shapes.detail(row), status=status.HTTP_201_CREATED)


class IntegrationDetail(APIView):
    """One of them."""

    permission_classes = (IsAdmin,)

    @extend_schema(operation_id="integration", responses=shapes.IntegrationDetailShape)
    def get(self, request: Request, integration_id: str) -> Response:
        """How it is set up and how it is. Credentials are never shown."""
        return Response(shapes.detail(find(request, integration_id)))

    @extend_schema(
        operation_id="integration_change",
        request=shapes.IntegrationChanges,
        responses=shapes.IntegrationDetailShape,
    )
    def patch(self, request: Request, integration_id: str) -> Response:
        """What is left out stays. Of `config` each setting given is set and null takes it away; `credentials` replaces
        all of them. Changing the address that credentials are sent to clears them unless they are given again.
        Disabling takes the site email provider's part away too."""
        given = valid(shapes.IntegrationChanges, request.data, partial=True).validated_data
        row = integrations.change(integration=find(request, integration_id), by=caller(request).user, given=given)
        return Response(shapes.detail(row))

    @extend_schema(operation_id="integration_delete", responses={204: None})
    def delete(self, request: Request, integration_id: str) -> Response:
        """Its credentials are gone at once; its deliveries and logs stay."""
        integrations.remove(integration=find(request, integration_id), by=caller(request).user)
        return Response(status=status.HTTP_204_NO_CONTENT)


class Stats(APIView):
    """Counts."""

    @extend_schema(operation_id="integration_stats", responses=shapes.StatsShape)
    def get(self, request: Request) -> Response:
        """By state and by type."""
        return Response(integrations.stats(caller(request).workspace))


class Types(APIView):
    """What there is to integrate with."""

    @extend_schema(operation_id="integration_types", responses=shapes.TypesShape)
    def get(self, request: Request) -> Response:
        """Every type with the JSON Schema of its config, its credentials and the input of its actions."""
        return Response({"types": shapes.types()})


class Templates(APIView):
    """Mail templates at a vendor."""

    @extend_schema(responses=shapes.TemplatesShape)
    def get(self, request: Request, type: str) -> Response:
        """All that can be sent. 409 `not_configured` where no integration of this type is enabled, 422
        `credentials_rejected` where the vendor refuses its key."""
        return Response({"templates": templates.listed(workspace=caller(request).workspace, type=type)})


class Test(APIView):
    """Trying an integration."""

    permission_classes = (IsAdmin,)

    @extend_schema(operation_id="integration_test", request=None, responses=shapes.TestedShape)
    def post(self, request: Request, integration_id: str) -> Response:
        """Asks the vendor now and says in a sentence how it went; 200 also where it does not work."""
        return Response(shapes.tested(integration_use.test(integration=find(request, integration_id))))


class Action(APIView):
    """What an integration can do."""

    permission_classes = (IsAdmin,)

    @extend_schema(
        operation_id="integration_action",
        request=shapes.ActionBody,
        responses={200: shapes.ActionShape, 202: shapes.ActionShape},
    )
    @idempotent
    def post(self, request: Request, integration_id: str, action: str) -> Response:
        """One of the actions its type declares, with the input declared there. 202 where work in the background does
        it: `result.run` is that work, one under way included. 409 where it is disabled, 422 in the
        vendor's own words where it refuses, 429 and 503 with the wait where it is throttled."""
        given = shapes.action_input(request.data)
        row = find(request, integration_id)
        done = integration_actions.perform(integration=row, action=action, given=given, by=caller(request).user)
        tasks.ring_action(action, done.work)
        code = status.HTTP_202_ACCEPTED if done.work else status.HTTP_200_OK
        return Response(shapes.performed(action, done), status=code)
