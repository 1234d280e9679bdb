"""What became of a mail, oldest first: made of its entry's own times and of what its provider told (ADR 25)."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from core.ids import made_at
from email_logs.models import DeliveryEvent, EmailLogEntry
from email_logs.states import State

TAKEN = frozenset({State.ACCEPTED, State.DEFERRED, State.DELIVERED, State.BOUNCED, State.COMPLAINED})
"""States of a mail that its provider took, which was at `sent_at`."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened. `what` is a `State`, or "opened", "clicked", "unsubscribed"."""

    at: datetime
    what: str
    recipients: Sequence[str] = ()
    """Whom it is about, where the provider says."""
    words: str = ""


def events_of(entries: Collection[EmailLogEntry]) -> Mapping[uuid.UUID, list[DeliveryEvent]]:
    """What providers told of these entries; one query, none for no entries."""
    found: dict[uuid.UUID, list[DeliveryEvent]] = {}
    ids = [entry.pk for entry in entries]
    for event in DeliveryEvent.objects.filter(entry_id__in=ids).order_by("at", "id") if ids else ():
        if event.entry_id is not None:
            found.setdefault(event.entry_id, []).append(event)
    return found


def steps(entry: EmailLogEntry, events: Sequence[DeliveryEvent], *, whole: bool) -> list[Step]:
    """Of one entry. Not `whole`: without people and words."""
    told = {event.kind for event in events}
    found = [Step(made_at(entry.pk), State.QUEUED.value)]
    if entry.state in TAKEN and State.ACCEPTED not in told:
        found.append(Step(entry.sent_at, State.ACCEPTED.value))
    if entry.state not in told and entry.state not in (State.QUEUED, State.ACCEPTED):
        found.append(Step(entry.state_at, entry.state, words=entry.error))
    found += [Step(event.at, event.kind, tuple(event.recipients), event.words) for event in events]
    if not whole:
        found = [Step(step.at, step.what) for step in found]
    return sorted(found, key=lambda step: step.at)
