"""What connections can do: what their provider declares, cut down to what a sync engine really does and what the user
granted. Nothing is shown that does not work.
"""

from __future__ import annotations

from collections.abc import Iterable

from integrations.models import Connection
from integrations.oauth import CONNECTION_PROVIDERS
from integrations.oauth.base import CAPABILITIES
from integrations.services.sync_runs import enabled_types, supported_types, types_of


def of_provider(provider: str) -> list[str]:
    """What accounts of this provider can be synced for."""
    supported = supported_types(provider)
    return [capability for capability in CAPABILITIES if capability in supported]


def wanted(provider: str, asked: Iterable[str] | None) -> list[str]:
    """Those of `asked` (None: all) that exist here: no permission is asked for what is not synced."""
    return [capability for capability in of_provider(provider) if asked is None or capability in asked]


def of_connection(connection: Connection) -> list[str]:
    """What this connection can be synced for: supported, and every permission for it granted."""
    provider = CONNECTION_PROVIDERS.get(connection.provider)
    granted = connection.scopes
    there = types_of(connection)
    return [name for name in CAPABILITIES if name in there and not provider.missing_scopes(granted, name)]


def missing_scopes(connection: Connection) -> list[str]:
    """Permissions that were not granted for what the connection is switched on for."""
    provider = CONNECTION_PROVIDERS.get(connection.provider)
    switched_on = enabled_types(connection)
    return [
        scope
        for name in of_provider(connection.provider)
        if name in switched_on
        for scope in provider.missing_scopes(connection.scopes, name)
    ]
