"""Which mailboxes of a workspace somebody sees, and how much of them.

Their own whole; of a colleague's what its user allows (`Connection.visibility`): nothing, metadata, or all. It counts
only for conversations that are linked to a CRM entity (`timelines`, `email/thread/:threadId`); folders and searches
show nothing but one's own. Metadata is who, when and what about: no text, no attachments, no headers, no blind copies.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from integrations.models import Connection, Visibility

if TYPE_CHECKING:
    from workspaces.models import User, Workspace


class Access(IntEnum):
    """How much of a mailbox somebody sees; the greater, the more."""

    METADATA = 1
    FULL = 2
    OWN = 3


@dataclass(frozen=True, slots=True)
class Mailbox:
    """A mailbox somebody sees. `owner` is its user's name and address."""

    connection_id: uuid.UUID
    access: Access
    owner: tuple[str, str]


def mailboxes(
    *, user: User, workspace: Workspace, only: Collection[uuid.UUID] | None = None
) -> dict[uuid.UUID, Mailbox]:
    """The mailboxes `user` sees in `workspace`, by connection; `only` looks at no others. One query."""
    seen = Connection.objects.seen_by(user=user, workspace=workspace)
    if only is not None:
        seen = seen.filter(pk__in=only)
    rows = seen.order_by("pk").values_list("pk", "user_id", "visibility", "user__name", "user__email")
    return {
        pk: Mailbox(pk, _access(user_id == user.pk, visibility), (name, email))
        for pk, user_id, visibility, name, email in rows
    }


def _access(is_own: bool, visibility: str) -> Access:
    if is_own:
        return Access.OWN
    return Access.FULL if visibility == Visibility.FULL else Access.METADATA
