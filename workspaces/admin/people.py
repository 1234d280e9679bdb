"""The console's pages of accounts, workspaces and their members. Every change goes through a service, so the rules and
the trail are the API's.

Accounts are for superusers: a person may be in several workspaces, so no workspace's owner edits the account itself.
"""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from unfold.forms import AdminPasswordChangeForm, BaseDialogForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminEmailInputWidget, UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from core.admin import ScopedAdmin, console_workspace_ids, scoped_action, sees_all
from core.errors import HubError
from workspaces.admin.forms import PageForm, form_page
from workspaces.admin.looks import ReadOnlyAdmin, by, workspaces_of
from workspaces.models import Membership, Role, User, Workspace
from workspaces.services import audit, members

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


class MemberFields(forms.Form):
    """Whom to add, and as what."""

    email = forms.EmailField(max_length=254, widget=UnfoldAdminEmailInputWidget)
    name = forms.CharField(max_length=150, required=False, widget=UnfoldAdminTextInputWidget)
    role = forms.ChoiceField(choices=Role.choices, initial=Role.MEMBER, widget=UnfoldAdminSelectWidget)


class NewMemberForm(MemberFields, BaseDialogForm):
    """In a dialog."""


class InviteForm(MemberFields, PageForm):
    """On a page of its own."""


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
        audit.record(by=by(request), workspace=obj, action="workspace.renamed", target=obj, changes={"name": obj.name})

    @scoped_action(
        description="Add a member",
        confirm="Somebody new gets an account without a password; an existing account stays as it is.",
        icon="person_add",
        form_class=NewMemberForm,
        submit="Add",
    )
    def add_member(self, request: HttpRequest, obj: Workspace, form: BaseDialogForm) -> str:
        given = {name: form.cleaned_data[name] for name in ("email", "name", "role")}
        added = members.add(by=by(request), workspace=obj, **given)
        return f"{added.user.email} is a member now."


@admin.register(Membership)
class MembershipAdmin(ReadOnlyAdmin):
    """Who is in the workspace; adding is inviting."""

    can_add = True
    list_display = ("user", "role", "workspace", "created_at")
    list_filter = ("role",)
    list_select_related = ("user", "workspace")
    search_fields = ("user__email", "user__name")
    fields = ("user", "workspace", "role", "created_at")
    actions_detail = ("change_role", "remove")

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Invite a colleague."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = InviteForm(request.POST if request.method == "POST" else None, workspaces=workspaces_of(request))
        if form.is_valid():
            given = {name: form.cleaned_data[name] for name in ("email", "name", "role")}
            try:
                added = members.add(by=by(request), workspace=form.workspace, **given)
            except HubError as error:
                form.tell(error)
            else:
                messages.success(request, f"{added.user.email} is a member now.")
                return HttpResponseRedirect(reverse(f"{self.admin_site.name}:workspaces_membership_changelist"))
        about = "Somebody new gets an account without a password; an existing account stays as it is."
        return form_page(self, request, form, title="Invite a colleague", submit="Invite", about=about)

    @scoped_action(description="Change role", icon="badge", form_class=RoleForm, submit="Change")
    def change_role(self, request: HttpRequest, obj: Membership, form: BaseDialogForm) -> str:
        changed = members.change_role(by=by(request), membership=obj, role=form.cleaned_data["role"])
        return f"{changed.user.email} is {changed.role} now."

    @scoped_action(
        description="Remove",
        confirm="The member loses access and all API tokens of this workspace at once.",
        icon="person_remove",
        submit="Remove",
    )
    def remove(self, request: HttpRequest, obj: Membership, form: BaseDialogForm) -> str:
        members.remove(by=by(request), membership=obj)
        return f"{obj.user.email} is no member any more."
