"""Which mailboxes a listening process holds: rows under a lease, so that any number of processes share them.

Called by `switchboard`, in a thread. A process takes what nobody holds, up to its limit, and renews its leases; what it
left without a word is free again `LEASE_SECONDS` later.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.expressions import CombinedExpression
from django.db.models.functions import Now

from email_sync.models import PushChannel, PushStatus
from email_sync.providers.base import MailAccount
from email_sync.providers.doorbells import MAIL_LISTENERS
from email_sync.providers.doorbells.base import Listener
from email_sync.services import doorbells
from email_sync.services.accounts import with_account
from integrations.models import Connection, SyncRun
from integrations.services import schedule

LEASE_SECONDS = 90.0
RENEW_SECONDS = 45.0
"""A lease with less left is renewed."""


@dataclass(frozen=True, slots=True)
class Held:
    """A mailbox that this process holds."""

    connection_id: uuid.UUID
    version: datetime
    """Another one means that its user changed or renewed the connection."""
    host: str


def wanted() -> QuerySet[Connection]:
    """Connections whose server may speak up."""
    return Connection.objects.syncing().filter(
        sync_email=True, provider__in=list(MAIL_LISTENERS), sync_states__type="email"
    )


def take(holder: uuid.UUID, *, limit: int) -> list[Held]:
    """What this process holds from now on: what it held and is still wanted, and what nobody holds."""
    _register()
    mine = PushChannel.objects.filter(holder=holder)
    with transaction.atomic():
        mine.exclude(connection__in=wanted().values("pk")).update(
            holder=None, lease_until=None, status=PushStatus.OFF, message=""
        )
        mine.filter(lease_until__lt=Now() + timedelta(seconds=RENEW_SECONDS)).update(lease_until=_lease())
        room = max(0, limit - mine.count())
        free = PushChannel.objects.filter(
            Q(lease_until__isnull=True) | Q(lease_until__lt=Now()), connection__in=wanted().values("pk")
        )
        ids = list(
            free.select_for_update(skip_locked=True).order_by("pk").values_list("pk", flat=True)[:room] if room else []
        )
        PushChannel.objects.filter(pk__in=ids).update(holder=holder, lease_until=_lease())
    rows = mine.values_list(
        "connection_id", "connection__updated_at", "connection__provider", "connection__options"
    ).order_by("pk")
    return [Held(pk, version, MAIL_LISTENERS.get(provider).host(options)) for pk, version, provider, options in rows]


def _register() -> None:
    """A row for every mailbox that has none."""
    without = wanted().filter(push_channel__isnull=True).values_list("pk", "provider")
    rows = [PushChannel(connection_id=pk, via=MAIL_LISTENERS.get(provider).via) for pk, provider in without]
    PushChannel.objects.bulk_create(rows, ignore_conflicts=True)


def _lease() -> CombinedExpression:
    return Now() + timedelta(seconds=LEASE_SECONDS)


def release(holder: uuid.UUID) -> None:
    """At the end of the process: others may take over at once."""
    PushChannel.objects.filter(holder=holder).update(holder=None, lease_until=None, status=PushStatus.OFF)


def log_in(connection_id: uuid.UUID, *, reissue_seconds: float) -> Listener:
    """A listener that is ready. Errors as at a sync's log-in."""
    connection = Connection.objects.get(pk=connection_id)
    listener = MAIL_LISTENERS.get(connection.provider)

    def work(account: MailAccount) -> Listener:
        made = listener(account, reissue_seconds=reissue_seconds)
        made.open()
        return made

    return with_account(connection, work)


def note(holder: uuid.UUID, connection_id: uuid.UUID, status: PushStatus, message: str = "") -> None:
    """How it stands, as long as it is ours to say."""
    PushChannel.objects.filter(holder=holder, connection=connection_id).update(status=status, message=message)


def heard(*, told: Collection[uuid.UUID], joined: Collection[uuid.UUID]) -> list[SyncRun]:
    """Mailboxes whose servers spoke up, and those listened to from now on, where something may have happened before:
    the runs to ring."""
    return [*doorbells.mark(told), *(schedule.heard(connection_ids=joined, type="email") if joined else ())]
