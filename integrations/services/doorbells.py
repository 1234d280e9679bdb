"""Doorbells of accounts: set up, renewed, ended, and heard. Mail and calendars each make a `Doorbells` of their own.

Promised (reference reliability S13): a notification that does not prove itself does nothing; one that does brings
forward the next look of the accounts it names and is believed in nothing else; a storm of them costs a few queries each
and makes one run. What rings goes on ringing while it is renewed, or made anew because our address is another. A worker
whose claim another has taken over stores nothing, and ends at the provider what it made there. Polling goes on in every
case.
"""

from __future__ import annotations

import hmac
import logging
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Now
from django.urls import reverse
from django.utils import timezone

from core.errors import (
    HubError,
    LeaseLost,
    NotFound,
    ProviderRateLimited,
    ProviderUnavailable,
    RemoteMissing,
    UnsupportedOperation,
)
from core.redaction import clean_words
from core.registry import Registry
from core.work import backoff_seconds
from integrations.accounts import ProviderAccount
from integrations.doorbells import Channel, Doorbell, Event, Hooks, Knock, Posted
from integrations.models import Connection, SyncRun
from integrations.models.push import PushRow, PushStatus
from integrations.services import schedule
from integrations.services.accounts import Accounts

logger = logging.getLogger("patchbay.push")

LEASE_SECONDS = 120.0
"""Longer than a provider's call may take, its own call to us included."""
RETRY_BASE, RETRY_CAP = 60.0, 6 * 3600.0
NOTED_EVERY_SECONDS = 10.0
SECRET_BYTES = 32
"""43 characters of base64: within what providers carry."""


@dataclass(frozen=True)
class Answer:
    """What the provider is answered: a status, and the text it must get back."""

    status: int
    text: str = ""
    runs: Sequence[SyncRun] = ()


