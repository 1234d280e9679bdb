"""A connection that stops working and works again, each said once: one event per incident and not one per poll
(reference reliability A1).

Called by runs, tokens, sends and reconnects, which decide what an error means. The owner of the connection is told.
"""

from __future__ import annotations

from django.db import transaction

from integrations.models import Connection, EventType
from integrations.services import events


def grant_refused(connection: Connection, *, code: str, message: str) -> None:
    """The provider refuses the credential: the user has to connect again."""
    with transaction.atomic():
        if connection.note_error(code=code, message=message, needs_reauth=True):
            tell(connection, EventType.CONNECTION_NEEDS_REAUTH, code=code)


def works_again(connection: Connection) -> None:
    """A sync went through: whatever was wrong is over."""
    with transaction.atomic():
        if connection.note_success():
            tell(connection, EventType.CONNECTION_RECOVERED)


def tell(connection: Connection, type: str, **facts: str) -> None:
    """Inside the caller's transaction. `facts`: codes and kinds, not the provider's words."""
    events.record(
        workspace_id=connection.workspace_id,
        type=type,
        connection_id=connection.pk,
        user_id=connection.user_id,
        payload={"provider": connection.provider, **facts},
    )
