"""How mails, states and days look in the console."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from core.admin import ScopedAdmin
from core.work import WorkStatus
from email_logs.models import EmailLogTable
from email_logs.states import State
from workspaces.models import User

COLOURS = {
    State.QUEUED: "info",
    State.UNKNOWN: "warning",
    State.ACCEPTED: "success",
    State.DEFERRED: "warning",
    State.FAILED: "danger",
    State.DELIVERED: "success",
    State.BOUNCED: "danger",
    State.COMPLAINED: "danger",
}
WORK_COLOURS = {
    WorkStatus.QUEUED: "info",
    WorkStatus.RUNNING: "info",
    WorkStatus.DONE: "success",
    WorkStatus.FAILED: "danger",
}
GROUPS = (
    ("Arrived or accepted", "#16a34a", (State.ACCEPTED, State.DELIVERED)),
    ("Waiting or unknown", "#d97706", (State.QUEUED, State.UNKNOWN, State.DEFERRED)),
    ("Failed, bounced, complained", "#dc2626", (State.FAILED, State.BOUNCED, State.COMPLAINED)),
)
"""What the bars of a day are made of, from the bottom up; the colours can be told apart on white and on black."""
WIDTH, HEIGHT, GAP = 600.0, 120.0, 3.0


class ReadOnlyAdmin(ScopedAdmin):
    """Looked at and acted upon, never edited in a form."""

    can_add = False
    can_change = False
    can_delete = False


def name_of(table: EmailLogTable) -> str:
    """What tells one log from another: its provider's name, or whose mailboxes they are."""
    return table.integration.name if table.integration is not None else f"Users' mailboxes ({table.provider})"


def bars(days: Mapping[date, Mapping[str, int]]) -> SafeString:
    """A picture of the last days, with the numbers in words for whoever sees no picture."""
    highest = max((sum(counts.values()) for counts in days.values()), default=0) or 1
    step = WIDTH / max(len(days), 1)
    shown = [_bar(place * step, step - GAP, day, counts, highest) for place, (day, counts) in enumerate(days.items())]
    totals = [
        {
            "name": name,
            "colour": colour,
            "count": sum(_count(counts, states) for counts in days.values()),
        }
        for name, colour, states in GROUPS
    ]
    return render_to_string(
        "email_logs/bars.html",
        {"bars": shown, "totals": totals, "width": WIDTH, "height": HEIGHT, "highest": highest,
         "first": min(days, default=None), "last": max(days, default=None)},
    )  # fmt: skip


def _bar(x: float, width: float, day: date, counts: Mapping[str, int], highest: int) -> dict[str, Any]:
    parts, top = [], HEIGHT
    for _, colour, states in GROUPS:
        tall = HEIGHT * _count(counts, states) / highest
        top -= tall
        if tall:
            parts.append({"x": f"{x:.1f}", "y": f"{top:.2f}", "width": f"{width:.1f}", "height": f"{tall:.2f}",
                          "colour": colour})  # fmt: skip
    words = ", ".join(f"{count} {state}" for state, count in counts.items()) or "none"
    return {"parts": parts, "x": f"{x:.1f}", "width": f"{width:.1f}", "words": f"{day:%Y-%m-%d}: {words}"}


def _count(counts: Mapping[str, int], states: Sequence[State]) -> int:
    return sum(counts.get(state, 0) for state in states)


def by(request: HttpRequest) -> User:
    """Who acts; the site lets nobody else in."""
    if not isinstance(request.user, User):
        raise TypeError("The console has no anonymous pages.")
    return request.user
