"""Request budgets as vendors keep them: units per user within the last minute."""

from __future__ import annotations

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