@dataclass(frozen=True)
class Doorbells:
    """The doorbells of one kind of sync."""

    sync_type: str
    """Of the runs they begin: "email"."""
    registry: Registry[type[Doorbell]]
    rows: type[PushRow]
    route: str
    """The name of the route that providers call; with "-lifecycle" behind it, its twin's."""
    accounts: Accounts[Any]
    """Opens the accounts that they are about."""

    def hooks(self, provider: str) -> Hooks:
        """Where a provider is to call."""
        return Hooks(_address(provider, self.route), _address(provider, f"{self.route}-lifecycle"))

    def missing(self, provider: str) -> str:
        """Why there is no push from this provider here, in a sentence; "" where there is."""
        return self.registry.get(provider).missing(self.accounts.told(provider), self.hooks(provider))

    def possible(self) -> list[str]:
        """The providers that tell of changes here."""
        return [key for key in self.registry if not self.missing(key)]

    # --- setting up -----------------------------------------------------------------------------------------------

    def move(self) -> None:
        """What calls an address that was ours comes next; what failed there waits for its turn. One query."""
        bells = {provider: self.registry.get(provider) for provider in self.possible()}
        addressed = {provider: bell.via for provider, bell in bells.items() if bell.is_addressed}
        rests = Now() + timedelta(seconds=LEASE_SECONDS)  # not those that a worker has
        told = self.rows.objects.filter(
            via__in=set(addressed.values()), status=PushStatus.ACTIVE, failures=0, next_attempt_at__gt=rests
        )
        known = {"", *(self.hooks(provider).notify for provider in addressed)}
        told.exclude(address__in=known).update(next_attempt_at=Now())

    def attend(self, row: PushRow) -> list[SyncRun]:
        """Set up or renew one; the runs to ring. Never raises for a provider: what went wrong is in the row."""
        if not self.claim(row):
            return []
        try:
            renewed = self._renewed(row)
            if renewed is not None:
                self._note_success(row, renewed)
                return []
            made, opened = self._subscribed(row)
        except LeaseLost:
            return []
        except HubError as error:
            _note_failure(row, error)
            return []
        if not self._note_success(row, made):
            _take_back(row, made, opened)
            return []
        if lives(row):
            self._stop(row.connection, row.remote_id)
        # What happened between the last look and a new subscription was told to nobody.
        return schedule.heard(connection_ids=[row.connection_id], type=self.sync_type)

    def claim(self, row: PushRow) -> bool:
        """Take it on for as long as that may take; False where another worker has. The fence goes up: whoever had it
        before can no longer write (`PushRow.held`)."""
        free = self.rows.objects.filter(pk=row.pk, next_attempt_at__lte=Now())
        via = self.registry.get(row.connection.provider).via
        rests = Now() + timedelta(seconds=LEASE_SECONDS)
        with transaction.atomic():  # nobody else claims it before our fence is read
            taken = free.update(next_attempt_at=rests, fence=F("fence") + 1, via=via)
            if taken:
                row.refresh_from_db()
        return bool(taken)

    def _renewed(self, row: PushRow) -> Channel | None:
        """Prolonged; None where there is nothing to prolong, the provider prolongs none, or it calls elsewhere.
        LeaseLost where another worker has taken it on."""
        bell = self.registry.get(row.connection.provider)
        if not lives(row) or row.address != self._address(bell):
            return None
        try:
            made = self.accounts.with_account(row.connection, lambda account: bell(account).renew(row.remote_id))
        except UnsupportedOperation:
            return None
        except RemoteMissing:
            if not row.held().update(remote_id="", status=PushStatus.OFF, expires_at=None):
                raise LeaseLost from None
            row.remote_id, row.status, row.expires_at = "", PushStatus.OFF, None
            return None
        return made

    def _subscribed(self, row: PushRow) -> tuple[Channel, Doorbell]:
        """A new one, beside what may still live, and the account it was made with. What it rings before its secret is
        stored is dropped, and looked for afterwards."""
        bell = self.registry.get(row.connection.provider)
        secret = secrets.token_urlsafe(SECRET_BYTES) if bell.needs_secret else ""
        where = self.hooks(row.connection.provider)

        def work(account: ProviderAccount) -> tuple[Channel, Doorbell]:
            opened = bell(account)
            return opened.subscribe(where, secret, row.about), opened

        made = self.accounts.with_account(row.connection, work)
        row.secret_digest = digest(secret) if secret else ""
        return made

    def _address(self, bell: type[Doorbell]) -> str:
        """What a subscription holds of ours."""
        return self.hooks(bell.key).notify if bell.is_addressed else ""

    def _note_success(self, row: PushRow, made: Channel) -> bool:
        """False, and nothing is stored, where another worker has taken it on or nobody wants it any more."""
        bell = self.registry.get(row.connection.provider)
        half = (made.expires_at - timezone.now()).total_seconds() / 2
        wait = max(RETRY_BASE, min(bell.renew_after_seconds, half))
        stored = row.held().update(
            remote_id=made.remote_id,
            secret_digest=row.secret_digest,
            address=self._address(bell),
            expires_at=made.expires_at,
            status=PushStatus.ACTIVE,
            message="",
            failures=0,
            next_attempt_at=Now() + timedelta(seconds=wait),
        )
        return bool(stored)

    # --- ending ---------------------------------------------------------------------------------------------------

    def end(self, row: PushRow) -> None:
        """One that is no longer wanted: best effort, for what is left at the provider ends by itself and is answered
        and dropped meanwhile."""
        if not self.claim(row):
            return
        if lives(row):
            self._stop(row.connection, row.remote_id)
        row.held().delete()

    def stop(self, connection: Connection, held: Mapping[str, str]) -> None:
        """All of a connection's at its disconnect, with the credential that is just being forgotten; as `end`."""
        own = self.rows.objects.filter(connection=connection)
        living = [row.remote_id for row in own if row.status == PushStatus.ACTIVE]
        own.delete()
        token = str(held.get("access_token") or "")
        if not living or not token or connection.provider not in self.registry:
            return
        bell = self.registry.get(connection.provider)
        if bell.one_per_account and _has_others(connection):
            return
        opened = bell(ProviderAccount(connection.account_email, token, self.accounts.options_of(connection)))
        for remote_id in living:
            try:
                opened.stop(remote_id)
            except HubError as error:
                _note_left(connection, error)
                if isinstance(error, ProviderUnavailable):  # who is away is not waited for again and again
                    break

    def _stop(self, connection: Connection, remote_id: str) -> None:
        bell = self.registry.get(connection.provider)
        try:
            self.accounts.with_account(connection, lambda account: bell(account).stop(remote_id))
        except HubError as error:
            _note_left(connection, error)

    # --- hearing --------------------------------------------------------------------------------------------------

    def greeted(self, provider: str, query: Mapping[str, str], *, lifecycle: bool = False) -> Answer | None:
        """The echo, where the provider only tries the address; NotFound where nobody would call it."""
        echo = self._bell(provider, lifecycle=lifecycle).greeting(query)
        return None if echo is None else Answer(200, echo)

    def heard(self, provider: str, headers: Mapping[str, str], body: bytes, *, lifecycle: bool = False) -> Answer:
        """A notification: a mark on every account it names and proves. KnockRefused where it proves nothing."""
        bell = self._bell(provider, lifecycle=lifecycle)
        where = self.hooks(provider)
        posted = Posted(where.lifecycle if lifecycle else where.notify, headers, body)
        named = self._named(provider, bell.knocks(self.accounts.told(provider), posted))
        runs = self.mark([row for row, _ in named])
        self._follow_up(named)
        return Answer(bell.accepted, runs=runs)

    def _bell(self, provider: str, *, lifecycle: bool) -> type[Doorbell]:
        bell = self.registry.get(provider)
        if lifecycle and not bell.has_lifecycle:
            raise NotFound
        return bell

    def _named(self, provider: str, knocks: Sequence[Knock]) -> list[tuple[PushRow, Event]]:
        """What is named and, where a secret must prove it, proved. Which are unknown and which wrong is not told."""
        bell = self.registry.get(provider)
        rows = self.rows.objects.filter(
            remote_id__in={knock.remote_id for knock in knocks}, via=bell.via, connection__provider=provider
        )
        named: dict[str, list[PushRow]] = {}
        for row in rows if knocks else ():
            named.setdefault(row.remote_id, []).append(row)
        return [
            (row, knock.event)
            for knock in knocks
            for row in named.get(knock.remote_id, ())
            if not bell.needs_secret or hmac.compare_digest(digest(knock.secret), row.secret_digest)
        ]

    def mark(self, rows: Iterable[PushRow]) -> list[SyncRun]:
        """Something changed there: the runs to ring."""
        connections = {row.pk: row.connection_id for row in rows}
        if not connections:
            return []
        noted = self.rows.objects.filter(_not_noted(), pk__in=connections)
        noted.update(last_notified_at=Now())
        return schedule.heard(connection_ids=set(connections.values()), type=self.sync_type)

    def _follow_up(self, named: Iterable[tuple[PushRow, Event]]) -> None:
        """Events of a subscription's own life bring its next step forward; the tick takes it."""
        events = {event: {row.pk for row, other in named if other == event} for event in (Event.RENEW, Event.GONE)}
        rests = self.rows.objects.filter(next_attempt_at__gt=Now())
        if events[Event.RENEW]:
            rests.filter(pk__in=events[Event.RENEW]).update(next_attempt_at=Now())
        if events[Event.GONE]:
            rests.filter(pk__in=events[Event.GONE]).update(
                next_attempt_at=Now(), status=PushStatus.OFF, remote_id="", expires_at=None
            )


