"""The database backend of the settings: PostgreSQL as Django has it, plus "start the embedded server first".

Only a process that connects starts a server, so `makemigrations`, `spectacular` and `help` start none.
"""

from __future__ import annotations

from typing import Any

from django.db.backends.postgresql.base import DatabaseWrapper as PostgresWrapper


class DatabaseWrapper(PostgresWrapper):
    """The settings' `EMBEDDED` is the server to use, or absent."""

    def get_connection_params(self) -> dict[str, Any]:
        """Asked for right before a connection or a pool is opened."""
        server = self.settings_dict.get("EMBEDDED")
        if server is not None:
            server.use()
        return super().get_connection_params()
