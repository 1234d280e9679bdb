"""Roles as DRF permissions. The role is the one the authentication query of this very request read.

Views of the API name one; `IsMember` is the default in settings. A role too low is 403, decided before any object is
looked up, so that it tells nothing about what exists.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from workspaces.models import ApiToken, Role

if TYPE_CHECKING:
    from rest_framework.views import APIView  # importing it here would be a circle: settings name this module


class IsMember(BasePermission):
    """Any member of the token's workspace."""

    message = "Your role does not allow this."
    roles: ClassVar[frozenset[str]] = frozenset(Role.values)
    only_for: ClassVar[str] = ""
    """In the API's documentation; "" where it is everybody."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        return isinstance(request.auth, ApiToken) and request.auth.role in self.roles


class IsAdmin(IsMember):
    """ADMIN or OWNER."""

    roles = frozenset({Role.ADMIN, Role.OWNER})
    only_for = "ADMIN and OWNER"


class IsOwner(IsMember):
    """OWNER only."""

    roles = frozenset({Role.OWNER})
    only_for = "OWNER"
