"""Request budgets as vendors keep them: units per user within the last minute (Gmail), requests per mailbox within ten
minutes and at once (Graph)."""

from __future__ import annotations

import math
from collections import deque


class Quota:
    """Units per user within the last minute."""

    def __init__(self) -> None:
        self.spent: dict[str, deque[tuple[float, int]]] = {}

    def take(self, email: str, units: int, limit: int, now: float) -> bool:
        """False when the minute's budget does not have this many left; refused calls cost nothing."""
        window = self.spent.setdefault(email, deque())
        while window and window[0][0] <= now - 60:
            window.popleft()
        if sum(cost for _, cost in window) + units > limit:
            return False
        window.append((now, units))
        return True


class MailboxRequests:
    """How many requests came for a mailbox lately, refused ones included, and how many are under way."""

    def __init__(self) -> None:
        self.seen: dict[str, deque[float]] = {}
        self.under_way: dict[str, int] = {}

    def note(self, email: str, now: float, window: float) -> int:
        """Counts one more; how many there were within the window, this one included."""
        times = self.seen.setdefault(email, deque())
        times.append(now)
        while times[0] <= now - window:
            times.popleft()
        return len(times)

    def seconds_until(self, email: str, limit: int, now: float, window: float) -> int:
        """How long to keep silent until one more fits."""
        times = self.seen[email]
        return max(1, math.ceil(times[len(times) - limit] + window - now))
