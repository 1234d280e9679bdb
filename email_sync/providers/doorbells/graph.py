"""Graph's change notifications for mail: one subscription to all messages of a mailbox."""

from __future__ import annotations

from typing import ClassVar

from integrations.providers.graph.subscriptions import GraphSubscription


class MailSubscription(GraphSubscription):
    """Messages of every folder."""

    resource: ClassVar[str] = "me/messages"
