"""Durations in the words of the console's pages."""

from __future__ import annotations

MINUTE, HOUR, DAY = 60, 3600, 86_400


def duration(seconds: float | None) -> str:
    """`40 s`, `12 min`, `3.5 h`, `9 days`; "" for None."""
    if seconds is None:
        return ""
    if seconds < 1.5 * MINUTE:
        return f"{max(0, seconds):.0f} s"
    if seconds < 1.5 * HOUR:
        return f"{seconds / MINUTE:.0f} min"
    return f"{seconds / HOUR:.1f} h" if seconds < 2 * DAY else f"{seconds / DAY:.0f} days"


def several(count: int, one: str, more: str = "") -> str:
    """`1 mail`, `2,400 mails`."""
    return f"{count:,} {one if count == 1 else more or one + 's'}"
