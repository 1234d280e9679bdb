"""How a provider tells of changes in a mailbox before it is asked."""

from __future__ import annotations

from django.db import models

from integrations.models import Connection
from integrations.models.push import PushRow
from integrations.models.push import PushStatus as PushStatus


class PushChannel(PushRow):
    """The doorbell of one mailbox: a subscription at the provider (`services.doorbells`), or a connection that a
    listening process holds (`services.listening`)."""

    connection = models.OneToOneField(Connection, on_delete=models.CASCADE, related_name="push_channel")
    holder = models.UUIDField(null=True, blank=True)
    """The listening process that holds the connection, until `lease_until`."""
    lease_until = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = (models.Index(fields=("remote_id",), name="pushchannel_remote_id"),)
