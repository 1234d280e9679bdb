"""The console's site: Django's admin with our first page, the set-up pages, sign-in by a provider, and the choice of a
workspace. It stands where Django's own would (`apps.ConsoleConfig`), so every app's `@admin.register` finds it. It is
made by the first of them: what imports an app's pages is therefore imported when the addresses are asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from unfold.sites import UnfoldAdminSite

from config.console import choosing, signing_in
from core.admin import is_only_member, member_workspace_ids

View = Callable[..., Any]
MEMBERS_PAGES = frozenset(
    {
        "index",
        "app_index",
        "search",
        "logout",
        "password_change",
        "password_change_done",
        "i18n_javascript",
        "catch_all_view",
    }
)
"""Of the site's own; each shows no row, or asks the models' pages what may be shown."""


class ConsoleSite(UnfoldAdminSite):
    """Every page of it asks who is there (`admin_view`), but for the two legs of a sign-in."""

    index_title = "Overview"
    index_template = "console/dashboard.html"
    login_template = "console/login.html"
    login_form = signing_in.PasswordForm

    def has_permission(self, request: HttpRequest) -> bool:
        """Whoever runs a workspace, and members for what is their own."""
        return bool(super().has_permission(request) or (request.user.is_active and member_workspace_ids(request)))

    def admin_view(self, view: View, cacheable: bool = False) -> View:
        """As Django's; and what does not say that it is for members is closed to them, whoever wrote it."""

        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            if is_only_member(request) and not self._is_for_members(view):
                raise PermissionDenied
            return view(request, *args, **kwargs)

        return super().admin_view(update_wrapper(guarded, view), cacheable)  # type: ignore[no-any-return]

    def _is_for_members(self, view: View) -> bool:
        page = getattr(view, "__self__", None)
        if page is self:
            return view.__name__ in MEMBERS_PAGES
        return bool(getattr(page, "owner_path", ""))

    def extra_urls(self) -> list[URLPattern]:
        """Pages that belong to no model."""
        from config.console import pages

        return [
            path("overview", self.admin_view(pages.overview), name="overview"),
            path("workspace", self.admin_view(pages.choose), name="choose_workspace"),
            path("setup", self.admin_view(pages.setup_page), name="setup"),
            path("setup/checks", self.admin_view(pages.checks), name="checks"),
            path("setup/<str:provider>", self.admin_view(pages.provider), name="setup_provider"),
            path("login/<str:provider>", pages.sign_in, name="sign_in"),
            path("login/<str:provider>/complete", pages.signed_in, name="signed_in"),
        ]

    def extra_context(self, context: dict[str, Any], request: HttpRequest) -> dict[str, Any]:
        """What every page shows besides unfold's own: the choice of a workspace, or how to sign in."""
        if not self.has_permission(request):
            return {**context, "sign_in_with": signing_in.providers()}
        own = {"templates": {"navigation": "console/navigation.html"}, "choice": choosing.choice(request)}
        return {**context, **own}

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The dashboard; a member's connections."""
        if is_only_member(request):
            return HttpResponseRedirect(reverse("admin:integrations_connection_changelist"))
        from config.console import dashboard

        shown: HttpResponse = super().index(request, {**dashboard.shown(request), **(extra_context or {})})
        return shown
