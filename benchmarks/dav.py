"""Radicale over a collection that is written into its folder, each item with its cache: by PUT a hundred thousand items
take hours, and without the cache the first answer does. Called by `calendars`."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from radicale.item import filter as times
from radicale.item import get_etag
from radicale.storage import CACHE_VERSION

from benchmarks.diary import Item
from calendar_sync.tests.servers import USER, Radicale, Server

_REPORT = """<?xml version="1.0"?><c:calendar-query xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:caldav">
<d:prop><d:getetag/><c:calendar-data/></d:prop><c:filter><c:comp-filter name="VCALENDAR"><c:comp-filter name="VEVENT">
<c:time-range start="{start:%Y%m%dT%H%M%SZ}" end="{end:%Y%m%dT%H%M%SZ}"/>
</c:comp-filter></c:comp-filter></c:filter></c:calendar-query>"""
_UID = re.compile(r"^UID:(.*?)\s*$", re.MULTILINE)


@contextmanager
def served(folder: Path, items: Iterable[Item]) -> Iterator[tuple[Server, str]]:
    """The server, and the collection's path."""
    server = Radicale(folder, patience=600)
    home = folder / "data" / "collection-root" / USER / "diary"
    cache = home / ".Radicale.cache" / "item"
    cache.mkdir(parents=True)
    (home / ".Radicale.props").write_text(json.dumps({"tag": "VCALENDAR"}))
    for item in items:
        (home / item.name).write_bytes(item.text.encode())
        (cache / item.name).write_bytes(pickle.dumps(_cached(item)))
    server.start()
    try:
        yield server, f"/{USER}/diary/"
    finally:
        server.stop()


def _cached(item: Item) -> tuple[object, ...]:
    """As Radicale keeps it: what it is the cache of, uid, etag, text, names, and the stretch it may touch."""
    proof = sha256(CACHE_VERSION + item.text.encode()).hexdigest()
    begin = int(item.begin.replace(tzinfo=UTC).timestamp())
    end = int(item.end.replace(tzinfo=UTC).timestamp()) if item.end else times.TIMESTAMP_MAX
    return proof, uid(item.text), get_etag(item.text), item.text, "VCALENDAR", "VEVENT", begin, end


def uid(text: str) -> str:
    """Of an event's text."""
    return _UID.findall(text)[0]


def report(server: Server, path: str, start: datetime, end: datetime) -> list[str]:
    """A calendar-query with their data; the UIDs of what came."""
    status, body = server.ask("REPORT", path, _REPORT.format(start=start, end=end), Depth="1", Content_Type="text/xml")
    assert status == 207, body[:300]
    return [uid(text) for text in re.findall(r"BEGIN:VEVENT.*?END:VCALENDAR", body.decode(), re.DOTALL)]
