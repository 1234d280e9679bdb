"""What the console's pages of every app build on: who acts, in which workspaces, and pages that only show."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import RangeDateFilter

from core.admin import ScopedAdmin, console_workspace_ids, sees_all
from workspaces.models import User, Workspace

LINK = "text-primary-600 dark:text-primary-500 underline"
"""How a link looks among words."""


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
