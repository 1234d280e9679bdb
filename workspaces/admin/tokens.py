"""The console's pages of API tokens. A new token's text is in one answer and nowhere else: not in a message, a session
or a log, and no cache keeps the page."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from unfold.forms import BaseDialogForm
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from core.admin import console_workspace_ids, scoped_action
from core.errors import HubError
from workspaces.admin.forms import PageForm, form_page, shown_once
from workspaces.admin.looks import ReadOnlyAdmin, by
from workspaces.models import ApiToken, Membership, MembershipQuerySet, Workspace
from workspaces.services import tokens

LIVES = {"30": "30 days", "90": "90 days", "365": "One year", "": "Until it is revoked"}


class TokenForm(PageForm):
    """What a new token is for, and how long it is good."""

    name = forms.CharField(max_length=100, widget=UnfoldAdminTextInputWidget, help_text="What will use it.")
    days = forms.ChoiceField(
        label="Good for", choices=list(LIVES.items()), required=False, initial="90", widget=UnfoldAdminSelectWidget
    )

    def expires_at(self) -> datetime | None:
        """When it ends; None: when somebody revokes it."""
        days = self.cleaned_data["days"]
        return timezone.now() + timedelta(days=int(days)) if days else None


@admin.register(ApiToken)
class ApiTokenAdmin(ReadOnlyAdmin):
    """Tokens by their fingerprint; there is no secret to show. Everybody makes tokens for themselves only."""

    workspace_path = "membership__workspace"
    can_add = True
    list_display = ("name", "fingerprint", "member", "created_at", "last_used_at", "expires_at", "revoked_at")
    list_select_related = ("membership__user", "membership__workspace")
    search_fields = ("name", "lookup", "membership__user__email")
    fields = ("name", "fingerprint", "member", "created_at", "last_used_at", "expires_at", "revoked_at")
    actions_detail = ("revoke",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """For who is a member: a token speaks for a membership."""
        return super().has_add_permission(request) and self._own(request).exists()

    def _own(self, request: HttpRequest) -> MembershipQuerySet:
        """The caller's own memberships of the workspaces on show."""
        return Membership.objects.filter(user=by(request), workspace__in=console_workspace_ids(request))

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """A new token of the caller's own, shown once."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        own = self._own(request)
        workspaces = Workspace.objects.filter(pk__in=own.values("workspace")).order_by("name", "pk")
        form = TokenForm(request.POST if request.method == "POST" else None, workspaces=workspaces)
        if form.is_valid():
            try:
                membership = own.get(workspace=form.workspace)
                name, ends = form.cleaned_data["name"], form.expires_at()
                return self._shown_once(
                    request, tokens.issue(by=by(request), membership=membership, name=name, expires_at=ends)
                )
            except HubError as error:
                form.tell(error)
        about = "It may do what you may do in the API, as you. Its text is shown once, on the next page."
        return form_page(self, request, form, title="New API token", submit="Make the token", about=about)

    def _shown_once(self, request: HttpRequest, issued: tokens.IssuedToken) -> HttpResponse:
        token = issued.row
        facts = {
            "For": f"{token.membership.workspace.name}, as {token.membership.user.email}",
            "Later shown as": token.fingerprint,
            "Ends": f"{token.expires_at:%Y-%m-%d}" if token.expires_at else "when it is revoked",
        }
        back = reverse(f"{self.admin_site.name}:workspaces_apitoken_changelist")
        return shown_once(self, request, title=token.name, secrets={"Token": issued.text}, facts=facts, back=back)

    @admin.display(description="member", ordering="membership__user__email")
    def member(self, token: ApiToken) -> str:
        return token.user.email

    @scoped_action(description="Revoke", confirm="The token stops working at once.", icon="block", submit="Revoke")
    def revoke(self, request: HttpRequest, obj: ApiToken, form: BaseDialogForm) -> str:
        tokens.revoke(by=by(request), token=obj)
        return f"{obj.name} was revoked."
