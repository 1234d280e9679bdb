"""Mail of people the workspace knows, ahead of the rest of a first sync.

Called by the engine once a folder, after the newest of the inbox: an entity's timeline has its mail within minutes,
however large the mailbox is.
"""

from __future__ import annotations

import logging

from core.errors import ProviderRejected, UnsupportedOperation
from email_sync.providers.base import MailProvider
from email_sync.records import Stream
from entities.models import AddressMatch
from integrations.models import Connection

logger = logging.getLogger("patchbay.sync")

MAX_ADDRESSES = 200
"""The newest matches of a workspace; the others' mail comes with the rest."""
MAX_MESSAGES = 500
"""Of one folder."""


def matching_ids(connection: Connection, mailbox: MailProvider, stream: Stream) -> tuple[str, ...]:
    """Ids of mail from or to addresses that stand for an entity, newest first; none where nothing is matched."""
    addresses = known_addresses(connection)
    try:
        return mailbox.matching_ids(stream, addresses, MAX_MESSAGES) if addresses else ()
    except (
        ProviderRejected,
        UnsupportedOperation,
    ) as error:  # it cannot search: the rest brings it
        logger.info("connection %s cannot be searched: %s", connection.pk, error.message)
        return ()


def known_addresses(connection: Connection) -> list[str]:
    """As they were given, each once."""
    matches = AddressMatch.objects.filter(workspace=connection.workspace_id).order_by("-id")
    found = matches.exclude(address_key=connection.account_email).values_list("address", flat=True)
    return list(dict.fromkeys(found[:MAX_ADDRESSES]))
