"""Sync engines that sync nothing: they say whom they would serve."""

from __future__ import annotations

from integrations.models import SyncRun


class EmailEngine:
    key = "email"

    @classmethod
    def supports(cls, provider: str) -> bool:
        return provider in ("google", "imap")

    def run(self, run: SyncRun, *, deadline: float) -> bool:
        return False


class CalendarEngine(EmailEngine):
    key = "calendar"

    @classmethod
    def supports(cls, provider: str) -> bool:
        return provider == "google"
