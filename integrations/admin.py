"""The console's pages of connections and their runs.

An owner or admin sees that a member's account is connected, how it stands and what the provider says, and may sync it,
pause it or disconnect it; never its credential, and never its mail (threat 18).
"""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib import admin, messages
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.views.decorators.http import require_POST
from unfold.decorators import display
from unfold.forms import BaseDialogForm

from core.admin import ScopedAdmin, scoped_action
from core.errors import HubError
from core.work import WorkStatus
from integrations import browser_answers
from integrations.models import Connection, ConnectionStatus, SyncRun
from integrations.oauth import CONNECTION_PROVIDERS
from integrations.services import capabilities, connections, disconnecting, oauth_flow, standing
from integrations.tasks import ring
from workspaces.models import User, Workspace

COLOURS = {
    ConnectionStatus.ACTIVE: "success",
    ConnectionStatus.PAUSED: "info",
    ConnectionStatus.ERROR: "warning",
    ConnectionStatus.NEEDS_REAUTH: "danger",
    ConnectionStatus.DISCONNECTED: "info",
}
WORDS = {
    ConnectionStatus.ACTIVE: "Active",
    ConnectionStatus.PAUSED: "Paused",
    ConnectionStatus.ERROR: "Error",
    ConnectionStatus.NEEDS_REAUTH: "Needs sign-in",
    ConnectionStatus.DISCONNECTED: "Disconnected",
}
WHAT_NEXT = {
    ConnectionStatus.ACTIVE: "Nothing to do.",
    ConnectionStatus.PAUSED: "Resume it to go on.",
    ConnectionStatus.ERROR: "It is tried again by itself. If it stays, the provider's words below say why.",
    ConnectionStatus.NEEDS_REAUTH: "Its user has to connect the account again; nobody else can.",
    ConnectionStatus.DISCONNECTED: "Its mail is kept. Connect the account again to go on.",
}
RUN_COLOURS = {
    WorkStatus.QUEUED: "info",
    WorkStatus.RUNNING: "info",
    WorkStatus.DONE: "success",
    WorkStatus.FAILED: "danger",
}
LINE_BREAK = mark_safe("<br>")


class ReadOnlyAdmin(ScopedAdmin):
    """Looked at and acted upon, never edited in a form."""

    can_add = False
    can_change = False
    can_delete = False


@admin.register(Connection)
class ConnectionAdmin(ReadOnlyAdmin):
    """Accounts of the workspace's members."""

    list_display = ("account_email", "provider_name", "user", "state", "progress", "last_synced_at", "words")
    list_filter = ("provider", "needs_reauth", "paused")
    list_select_related = ("user", "workspace")
    search_fields = ("account_email", "display_name", "user__email")
    ordering = ("account_email",)
    actions_detail = ("sync_now", "pause", "resume", "disconnect")
    fieldsets = (
        (None, {"fields": ("account_email", "display_name", "provider_name", "user", "workspace", "visibility")}),
        (
            "How it stands",
            {"fields": ("state_words", "what_next", "words", "last_error_at", "missing", "last_synced_at")},
        ),
        ("Syncs", {"fields": ("syncs", "runs_link")}),
        ("Times", {"fields": ("created_at", "updated_at", "token_expires_at", "disconnected_at")}),
    )
    readonly_fields = (
        "provider_name", "state_words", "what_next", "words", "missing", "syncs", "runs_link",
        "created_at", "updated_at",
    )  # fmt: skip

    list_before_template = "integrations/connect_buttons.html"

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """With a button per provider that is set up here; whoever connects, connects an account of their own."""
        providers = [CONNECTION_PROVIDERS.get(key) for key in CONNECTION_PROVIDERS]
        buttons = {
            "connectable": [provider for provider in providers if provider.oauth and provider.configured()],
            "connect_to": list(Workspace.objects.filter(memberships__user=_by(request))),
        }
        return super().changelist_view(request, {**buttons, **(extra_context or {})})

    def get_urls(self) -> list[URLPattern]:
        connect = self.admin_site.admin_view(self.connect)
        path_ = path("connect/<str:provider>/<uuid:workspace_id>", connect, name="integrations_connection_connect")
        return [path_, *super().get_urls()]

    @method_decorator(require_POST)
    def connect(self, request: HttpRequest, provider: str, workspace_id: uuid.UUID) -> HttpResponse:
        """Begin a consent flow for the caller; the cookie binds it to this browser."""
        workspace = get_object_or_404(Workspace, memberships__user=_by(request), pk=workspace_id)
        back = reverse(f"{self.admin_site.name}:integrations_connection_changelist")
        try:
            started = oauth_flow.begin(
                user=_by(request), workspace=workspace, provider=provider, browser=True, back_to=back
            )
        except HubError as error:
            messages.error(request, error.message)
            return HttpResponseRedirect(back)
        return browser_answers.to_consent(started)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Connection]:
        under_way = Prefetch("runs", queryset=SyncRun.objects.active(), to_attr="under_way")
        return super().get_queryset(request).prefetch_related(under_way)

    @display(description="provider", ordering="provider")
    def provider_name(self, connection: Connection) -> str:
        return CONNECTION_PROVIDERS.get(connection.provider).name

    @display(description="status", label=COLOURS)
    def state(self, connection: Connection) -> tuple[str, str]:
        status = ConnectionStatus(connection.status)
        return status, WORDS[status]

    @display(description="status")
    def state_words(self, connection: Connection) -> str:
        """For the page of one connection, where unfold shows no label."""
        return self.state(connection)[1]

    @display(description="what to do")
    def what_next(self, connection: Connection) -> str:
        return WHAT_NEXT[ConnectionStatus(connection.status)]

    @display(description="last error")
    def words(self, connection: Connection) -> str:
        if not connection.last_error_code:
            return "–"
        return f"{connection.last_error_message} ({connection.last_error_code})"

    @display(description="missing permissions")
    def missing(self, connection: Connection) -> str:
        return ", ".join(capabilities.missing_scopes(connection)) or "–"

    @display(description="under way")
    def progress(self, connection: Connection) -> SafeString | str:
        runs: list[SyncRun] = connection.under_way  # type: ignore[attr-defined]  # prefetched above
        return format_html_join(LINE_BREAK, "{}", ((progress_words(run),) for run in runs)) or "–"

    @display(description="by kind")
    def syncs(self, connection: Connection) -> SafeString:
        rows = ((name, sync_words(sync)) for name, sync in standing.of(connection).items())
        return format_html_join(LINE_BREAK, "<b>{}</b>: {}", rows)

    @display(description="history")
    def runs_link(self, connection: Connection) -> SafeString:
        url = reverse(f"{self.admin_site.name}:integrations_syncrun_changelist")
        return format_html('<a href="{}?connection__id__exact={}">All runs</a>', url, connection.pk)

    @scoped_action(description="Sync now", confirm="Fetches what is new. One under way goes on.", icon="sync")
    def sync_now(self, request: HttpRequest, obj: Connection, form: BaseDialogForm) -> str:
        runs = connections.sync_now(obj, type="all", by=_by(request))
        ring(runs)
        return "The sync has begun." if runs else "There is nothing to sync here."

    @scoped_action(description="Pause", confirm="No more syncs until it is resumed.", icon="pause", submit="Pause")
    def pause(self, request: HttpRequest, obj: Connection, form: BaseDialogForm) -> str:
        connections.update(obj, changes={"paused": True}, by=_by(request))
        return f"{obj.account_email} is paused."

    @scoped_action(description="Resume", confirm="Syncs go on.", icon="play_arrow", submit="Resume")
    def resume(self, request: HttpRequest, obj: Connection, form: BaseDialogForm) -> str:
        ring(connections.update(obj, changes={"paused": False}, by=_by(request)))
        return f"{obj.account_email} goes on."

    @scoped_action(
        description="Disconnect",
        confirm="The access is revoked at the provider where it can be and forgotten here. Synced mail is kept.",
        icon="link_off",
        submit="Disconnect",
    )
    def disconnect(self, request: HttpRequest, obj: Connection, form: BaseDialogForm) -> str:
        disconnecting.disconnect(obj, purge=False, by=_by(request))
        return f"{obj.account_email} is disconnected."


