"""Changing, deleting and answering events: of one occurrence, of it and all later ones, or of the whole series.

Every write names the version that was seen: the caller's, else the stored one. Where the provider has another, nothing
is written; the current event is fetched, stored, and handed out with the refusal. "Following" makes the new series
first, by a key that stays the same, and ends the old one then: a kill in between loses nothing, the same again ends it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from calendar_sync import composing, moving, recurrence, zones
from calendar_sync.models import Calendar, CalendarEvent
from calendar_sync.providers.base import CalendarProvider
from calendar_sync.records import CANCELLED, EventDraft, RemoteEvent, RemoteResource, Target
from calendar_sync.services import keeping, occurrences, reading, writing
from calendar_sync.services.columns import floating_zone, remote_of
from calendar_sync.services.reading import Happening
from calendar_sync.services.writing import ChangedMeanwhile, Open
from core.errors import InvalidInput, NotFound, ProviderRejected, RemoteChanged, RemoteMissing
from entities.matching import normalise

if TYPE_CHECKING:
    from workspaces.models import User, Workspace

THIS, FOLLOWING, ALL = "this", "following", "all"
Resources = tuple[RemoteResource, ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a write is about."""

    user: User
    workspace: Workspace
    event_id: str
    scope: str = ""
    etag: str = ""
    notify: str = ""
    calendar_id: str = ""
    """No other than its own."""


@dataclass(frozen=True, slots=True)
class _Meant:
    """The same, found."""

    asked: Asked
    found: Happening
    calendar: Calendar
    scope: str

    @property
    def key(self) -> str:
        """Of the one occurrence that is meant; "" for the whole."""
        return (self.found.key or self.found.event.recurrence_key) if self.scope == THIS else ""

    @property
    def target(self) -> Target:
        event, source = self.found.event, self.found.source
        if self.scope == THIS and source.remote_id != event.remote_id:
            return Target(source.remote_id, source.etag, source.raw, event.remote_id, self.key)
        return Target(event.remote_id, event.etag, event.raw, event.series_remote_id, self.key)

    @property
    def series(self) -> RemoteEvent:
        return _record(self.found.event)

    @property
    def occurrence(self) -> RemoteEvent:
        """As it is now, alone; the whole where no occurrence is named."""
        if not self.found.key:
            return self.series
        record = _record(self.found.source)
        where = recurrence.zone_of(record.span, floating_zone(self.calendar))
        span = replace(record.span, start=zones.wall(self.found.start, where))
        return replace(record, span=span, recurrence=type(record.recurrence)(), recurrence_key=self.found.key)


def change(asked: Asked, given: Mapping[str, Any], *, by: User) -> Happening:
    """The event as it is after these changes; of "following" the new series. ChangedMeanwhile, NotFound."""
    meant = _meant(asked)
    zone = zones.named(meant.calendar.time_zone) or "UTC"
    current, draft = _drafted(meant, given, zone)
    changed = composing.changes(current, draft)
    if not changed:
        return meant.found
    if meant.scope == FOLLOWING:
        return _split(meant, current, draft, by)

    def work(opened: Open) -> Resources:
        writing.check_notify(opened, asked.notify, draft)
        remote = keeping.remote_calendar(meant.calendar)
        return opened.provider.update(remote, meant.target, draft, changed, notify=opened.notify)

    _write(meant, work, keeping.UPDATED, by)
    event_id = asked.event_id if meant.scope == THIS else str(meant.found.event.pk)
    return reading.find(user=asked.user, workspace=asked.workspace, event_id=event_id)


def remove(asked: Asked, *, by: User) -> None:
    """It is gone at the provider and here; it may have been gone there before."""
    meant = _meant(asked)

    def work(opened: Open) -> Resources:
        remote = keeping.remote_calendar(meant.calendar)
        if meant.scope == FOLLOWING:
            head, _ = moving.split(meant.series, meant.found.key, ())
            ended = _draft(replace(meant.series, recurrence=head))
            return opened.provider.update(remote, meant.target, ended, frozenset({"recurrence"}), notify=opened.notify)
        return opened.provider.delete(remote, meant.target, notify=opened.notify)

    _write(meant, work, keeping.DELETED, by, may_be_gone=True)


