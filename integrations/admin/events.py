"""The console's page of events: what happened in the workspace, as those who follow are told of it. Ids and small
facts; the mail it was about stays in its mailbox."""

from __future__ import annotations

import json
import uuid
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import display

from integrations.admin.looks import Asked, BeforeFilter, WalkedList
from integrations.models import Event
from integrations.models.event import SUBSCRIBABLE
from integrations.services import events
from workspaces.admin.looks import ReadOnlyAdmin, workspaces_of


class TypeFilter(Asked):
    title, parameter_name = "type", "type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in SUBSCRIBABLE]


@admin.register(Event)
class EventAdmin(ReadOnlyAdmin):
    """Newest first, for as long as events are kept."""

    list_display = ("at", "type", "mailbox", "facts")
    list_display_links = ("at",)
    list_filter = (TypeFilter, BeforeFilter)
    list_filter_submit = True
    sortable_by = ()
    fields = ("at", "type", "mailbox", "facts", "id")
    readonly_fields = ("at", "mailbox", "facts", "id")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[WalkedList]:
        return WalkedList

    def walk(self, request: HttpRequest, before: uuid.UUID | None, limit: int) -> list[Event]:
        """The rows of a page."""
        type = request.GET.get("type", "")
        ids = list(workspaces_of(request).values_list("pk", flat=True))
        return events.newest(workspace_ids=ids, type=type if type in SUBSCRIBABLE else "", before=before, limit=limit)

    @display(description="at")
    def at(self, event: Event) -> SafeString:
        return format_html('<span class="whitespace-nowrap">{}</span>', f"{event.created_at:%Y-%m-%d %H:%M:%S}")

    @display(description="mailbox")
    def mailbox(self, event: Event) -> str:
        return event.connection.account_email if event.connection else "–"

    @display(description="facts")
    def facts(self, event: Event) -> SafeString:
        told = json.dumps(event.payload, sort_keys=True, ensure_ascii=False) if event.payload else "–"
        return format_html('<code class="text-xs" style="overflow-wrap: anywhere">{}</code>', told)
