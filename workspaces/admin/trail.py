"""The console's page of the audit trail, for owners."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from unfold.decorators import display

from core.admin import SEARCHED, console_workspace_ids
from workspaces.admin.looks import DaysFilter, ReadOnlyAdmin, RecentFilter, by
from workspaces.models import AuditEvent

LONGEST = 200
"""Characters of what an entry of the list tells."""


def _plain(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


class ActionFilter(RecentFilter):
    title, parameter_name, column = "action", "what", "action"


class PersonFilter(RecentFilter):
    title, parameter_name, column, empty_words = "person", "who", "actor_email", "The system itself"


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin):
    """Who changed what, newest first."""

    list_display = ("at", "action", "who", "object_type", "told")
    list_filter = (ActionFilter, PersonFilter, ("at", DaysFilter))
    list_filter_submit = True
    search_fields = ("action", "actor_email", "object_id", "request_id")
    search_help_text = f"Action, person or id, among the newest {SEARCHED:,}"
    searched = SEARCHED
    ordering = ("-id",)
    sortable_by = ()
    fields = ("at", "action", "actor_email", "object_type", "object_id", "changes", "request_id", "workspace")
    list_select_related: ClassVar[tuple[str, ...]] = ()

    @display(description="by")
    def who(self, event: AuditEvent) -> str:
        return event.actor_email or "The system itself"

    @display(description="what")
    def told(self, event: AuditEvent) -> SafeString:
        """Names and values, as they are safe to read; ids are on the entry's page."""
        words = ", ".join(
            f"{name}: {_plain(value)}" for name, value in event.changes.items() if value not in ("", None)
        )
        return format_html('<span style="overflow-wrap: anywhere">{}</span>', Truncator(words).chars(LONGEST) or "–")

    def workspace_ids(self, request: HttpRequest) -> frozenset[uuid.UUID]:
        run = console_workspace_ids(request)
        return run & by(request).owned_workspace_ids() if run else run
