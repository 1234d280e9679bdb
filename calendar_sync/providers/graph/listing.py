"""What is in a calendar and what changed in it, from one ordered list: `/calendars/{id}/events` by time of change.

Graph v1.0 tells changes of a stretch of time only (`calendarView/delta`; a delta of all events is beta:
https://learn.microsoft.com/en-us/graph/delta-query-events). What lies outside the stretch is told as removed or not at
all, and every occurrence of every series is told one by one. So changes are asked for by `lastModifiedDateTime`, which
Exchange sets itself at every save; a changed or cancelled occurrence is kept inside its series, so the series' own time
and etag change with it. The list holds single events and series, no occurrences
(https://learn.microsoft.com/en-us/graph/api/user-list-events).

What left is told by nobody: the number of events is. Where it is not what it was and what came since, everything is
compared, which is one short request for a thousand events. A coming and a going that hide each other (both between two
questions, the one that came older than the first) are found by the daily comparison.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from hashlib import blake2s
from urllib.parse import quote

from calendar_sync.providers.graph.api import CalendarApi
from calendar_sync.providers.graph.events import ETAG, in_utc
from calendar_sync.records import ChangePage, ListingPage
from core.errors import CursorExpired, ProviderUnavailable
from core.http import Response
from integrations.providers.graph.answers import Json, identifier, items, moment, number, text
from integrations.providers.graph.api import NEXT, query
from integrations.providers.graph.errors import check

PAGE = 1000
"""The most Graph gives at once."""
VERSION = "id,createdDateTime,lastModifiedDateTime"
OVERLAP = timedelta(minutes=10)
"""How far each question goes back behind the last: what Exchange saves is seen later than it is dated."""
MOST = 10
"""Pages of changes. With more everything is compared, page by page."""
REMEMBERED = 50
"""Events of the last second that are read again, to notice when they were pulled up."""
LEFT = "Something left the calendar, and Microsoft does not say what."


def events_path(calendar_id: str) -> str:
    """The events of a calendar."""
    return f"/me/calendars/{quote(calendar_id, safe='')}/events"


# --- everything ---------------------------------------------------------------------------------------------------


def page(api: CalendarApi, calendar_id: str, token: str) -> ListingPage:
    """Oldest change first, so that what changes meanwhile comes again at the end and nothing is pulled up: a page
    begins at the second where the last one ended, without what was listed of it."""
    place = _Place.read(token) if token else None
    options: dict[str, str | int] = {"select": VERSION, "orderby": "lastModifiedDateTime", "top": PAGE}
    if place is None:
        options["count"] = "true"
    else:
        options["filter"] = f"lastModifiedDateTime ge {in_utc(place.since)}"
        options["skip"] = place.skip
    answer = api.json("GET", events_path(calendar_id) + query(**options))
    found = items(answer)
    known = frozenset(place.marks) if place else frozenset()
    new = [item for item in found if _mark(item) not in known]
    if place is not None and place.skip and len(new) == len(found):
        raise CursorExpired("So much left the calendar meanwhile that nothing is where it was.")
    following = ""
    if text(answer, NEXT):
        if not new:
            raise ProviderUnavailable("Microsoft lists the same events over and over.")
        following = _Place.behind(found, place).token()
    versions = tuple((identifier(item), text(item, ETAG)) for item in new)
    return ListingPage(versions=versions, next_token=following, total=number(answer, "@odata.count"))


@dataclass(frozen=True, slots=True)
class _Place:
    """A second, how many events of it were listed, and marks of the last of these, which are asked for again."""

    since: datetime
    taken: int
    marks: tuple[str, ...]

    @classmethod
    def read(cls, token: str) -> _Place:
        try:
            second, taken, marks = token.split("+")
            return cls(datetime.fromtimestamp(int(second), UTC), int(taken), tuple(filter(None, marks.split("."))))
        except (ValueError, OverflowError, OSError):
            raise CursorExpired("This is no listing token of Microsoft's calendars.") from None

    @classmethod
    def behind(cls, found: Sequence[Json], before: _Place | None) -> _Place:
        last = _changed(found[-1])
        ties = [_mark(item) for item in found if _changed(item) == last]
        skipped = before.skip if before is not None and before.since == last else 0
        return cls(last, skipped + len(ties), tuple(ties[-REMEMBERED:]))

    def token(self) -> str:
        return f"{int(self.since.timestamp())}+{self.taken}+{'.'.join(self.marks)}"

    @property
    def skip(self) -> int:
        return self.taken - len(self.marks)


# --- what changed -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a cursor stands for: changes from `since` on are to be asked for; the calendar held `count` events then,
    those of `fresh` (marks) among them although they are younger than that."""

    since: datetime
    count: int
    fresh: frozenset[str]

    @classmethod
    def read(cls, cursor: str) -> _Seen:
        try:
            since, count, fresh = json.loads(cursor)
            return cls(datetime.fromtimestamp(int(since), UTC), int(count), frozenset(map(str, fresh)))
        except (ValueError, TypeError, OverflowError, OSError):
            raise CursorExpired("This is no cursor of Microsoft's calendars.") from None

    def cursor(self) -> str:
        return json.dumps([int(self.since.timestamp()), self.count, sorted(self.fresh)], separators=(",", ":"))


