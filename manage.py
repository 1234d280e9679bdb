#!/usr/bin/env python
"""The product's command line: `manage.py up` runs it, `manage.py help` lists the rest."""

from __future__ import annotations

import os
import sys

import psycopg
from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line
from django.db import OperationalError


def _database_trouble(error: OperationalError) -> str:
    """One sentence. What the server itself said has an SQLSTATE; without one nobody answered, or no longer."""
    said = error.__cause__
    if isinstance(said, psycopg.Error) and said.sqlstate:
        return f"The database did not do what this command asked: {said.diag.message_primary} ({said.sqlstate})."
    return f"The database does not answer (DATABASE_URL): {error}"


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(f"A setting is wrong: {error}")
    except OperationalError as error:
        sys.exit(_database_trouble(error))