def respond(asked: Asked, response: str, comment: str, *, by: User) -> Happening:
    """The event with the account's own answer. ProviderRejected where it is not invited."""
    meant = _meant(asked)
    own = normalise(meant.calendar.connection.account_email)
    if own not in {person.address_key for person in meant.found.source.attendees.all() if person.is_invited}:
        raise ProviderRejected("This account is not invited to the event.", code="not_invited")

    def work(opened: Open) -> Resources:
        remote = keeping.remote_calendar(meant.calendar)
        return opened.provider.respond(remote, meant.target, response, notify=opened.notify, comment=comment)

    _write(meant, work, keeping.ANSWERED, by)
    return reading.find(user=asked.user, workspace=asked.workspace, event_id=asked.event_id)


# --- what is meant ------------------------------------------------------------------------------------------------


def _meant(asked: Asked) -> _Meant:
    found = reading.find(user=asked.user, workspace=asked.workspace, event_id=asked.event_id)
    calendar = Calendar.objects.select_related("connection__workspace").get(pk=found.event.calendar_id)
    _check_calendar(asked, calendar)
    writing.check_writable(calendar)
    single = bool(found.key or found.event.recurrence_key)
    scope = asked.scope or (THIS if single else ALL)
    if scope == THIS and not single and found.event.recurrence:
        words = "Name one occurrence by its id to change it alone."
        raise InvalidInput(fields={"scope": [words]})
    if scope == FOLLOWING and (not found.key or moving.is_first(_record(found.event), found.key)):
        scope = ALL
    if scope == THIS and not single:
        scope = ALL
    meant = _Meant(asked, found, calendar, scope)
    if asked.etag and _plain(asked.etag) not in ("*", _plain(found.source.etag), _plain(meant.target.etag)):
        _refresh(meant)
    return meant


def _check_calendar(asked: Asked, own: Calendar) -> None:
    if asked.calendar_id:
        named = Calendar.objects.of(user=asked.user, workspace=asked.workspace).present().find(asked.calendar_id)
        if named != own:
            words = "An event stays in its calendar: make a new one in the other, and delete this one."
            raise InvalidInput(fields={"calendarId": [words]})


def _plain(etag: str) -> str:
    return etag.strip().removeprefix("W/").strip('"')


def _refresh(meant: _Meant) -> None:
    """The caller saw another version than is stored: which of the two is current, the provider says."""

    def work(opened: Open) -> None:
        _conflict(meant, opened)

    writing.at_provider(meant.calendar, meant.asked.notify, work)


def _record(row: CalendarEvent) -> RemoteEvent:
    return remote_of(row, row.attendees.all())


def _draft(event: RemoteEvent) -> EventDraft:
    return EventDraft(
        event.span, event.title, event.description, event.location, event.attendees, event.recurrence,
        event.visibility, event.busy,
    )  # fmt: skip


def _drafted(meant: _Meant, given: Mapping[str, Any], zone: str) -> tuple[RemoteEvent, EventDraft]:
    """What is changed, and how it shall be."""
    said = dict(given)
    if meant.found.key and said.get("recurrence") is None:
        said.pop("recurrence", None)  # an occurrence shows none
    if meant.scope == THIS:
        if said.get("recurrence"):
            raise InvalidInput(fields={"recurrence": ["One occurrence has no recurrence: say `scope`."]})
        return meant.occurrence, composing.changed_draft(meant.occurrence, said, zone)
    current = meant.series
    if meant.scope == FOLLOWING:
        _, current = moving.split(current, meant.found.key, _cancelled(meant))
    elif meant.found.key:  # the whole series, by one of its occurrences: it moves by as much
        span = composing.changed_span(meant.occurrence.span, said, zone)
        for name in composing.TIMES:
            said.pop(name, None)
        if span != meant.occurrence.span:
            start = moving.moved_wall(current.span.start, meant.occurrence.span, span)
            moved = replace(span, start=start)
            rules = moving.moved_recurrence(current.recurrence, current.span, moved)
            draft = composing.changed_draft(replace(current, span=moved, recurrence=rules), said, zone)
            return current, draft
    return current, composing.changed_draft(current, said, zone)


