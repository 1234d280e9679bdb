"""Doorbells of mailboxes: set up, renewed, ended, and heard.

`ensure` is called by a task for what `due` names: soon after a connect, then a day after each renewal, which is long
before the end. `heard` is called by the views for what arrives. Promised (reference reliability S13): a notification
that does not prove itself does nothing; one that does brings forward the next look of the mailboxes it names and is
believed in nothing else; a storm of them costs a few queries each and makes one run. Polling goes on in every case.
"""

from __future__ import annotations

import hmac
import logging
import secrets
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256

from django.conf import settings
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now
from django.urls import reverse

from core.errors import HubError, NotFound, ProviderRateLimited, RemoteMissing
from core.redaction import clean_words
from core.work import backoff_seconds
from email_sync.models import PushChannel, PushStatus
from email_sync.providers import MAIL_PROVIDERS
from email_sync.providers.base import MailAccount
from email_sync.providers.doorbells import MAIL_DOORBELLS
from email_sync.providers.doorbells.base import Channel, Doorbell, Event, Hooks, Knock, Posted
from email_sync.services.accounts import options_of, with_account
from integrations.models import Connection, SyncRun
from integrations.services import schedule

logger = logging.getLogger("patchbay.push")

LEASE_SECONDS = 120.0
"""Longer than a provider's call may take, its own call to us included."""
RETRY_BASE, RETRY_CAP = 60.0, 6 * 3600.0
NOTED_EVERY_SECONDS = 10.0
SECRET_BYTES = 32
"""43 characters of base64: within what providers carry."""


def hooks(provider: str) -> Hooks:
    """Where a provider is to call."""
    return Hooks(address(provider, "email-push"), address(provider, "email-push-lifecycle"))


def address(provider: str, name: str) -> str:
    """The public address of one of our routes."""
    return settings.PUBLIC_URL.rstrip("/") + reverse(name, args=[provider])


def missing(provider: str) -> str:
    """Why there is no push from this provider here, in a sentence; "" where there is."""
    own = settings.MAIL_PROVIDER_SETTINGS.get(provider, {})
    return MAIL_DOORBELLS.get(provider).missing(own, hooks(provider))


# --- setting up ---------------------------------------------------------------------------------------------------


def due(limit: int = 200) -> list[uuid.UUID]:
    """Connections whose doorbell is to be set up or renewed now."""
    providers = [key for key in MAIL_DOORBELLS if key in MAIL_PROVIDERS and not missing(key)]
    if not providers:
        return []
    rests = PushChannel.objects.filter(connection=OuterRef("pk"), next_attempt_at__gt=Now())
    wanting = Connection.objects.syncing().filter(sync_email=True, provider__in=providers, sync_states__type="email")
    return list(wanting.filter(~Exists(rests)).order_by("pk").values_list("pk", flat=True)[:limit])


def ensure(connection_id: uuid.UUID | str) -> list[SyncRun]:
    """Set up or renew one doorbell; the runs to ring. Never raises for a provider: what went wrong is in the row."""
    connection = Connection.objects.syncing().filter(pk=connection_id, sync_email=True).first()
    if connection is None or connection.provider not in MAIL_DOORBELLS or missing(connection.provider):
        return []
    channel = _claim(connection)
    if channel is None:
        return []
    try:
        renewed = _renewed(connection, channel)
        prolonged = renewed or _subscribed(connection, channel)
    except HubError as error:
        _note_failure(channel, error)
        return []
    _note_success(connection, channel, prolonged)
    # What happened between the last look and a new subscription was told to nobody.
    return [] if renewed else schedule.heard(connection_ids=[connection.pk], type="email")


def _claim(connection: Connection) -> PushChannel | None:
    """The channel, taken on for as long as it may take; None where another worker has it."""
    via = MAIL_DOORBELLS.get(connection.provider).via
    channel, _ = PushChannel.objects.get_or_create(connection=connection, defaults={"via": via})
    free = PushChannel.objects.filter(pk=channel.pk, next_attempt_at__lte=Now())
    taken = free.update(next_attempt_at=Now() + timedelta(seconds=LEASE_SECONDS), via=via)
    return channel if taken else None


def _renewed(connection: Connection, channel: PushChannel) -> Channel | None:
    """Prolonged; None where there is nothing to prolong."""
    bell = MAIL_DOORBELLS.get(connection.provider)
    lives = PushChannel.objects.filter(pk=channel.pk, expires_at__gt=Now()).exists()
    if not lives or channel.status != PushStatus.ACTIVE:
        return None
    try:
        return with_account(connection, lambda account: bell(account).renew(channel.remote_id))
    except RemoteMissing:
        return None


def _subscribed(connection: Connection, channel: PushChannel) -> Channel:
    """A new one. Its secret is stored before it can be used: the provider may call before it has answered."""
    bell = MAIL_DOORBELLS.get(connection.provider)
    secret = secrets.token_urlsafe(SECRET_BYTES) if bell.needs_secret else ""
    PushChannel.objects.filter(pk=channel.pk).update(
        secret_digest=digest(secret) if secret else "", remote_id="", status=PushStatus.OFF, expires_at=None
    )
    where = hooks(connection.provider)
    return with_account(connection, lambda account: bell(account).subscribe(where, secret))


def _note_success(connection: Connection, channel: PushChannel, made: Channel) -> None:
    bell = MAIL_DOORBELLS.get(connection.provider)
    PushChannel.objects.filter(pk=channel.pk).update(
        remote_id=made.remote_id,
        expires_at=made.expires_at,
        status=PushStatus.ACTIVE,
        message="",
        failures=0,
        next_attempt_at=Now() + timedelta(seconds=bell.renew_after_seconds),
    )


