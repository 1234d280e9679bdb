"""`manage.py backup`: the database in one file, while the product runs."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from workspaces.runtime.backup import BackupFailed, dump
from workspaces.runtime.embedded import EmbeddedServerFailed


class Command(BaseCommand):
    """A consistent dump; sealed values in it open only with the vault's keys, which are kept apart on purpose."""

    help = "Write a consistent dump of the database; restore it with pg_restore."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", nargs="?", help="where to; default $DATA_DIR/backups/patchbay-<time>.dump")

    def handle(self, *args: Any, **options: Any) -> None:
        default = settings.DATA_DIR / "backups" / f"patchbay-{datetime.now(UTC):%Y%m%d-%H%M%S}.dump"
        target = Path(options["file"] or default).expanduser().resolve()
        try:
            size = dump(target, self._progress)
        except (BackupFailed, EmbeddedServerFailed, OSError) as error:
            raise CommandError(str(error)) from error
        clear = "\r\x1b[K" if self.stdout.isatty() else ""
        self.stdout.write(f"{clear}{target}: {size:,} bytes")
        secrets = settings.DATA_DIR / "secrets"
        self.stdout.write(f"The keys are not in it. Back them up apart: VAULT_KEYS, or the folder {secrets}.")

    def _progress(self, written: int) -> None:
        """On a terminal only: a dump's size is not known before, so there is no time left to tell."""
        if self.stdout.isatty():
            self.stdout.write(f"\r\x1b[K{written:,} bytes written", ending="")
            self.stdout.flush()
