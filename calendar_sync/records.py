"""What crosses the boundary between a calendar provider, the iCalendar reader and the services: frozen values, no
database.

Times are wall-clock times in the event's own zone, because a meeting at nine stays at nine when summer time begins.
All text is clean: no NUL, no lone surrogate.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

CONFIRMED, TENTATIVE, CANCELLED = "confirmed", "tentative", "cancelled"
STATUSES = (CONFIRMED, TENTATIVE, CANCELLED)
PUBLIC, PRIVATE, CONFIDENTIAL = "public", "private", "confidential"
VISIBILITIES = (PUBLIC, PRIVATE, CONFIDENTIAL)
NEEDS_ACTION, ACCEPTED, DECLINED = "needsAction", "accepted", "declined"
RESPONSES = (NEEDS_ACTION, ACCEPTED, DECLINED, TENTATIVE)

NOTIFY_ALL, NOTIFY_EXTERNAL, NOTIFY_NONE = "all", "externalOnly", "none"
NOTIFY = (NOTIFY_ALL, NOTIFY_EXTERNAL, NOTIFY_NONE)
"""Whom a provider tells of a write by mail."""

NO_EVENT = "This is no event but a task or a note."
"""The `problem` of a resource that nobody misses here."""

ZoneRules = tuple[tuple[int, int], ...]
"""Of a zone no database knows: (seconds since the epoch, seconds east of UTC from then on), in order."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody an event names; `email` is "" where the event holds no address."""

    email: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Invited:
    """An attendee and what they answered."""

    email: str
    name: str = ""
    response: str = NEEDS_ACTION
    """One of RESPONSES."""
    optional: bool = False
    is_resource: bool = False
    """A room or a thing, nobody one talks to."""


@dataclass(frozen=True, slots=True)
class Span:
    """When an event is, by the clock on its author's wall."""

    start: datetime
    """Without zone; midnight where `all_day`."""
    duration: timedelta
    zone: str = ""
    """An IANA name, or the author's own word with `rules`; "" for dates and for floating times."""
    rules: ZoneRules = ()
    all_day: bool = False
    nominal: bool = False
    """The duration was given in days and clock time (DURATION) and not by an end: it then ends by the clock too."""

    @property
    def floating(self) -> bool:
        """At this time wherever one is."""
        return not self.all_day and not self.zone


@dataclass(frozen=True, slots=True)
class Recurrence:
    """The rules of a series as iCalendar writes them, and single times added or left out.

    Times are instants in UTC, or without a zone where the series is of dates or floating. `left_out_days` are whole
    days (EXDATE;VALUE=DATE in a series of times).
    """

    rules: tuple[str, ...] = ()
    """Values of RRULE: "FREQ=WEEKLY;BYDAY=MO"."""
    excluded_rules: tuple[str, ...] = ()
    """Values of EXRULE, which RFC 5545 dropped and servers still store."""
    added: tuple[tuple[datetime, timedelta | None], ...] = ()
    """RDATE: a start and, of a period, its own duration."""
    left_out: frozenset[datetime] = frozenset()
    left_out_days: frozenset[datetime] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.rules or self.added)


@dataclass(frozen=True, slots=True)
class RemoteEvent:
    """An event, the master of a series, or one changed or cancelled occurrence of a series."""

    uid: str
    """iCalendar's UID: the same in every calendar that has this meeting, and for all occurrences of a series."""
    span: Span
    title: str = ""
    description: str = ""
    location: str = ""
    conference_url: str = ""
    status: str = CONFIRMED
    visibility: str = PUBLIC
    busy: bool = True
    organizer: Person | None = None
    attendees: tuple[Invited, ...] = ()
    recurrence: Recurrence = field(default_factory=Recurrence)
    recurrence_key: str = ""
    """`key_of` the original start where this is one occurrence of a series; "" otherwise."""
    following: bool = False
    """With a key: it also stands for every later occurrence (RANGE=THISANDFUTURE)."""
    sequence: int = 0


@dataclass(frozen=True, slots=True)
class RemoteResource:
    """What a provider stores and versions as one thing: a series with its changed occurrences (CalDAV), or a single
    event or occurrence."""

    remote_id: str
    etag: str
    """"" where the provider gives none."""
    raw: str = field(repr=False, default="")
    """As the provider gave it: what is not modelled here must survive a change."""
    events: tuple[RemoteEvent, ...] = ()
    """The master first. None where `problem` says why it could not be read."""
    problem: str = ""
    series_remote_id: str = ""
    """Remote id of the master where the provider stores changed occurrences apart."""


@dataclass(frozen=True, slots=True)
class EventDraft:
    """An event as it shall be, for a provider to write."""

    span: Span
    title: str = ""
    description: str = ""
    location: str = ""
    attendees: tuple[Invited, ...] = ()
    """Whom the provider invites; the account itself need not be among them."""
    recurrence: Recurrence = field(default_factory=Recurrence)
    visibility: str = PUBLIC
    busy: bool = True
    conference: bool = False
    """The provider shall make a conference link of its own."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a write is about, and the version of it that its caller has seen."""

    remote_id: str
    """Of the event or the series; of a changed occurrence its own, where the provider stores those apart."""
    etag: str = ""
    raw: str = field(repr=False, default="")
    """As the provider gave it last."""
    series_remote_id: str = ""
    """Of the series, where `remote_id` is a changed occurrence's own."""
    recurrence_key: str = ""
    """`key_of` the original start of the occurrence that is meant; "" for the whole."""


@dataclass(frozen=True, slots=True)
class RemoteCalendar:
    """A calendar of the account."""

    remote_id: str
    name: str
    color: str = ""
    """"#rrggbb" or ""."""
    time_zone: str = ""
    read_only: bool = False
    is_primary: bool = False
    selected: bool = True
    """Whether its user shows it there: what is asked here first."""
    version: str = field(default="", compare=False)
    """Changes whenever anything in the calendar does; "" where the provider gives none."""


@dataclass(frozen=True, slots=True)
class ListingPage:
    """A page of everything in a calendar: resources whole, or what to compare to know which of them to fetch."""

    resources: tuple[RemoteResource, ...] = ()
    versions: tuple[tuple[str, str], ...] = ()
    """Remote id and etag of what was not given whole."""
    next_token: str = ""
    """"" where this was the last page."""
    cursor: str = ""
    """On the last page, where the provider gives its cursor at the end of a listing."""
    total: int | None = None


@dataclass(frozen=True, slots=True)
class ChangePage:
    """What changed since a cursor. `cursor` is the next one; `more` says whether to ask again at once."""

    cursor: str
    resources: tuple[RemoteResource, ...] = ()
    versions: tuple[tuple[str, str], ...] = ()
    removed: tuple[str, ...] = ()
    more: bool = False


def key_of(moment: datetime, *, all_day: bool = False) -> str:
    """What an occurrence is called: its original start. "20260105T083000Z" for an instant, without Z where it floats,
    "20260105" for a day."""
    if all_day:
        return f"{moment:%Y%m%d}"
    if moment.tzinfo is None:
        return f"{moment:%Y%m%dT%H%M%S}"
    return f"{moment.astimezone(UTC):%Y%m%dT%H%M%SZ}"
