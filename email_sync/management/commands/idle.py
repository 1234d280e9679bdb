"""`manage.py idle`: hold a connection to every mailbox whose server can speak up, and mark those that changed.

Started by `up` beside the workers; any number may run on any machines (ADR 0020). SIGTERM and SIGINT end it cleanly.
"""

from __future__ import annotations

import asyncio
import signal
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from email_sync.services.switchboard import Limits, Switchboard
from integrations.tasks import ring


class Command(BaseCommand):
    """The listening process."""

    help = "Listen to mail servers that tell of new mail by themselves."

    def handle(self, *args: Any, **options: Any) -> None:
        """Until told to stop."""
        asyncio.run(_listen())


async def _listen() -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    limits = Limits(settings.IDLE_MAILBOXES, settings.IDLE_PER_HOST, settings.IDLE_REISSUE_SECONDS)
    await Switchboard(limits, ring).run(stop)
