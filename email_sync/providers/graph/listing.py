"""What is in a folder, newest first, page by page.

Called by `provider`. Graph's own paging counts from the top (`$skip`): a mail that leaves the folder while a long
listing goes on pulls the rest up by one, and the one at the border is never listed. So a page begins where the last
one ended by time: everything received before the end of that second, without those of it that were listed. A page
reads the last few of these again, so that it notices when they were pulled up. Times are kept finer than they are
shown: a mail shown at 10:00:00 may not be `le 10:00:00Z`, so the bound is the next second.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2s

from core.errors import CursorExpired, ProviderUnavailable
from email_sync.providers.graph.api import NEXT, MailApi, folder, query
from email_sync.providers.graph.messages import SUMMARY
from integrations.providers.graph.answers import Json, identifier, items, moment, number, text

PAGE = 1000
"""The most Graph gives at once (reference 3.2)."""
OVERLAP = 50
"""How many messages of the last second are read again."""
MAX_REPEATED = 20
"""Pages in a row of nothing but messages that were listed."""
_TOKEN = re.compile(r"(\d{1,12})\+(\d{1,7})\+((?:[0-9a-f]{16})*)")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a listing stands: at a second (since 1970), `taken` messages of which are behind it; the marks of the last
    of these."""

    second: int
    taken: int
    marks: tuple[str, ...] = ()

    @classmethod
    def read(cls, token: str) -> Place:
        """CursorExpired where it is no token of ours."""
        found = _TOKEN.fullmatch(token)
        if found is None:
            raise CursorExpired("This is no listing token of Microsoft Graph.")
        marks = tuple(found[3][start : start + 16] for start in range(0, len(found[3]), 16))
        return cls(int(found[1]), int(found[2]), marks[-OVERLAP:])

    def token(self) -> str:
        return f"{self.second}+{self.taken}+{''.join(self.marks)}"

    @property
    def skip(self) -> int:
        """How many messages of the second are not asked for again."""
        return max(0, self.taken - len(self.marks))


@dataclass(frozen=True, slots=True)
class Listed:
    """A page of summaries. `place` is None on the last page; `total` comes with the first."""

    items: list[Json]
    place: Place | None
    total: int | None


def page(api: MailApi, folder_id: str, place: Place | None, limit: int, since: datetime | None = None) -> Listed:
    """One page of a folder. RemoteMissing where the folder is gone."""
    for _ in range(MAX_REPEATED):
        found, more, total = _asked(api, folder_id, place, max(1, min(limit, PAGE)), since)
        marks = place.marks if place else ()
        if place and place.skip and found and not any(_mark(item) in marks for item in found):
            place = Place(place.second, 0)  # so much has gone that nothing is where it was: the second once more
            continue
        new = [n for n, item in enumerate(found) if _mark(item) not in marks]
        kept = found[: new[limit - 1] + 1] if len(new) > limit else found
        if not kept or not (more or len(kept) < len(found)):
            return Listed([found[n] for n in new], None, total)
        place = _after(place, kept)
        if new:
            return Listed([found[n] for n in new[:limit]], place, total)
    raise ProviderUnavailable("Microsoft lists the same messages over and over.")


def every(api: MailApi, folder_id: str) -> Iterator[list[Json]]:
    """Every message of a folder. Ends normally only when complete."""
    place: Place | None = None
    while True:
        listed = page(api, folder_id, place, PAGE - OVERLAP)
        yield listed.items
        place = listed.place
        if place is None:
            return


def _asked(
    api: MailApi, folder_id: str, place: Place | None, limit: int, since: datetime | None
) -> tuple[list[Json], bool, int | None]:
    """What Graph gives from a place on, whether there is more, and the total with the first page."""
    options = _query(place, min(limit + len(place.marks if place else ()), PAGE), since)
    answer = api.json("GET", f"{folder(folder_id)}/messages{query(**options)}")
    for following in api.pages(answer):  # a filtered page may be empty and have a next one
        more = bool(text(following, NEXT))
        if items(following) or not more:
            return items(following), more, number(answer, "@odata.count")
    raise ProviderUnavailable("Microsoft listed nothing.")


def _query(place: Place | None, top: int, since: datetime | None) -> dict[str, str | int]:
    bounds = [f"receivedDateTime ge {_utc(since)}"] if since else []
    options: dict[str, str | int] = {"select": SUMMARY, "orderby": "receivedDateTime desc", "top": top}
    if place is None:
        options["count"] = "true"
    else:
        bounds.append(f"receivedDateTime lt {_utc(datetime.fromtimestamp(place.second + 1, UTC))}")
        options["skip"] = place.skip
    return options | ({"filter": " and ".join(bounds)} if bounds else {})


def _after(place: Place | None, kept: list[Json]) -> Place:
    """Behind the last of `kept`. ProviderUnavailable where none of them has a time to go on from."""
    times = [(item, int(time.timestamp())) for item in kept if (time := moment(item, "receivedDateTime")) is not None]
    if not times:
        raise ProviderUnavailable("Microsoft listed messages without the time they were received.")
    second = min(time for _, time in times)
    ties = [item for item, time in times if time == second]
    before = place.skip if place is not None and place.second == second else 0
    return Place(second, before + len(ties), tuple(_mark(item) for item in ties[-OVERLAP:]))


def _mark(item: Json) -> str:
    """An id in short."""
    return blake2s(identifier(item).encode(), digest_size=8).hexdigest()


def _utc(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
