"""The workspace's own API (CONTRACT 5, last rows): members, the caller's tokens, the audit trail.

Roles are checked before anything is looked up; every look-up starts from the token's workspace. The rules are in
`services`.
"""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.api.pagination import PageParameters, paged_query, paged_shape, paginate, read_page
from core.api.serializers import AnySerializer, valid
from workspaces import serializers
from workspaces.authentication import caller
from workspaces.idempotency import idempotent
from workspaces.models import ApiToken, AuditEvent, Membership
from workspaces.permissions import IsAdmin, IsMember, IsOwner
from workspaces.scoping import WorkspaceQuerySet
from workspaces.services import members, tokens

GONE = {204: OpenApiResponse(description="Done.")}


def _list(request: Request, rows: WorkspaceQuerySet[Any], kind: type[AnySerializer]) -> Response:
    query = read_page(request.query_params)
    return Response(paged_query(paginate(rows, query), query, lambda row: kind(row).data))


def _members(request: Request) -> WorkspaceQuerySet[Membership]:
    return Membership.objects.in_workspace(caller(request).workspace).select_related("user", "workspace")


def _own_tokens(request: Request) -> WorkspaceQuerySet[ApiToken]:
    """The caller's, in this workspace, that were not revoked; expired ones are shown until they are."""
    own = ApiToken.objects.filter(membership=caller(request).membership_id, revoked_at=None)
    return own.select_related("membership__user", "membership__workspace")


class Members(APIView):
    """Who is in the workspace."""

    permission_classes = (IsAdmin,)

    @extend_schema(
        operation_id="members_list", parameters=[PageParameters], responses=paged_shape(serializers.MemberSerializer)
    )
    def get(self, request: Request) -> Response:
        """In the order in which they came."""
        return _list(request, _members(request), serializers.MemberSerializer)

    @extend_schema(
        operation_id="members_add", request=serializers.NewMember, responses={201: serializers.MemberSerializer}
    )
    @idempotent
    def post(self, request: Request) -> Response:
        """Attach an account by e-mail, made without a password if there is none; an existing one stays as it is.
        409 `already_member`."""
        given = valid(serializers.NewMember, request.data).validated_data
        added = members.add(by=caller(request).user, workspace=caller(request).workspace, **given)
        return Response(serializers.MemberSerializer(added).data, status=status.HTTP_201_CREATED)


class Member(APIView):
    """One member."""

    permission_classes = (IsAdmin,)

    @extend_schema(
        operation_id="members_change", request=serializers.RoleChange, responses=serializers.MemberSerializer
    )
    def patch(self, request: Request, member_id: str) -> Response:
        """Change the role. An ADMIN neither makes nor touches an OWNER; the last OWNER stays one (409 `last_owner`)."""
        found = _members(request).fetch(member_id)
        role = valid(serializers.RoleChange, request.data).validated_data.get("role")
        if role is not None:
            found = members.change_role(by=caller(request).user, membership=found, role=role)
        return Response(serializers.MemberSerializer(found).data)

    @extend_schema(operation_id="members_remove", responses=GONE)
    def delete(self, request: Request, member_id: str) -> Response:
        """Remove the member and the member's tokens; also how an OWNER or ADMIN leaves."""
        members.remove(by=caller(request).user, membership=_members(request).fetch(member_id))
        return Response(status=status.HTTP_204_NO_CONTENT)


class Tokens(APIView):
    """The caller's own API tokens in this workspace."""

    permission_classes = (IsMember,)

    @extend_schema(
        operation_id="tokens_list", parameters=[PageParameters], responses=paged_shape(serializers.TokenSerializer)
    )
    def get(self, request: Request) -> Response:
        """Newest first, without their secrets."""
        return _list(request, _own_tokens(request), serializers.TokenSerializer)

    @extend_schema(
        operation_id="tokens_issue", request=serializers.NewToken, responses={201: serializers.IssuedTokenSerializer}
    )
    @idempotent
    def post(self, request: Request) -> Response:
        """A new token. Its text is in this answer and nowhere else."""
        given = valid(serializers.NewToken, request.data).validated_data
        issued = tokens.issue(by=caller(request).user, membership=caller(request).membership, **given)
        shown = {**serializers.TokenSerializer(issued.row).data, "token": issued.text}
        return Response(shown, status=status.HTTP_201_CREATED)


class Token(APIView):
    """One of the caller's tokens."""

    permission_classes = (IsMember,)

    @extend_schema(operation_id="tokens_revoke", responses=GONE)
    def delete(self, request: Request, token_id: str) -> Response:
        """End it now; the one this request came with, too."""
        tokens.revoke(by=caller(request).user, token=_own_tokens(request).fetch(token_id))
        return Response(status=status.HTTP_204_NO_CONTENT)


class AuditTrail(APIView):
    """Who changed what."""

    permission_classes = (IsOwner,)

    @extend_schema(
        operation_id="audit_list", parameters=[PageParameters], responses=paged_shape(serializers.AuditEventSerializer)
    )
    def get(self, request: Request) -> Response:
        """Newest first. Nothing in it is ever changed or removed."""
        events = AuditEvent.objects.in_workspace(caller(request).workspace)
        return _list(request, events, serializers.AuditEventSerializer)
