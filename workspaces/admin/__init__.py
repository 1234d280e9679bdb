"""The console's pages of this app, and what the pages of every app build on (`looks`, `forms`)."""

from __future__ import annotations

from workspaces.admin.people import MembershipAdmin, UserAdmin, WorkspaceAdmin
from workspaces.admin.tokens import ApiTokenAdmin
from workspaces.admin.trail import AuditEventAdmin

__all__ = ("ApiTokenAdmin", "AuditEventAdmin", "MembershipAdmin", "UserAdmin", "WorkspaceAdmin")
