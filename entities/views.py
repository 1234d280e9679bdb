"""Matches over the API (CONTRACT 4, `email/match`). Any member makes them; who made one, ADMIN and OWNER undo it."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.api.pagination import Page, paged_query, paged_shape, paginate
from core.api.serializers import valid
from entities import serializers
from entities.services import matches
from workspaces.authentication import caller
from workspaces.idempotency import idempotent


class Matches(APIView):
    """The workspace's matches."""

    @extend_schema(
        operation_id="email_matches",
        parameters=[serializers.MatchParameters],
        responses=paged_shape(serializers.MatchShape),
    )
    def get(self, request: Request) -> Response:
        """Newest first, of every member of the workspace."""
        workspace, user = caller(request).workspace, caller(request).user
        query = valid(serializers.MatchParameters, request.query_params)
        wanted = {name: query.validated_data[name] for name in ("entity_type", "entity_id", "q")}
        page: Page[Any] = paginate(matches.listed(workspace=workspace, **wanted), query.page_query())
        rows = serializers.shown(matches.load([row["id"] for row in page.rows]), user=user, workspace=workspace)
        shown = Page(rows, page.total, page.next_cursor)
        return Response(paged_query(shown, query.page_query(), lambda row: row))

    @extend_schema(
        operation_id="email_match",
        request=serializers.MatchBody,
        responses={201: serializers.MatchShape, 200: serializers.MatchShape},
    )
    @idempotent
    def post(self, request: Request) -> Response:
        """Link an address or a domain with an entity: mail of the past and of the future. The same once more: 200."""
        given: dict[str, Any] = dict(valid(serializers.MatchBody, request.data).validated_data)
        workspace, user = caller(request).workspace, caller(request).user
        match: matches.AnyMatch
        if "domain" in given:
            match, created = matches.match_domain(workspace=workspace, by=user, **given)
        else:
            match, created = matches.match_address(
                workspace=workspace, by=user, address=given.pop("email_address"), **given
            )
        [shown] = serializers.shown([match], user=user, workspace=workspace)
        return Response(shown, status=status.HTTP_201_CREATED if created else status.HTTP_200_OK)


class Match(APIView):
    """One match."""

    @extend_schema(operation_id="email_match_remove", responses={204: OpenApiResponse(description="Done.")})
    def delete(self, request: Request, match_id: str) -> Response:
        """Undo it. What was linked by hand stays linked."""
        match = matches.find(workspace=caller(request).workspace, match_id=match_id)
        matches.remove(match=match, by=caller(request).user)
        return Response(status=status.HTTP_204_NO_CONTENT)
