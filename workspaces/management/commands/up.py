"""`manage.py up`: the whole product on this machine, under one supervisor."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from workspaces.runtime import product
from workspaces.runtime.console import Console
from workspaces.runtime.embedded import EmbeddedServerFailed


class Command(BaseCommand):
    """Migrates, starts web, worker and beat, restarts what dies, stops all on SIGTERM or SIGINT."""

    help = "Run the whole product: database, web server, Celery worker and beat."

    def handle(self, *args: Any, **options: Any) -> None:
        """Exit status 1 with one clear line where it cannot start."""
        try:
            product.run(Console(sys.stdout))
        except (product.CannotStart, EmbeddedServerFailed) as error:
            raise CommandError(str(error)) from error
