"""A calendar of any size, as iCalendar texts that the product and its peers are given alike. Called by `calendars`.

As dense whatever its size, so that a larger one is a longer one: a month holds as many occurrences at 10,000 events as
at 100,000. Of a hundred events five are weekly series of a quarter, one in ten of these with a moved and a left-out
day; twenty series do not end; some events last days.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from zoneinfo import ZoneInfo

from django.db import connection as database
from django.db import transaction

from benchmarks.measuring import say
from calendar_sync.ics import read_events
from calendar_sync.models import Attendee, Calendar, CalendarEvent, Occurrence
from calendar_sync.records import RemoteResource
from calendar_sync.services import store
from core.ids import uuid7
from integrations.models import Connection, SyncState
from workspaces.models import Membership
from workspaces.services import members, tokens

SINGLES_A_DAY = 26
WEEKS = 12
MEETINGS_OF_ONE = 50
"""So many events has each of the people."""
ENDLESS = 20
CHUNK = 500
READERS = 2
PASSWORD = "a password nobody types"
BUSY = "busy@busy.example"
"""Is invited to everything."""
ZONE = "Europe/Berlin"
LENGTH = timedelta(minutes=45)
TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)


@dataclass(frozen=True, slots=True)
class Item:
    """One resource of a CalDAV collection."""

    name: str
    text: str
    begin: datetime
    end: datetime | None
    """From the first occurrence's start to the last one's end, in UTC; None where it does not end."""


@dataclass(frozen=True, slots=True)
class Diary:
    """A calendar in the product, and the token of whose it is."""

    size: int
    calendar: Calendar
    owner: Membership
    token: str

    @property
    def connection(self) -> Connection:
        """Its account."""
        return self.calendar.connection


def items(size: int) -> Iterator[Item]:
    """The calendar, the same in every process of one day."""
    chance = random.Random(size)
    series = size // 20
    days = (size - series) / SINGLES_A_DAY
    first = TODAY - timedelta(days=days // 2)
    for number in range(size):
        start = first + timedelta(days=int(chance.uniform(0, days)), minutes=15 * chance.randrange(28, 76))
        who = number % (size // MEETINGS_OF_ONE)
        if number >= series:
            yield _single(number, who, start)
        elif number < ENDLESS:
            yield _series(number, who, TODAY - timedelta(days=200 + number, hours=-9), "")
        else:
            yield _series(number, who, start, f";COUNT={WEEKS}")


def _single(number: int, who: int, start: datetime) -> Item:
    if number % 20 == 7:
        length = timedelta(days=10 if number % 500 == 7 else 1)
        day = start.replace(hour=0, minute=0)
        times = [f"DTSTART;VALUE=DATE:{day:%Y%m%d}", f"DTEND;VALUE=DATE:{day + length:%Y%m%d}"]
        return _item(number, [_event(number, who, times)], day, day + length)
    return _item(number, [_event(number, who, _times(start))], _utc(start), _utc(start + LENGTH))


def _series(number: int, who: int, start: datetime, ends: str) -> Item:
    more = [f"RRULE:FREQ=WEEKLY{ends}"]
    events = []
    if number % 10 == 3:
        out, moved = start + timedelta(weeks=4), start + timedelta(weeks=6)
        more.append(f"EXDATE;TZID={ZONE}:{out:%Y%m%dT%H%M%S}")
        own = [f"RECURRENCE-ID;TZID={ZONE}:{moved:%Y%m%dT%H%M%S}"]
        events.append(_event(number, who, _times(moved + timedelta(hours=26)) + own))
    events.insert(0, _event(number, who, _times(start) + more))
    last = start + timedelta(weeks=WEEKS - 1) + LENGTH
    return _item(number, events, _utc(start), _utc(last) if ends else None)


def _utc(wall: datetime) -> datetime:
    return wall.replace(tzinfo=ZoneInfo(ZONE)).astimezone(UTC).replace(tzinfo=None)


def _times(start: datetime) -> list[str]:
    end = start + LENGTH
    return [f"DTSTART;TZID={ZONE}:{start:%Y%m%dT%H%M%S}", f"DTEND;TZID={ZONE}:{end:%Y%m%dT%H%M%S}"]


def _event(number: int, who: int, when: Sequence[str]) -> str:
    lines = [
        "BEGIN:VEVENT", f"UID:{number}@diary.example", "DTSTAMP:20260101T000000Z", *when,
        f"SUMMARY:Meeting {number} about matter {number % 977}", f"LOCATION:Room {number % 40}",
        f"DESCRIPTION:{'What is to be said about it. ' * (1 + number % 8)}",
        f"ORGANIZER;CN=Person {who}:mailto:person{who}@org{who % 97}.example",
        f"ATTENDEE;CN=Person {who};PARTSTAT=ACCEPTED:mailto:person{who}@org{who % 97}.example",
        f"ATTENDEE;PARTSTAT=NEEDS-ACTION:mailto:{BUSY}",
        f"ATTENDEE;PARTSTAT={('ACCEPTED', 'DECLINED', 'TENTATIVE', 'ACCEPTED')[number % 4]}:mailto:owner@diary.example",
        "END:VEVENT",
    ]  # fmt: skip
    return "\r\n".join(lines)


def _item(number: int, events: Sequence[str], begin: datetime, end: datetime | None) -> Item:
    text = "\r\n".join(["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//diary//EN", *events, "END:VCALENDAR", ""])
    return Item(f"{number}.ics", text, begin, end)


# --- in the product -----------------------------------------------------------------------------------------------


def make(size: int) -> Diary:
    """The calendar as a first sync leaves it: read by the product's reader, written by its writer."""
    owner = members.create_workspace(
        by=None, name=f"{size} events", owner_email=f"{uuid7().hex}@bench.example", owner_password=PASSWORD
    )
    connection = Connection.objects.create(
        workspace=owner.workspace, user=owner.user, provider="imap", account_id=f"{size}",
        account_email="owner@diary.example",
    )  # fmt: skip
    SyncState.objects.create(connection=connection, type="calendar")
    calendar = Calendar.objects.create(connection=connection, remote_id=f"/{size}/", name="Diary", time_zone=ZONE)
    page: list[RemoteResource] = []
    with get_context("spawn").Pool(READERS) as readers:  # they read while what they read is written
        read = readers.imap(read_events, (item.text for item in items(size)), chunksize=CHUNK)
        for number, (item, events) in enumerate(zip(items(size), read, strict=True), 1):
            page.append(RemoteResource(f"/{size}/{item.name}", "1", item.text, events))
            if len(page) == CHUNK or number == size:
                with transaction.atomic():
                    store.write(calendar=calendar, resources=page)
                page = []
            if number % 10_000 == 0:
                say(f"{number:,} of {size:,} events written")
    _analyze()
    return Diary(size, calendar, owner, tokens.issue(by=None, membership=owner, name="Bench").text)


