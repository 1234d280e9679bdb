"""Writing events: a new one, and what all writes share. The provider is asked first; what it answers is stored.

Called by the API. A write names the version it is about, so that nothing that changed elsewhere is written over; a
new event has a key, so that the same request makes one event however often it comes.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any, TypeVar

from calendar_sync import composing, zones
from calendar_sync.models import Calendar, CalendarEvent
from calendar_sync.providers import CALENDAR_PROVIDERS
from calendar_sync.providers.base import CalendarProvider
from calendar_sync.records import NOTIFY_ALL, EventDraft, RemoteResource
from calendar_sync.services import keeping, linking, reading
from calendar_sync.services.accounts import with_calendars
from calendar_sync.services.reading import Happening
from core.errors import (
    BudgetSpent,
    Conflict,
    HubError,
    NeedsReauth,
    NotConfigured,
    ProviderOutcomeUnknown,
    ProviderRateLimited,
    ProviderUnavailable,
    ProviderUnreached,
    ServiceBusy,
    UnsupportedOperation,
)
from integrations.models import Connection

if TYPE_CHECKING:
    from workspaces.models import User, Workspace

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event as the API gives it, checked by the serializer."""

    given: Mapping[str, Any]
    """What `composing` takes."""
    calendar_id: str = ""
    connection_id: str = ""
    notify: str = ""
    """One of `records.NOTIFY`; "" is the provider's own way: attendees are told where it does that."""
    idempotency_key: str = ""
    entity: tuple[str, str] | None = None
    """Type and id of what it is about, whoever takes part."""


class ChangedMeanwhile(Conflict):
    """409: it was changed elsewhere since the caller saw it."""

    default_message = "The event was changed elsewhere meanwhile. Nothing was written: this is how it is now."

    def __init__(self, current: Happening | None = None) -> None:
        super().__init__()
        self.current = current
        """None where what was meant is no longer there."""


@dataclass(frozen=True, slots=True)
class Open:
    """A calendar that is written to, with its account open."""

    provider: CalendarProvider
    calendar: Calendar
    notify: str = field(default=NOTIFY_ALL)


def create(*, user: User, workspace: Workspace, new: NewEvent, by: User) -> Happening:
    """The event, once the provider has it. NotFound for a calendar or account that is not the caller's; ServiceBusy
    with the key where nobody knows whether the provider took it: the same again makes no second one."""
    calendar = home(user, workspace, new)
    draft = composing.new_draft(new.given, zones.named(calendar.time_zone) or "UTC")
    said = new.idempotency_key or uuid.uuid4().hex
    key = sha256(f"{calendar.pk}\n{said}\n{draft!r}".encode()).hexdigest()[:32]

    def work(opened: Open) -> RemoteResource:
        check_notify(opened, new.notify, draft)
        made = opened.provider.create(keeping.remote_calendar(calendar), draft, key=key, notify=opened.notify)
        keeping.keep(opened.provider, calendar, [made], {}, action=keeping.CREATED, by=by)
        return made

    try:
        made = at_provider(calendar, new.notify, work)
    except (ProviderUnavailable, ProviderOutcomeUnknown) as error:
        raise _unsure(error, said) from error
    found = stored(user, workspace, calendar, made.remote_id)
    if new.entity:
        linking.link(event=found.source, entity_type=new.entity[0], entity_id=new.entity[1], by=by)
    return found


def _unsure(error: ProviderUnavailable, key: str) -> HubError:
    """Whether it took effect is not known unless nothing left."""
    if isinstance(error, ProviderUnreached):
        return error
    unsure = ServiceBusy(
        "The provider did not say whether it took the event. Send the same request with this Idempotency-Key again: "
        "it makes no second event.", code="provider_outcome_unknown",
    )  # fmt: skip
    unsure.extra = {"idempotencyKey": key}
    return unsure


# --- where --------------------------------------------------------------------------------------------------------


def home(user: User, workspace: Workspace, new: NewEvent) -> Calendar:
    """The calendar that is named, else the primary one of the account that is named, else of the oldest account."""
    own = Calendar.objects.of(user=user, workspace=workspace).present().select_related("connection__workspace")
    own = own.filter(connection__disconnected_at__isnull=True)
    if new.connection_id:
        connection = Connection.objects.of(user=user, workspace=workspace).connected().find(new.connection_id)
        own = own.filter(connection=connection)
    if new.calendar_id:
        calendar = own.find(new.calendar_id)
    else:
        usable = own.filter(selected=True, read_only=False, connection__provider__in=list(CALENDAR_PROVIDERS))
        found = usable.order_by(
            "connection__needs_reauth", "connection__created_at", "-is_primary", "created_at", "id"
        ).first()
        if found is None:
            raise NotConfigured("There is no calendar to write to. Connect one, or select one that may be written.")
        calendar = found
    check_writable(calendar)
    return calendar


def check_writable(calendar: Calendar) -> None:
    """Conflict, NeedsReauth or UnsupportedOperation where nothing can be written to it."""
    if not calendar.selected:
        raise Conflict("This calendar is not selected: select it first.", code="calendar_not_selected")
    if calendar.read_only:
        words = "This calendar can only be read."
        raise UnsupportedOperation(words, code="calendar_read_only", fields={"calendarId": [words]})
    if calendar.connection.needs_reauth:
        raise NeedsReauth()


# --- at the provider ----------------------------------------------------------------------------------------------


def at_provider(calendar: Calendar, notify: str, work: Callable[[Open], Result]) -> Result:
    """Do `work` with the account open. A provider that says to wait is a 503 with the time."""

    def opened(provider: CalendarProvider) -> Result:
        return work(Open(provider, calendar, notify or NOTIFY_ALL))

    try:
        return with_calendars(calendar.connection, opened)
    except BudgetSpent:
        raise
    except ProviderRateLimited as error:
        raise ServiceBusy(error.message, retry_after=error.retry_after, code=error.code) from error


def check_notify(opened: Open, notify: str, draft: EventDraft) -> None:
    """UnsupportedOperation where somebody shall be told and the provider tells nobody."""
    tells = notify not in ("", "none") and draft.attendees
    if tells and not opened.provider.invites(keeping.remote_calendar(opened.calendar)):
        words = "This server invites nobody: leave `sendUpdates` out, or say `none`, and tell them yourself."
        raise UnsupportedOperation(words, code="no_invitations", fields={"sendUpdates": [words]})


def stored(user: User, workspace: Workspace, calendar: Calendar, remote_id: str) -> Happening:
    """What was just written, as it is read."""
    row = CalendarEvent.objects.get(calendar=calendar, remote_id=remote_id, recurrence_key="")
    return reading.find(user=user, workspace=workspace, event_id=str(row.pk))
