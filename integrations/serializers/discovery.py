"""What `connections/imap/servers` answers."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from core.api.serializers import CamelSerializer
from integrations.oauth.known_servers import MailServer
from integrations.services.server_discovery import Discovered


class ServersParameters(CamelSerializer):
    """Whose servers are looked for."""

    email = serializers.CharField(max_length=254)


class FoundServerShape(CamelSerializer):
    """A server as the form of `connections/imap` takes it, without the password."""

    host = serializers.CharField()
    port = serializers.IntegerField()
    security = serializers.ChoiceField(choices=("tls", "starttls"))
    username = serializers.CharField()


class FoundCalendarsShape(CamelSerializer):
    """Where the calendars are."""

    url = serializers.URLField()
    username = serializers.CharField()


class ServersShape(CamelSerializer):
    """A proposal; null for what was not found."""

    email = serializers.EmailField()
    found_by = serializers.ChoiceField(choices=("known", "srv", "autoconfig", "mx"), allow_null=True)
    sign_in = serializers.CharField(allow_null=True, help_text="Connect this provider by consent instead of a form.")
    imap = FoundServerShape(allow_null=True)
    smtp = FoundServerShape(allow_null=True)
    caldav = FoundCalendarsShape(allow_null=True)
    help = serializers.CharField()


def servers(found: Discovered) -> dict[str, Any]:
    """The answer."""
    there = found.servers
    return {
        "email": found.email,
        "foundBy": found.source or None,
        "signIn": there.sign_in or None,
        "imap": _server(there.imap, found.username),
        "smtp": _server(there.smtp, found.username),
        "caldav": {"url": there.caldav_url, "username": found.username} if there.caldav_url else None,
        "help": there.help,
    }


def _server(server: MailServer | None, username: str) -> dict[str, Any] | None:
    if server is None:
        return None
    return {"host": server.host, "port": server.port, "security": server.security, "username": username}
