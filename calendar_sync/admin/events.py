"""The console's page of events that are not shown, or not all of them: unreadable ones, and series that are cut off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.safestring import SafeString
from unfold.decorators import display
from unfold.views import ChangeList

from calendar_sync.admin.looks import WITHHELD, OfAccountAdmin, blanked, is_own
from calendar_sync.models import CalendarEvent, EventQuerySet
from calendar_sync.services import standing
from workspaces.admin.looks import link

KINDS: dict[str, tuple[str, Callable[[EventQuerySet], EventQuerySet]]] = {
    "unreadable": ("Unreadable", standing.unreadable),
    "cut": ("Cut off", standing.cut_off),
}
COLOURS = {"unreadable": "danger", "cut": "warning"}
PRIVATE = (
    "title", "description", "location", "conference_url", "organizer_email", "organizer_name", "remote_id",
    "raw", "uid",
)  # fmt: skip


class KindFilter(admin.SimpleListFilter):
    """What is wrong."""

    title, parameter_name = "what is wrong", "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(kind, words) for kind, (words, _) in KINDS.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        kind = KINDS.get(self.value() or "")
        return kind[1](queryset) if kind else queryset  # type: ignore[arg-type]  # it is one of the model's own


class EventList(ChangeList):
    """A page, without what is its user's alone."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        rows: list[CalendarEvent] = list(self.result_list)  # type: ignore[has-type]
        self.result_list = [self.model_admin.shown(request, row) for row in rows]


@admin.register(CalendarEvent)
class CalendarEventAdmin(OfAccountAdmin):
    """Of the workspace's accounts, the latest first."""

    list_display = ("account", "calendar_name", "kind", "shown_title", "reason", "changed_at")
    list_display_links = ("account",)
    list_filter = (KindFilter,)
    search_fields = ("connection__account_email",)
    ordering = ("-updated_at", "-id")
    sortable_by = ()
    fields = (
        "account_link",
        "calendar_link",
        "kind_words",
        "reason",
        "shown_title",
        "rules",
        "created_at",
        "changed_at",
    )
    readonly_fields = (
        "account_link", "calendar_link", "kind_words", "reason", "shown_title", "rules", "created_at", "changed_at",
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[CalendarEvent]:
        """Nothing else: an event that is shown in its calendar is nobody's business here."""
        rows = super().get_queryset(request).defer("raw", "description")
        wrong = standing.unreadable(rows) | standing.cut_off(rows)  # type: ignore[arg-type]  # the model's own
        return wrong.select_related("connection__workspace", "calendar")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[EventList]:
        return EventList

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> CalendarEvent | None:
        row: CalendarEvent | None = super().get_object(request, object_id, from_field)
        return row and self.shown(request, row)

    def shown(self, request: HttpRequest, row: CalendarEvent) -> CalendarEvent:
        """As the caller may see it: a reason repeats words of the event."""
        row.own = is_own(request, row)  # type: ignore[attr-defined]
        if row.own:  # type: ignore[attr-defined]
            return row
        row.recurrence = None
        row.problem = row.problem and WITHHELD
        blanked(row.calendar, name=WITHHELD, remote_id="")
        return blanked(row, **dict.fromkeys(PRIVATE, WITHHELD))

    @display(description="account")
    def account(self, row: CalendarEvent) -> str:
        return row.connection.account_email

    @display(description="account")
    def account_link(self, row: CalendarEvent) -> SafeString:
        return self.account_page(row)

    @display(description="calendar")
    def calendar_name(self, row: CalendarEvent) -> str:
        return row.calendar.name or "(no name)"

    @display(description="calendar")
    def calendar_link(self, row: CalendarEvent) -> SafeString:
        address = reverse(f"{self.admin_site.name}:calendar_sync_calendar_change", args=(row.calendar_id,))
        return link(address, self.calendar_name(row))

    @display(description="what is wrong", label=COLOURS)
    def kind(self, row: CalendarEvent) -> tuple[str, str]:
        kind = "unreadable" if row.problem else "cut"
        return kind, KINDS[kind][0]

    @display(description="what is wrong")
    def kind_words(self, row: CalendarEvent) -> str:
        return self.kind(row)[1]

    @display(description="title")
    def shown_title(self, row: CalendarEvent) -> str:
        return row.title or "–"

    @display(description="reason")
    def reason(self, row: CalendarEvent) -> str:
        return row.problem or row.cut

    @display(description="rules")
    def rules(self, row: CalendarEvent) -> str:
        return ", ".join((row.recurrence or {}).get("rules", ())) or "–"

    @display(description="as of")
    def changed_at(self, row: CalendarEvent) -> str:
        return f"{row.updated_at:%Y-%m-%d %H:%M}"