def _cancelled(meant: _Meant) -> list[str]:
    rows: Sequence[CalendarEvent] = occurrences.changes_of([meant.found.event]).get(meant.found.event.pk, [])
    return [row.recurrence_key for row in rows if row.status == CANCELLED]


# --- writing ------------------------------------------------------------------------------------------------------


def _split(meant: _Meant, rest: RemoteEvent, draft: EventDraft, by: User) -> Happening:
    asked, event = meant.asked, meant.found.event
    key = sha256(f"following\n{event.pk}\n{meant.found.key}".encode()).hexdigest()[:32]
    head, _ = moving.split(meant.series, meant.found.key, ())
    made: list[RemoteResource] = []

    def work(opened: Open) -> Resources:
        remote = keeping.remote_calendar(meant.calendar)
        there = next(opened.provider.fetch(remote, [event.remote_id]), None)
        if there is None:
            raise RemoteMissing
        if there.etag != event.etag:
            raise RemoteChanged
        writing.check_notify(opened, asked.notify, draft)
        new = opened.provider.create(remote, draft, key=key, notify=opened.notify)
        keeping.keep(opened.provider, meant.calendar, [new], {}, action=keeping.CREATED, by=by)
        made.append(_as_wished(opened.provider, meant, new, draft, opened.notify))
        keeping.keep(opened.provider, meant.calendar, made, {new.remote_id: new.etag})
        ended = _draft(replace(meant.series, recurrence=head))
        return opened.provider.update(remote, meant.target, ended, frozenset({"recurrence"}), notify=opened.notify)

    _write(meant, work, keeping.UPDATED, by)
    return writing.stored(asked.user, asked.workspace, meant.calendar, made[-1].remote_id)


def _as_wished(
    provider: CalendarProvider, meant: _Meant, made: RemoteResource, draft: EventDraft, notify: str
) -> RemoteResource:
    """The key's series may be there since a try that asked for something else."""
    if not made.events:
        return made
    current = made.events[0]
    names = [
        name for name in ("title", "description", "location", "span") if getattr(current, name) != getattr(draft, name)
    ]
    if not names:
        return made
    target = Target(made.remote_id, made.etag, made.raw)
    remote = keeping.remote_calendar(meant.calendar)
    return provider.update(remote, target, draft, frozenset(names), notify=notify)[0]


def _write(
    meant: _Meant, work: Callable[[Open], Resources], action: str, by: User, *, may_be_gone: bool = False
) -> None:
    """Ask the provider, and store what it answers."""
    calendar, target = meant.calendar, meant.target

    def whole(opened: Open) -> None:
        before = {target.remote_id: target.etag[:500]}
        try:
            answered = work(opened)
        except RemoteChanged:
            _conflict(meant, opened)
            return
        except RemoteMissing:
            keeping.drop(calendar, [target.remote_id], action=action if may_be_gone else "", by=by)
            if may_be_gone:
                return
            raise NotFound from None
        if answered:
            keeping.keep(opened.provider, calendar, answered, before, action=action, by=by)
        else:
            keeping.drop(calendar, [target.remote_id], action=action, by=by)

    writing.at_provider(calendar, meant.asked.notify, whole)


def _conflict(meant: _Meant, opened: Open) -> None:
    """ChangedMeanwhile with the event as the provider has it now, stored."""
    ids = sorted({meant.found.event.remote_id, meant.target.remote_id})
    before = keeping.versions(meant.calendar, ids)
    there = list(opened.provider.fetch(keeping.remote_calendar(meant.calendar), ids))
    keeping.keep(opened.provider, meant.calendar, there, before)
    if gone := [one for one in ids if one not in {resource.remote_id for resource in there}]:
        keeping.drop(meant.calendar, gone)
    try:
        asked = meant.asked
        current = reading.find(user=asked.user, workspace=asked.workspace, event_id=asked.event_id)
    except NotFound:
        raise ChangedMeanwhile from None
    raise ChangedMeanwhile(current)
