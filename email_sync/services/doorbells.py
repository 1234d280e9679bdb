"""Doorbells of mailboxes: one for each (`integrations.services.doorbells` says what is promised).

`ensure` is called by a task for what `due` names: soon after a connect, then a day after each renewal, which is long
before the end. What arrives is heard through `BELLS` by the views.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping

from django.db.models import Exists, OuterRef
from django.db.models.functions import Now

from email_sync.models import PushChannel
from email_sync.providers import MAIL_PROVIDERS
from email_sync.providers.doorbells import MAIL_DOORBELLS
from email_sync.services.accounts import ACCOUNTS
from integrations.models import Connection, SyncRun
from integrations.services.doorbells import Doorbells

BELLS = Doorbells(
    sync_type="email",
    registry=MAIL_DOORBELLS,
    rows=PushChannel,
    route="email-push",
    accounts=ACCOUNTS,
)


def due(limit: int = 200) -> list[uuid.UUID]:
    """Connections whose doorbell is to be set up or renewed now."""
    providers = [key for key in BELLS.possible() if key in MAIL_PROVIDERS]
    if not providers:
        return []
    BELLS.move()
    rests = PushChannel.objects.filter(connection=OuterRef("pk"), next_attempt_at__gt=Now())
    wanting = Connection.objects.syncing().filter(sync_email=True, provider__in=providers, sync_states__type="email")
    return list(wanting.filter(~Exists(rests)).order_by("pk").values_list("pk", flat=True)[:limit])


def ensure(connection_id: uuid.UUID | str) -> list[SyncRun]:
    """Set up or renew one doorbell; the runs to ring."""
    connection = Connection.objects.syncing().filter(pk=connection_id, sync_email=True).first()
    if connection is None or connection.provider not in MAIL_DOORBELLS or BELLS.missing(connection.provider):
        return []
    via = MAIL_DOORBELLS.get(connection.provider).via
    channel, _ = PushChannel.objects.get_or_create(connection=connection, defaults={"via": via})
    return BELLS.attend(channel)


def stop(connection: Connection, held: Mapping[str, str]) -> None:
    """What `settings.DISCONNECT_STEPS` names."""
    BELLS.stop(connection, held)


def mark(connection_ids: Collection[uuid.UUID]) -> list[SyncRun]:
    """Something changed in these mailboxes: the runs to ring."""
    return BELLS.mark(PushChannel.objects.filter(connection__in=connection_ids)) if connection_ids else []
