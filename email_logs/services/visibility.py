"""How much of a log somebody sees.

Mail of the workspace's own providers whole. Mail that users sent from their own mailboxes as far as each mailbox's user
allows (`Connection.visibility`): nothing, metadata, or all; their own whole. Of a mailbox that was purged nobody sees
anything any more. Metadata is who, when, what about and what became of it: no blind copies, files or server's words.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from email_logs.models import EmailLogTable
from integrations.models import Connection, Visibility

if TYPE_CHECKING:
    from workspaces.models import User


@dataclass(frozen=True, slots=True)
class Sight:
    """What a reader sees of one table. `mailboxes` is None for a provider of the workspace: everything; else mailbox →
    whether its entries are shown whole."""

    mailboxes: Mapping[uuid.UUID, bool] | None

    def is_whole(self, connection_id: uuid.UUID | None) -> bool:
        """Whether blind copies, files and server's words of an entry of this mailbox are shown."""
        return self.mailboxes is None or bool(connection_id and self.mailboxes.get(connection_id))


def sight(*, table: EmailLogTable, user: User) -> Sight:
    """One query where the table is of users' own mailboxes, else none."""
    if table.integration_id is not None:
        return Sight(None)
    seen = Connection.objects.seen_by(user=user, workspace=table.workspace).filter(provider=table.provider)
    rows = seen.order_by("pk").values_list("pk", "user_id", "visibility")
    return Sight({pk: user_id == user.pk or visibility == Visibility.FULL for pk, user_id, visibility in rows})
