"""Runs a management command away from the developer's settings and data: `python -m tests.bare check`.

For the gates of `make test`: no `.env`, a DATA_DIR and a PostgreSQL of its own (or TEST_DATABASE_URL), gone afterwards.
"""

from __future__ import annotations

import os
import sys
import tempfile

from django.core.management import execute_from_command_line
from django.db import connection

from config.env import VARIABLES


def forget_the_developers_settings() -> None:
    """Neither `.env` nor the shell decides what a test sees."""
    for variable in VARIABLES:
        os.environ.pop(variable.name, None)
        os.environ.pop(f"{variable.name}_FILE", None)
    os.environ["ENV_FILE"] = ""
    os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"


def main(arguments: list[str]) -> None:
    """As `manage.py` would."""
    forget_the_developers_settings()
    if server := os.environ.get("TEST_DATABASE_URL"):
        os.environ["DATABASE_URL"] = server
    with tempfile.TemporaryDirectory(prefix="patchbay-gate-", ignore_cleanup_errors=True) as folder:
        os.environ["DATA_DIR"] = folder
        try:
            execute_from_command_line(["manage.py", *arguments])
        finally:
            _stop_embedded()


def _stop_embedded() -> None:
    """Before its folder goes."""
    connection.close()
    if embedded := connection.settings_dict.get("EMBEDDED"):
        embedded.leave()


if __name__ == "__main__":
    main(sys.argv[1:])