def crowd(diary: Diary, occurrences: int) -> int:
    """Calendars of other people in the same tables, copies of this one, until so many occurrences are stored."""
    while (stored := Occurrence.objects.count()) < occurrences:
        say(f"{stored:,} of {occurrences:,} occurrences stored")
        _copy(diary)
    _analyze()
    return stored


def _copy(diary: Diary) -> None:
    user = members.create_workspace(
        by=None, name="A neighbour", owner_email=f"{uuid7().hex}@bench.example", owner_password=PASSWORD
    )
    connection = Connection.objects.create(
        workspace=user.workspace, user=user.user, provider="imap", account_id=uuid7().hex,
        account_email="owner@diary.example",
    )  # fmt: skip
    calendar = Calendar.objects.create(connection=connection, remote_id="/copy/", name="Diary", time_zone=ZONE)
    new = {
        "id": "md5(row.id || %(salt)s)::uuid",
        "connection_id": "%(connection)s",
        "calendar_id": "%(calendar)s",
        "series_id": "md5(row.series_id || %(salt)s)::uuid",
        "event_id": "md5(row.event_id || %(salt)s)::uuid",
        "source_id": "md5(row.source_id || %(salt)s)::uuid",
        "raw": "''",
    }
    values: dict[str, object] = {
        "connection": connection.pk, "calendar": calendar.pk, "salt": uuid.uuid4().hex, "of": diary.connection.pk,
        "home": diary.calendar.pk,
    }  # fmt: skip
    owners = {
        CalendarEvent: "connection_id = %(of)s",
        Attendee: "connection_id = %(of)s",
        Occurrence: "calendar_id = %(home)s",
    }
    with transaction.atomic(), database.cursor() as cursor:
        for model, where in owners.items():
            names = [field.column for field in model._meta.concrete_fields]
            if model is not CalendarEvent:
                names.remove("id")
            taken = ", ".join(new.get(name, f'row."{name}"') for name in names)
            table = model._meta.db_table
            columns = ", ".join(f'"{name}"' for name in names)
            cursor.execute(
                f"INSERT INTO {table} ({columns}) SELECT {taken} FROM {table} AS row WHERE row.{where}", values
            )


def _analyze() -> None:
    with database.cursor() as cursor:
        for table in ("calendarevent", "attendee", "occurrence"):
            cursor.execute(f"VACUUM (ANALYZE) calendar_sync_{table}")
