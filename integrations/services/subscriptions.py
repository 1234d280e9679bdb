"""Who is to be told of what: events made into deliveries, each subscriber with a position of its own (ADR 0024).

`begin` and `catch_up` are called by `services.integrations` inside its transaction, `fan_out` and `behind` by tasks.
Promised: position and deliveries are committed together, in the order events were committed, so none is missed; one
delivery for an integration and an event, whoever fans out and how often; it begins when the integration was made,
enabled or told of other events, and never with what happened before.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import connection as database
from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from core.api.serializers import wire_time
from core.work import WorkStatus
from integrations.models import Delivery, Event, Integration, Subscription
from integrations.models.delivery import MAX_AGE
from integrations.models.event import FOR_STREAMS
from integrations.providers import INTEGRATION_PROVIDERS
from integrations.providers.base import EVENTS, EVENTS_FIELD, wanted
from integrations.services import events
from integrations.services.events import Position

AT_ONCE = 500
MAX_BODY = 20_000
"""Bytes; what receivers may count on (Standard Webhooks)."""
NEVER = uuid.UUID(int=0)
RING_AGAIN = timedelta(seconds=30)
"""A worker that was rung is not rung again before this: the broker may only be busy."""


def follows(integration: Integration) -> bool:
    """Whether it can be told of events at all."""
    return EVENTS in INTEGRATION_PROVIDERS.get(integration.type).capabilities


def begin(integration: Integration) -> None:
    """From this transaction on, whatever happened before. What waited for it while it was disabled goes on, except what
    is too old."""
    if not follows(integration):
        return
    position = events.now()
    anew: dict[str, Any] = {"transaction": position.transaction, "event_id": position.id, "since": None}
    anew |= {"failures": 0, "failing_since": None, "slow": False, "not_before": None, "asked_until": None}
    Subscription.objects.update_or_create(integration=integration, defaults={**anew, "rung_at": None})
    give_up_old(Delivery.objects.filter(integration=integration))


def catch_up(integration: Integration) -> None:
    """Before it is disabled or its `config.events` changes: what happened until now is told as was wished until now."""
    if follows(integration) and integration.enabled:
        while _follow(integration).is_full:
            continue
        if not _patterns(integration):
            begin(integration)


def give_up_old(rows: QuerySet[Any]) -> int:
    """End what waited too long; how many."""
    old = rows.filter(status=WorkStatus.QUEUED, queued_at__lte=Now() - MAX_AGE)
    return old.update(
        status=WorkStatus.FAILED,
        finished_at=Now(),
        error_code="too_old",
        error_message="It could not be sent within five days. Replay it if it is still of use.",
    )


# --- fanning out --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Followed:
    """How many events one read gave, and how many of them are to be told."""

    read: int
    told: int

    @property
    def is_full(self) -> bool:
        """There may be more."""
        return self.read == AT_ONCE


@dataclass(frozen=True, slots=True)
class FannedOut:
    """Who has something to send now, and whether more comes as soon as it can be read."""

    integration_ids: Sequence[uuid.UUID]
    more_to_come: bool


def fan_out(workspace_id: uuid.UUID) -> FannedOut:
    """Make the deliveries of everything that can be read now."""
    ring, more = [], False
    for integration_id in _listeners().filter(workspace_id=workspace_id).values_list("pk", flat=True):
        step, told = _step(workspace_id, integration_id), 0
        while step.is_full:
            told += step.told
            step = _step(workspace_id, integration_id)
        ring += [integration_id] if told + step.told else []
        more = more or _waits(workspace_id, integration_id)
    return FannedOut(ring, more)


def has_listeners(workspace_ids: set[uuid.UUID]) -> set[uuid.UUID]:
    """Those of these workspaces where somebody is told of anything."""
    return set(_listeners().filter(workspace_id__in=workspace_ids).values_list("workspace_id", flat=True))


def behind() -> list[uuid.UUID]:
    """Workspaces with events that nobody made deliveries of, or with a position of another database."""
    position = OuterRef("subscription__transaction"), OuterRef("subscription__event_id")
    unread = Event.objects.filter(
        events.after(*position),
        workspace=OuterRef("workspace"),
        transaction__lt=events.now_in_sql(events.OLDEST_UNDER_WAY),
    )
    strange = Q(subscription__transaction__gte=events.now_in_sql(events.NEXT_TO_COME))
    rows = _listeners().filter(Q(subscription__isnull=True) | strange | Exists(unread))
    return list(dict.fromkeys(rows.values_list("workspace_id", flat=True)))


def _listeners() -> QuerySet[Integration]:
    types = [key for key in INTEGRATION_PROVIDERS if EVENTS in INTEGRATION_PROVIDERS.get(key).capabilities]
    told = Integration.objects.enabled().filter(type__in=types, config__has_key=EVENTS_FIELD.name)
    return told.exclude(**{f"config__{EVENTS_FIELD.name}": []}).order_by("id")


def _patterns(integration: Integration) -> list[str]:
    return list(integration.config.get(EVENTS_FIELD.name) or ())


def _step(workspace_id: uuid.UUID, integration_id: uuid.UUID) -> Followed:
    """One read and its deliveries, in one transaction. The workspace is locked first, shared among all who fan out and
    excluding those who change an integration: whom they disabled meanwhile is not told."""
    with transaction.atomic():
        with database.cursor() as cursor:
            cursor.execute("SELECT 1 FROM workspaces_workspace WHERE id = %s FOR SHARE", [workspace_id])
        integration = _listeners().defer("credentials").filter(pk=integration_id).first()
        return Followed(0, 0) if integration is None else _follow(integration)


def _follow(integration: Integration) -> Followed:
    """Inside the caller's transaction."""
    place = Subscription.objects.select_for_update().filter(pk=integration.pk).first()
    if place is None:
        begin(integration)
        return Followed(0, 0)
    found = _read(integration, place)
    patterns = _patterns(integration)
    told = [event for event in found if event.type not in FOR_STREAMS and wanted(patterns, event.type)]
    Delivery.objects.bulk_create((_delivery(integration, event) for event in told), ignore_conflicts=True)
    if found:
        place.transaction, place.event_id = events.position_of(found[-1])
        place.save(update_fields=("transaction", "event_id"))
    return Followed(len(found), len(told))


