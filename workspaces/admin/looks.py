"""What the console's pages of every app build on: who acts, in which workspaces, and pages that only show."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any, ClassVar

from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import DropdownFilter, RangeDateFilter

from core.admin import ScopedAdmin, console_workspace_ids, sees_all
from workspaces.models import User, Workspace

LINK = "text-primary-600 dark:text-primary-500 underline"
"""How a link looks among words."""
RECENT = 5000
"""Filters offer what so many of the newest rows hold: the cost of asking does not grow with the table."""
NOBODY = "-"


class ReadOnlyAdmin(ScopedAdmin):
    """Looked at and acted upon, never edited in a form."""

    can_add = False
    can_change = False
    can_delete = False


def by(request: HttpRequest) -> User:
    """Who acts; the site lets nobody else in."""
    if not isinstance(request.user, User):
        raise TypeError("The console has no anonymous pages.")
    return request.user


def link(url: str, words: object) -> SafeString:
    """One that can be told from the words around it."""
    return format_html('<a class="{}" href="{}">{}</a>', LINK, url, words)


def workspaces_of(request: HttpRequest) -> QuerySet[Workspace]:
    """Those whose console the caller may open: what a form that makes something offers."""
    rows = Workspace.objects.order_by("name", "pk")
    return rows if sees_all(request) else rows.filter(pk__in=console_workspace_ids(request))


class DaysFilter(RangeDateFilter):
    """From one day to another, both in it, in UTC."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        span = span_of(request, self.field_path)
        if "since" in span:
            queryset = queryset.filter(**{f"{self.field_path}__gte": span["since"]})
        if "until" in span:
            queryset = queryset.filter(**{f"{self.field_path}__lt": span["until"]})
        return queryset


class RecentFilter(DropdownFilter):
    """Values of a column that the newest rows have, where Django's own filter would ask the whole table for them."""

    column: ClassVar[str]
    empty_words: ClassVar[str] = "–"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        newest = model_admin.get_queryset(request).order_by("-id").values(self.column)[:RECENT]
        found = {row[self.column] for row in newest}
        return [(value or NOBODY, value or self.empty_words) for value in sorted(found)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        if not value:
            return queryset
        return queryset.filter(**{self.column: "" if value == NOBODY else value})


def span_of(request: HttpRequest, name: str) -> dict[str, datetime]:
    """`since` and `until` (half open) of a filter by days; what makes no sense is left out."""
    found = {}
    for word, end, days in (("since", "from", 0), ("until", "to", 1)):
        try:
            day = date.fromisoformat(request.GET.get(f"{name}_{end}", ""))
            found[word] = datetime.combine(day, time(), UTC) + timedelta(days=days)
        except (ValueError, OverflowError):
            continue
    return found
