"""How integrations, their work and their deliveries look, and lists that walk on from row to row."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.contrib.filters.admin import DropdownFilter
from unfold.views import ChangeList

from core.work import WorkStatus
from integrations.models import Health
from workspaces.admin.looks import DaysFilter

PER_PAGE = 50
BEFORE = "before"
"""Of the address of a page: the row it begins after."""

HEALTH_COLOURS = {
    Health.UNKNOWN: "info",
    Health.OK: "success",
    Health.LIMITED: "warning",
    Health.FAILING: "danger",
    Health.NEEDS_RECONNECT: "danger",
}
HEALTH_WORDS = {
    Health.UNKNOWN: "Not checked yet",
    Health.OK: "Works",
    Health.LIMITED: "Limited",
    Health.FAILING: "Failing",
    Health.NEEDS_RECONNECT: "Needs new credentials",
}
HEALTH_NEXT = {
    Health.UNKNOWN: "It is checked by itself soon; Test asks at once.",
    Health.OK: "Nothing to do.",
    Health.LIMITED: "Nothing to do, if what is missing is not needed. Else give credentials that may do more.",
    Health.FAILING: "It is checked again by itself. Read what was said below, mend it, then Test.",
    Health.NEEDS_RECONNECT: "Give new credentials: rotate the secret.",
}
DELIVERY_COLOURS = {
    WorkStatus.QUEUED: "info",
    WorkStatus.RUNNING: "info",
    WorkStatus.DONE: "success",
    WorkStatus.FAILED: "danger",
}
DELIVERY_WORDS = {
    WorkStatus.QUEUED: "Waits",
    WorkStatus.RUNNING: "Being sent",
    WorkStatus.DONE: "Delivered",
    WorkStatus.FAILED: "Failed",
}


class Asked(DropdownFilter):
    """A filter that the list itself reads: no look-up of Django's runs over a big table."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset


class BeforeFilter(Asked):
    """Where the page begins; nothing to choose, and nothing that another choice keeps."""

    title, parameter_name = "place", BEFORE
    template = "integrations/console/nothing.html"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return []

    def has_output(self) -> bool:
        return True


class AskedDays(DaysFilter):
    """Days that the list itself reads (`span_of`)."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset


class Walked(Paginator):
    """A page that knows only its neighbours."""

    template_name = "integrations/console/walk.html"


class WalkedList(ChangeList):
    """Newest first, from a row on; nothing is counted. Its admin has `walk(request, before, limit)` that finds rows."""

    older = ""
    """The address of what comes after; "" at the end."""
    newest = ""
    """The address of the first page; "" on it."""

    def get_results(self, request: HttpRequest) -> None:
        before = as_uuid(request.GET.get(BEFORE, ""))
        rows: Sequence[Any] = self.model_admin.walk(request, before, PER_PAGE + 1)
        self.result_list = list(rows[:PER_PAGE])
        if len(rows) > PER_PAGE:
            self.older = self.get_query_string({BEFORE: str(self.result_list[-1].pk)})
        self.newest = self.get_query_string(remove=[BEFORE]) if before else ""
        self.result_count = self.full_result_count = len(self.result_list)
        self.show_full_result_count = self.can_show_all = self.multi_page = self.show_admin_actions = False
        self.paginator = Walked(self.result_list, PER_PAGE)


def as_uuid(text: str) -> uuid.UUID | None:
    """None where it is none."""
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


def ago(moment: datetime | None, now: datetime) -> str:
    """`3 days`, `2 hours`."""
    if moment is None:
        return "–"
    seconds = max(0, int((now - moment).total_seconds()))
    for size, word in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            count = seconds // size
            return f"{count} {word}{'' if count == 1 else 's'}"
    return "less than a minute"