def _read(integration: Integration, place: Subscription) -> Sequence[Event]:
    """The next events after its place. A place of the database that a dump was made of lies in the future here: then
    all events of its own time are looked at again, and those that were told are recognised."""
    if Position(place.transaction, place.event_id).is_of_another_database():
        place.since, place.transaction, place.event_id = place.event_id, 0, NEVER
        place.save(update_fields=("transaction", "event_id", "since"))
    later = {} if place.since is None else {"id__gt": place.since}
    position = Position(place.transaction, place.event_id)
    return events.read_after(position, limit=AT_ONCE, workspace_id=integration.workspace_id, **later)


def _waits(workspace_id: uuid.UUID, integration_id: uuid.UUID) -> bool:
    """Whether there are events that cannot be read yet because somebody's transaction is under way."""
    place = Subscription.objects.filter(pk=integration_id).values("transaction", "event_id").first()
    if place is None:
        return False
    unread = Event.objects.filter(events.after(place["transaction"], place["event_id"]), workspace_id=workspace_id)
    return unread.exclude(type__in=FOR_STREAMS).exists()


# --- what goes out ------------------------------------------------------------------------------------------------


def _delivery(integration: Integration, event: Event) -> Delivery:
    return Delivery(
        workspace_id=integration.workspace_id,
        integration=integration,
        event_id=event.pk,
        event_type=event.type,
        event_at=event.created_at,
        body=body_of(event),
    )


def body_of(event: Event) -> str:
    """The message about an event, as every attempt sends it: ids and small facts, never what a mail says."""
    facts: dict[str, Any] = {"eventId": str(event.pk), "workspaceId": str(event.workspace_id)}
    if event.connection_id is not None:
        facts["connectionId"] = str(event.connection_id)
    text = _written(event, {**facts, **event.payload})
    if len(text) > MAX_BODY:
        text = _written(event, {**facts, **dict(_small(event.payload)), "truncated": True})
    return text


def _written(event: Event, data: Mapping[str, Any]) -> str:
    message = {"type": event.type, "timestamp": wire_time(event.created_at), "data": data}
    return json.dumps(message, separators=(",", ":"))


def _small(payload: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in payload.items():
        if value is None or isinstance(value, (bool, int, float)) or (isinstance(value, str) and len(value) <= 200):
            yield name[:80], value


# --- ringing ------------------------------------------------------------------------------------------------------


def claim_ring(integration_id: uuid.UUID) -> bool:
    """Whether a worker is to be rung: nobody was a moment ago."""
    quiet = Q(rung_at__isnull=True) | Q(rung_at__lt=Now() - RING_AGAIN)
    return bool(Subscription.objects.filter(quiet, pk=integration_id).update(rung_at=Now()))


def begun(integration_id: uuid.UUID) -> None:
    """A worker that was rung looks now: whoever comes later rings again."""
    Subscription.objects.filter(pk=integration_id, rung_at__isnull=False).update(rung_at=None)


def unattended(limit: int = 1000) -> list[uuid.UUID]:
    """Integrations to ring: something is due and nobody was rung lately. Marks them as rung."""
    queued = Delivery.objects.filter(
        integration=OuterRef("pk"), status=WorkStatus.QUEUED, next_attempt_at__lte=Now()
    ).fresh()
    left = Delivery.objects.filter(integration=OuterRef("pk"), status=WorkStatus.RUNNING, lease_until__lt=Now())
    quiet = Q(rung_at__isnull=True) | Q(rung_at__lt=Now() - RING_AGAIN)
    due = Subscription.objects.rested().filter(quiet).filter(Exists(queued) | Exists(left))
    ids = list(due.order_by(F("rung_at").asc(nulls_first=True), "pk").values_list("pk", flat=True)[:limit])
    return [pk for pk in ids if claim_ring(pk)]