def _address(provider: str, name: str) -> str:
    """The public address of one of our routes."""
    return settings.PUBLIC_URL.rstrip("/") + reverse(name, args=[provider])


def lives(row: PushRow) -> bool:
    """Whether the provider tells, by what the row says: a subscription lives until its end and no longer."""
    return row.status == PushStatus.ACTIVE and row.expires_at is not None and row.expires_at > timezone.now()


def _note_failure(row: PushRow, error: HubError) -> None:
    """Tried again later and later. What was set up before lives on until its end."""
    unable = isinstance(error, UnsupportedOperation)
    wait = RETRY_CAP if unable else backoff_seconds(row.failures + 1, base=RETRY_BASE, cap=RETRY_CAP)
    if isinstance(error, ProviderRateLimited):
        wait = max(wait, min(error.retry_after, RETRY_CAP))
    own = row.held()
    own.update(
        message=clean_words(error.message),
        failures=row.failures + 1,
        next_attempt_at=Now() + timedelta(seconds=wait),
    )
    dead = own.exclude(status=PushStatus.ACTIVE, expires_at__gt=Now())
    dead.update(status=PushStatus.OFF if unable else PushStatus.FAILED)
    logger.info("a doorbell of connection %s was not set up: %s", row.connection_id, error.code)


def _take_back(row: PushRow, made: Channel, opened: Doorbell) -> None:
    """Of two workers' subscriptions one is stored, and this is not it. Best effort, as `Doorbells.end`."""
    logger.info("a doorbell of connection %s was set up by another worker or is not wanted", row.connection_id)
    if opened.one_per_account:  # it is the other worker's too
        return
    try:
        opened.stop(made.remote_id)
    except HubError as error:
        _note_left(row.connection, error)


def _note_left(connection: Connection, error: HubError) -> None:
    logger.info("a doorbell of connection %s was not ended: %s", connection.pk, error.code)


def _has_others(connection: Connection) -> bool:
    """Whether somebody else has connected the same account."""
    same = Connection.objects.connected().filter(provider=connection.provider, account_id=connection.account_id)
    return same.exclude(pk=connection.pk).exists()


def _not_noted() -> Q:
    """That a change was told is written down every so often, not each time."""
    ago = Now() - timedelta(seconds=NOTED_EVERY_SECONDS)
    return Q(last_notified_at__isnull=True) | Q(last_notified_at__lt=ago)


def digest(secret: str) -> str:
    """What is stored of a secret."""
    return sha256(secret.encode("utf-8", "replace")).hexdigest()