@admin.register(SyncRun)
class SyncRunAdmin(ReadOnlyAdmin):
    """What was synced, when, and what went wrong."""

    workspace_path = "connection__workspace"
    list_display = (
        "created_at", "connection", "type", "state", "trigger", "finished_at", "added", "changed", "removed", "words",
    )  # fmt: skip
    list_filter = ("type", "status", "trigger")
    list_select_related = ("connection",)
    search_fields = ("connection__account_email", "error_code")
    ordering = ("-created_at", "-id")
    fields = (
        "connection", "type", "trigger", "state_words", "progress", "attempts", "added", "changed", "removed", "words",
        "created_at", "started_at", "finished_at", "next_attempt_at", "lease_until",
    )  # fmt: skip
    readonly_fields = ("state_words", "progress", "words", "created_at")

    @display(description="status", ordering="status", label=RUN_COLOURS)
    def state(self, run: SyncRun) -> tuple[str, str]:
        return WorkStatus(run.status), WorkStatus(run.status).label

    @display(description="status")
    def state_words(self, run: SyncRun) -> str:
        """For the page of one run."""
        return self.state(run)[1]

    @display(description="progress")
    def progress(self, run: SyncRun) -> str:
        return progress_words(run)

    @display(description="error")
    def words(self, run: SyncRun) -> str:
        return f"{run.error_message} ({run.error_code})" if run.error_code else "–"


def progress_words(run: SyncRun) -> str:
    """`email: 1,200 of 5,000 (24 %), about 3 min left`."""
    if not run.total:
        return f"{run.type}: {run.get_status_display().lower()}, {run.done:,} done"
    share = min(100, 100 * run.done // run.total)
    left = _duration(run.eta_seconds())
    return f"{run.type}: {run.done:,} of {run.total:,} ({share} %){f', about {left} left' if left else ''}"


def _duration(seconds: int | None) -> str:
    if seconds is None:
        return ""
    if seconds < 90:
        return f"{seconds} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def sync_words(sync: standing.SyncStanding) -> str:
    """One kind of sync in a line."""
    words = [sync.status.label]
    if sync.run is not None and sync.status in standing.UNDER_WAY:
        words.append(progress_words(sync.run))
    state = sync.state
    if state is not None and state.coverage_stored is not None:
        missing = f", {state.coverage_missing:,} missing" if state.coverage_missing else ""
        words.append(f"{state.coverage_stored:,} stored of {state.coverage_remote or 0:,}{missing}")
    if sync.next_sync_at is not None:
        words.append(f"next at {sync.next_sync_at:%Y-%m-%d %H:%M:%S} UTC")
    words += [f"held back: {reason}" for reason in sync.held]
    words += [f"{trouble.folder} does not sync: {trouble.problem}" for trouble in sync.troubles]
    return " · ".join(words)


def _by(request: HttpRequest) -> User:
    """Who acts; the site lets nobody else in."""
    if not isinstance(request.user, User):
        raise TypeError("The console has no anonymous pages.")
    return request.user
