"""The console's page of the audit trail, for owners."""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from unfold.contrib.filters.admin import DropdownFilter
from unfold.decorators import display

from core.admin import console_workspace_ids
from workspaces.admin.looks import DaysFilter, ReadOnlyAdmin, by
from workspaces.models import AuditEvent

RECENT = 5000
"""The filters offer what so many of the newest entries hold: the cost of asking does not grow with the trail."""
NOBODY = "-"
LONGEST = 200
"""Characters of what an entry of the list tells."""


def _plain(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


class RecentFilter(DropdownFilter):
    """Values of a column that the newest entries have."""

    column: ClassVar[str]

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        newest = model_admin.get_queryset(request).order_by("-id").values(self.column)[:RECENT]
        found = {row[self.column] for row in newest}
        return [(value or NOBODY, value or "The system itself") for value in sorted(found)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[AuditEvent]) -> QuerySet[AuditEvent]:
        value = self.value()
        if not value:
            return queryset
        return queryset.filter(**{self.column: "" if value == NOBODY else value})


class ActionFilter(RecentFilter):
    title, parameter_name, column = "action", "what", "action"


class PersonFilter(RecentFilter):
    title, parameter_name, column = "person", "who", "actor_email"


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin):
    """Who changed what, newest first."""

    list_display = ("at", "action", "who", "object_type", "told")
    list_filter = (ActionFilter, PersonFilter, ("at", DaysFilter))
    list_filter_submit = True
    search_fields = ("action", "actor_email", "object_id", "request_id")
    ordering = ("-id",)
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
