"""Since when the vault's newest key seals: the product remembers when it first saw it, for keys carry no date.

Noted by the hourly clean-up, which also runs at the first heartbeat; shown by the console.
"""

from __future__ import annotations

from datetime import datetime

from core.crypto import newest_key_id
from workspaces.models import VaultKey


def note() -> None:
    """Remember the newest key, where it is new."""
    VaultKey.objects.bulk_create([VaultKey(key_id=newest_key_id())], ignore_conflicts=True)


def newest_since() -> datetime | None:
    """When the newest key was first seen; None where nobody looked yet."""
    return VaultKey.objects.filter(key_id=newest_key_id()).values_list("first_seen_at", flat=True).first()
