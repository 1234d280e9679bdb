"""Whose calendars somebody sees on an entity's timeline, and how much of an event.

Their own whole; of a colleague's what its user allows (`Connection.visibility`): nothing, metadata, or all. Metadata is
who, when and what about: no text, no place, no link. A private event of a colleague's is a busy block and nothing else,
whatever their calendar allows. Lists and searches show nothing but one's own.
"""

from __future__ import annotations

import uuid
from enum import IntEnum
from typing import TYPE_CHECKING

from calendar_sync.records import PUBLIC
from calendar_sync.services.rows import EventRow
from integrations.models import Connection, Visibility

if TYPE_CHECKING:
    from workspaces.models import User, Workspace


class Access(IntEnum):
    """How much of an event somebody sees; the greater, the more."""

    BUSY = 0
    METADATA = 1
    FULL = 2
    OWN = 3


def accounts(*, user: User, workspace: Workspace) -> dict[uuid.UUID, Access]:
    """The accounts `user` sees in `workspace`, by connection. One query."""
    seen = Connection.objects.seen_by(user=user, workspace=workspace).order_by("pk")
    return {
        pk: Access.OWN if user_id == user.pk else Access.FULL if visibility == Visibility.FULL else Access.METADATA
        for pk, user_id, visibility in seen.values_list("pk", "user_id", "visibility")
    }


def of_event(event: EventRow, access: Access) -> Access:
    """How much of this event."""
    return access if access == Access.OWN or event.visibility == PUBLIC else Access.BUSY
