"""The console's pages of connections; `connecting` has those that make one.

An owner or admin sees that a member's account is connected, how it stands and what the provider says, and may sync it,
pause it or disconnect it; never its credential, and never its mail (threat 18).
"""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.views.decorators.http import require_GET
from unfold.decorators import display
from unfold.forms import BaseDialogForm
from unfold.widgets import UnfoldBooleanWidget

from core.admin import scoped_action
from integrations.admin.connecting import Connecting
from integrations.admin.runs import duration_words, progress_words
from integrations.models import Connection, ConnectionStatus, SyncRun
from integrations.oauth import CONNECTION_PROVIDERS
from integrations.services import capabilities, connections, disconnecting, standing, tokens
from integrations.services.standing import SyncStatus
from integrations.tasks import ring, ring_purges
from workspaces.admin.looks import by, link

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
LOST = (ConnectionStatus.NEEDS_REAUTH, ConnectionStatus.DISCONNECTED)
LINE_BREAK = mark_safe("<br>")
REFRESH_BUSY, REFRESH_QUIET = 2, 15
"""Seconds between two looks at how far a sync is."""


class DisconnectForm(BaseDialogForm):
    """Asks whether what was synced goes too."""

    purge = forms.BooleanField(
        label="Delete its mail, calendars and links here too. This cannot be undone.",
        required=False,
        widget=UnfoldBooleanWidget,
    )


@admin.register(Connection)
class ConnectionAdmin(Connecting):
    """Accounts of the workspace's members; a member's own."""

    owner_path = "user"
    list_display = ("account_email", "provider_name", "user", "state", "progress", "last_synced_at", "words")
    list_filter = ("provider", "needs_reauth", "paused")
    list_select_related = ("user", "workspace")
    search_fields = ("account_email", "display_name", "user__email")
    ordering = ("account_email",)
    actions_detail = ("sync_now", "pause", "resume", "refresh", "disconnect")
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

    list_before_template = "integrations/console/connections_head.html"
    change_form_outer_before_template = "integrations/console/connection.html"
    """Outside the page's own form: a form within a form is none."""

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """With the ways to connect; whoever connects, connects an account of their own."""
        return super().changelist_view(request, {**self.ways(request), **(extra_context or {})})

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """With how far its syncs are, which keeps itself fresh, and for its own user the way to connect it again."""
        connection: Connection | None = self._find(request, object_id)
        if connection is None:
            return super().change_view(request, object_id, form_url, extra_context)
        shown = {
            **standing_context(connection),
            "live": self._address("progress", connection.pk),
            "own": connection.user_id == by(request).pk,
            "reconnect": self._address("reconnect", connection.pk),
            "reconnect_variant": "primary" if connection.status in LOST else "default",
        }
        return super().change_view(request, object_id, form_url, {**shown, **(extra_context or {})})

    def get_urls(self) -> list[URLPattern]:
        progress = path(
            "<uuid:object_id>/progress",
            self.admin_site.admin_view(self.progress_view),
            name="integrations_connection_progress",
        )
        return [progress, *self.connecting_urls(), *super().get_urls()]

    @method_decorator(require_GET)
    def progress_view(self, request: HttpRequest, object_id: object) -> HttpResponse:
        """The part of a connection's page that says how far its syncs are."""
        connection: Connection = self.object_for_action(request, object_id)
        return TemplateResponse(request, "integrations/console/progress.html", standing_context(connection))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Connection]:
        under_way = Prefetch("runs", queryset=SyncRun.objects.active(), to_attr="under_way")
        return super().get_queryset(request).prefetch_related(under_way)

    def hidden_actions(self, obj: Connection) -> frozenset[str]:
        """Of one that is disconnected what is left can still be deleted."""
        if obj.status == ConnectionStatus.DISCONNECTED:
            return frozenset({"sync_now", "pause", "resume", "refresh"})
        return frozenset({"sync_now", "pause"} if obj.paused else {"resume"})

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
        return link(f"{url}?connection__id__exact={connection.pk}", "All runs")

    @scoped_action(description="Sync now", confirm="Fetches what is new. One under way goes on.", icon="sync")
    def sync_now(self, request: HttpRequest, obj: Connection, form: BaseDialogForm) -> str:
        runs = connections.sync_now(obj, type="all", by=by(request))
        ring(runs)
        return "The sync has begun." if runs else "There is nothing to sync here."

    @scoped_action(description="Pause", confirm="No more syncs until it is resumed.", icon="pause", submit="Pause")
    def pause(self, request: HttpRequest, obj: Connection, form: BaseDialogForm) -> str:
        connections.update(obj, changes={"paused": True}, by=by(request))
        return f"{obj.account_email} is paused."

    @scoped_action(description="Resume", confirm="Syncs go on.", icon="play_arrow", submit="Resume")
    def resume(self, request: HttpRequest, obj: Connection, form: BaseDialogForm) -> str:
        ring(connections.update(obj, changes={"paused": False}, by=by(request)))
        return f"{obj.account_email} goes on."

    @scoped_action(
        description="Refresh access",
        confirm="Asks the provider for a new access token now, which shows whether its grant is still good.",
        icon="key",
        submit="Refresh",
    )
    def refresh(self, request: HttpRequest, obj: Connection, form: BaseDialogForm) -> str:
        tokens.access_token(obj, force=True)
        return "The access is good."

    @scoped_action(
        description="Disconnect",
        confirm="The access is revoked at the provider where it can be and forgotten here. Synced mail is kept, unless "
        "you say otherwise.",
        icon="link_off",
        form_class=DisconnectForm,
        submit="Disconnect",
    )
    def disconnect(self, request: HttpRequest, obj: Connection, form: BaseDialogForm) -> str:
        wanted = form.cleaned_data["purge"]
        left = disconnecting.disconnect(obj, purge=wanted, by=by(request))
        ring_purges([left] if left else [])
        also = f", and what was synced is {'being deleted' if left else 'deleted'}" if wanted else ""
        return f"{obj.account_email} is disconnected{also}."


def standing_context(connection: Connection) -> dict[str, Any]:
    """How far each kind of sync is, and how soon to look again."""
    standings = standing.of(connection)
    busy = any(sync.status in standing.UNDER_WAY for sync in standings.values())
    parts = [_part(name, sync) for name, sync in standings.items() if sync.status != SyncStatus.UNAVAILABLE]
    return {"parts": parts, "refresh_seconds": REFRESH_BUSY if busy else REFRESH_QUIET}


def _part(name: str, sync: standing.SyncStanding) -> dict[str, Any]:
    run = sync.run if sync.status in standing.UNDER_WAY else None
    share = min(100, 100 * run.done // run.total) if run is not None and run.total else None
    left = duration_words(sync.eta_seconds)
    return {"name": name.title(), "share": share, "left": left, "words": sync_words(sync)}


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
