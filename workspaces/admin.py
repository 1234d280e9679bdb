"""The console's pages of this app. Every change goes through a service, so the rules and the trail are the API's.

Accounts are for superusers: a person may be in several workspaces, so no workspace's owner edits the account itself.
"""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.db import models
from django.http import HttpRequest
from unfold.forms import AdminPasswordChangeForm, BaseDialogForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminEmailInputWidget, UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from core.admin import ScopedAdmin, console_workspace_ids, scoped_action, sees_all
from workspaces.models import ApiToken, AuditEvent, Membership, Role, User, Workspace
from workspaces.services import audit, members, tokens

admin.site.unregister(Group)  # roles come from memberships, not from Django's permissions


class NewUserForm(UserCreationForm):
    """An account with a password."""

    class Meta:
        model = User
        fields = ("email", "name")


class UserForm(UserChangeForm):
    """The account itself; its password has a page of its own."""

    class Meta:
        model = User
        fields = "__all__"


class RoleForm(BaseDialogForm):
    """Asks for a role."""

    role = forms.ChoiceField(choices=Role.choices, widget=UnfoldAdminSelectWidget)


class NewMemberForm(BaseDialogForm):
    """Asks for whom to add."""

    email = forms.EmailField(max_length=254, widget=UnfoldAdminEmailInputWidget)
    name = forms.CharField(max_length=150, required=False, widget=UnfoldAdminTextInputWidget)
    role = forms.ChoiceField(choices=Role.choices, initial=Role.MEMBER, widget=UnfoldAdminSelectWidget)


@admin.register(User)
class UserAdmin(DjangoUserAdmin, ScopedAdmin):
    """Superusers only."""

    form = UserForm
    add_form = NewUserForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("email", "name", "is_active", "is_staff", "last_login")
    list_filter = ("is_active", "is_superuser")
    search_fields = ("email", "name")
    ordering = ("email",)
    filter_horizontal = ()
    readonly_fields = ("is_staff", "last_login", "date_joined")
    fieldsets = (
        (None, {"fields": ("email", "name", "password")}),
        ("Access", {"fields": ("is_active", "is_superuser", "is_staff")}),
        ("Times", {"fields": ("last_login", "date_joined")}),
    )
    add_fieldsets = ((None, {"fields": ("email", "name", "password1", "password2")}),)

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[User]:
        """What other pages may offer as a choice: the people of the caller's workspaces."""
        users = User.objects.all()
        if sees_all(request):
            return users
        shared = Membership.objects.filter(workspace__in=console_workspace_ids(request))
        return users.filter(pk__in=shared.values("user_id"))

    def has_module_permission(self, request: HttpRequest) -> bool:
        return sees_all(request)


@admin.register(Workspace)
class WorkspaceAdmin(ScopedAdmin):
    """The name, and adding people. Workspaces are made by `manage.py create_workspace`."""

    workspace_path = "pk"
    can_add = False
    can_delete = False
    list_display = ("name", "created_at")
    search_fields = ("name",)
    fields = ("name", "created_at")
    readonly_fields = ("created_at",)
    actions_detail = ("add_member",)

    def save_model(self, request: HttpRequest, obj: Workspace, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        audit.record(by=_by(request), workspace=obj, action="workspace.renamed", target=obj, changes={"name": obj.name})

    @scoped_action(
        description="Add a member",
        confirm="Somebody new gets an account without a password; an existing account stays as it is.",
        icon="person_add",
        form_class=NewMemberForm,
        submit="Add",
    )
    def add_member(self, request: HttpRequest, obj: Workspace, form: BaseDialogForm) -> str:
        given = {name: form.cleaned_data[name] for name in ("email", "name", "role")}
        added = members.add(by=_by(request), workspace=obj, **given)
        return f"{added.user.email} is a member now."


class ReadOnlyAdmin(ScopedAdmin):
    """Looked at and acted upon, never edited in a form."""

    can_add = False
    can_change = False
    can_delete = False


@admin.register(Membership)
class MembershipAdmin(ReadOnlyAdmin):
    """Who is in the workspace."""

    list_display = ("user", "role", "workspace", "created_at")
    list_filter = ("role",)
    list_select_related = ("user", "workspace")
    search_fields = ("user__email", "user__name")
    fields = ("user", "workspace", "role", "created_at")
    actions_detail = ("change_role", "remove")

    @scoped_action(description="Change role", icon="badge", form_class=RoleForm, submit="Change")
    def change_role(self, request: HttpRequest, obj: Membership, form: BaseDialogForm) -> str:
        changed = members.change_role(by=_by(request), membership=obj, role=form.cleaned_data["role"])
        return f"{changed.user.email} is {changed.role} now."

    @scoped_action(
        description="Remove",
        confirm="The member loses access and all API tokens of this workspace at once.",
        icon="person_remove",
        submit="Remove",
    )
    def remove(self, request: HttpRequest, obj: Membership, form: BaseDialogForm) -> str:
        members.remove(by=_by(request), membership=obj)
        return f"{obj.user.email} is no member any more."


@admin.register(ApiToken)
class ApiTokenAdmin(ReadOnlyAdmin):
    """Tokens by their fingerprint; there is no secret to show."""

    workspace_path = "membership__workspace"
    list_display = ("name", "fingerprint", "member", "created_at", "last_used_at", "expires_at", "revoked_at")
    list_select_related = ("membership__user", "membership__workspace")
    search_fields = ("name", "lookup", "membership__user__email")
    fields = ("name", "fingerprint", "member", "created_at", "last_used_at", "expires_at", "revoked_at")
    actions_detail = ("revoke",)

    @admin.display(description="member", ordering="membership__user__email")
    def member(self, token: ApiToken) -> str:
        return token.user.email

    @scoped_action(description="Revoke", confirm="The token stops working at once.", icon="block", submit="Revoke")
    def revoke(self, request: HttpRequest, obj: ApiToken, form: BaseDialogForm) -> str:
        tokens.revoke(by=_by(request), token=obj)
        return f"{obj.name} was revoked."


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin):
    """The trail, for owners."""

    list_display = ("at", "action", "actor_email", "object_type", "object_id", "request_id")
    search_fields = ("action", "actor_email", "object_id", "request_id")
    ordering = ("-id",)
    fields = ("at", "action", "actor_email", "object_type", "object_id", "changes", "request_id", "workspace")
    list_select_related: ClassVar[tuple[str, ...]] = ()

    def workspace_ids(self, request: HttpRequest) -> frozenset[uuid.UUID]:
        run = console_workspace_ids(request)
        return run & _by(request).owned_workspace_ids() if run else run


def _by(request: HttpRequest) -> User:
    """Who acts; the site lets nobody else in."""
    if not isinstance(request.user, User):
        raise TypeError("The console has no anonymous pages.")
    return request.user
