"""The console's page of calendars: which account, whether it syncs, how much it holds, what is held back."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.safestring import SafeString
from unfold.decorators import display
from unfold.views import ChangeList

from calendar_sync.admin.looks import WITHHELD, OfAccountAdmin, blanked, is_own
from calendar_sync.models import Calendar
from calendar_sync.services import standing
from calendar_sync.services.standing import Standing, State
from workspaces.admin.looks import link

COLOURS = {
    State.SYNCED: "success",
    State.COMING: "info",
    State.HELD: "warning",
    State.REFUSED: "danger",
    State.DESELECTED: "info",
    State.GONE: "info",
}


class CalendarList(ChangeList):
    """A page of calendars with how each stands: two statements, whatever the page holds."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        rows: list[Calendar] = list(self.result_list)  # type: ignore[has-type]
        found = standing.of(rows)
        for row in rows:
            self.model_admin.shown(request, row).standing = found[row.pk]
        self.result_list = rows


@admin.register(Calendar)
class CalendarAdmin(OfAccountAdmin):
    """Of the workspace's accounts."""

    list_display = ("account", "shown_name", "state", "events", "unreadable", "cut_off", "writable", "checked", "words")
    list_display_links = ("account",)
    list_filter = ("selected", "read_only")
    list_select_related = ("connection__workspace",)
    search_fields = ("connection__account_email",)
    ordering = ("connection__account_email", "-is_primary", "created_at", "id")
    sortable_by = ()
    fieldsets = (
        (None, {"fields": ("account_link", "shown_name", "is_primary", "writable", "selected", "zone")}),
        ("How it stands", {"fields": ("state_words", "words", "held", "checked", "removed_at")}),
        ("What it holds", {"fields": ("events", "unreadable_link", "cut_link")}),
        ("Times", {"fields": ("created_at", "updated_at")}),
    )
    readonly_fields = (
        "account_link", "shown_name", "writable", "zone", "state_words", "words", "held", "checked", "events",
        "unreadable_link", "cut_link", "created_at", "updated_at",
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[Calendar]:
        return super().get_queryset(request).select_related("connection__workspace")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[CalendarList]:
        return CalendarList

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Calendar | None:
        """Counted to the end, and without what is its user's alone."""
        row: Calendar | None = super().get_object(request, object_id, from_field)
        if row is not None:
            self.shown(request, row)
            row.standing = standing.of([row], most=None)[row.pk]  # type: ignore[attr-defined]
        return row

    def shown(self, request: HttpRequest, row: Calendar) -> Calendar:
        """As the caller may see it: what a provider says of a calendar often names it."""
        row.own = is_own(request, row)  # type: ignore[attr-defined]
        return row if row.own else blanked(row, name=WITHHELD, remote_id="", color="")  # type: ignore[attr-defined]

    @display(description="account")
    def account(self, row: Calendar) -> str:
        return row.connection.account_email

    @display(description="account")
    def account_link(self, row: Calendar) -> SafeString:
        return self.account_page(row)

    @display(description="calendar")
    def shown_name(self, row: Calendar) -> str:
        return row.name or "(no name)"

    @display(description="status", label=COLOURS)
    def state(self, row: Calendar) -> tuple[str, str]:
        return _of(row).state, _of(row).state.label

    @display(description="status")
    def state_words(self, row: Calendar) -> str:
        return str(_of(row).state.label)

    @display(description="events")
    def events(self, row: Calendar) -> str:
        return _of(row).events.words

    @display(description="unreadable")
    def unreadable(self, row: Calendar) -> str:
        return _of(row).unreadable.words

    @display(description="cut off")
    def cut_off(self, row: Calendar) -> str:
        return _of(row).cut.words

    @display(description="unreadable")
    def unreadable_link(self, row: Calendar) -> SafeString | str:
        return self._found(row, "unreadable", _of(row).unreadable)

    @display(description="series cut off")
    def cut_link(self, row: Calendar) -> SafeString | str:
        return self._found(row, "cut", _of(row).cut)

    def _found(self, row: Calendar, kind: str, count: standing.Count) -> SafeString | str:
        if not count.number:
            return count.words
        address = reverse(f"{self.admin_site.name}:calendar_sync_calendarevent_changelist")
        return link(f"{address}?calendar__id__exact={row.pk}&kind={kind}", count.words)

    @display(description="writable")
    def writable(self, row: Calendar) -> str:
        return "Read only" if row.read_only else "Yes"

    @display(description="time zone")
    def zone(self, row: Calendar) -> str:
        return row.time_zone or "–"

    @display(description="compared at")
    def checked(self, row: Calendar) -> str:
        at = _of(row).checked_at
        return f"{at:%Y-%m-%d %H:%M}" if at else "–"

    @display(description="last error")
    def words(self, row: Calendar) -> str:
        error = _of(row).error
        return (error if row.own else WITHHELD) if error else "–"  # type: ignore[attr-defined]  # see `shown`

    @display(description="held removals")
    def held(self, row: Calendar) -> str:
        return _of(row).held or "–"


def _of(row: Calendar) -> Standing:
    found: Standing = row.standing  # type: ignore[attr-defined]  # see `CalendarList` and `get_object`
    return found
