"""`manage.py rotate_keys [--dry-run]`: re-encrypt everything under the newest key of VAULT_KEYS.

Order for operators: put the new key first in VAULT_KEYS and restart everything; run this; when it says that nothing is
left on the old key, take the old key out. It may be stopped and started again at any time, beside a running product.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError
from django.db import models

from core.crypto import SealBroken, newest_key_id
from workspaces.management.progress import Progress
from workspaces.services import rotation


class Command(BaseCommand):
    """Exit status 1 where a value could not be moved."""

    help = "Re-encrypt all stored secrets under the newest key of VAULT_KEYS. Resumable; safe while the product runs."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="Only say what there is to do.")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            newest = newest_key_id()
        except ImproperlyConfigured as error:
            raise CommandError(str(error)) from error
        stale = rotation.count_stale()
        self.stdout.write(f"Newest key: {newest}. Rows to move: {stale:,}.")
        moved = rotation.Moved() if options["dry_run"] else self._rotate(stale)
        self._report(newest)
        if moved.failed:
            raise CommandError(f"{moved.failed} rows could not be moved; they are named above and are unchanged.")

    def _rotate(self, stale: int) -> rotation.Moved:
        progress = Progress(sys.stdout if self.stdout.isatty() else self.stdout, what="rotated", total=stale)
        try:
            return rotation.rotate(progress=progress.step, failed=self._say_failed)
        finally:
            progress.close()

    def _say_failed(self, row: models.Model, error: SealBroken) -> None:
        self.stderr.write(f"{row._meta.label} {row.pk}: {error.message}")

    def _report(self, newest: str) -> None:
        for key_id, count in sorted(rotation.remaining().items(), key=lambda item: item[0] != newest):
            mark = " (newest)" if key_id == newest else " (an older key still needs to stay in VAULT_KEYS)"
            self.stdout.write(f"  {key_id}: {count:,} values{mark}")
