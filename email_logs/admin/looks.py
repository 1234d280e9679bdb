"""How mails, states and days look in the console."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from core.work import WorkStatus
from email_logs.models import EmailLogTable
from email_logs.states import State

COLOURS = {
    State.QUEUED: "info",
    State.UNKNOWN: "warning",
    State.ACCEPTED: "info",
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
SHADES = {
    State.DELIVERED: "#15803d",
    State.ACCEPTED: "#0d9488",
    State.QUEUED: "#2563eb",
    State.UNKNOWN: "#71717a",
    State.DEFERRED: "#d97706",
    State.COMPLAINED: "#9333ea",
    State.BOUNCED: "#dc2626",
    State.FAILED: "#db2777",
}
"""What the bars of a day are made of, from the bottom up; each can be seen on white and on the dark page (WCAG AA for
pictures, 3:1). Words say the same beside them."""
WIDTH, HEIGHT, GAP = 600.0, 120.0, 3.0


def name_of(table: EmailLogTable) -> str:
    """What tells one log from another: its provider's name, or whose mailboxes they are."""
    return table.integration.name if table.integration is not None else f"Users' mailboxes ({table.provider})"


def bars(days: Mapping[date, Mapping[str, int]], *, legend: bool = True) -> SafeString:
    """A picture of the last days by true state, with the numbers in words for whoever sees no picture."""
    highest = max((sum(counts.values()) for counts in days.values()), default=0) or 1
    step = WIDTH / max(len(days), 1)
    shown = [_bar(place * step, step - GAP, day, counts, highest) for place, (day, counts) in enumerate(days.items())]
    totals = [
        {"name": str(state.label), "colour": colour, "count": count}
        for state, colour in SHADES.items()
        if (count := sum(counts.get(state, 0) for counts in days.values()))
    ]
    return render_to_string(
        "email_logs/bars.html",
        {"bars": shown, "totals": totals if legend else [], "width": WIDTH, "height": HEIGHT, "highest": highest,
         "first": min(days, default=None), "last": max(days, default=None)},
    )  # fmt: skip


def _bar(x: float, width: float, day: date, counts: Mapping[str, int], highest: int) -> dict[str, Any]:
    parts, top = [], HEIGHT
    for state, colour in SHADES.items():
        tall = HEIGHT * counts.get(state, 0) / highest
        top -= tall
        if tall:
            parts.append({"x": f"{x:.1f}", "y": f"{top:.2f}", "width": f"{width:.1f}", "height": f"{tall:.2f}",
                          "colour": colour})  # fmt: skip
    words = ", ".join(f"{count} {state}" for state, count in counts.items()) or "none"
    return {"parts": parts, "x": f"{x:.1f}", "width": f"{width:.1f}", "words": f"{day:%Y-%m-%d}: {words}"}