def start(api: CalendarApi, calendar_id: str) -> str:
    """A cursor for now."""
    return _look(api, calendar_id, datetime.now(UTC) - OVERLAP)[1].cursor()


def changes(api: CalendarApi, calendar_id: str, cursor: str) -> ChangePage:
    """All at once. CursorExpired where something left, or too much changed."""
    before = _Seen.read(cursor)
    found, now = _look(api, calendar_id, before.since)
    came = {_mark(item) for item in found if _created(item) >= before.since} - before.fresh
    if now.count != before.count + len(came):
        raise CursorExpired(LEFT)
    return ChangePage(now.cursor(), versions=tuple((identifier(item), text(item, ETAG)) for item in found))


def _look(api: CalendarApi, calendar_id: str, since: datetime) -> tuple[list[Json], _Seen]:
    """What changed since, and what the calendar holds now. Who comes or goes between the two questions only makes for a
    comparison too many."""
    options: dict[str, str | int] = {
        "select": VERSION,
        "filter": f"lastModifiedDateTime ge {in_utc(since)}",
        "orderby": "lastModifiedDateTime",
        "top": PAGE,
    }
    first = check(api.ask("GET", events_path(calendar_id) + query(**options)))
    found: dict[str, Json] = {}
    for read, answer in enumerate(api.pages(first.json_object())):
        if read == MOST:
            raise CursorExpired("More changed than is asked for at once.")
        found |= {identifier(item): item for item in items(answer)}
    counted = api.json("GET", events_path(calendar_id) + query(count="true", top=1, select="id"))
    count = number(counted, "@odata.count")
    following = _asked_at(first) - OVERLAP
    fresh = frozenset(_mark(item) for item in found.values() if _created(item) >= following)
    # Without a number nothing can be told of what left: the next look then compares.
    return list(found.values()), _Seen(following, -1 if count is None else count, fresh)


def _asked_at(response: Response) -> datetime:
    """By Microsoft's clock, which also dates the changes; by ours where it does not say."""
    try:
        return parsedate_to_datetime(response.headers.get("date", "")).astimezone(UTC)
    except (ValueError, TypeError):
        return datetime.now(UTC)


def _changed(item: Json) -> datetime:
    found = moment(item, "lastModifiedDateTime")
    if found is None:
        raise ProviderUnavailable("Microsoft listed events without the time they were changed.")
    return found


def _created(item: Json) -> datetime:
    """One that says nothing counts as old: then everything is compared."""
    return moment(item, "createdDateTime") or datetime.min.replace(tzinfo=UTC)


def _mark(item: Json) -> str:
    """An id in short."""
    return blake2s(identifier(item).encode(), digest_size=8).hexdigest()