def _note_failure(channel: PushChannel, error: HubError) -> None:
    """Tried again later and later. What was set up before lives on until its end."""
    wait = backoff_seconds(channel.failures + 1, base=RETRY_BASE, cap=RETRY_CAP)
    if isinstance(error, ProviderRateLimited):
        wait = max(wait, min(error.retry_after, RETRY_CAP))
    row = PushChannel.objects.filter(pk=channel.pk)
    row.update(
        message=clean_words(error.message),
        failures=channel.failures + 1,
        next_attempt_at=Now() + timedelta(seconds=wait),
    )
    row.exclude(status=PushStatus.ACTIVE, expires_at__gt=Now()).update(status=PushStatus.FAILED)
    logger.info("the doorbell of connection %s was not set up: %s", channel.connection_id, error.code)


def stop(connection: Connection, held: Mapping[str, str]) -> None:
    """At a disconnect, with the credential that is just being forgotten: best effort, for what is left ends by itself
    and is answered and dropped meanwhile."""
    channel = PushChannel.objects.filter(connection=connection).first()
    PushChannel.objects.filter(connection=connection).delete()
    token = str(held.get("access_token") or "")
    if channel is None or channel.status != PushStatus.ACTIVE or not token or connection.provider not in MAIL_DOORBELLS:
        return
    bell = MAIL_DOORBELLS.get(connection.provider)
    if bell.one_per_account and _has_others(connection):
        return
    try:
        bell(MailAccount(connection.account_email, token, options_of(connection))).stop(channel.remote_id)
    except HubError as error:
        logger.info("the doorbell of connection %s was not ended: %s", connection.pk, error.code)


def _has_others(connection: Connection) -> bool:
    """Whether somebody else has connected the same account."""
    same = Connection.objects.connected().filter(provider=connection.provider, account_id=connection.account_id)
    return same.exclude(pk=connection.pk).exists()


# --- hearing ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    """What the provider is answered: a status, and the text it must get back."""

    status: int
    text: str = ""
    runs: Sequence[SyncRun] = ()


def greeted(provider: str, query: Mapping[str, str], *, lifecycle: bool = False) -> Answer | None:
    """The echo, where the provider only tries the address; NotFound where nobody would call it."""
    echo = _bell(provider, lifecycle=lifecycle).greeting(query)
    return None if echo is None else Answer(200, echo)


def heard(provider: str, headers: Mapping[str, str], body: bytes, *, lifecycle: bool = False) -> Answer:
    """A notification: a mark on every mailbox it names and proves. KnockRefused where it proves nothing."""
    bell = _bell(provider, lifecycle=lifecycle)
    where = hooks(provider)
    posted = Posted(where.lifecycle if lifecycle else where.notify, headers, body)
    knocks = bell.knocks(settings.MAIL_PROVIDER_SETTINGS.get(provider, {}), posted)
    named = _named(provider, knocks)
    runs = mark([connection_id for connection_id, _ in named])
    _follow_up(named)
    return Answer(bell.accepted, runs=runs)


def _bell(provider: str, *, lifecycle: bool) -> type[Doorbell]:
    bell = MAIL_DOORBELLS.get(provider)
    if lifecycle and not bell.has_lifecycle:
        raise NotFound
    return bell


def _named(provider: str, knocks: Sequence[Knock]) -> list[tuple[uuid.UUID, Event]]:
    """The connections whose subscriptions are named and, where a secret must prove it, proved. Which are unknown and
    which are wrong is not told."""
    bell = MAIL_DOORBELLS.get(provider)
    rows = PushChannel.objects.filter(
        remote_id__in={knock.remote_id for knock in knocks}, via=bell.via, connection__provider=provider
    )
    channels: dict[str, list[PushChannel]] = {}
    for row in rows if knocks else ():
        channels.setdefault(row.remote_id, []).append(row)
    return [
        (channel.connection_id, knock.event)
        for knock in knocks
        for channel in channels.get(knock.remote_id, ())
        if not bell.needs_secret or hmac.compare_digest(digest(knock.secret), channel.secret_digest)
    ]


def mark(connection_ids: Iterable[uuid.UUID]) -> list[SyncRun]:
    """Something changed in these mailboxes: the runs to ring."""
    ids = set(connection_ids)
    if not ids:
        return []
    noted = Q(last_notified_at__isnull=True) | Q(last_notified_at__lt=Now() - timedelta(seconds=NOTED_EVERY_SECONDS))
    PushChannel.objects.filter(noted, connection__in=ids).update(last_notified_at=Now())
    return schedule.heard(connection_ids=ids, type="email")


def _follow_up(named: Iterable[tuple[uuid.UUID, Event]]) -> None:
    """Events of a subscription's own life bring its next step forward; the tick takes it."""
    events = {event: {pk for pk, other in named if other == event} for event in (Event.RENEW, Event.GONE)}
    rests = PushChannel.objects.filter(next_attempt_at__gt=Now())
    if events[Event.RENEW]:
        rests.filter(connection__in=events[Event.RENEW]).update(next_attempt_at=Now())
    if events[Event.GONE]:
        rests.filter(connection__in=events[Event.GONE]).update(
            next_attempt_at=Now(), status=PushStatus.OFF, remote_id="", expires_at=None
        )


def digest(secret: str) -> str:
    """What is stored of a secret."""
    return sha256(secret.encode("utf-8", "replace")).hexdigest()
