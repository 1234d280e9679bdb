"""Graph's change notifications for mail: one subscription to all messages of a mailbox."""

from __future__ import annotations

from typing import ClassVar

from email_sync.providers.base import MailAccount
from integrations.providers.graph.subscriptions import GraphSubscription


class MailSubscription(GraphSubscription[MailAccount]):
    """Messages of every folder."""

    resource: ClassVar[str] = "me/messages"
