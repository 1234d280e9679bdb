"""Fetching messages and states in bulk, so that one bad message never hides the others.

What a server refuses or garbles is asked for again in halves until the bad message stands alone (reference 8.50). A
message whose body is refused still comes, with its header or with nothing, marked as refused. Where the server has one
and tells nothing of it, the others come first and then an error says so.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.parser import BytesHeaderParser
from email.policy import compat32

from core.errors import ProviderRejected, RemoteMissing
from email_sync.parsing.text import decode_pieces
from email_sync.providers.imap import wire
from email_sync.providers.imap.errors import ConnectionLost
from email_sync.providers.imap.naming import Location, content_key, received_at, search_date
from email_sync.providers.imap.session import Box, Session
from email_sync.records import RemoteMessage, RemoteState

SMALL = 256 * 1024
"""Messages up to here travel together, larger ones alone."""
HUGE = 50 * 1024 * 1024
BEGINNING = 4 * 1024 * 1024
"""Of a huge message only this much is fetched."""
PIECE = 1024 * 1024
"""Of a part of a large message, before it is decoded."""
TOGETHER = 100
TOGETHER_BYTES = 8 * 1024 * 1024
STATES_TOGETHER = 1000
SEARCHED_TOGETHER = 20

FACTS = "INTERNALDATE RFC822.SIZE"
_PART_ID = re.compile(r"[1-9]\d{0,4}(?:\.[1-9]\d{0,4}){0,99}")
MESSAGE_ID = "BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)]"


def gather(session: Session, uids: Sequence[int], items: str) -> wire.Fetched:
    """FETCH answers for these messages. Missing are those gone, and those the server cannot give."""
    if not uids:
        return wire.Fetched()
    try:
        found = session.fetch(wire.compress(uids), items)
    except ProviderRejected:
        if len(uids) == 1:
            return wire.Fetched()
        return _halves(session, uids, items)
    if found.garbled and len(uids) > 1:
        missing = [uid for uid in uids if uid not in found]
        for uid in missing:
            found.update(gather(session, [uid], items))
    return found


def _halves(session: Session, uids: Sequence[int], items: str) -> wire.Fetched:
    middle = len(uids) // 2
    found = gather(session, uids[:middle], items)
    found.update(gather(session, uids[middle:], items))
    return found


def total(session: Session, folder: str, since: datetime | None) -> int:
    """How many messages a folder holds; those from `since` on, widened to the day as in `newest`."""
    if since is None:
        return session.held(folder)
    session.on(folder)
    return len(session.search(f"SINCE {search_date(since - timedelta(days=1))}"))


def newest(session: Session, box: Box, bound: int, limit: int, since: datetime | None) -> list[int]:
    """Up to `limit` UIDs under `bound`, descending. Looks in windows as wide as the folder is thin: naming every UID
    for every page would make a first sync quadratic. `since` is widened to the day (RFC 3501 6.4.4 knows no hours and
    disregards the zone)."""
    recent = f" SINCE {search_date(since - timedelta(days=1))}" if since else ""
    found: list[int] = []
    width = max(limit, limit * box.uidnext // max(box.messages, 1))
    while bound > 1 and len(found) < limit and box.messages:
        low = max(1, bound - width)
        found += reversed(session.search(f"UID {low}:{bound - 1}{recent}"))
        bound, width = low, width * 2
    return found[:limit]


def from_or_to(session: Session, addresses: Sequence[str]) -> list[int]:
    """UIDs of mail from or to any of these, descending; some addresses in one SEARCH, whose OR takes two keys (RFC 3501
    6.4.4). One that is not ASCII would need a CHARSET and is left out."""
    plain = [address for address in addresses if address.isascii() and address.isprintable()]
    found: set[int] = set()
    for start in range(0, len(plain), SEARCHED_TOGETHER):
        quoted = [wire.quote(address).decode("ascii") for address in plain[start : start + SEARCHED_TOGETHER]]
        keys = [f"{field} {address}" for address in quoted for field in ("FROM", "TO", "CC")]
        found.update(session.search(functools.reduce(lambda rest, key: f"OR {key} {rest}", keys)))
    return sorted(found, reverse=True)


# --- messages -------------------------------------------------------------------------------------------------


def messages(session: Session, location: Location, uids: Sequence[int]) -> Iterator[RemoteMessage]:
    """The messages with these UIDs that are still there. ProviderRejected after the others, where the server lists one
    and tells nothing of it."""
    folder = location.folder.remote_id
    if not _same_life(session, location):
        return
    facts = gather(session, uids, f"{location.items} {FACTS}")
    unknown = [uid for uid in uids if uid not in facts]
    if unknown:
        facts.update(gather(session, unknown, location.items))
    present = [uid for uid in uids if uid in facts]
    for batch in _batches(present, facts):
        if not _same_life(session, location):  # the caller may have used the session meanwhile, or it was reopened
            return
        for uid, body in _bodies(session, folder, batch, facts):
            yield _message(location, uid, facts[uid], body)
    untold = [uid for uid in uids if uid not in facts]
    if untold and _same_life(session, location) and session.search(f"UID {wire.compress(untold)}"):
        raise ProviderRejected("The server lists messages and tells nothing of them.")


def _same_life(session: Session, location: Location) -> bool:
    """Select the folder; False where it is gone or its UIDs mean other messages now."""
    try:
        return session.on(location.folder.remote_id).uidvalidity == location.uidvalidity
    except RemoteMissing:
        return False


def _size(fields: wire.Fields) -> int:
    value = fields.get("RFC822.SIZE")
    return wire.number(value) if wire.is_number(value) else SMALL + 1


def _batches(uids: Sequence[int], facts: wire.Fetched) -> Iterator[list[int]]:
    """Small messages together, up to a number and a weight; larger ones alone."""
    batch: list[int] = []
    weight = 0
    for uid in uids:
        size = _size(facts[uid])
        if size > SMALL:
            yield [uid]
            continue
        if len(batch) == TOGETHER or weight + size > TOGETHER_BYTES:
            yield batch
            batch, weight = [], 0
        batch.append(uid)
        weight += size
    if batch:
        yield batch


@dataclass(frozen=True, slots=True)
class Body:
    """What came of a message's bytes."""

    raw: bytes
    truncated: bool = False
    refused: bool = False


def _bodies(session: Session, folder: str, uids: list[int], facts: wire.Fetched) -> Iterator[tuple[int, Body]]:
    """By UID. A connection that breaks here may have broken over one message: each is tried alone."""
    huge = len(uids) == 1 and _size(facts[uids[0]]) > HUGE
    wanted = f"BODY.PEEK[]<0.{BEGINNING}>" if huge else "BODY.PEEK[]"
    try:
        found = gather(session, uids, f"UID {wanted}")
    except ConnectionLost:
        session.reopen()
        found = wire.Fetched()
    for uid in uids:
        raw = section(found.get(uid, {}))
        if raw is not None:
            yield uid, Body(raw, truncated=huge)
        elif (rescued := _rescue(session, folder, uid, wanted, huge=huge)) is not None:
            yield uid, rescued


def _rescue(session: Session, folder: str, uid: int, wanted: str, *, huge: bool) -> Body | None:
    """One message that did not come: once more, then its header; None where it is gone by now."""
    session.on(folder)
    try:
        raw = section(gather(session, [uid], f"UID {wanted}").get(uid, {}))
        if raw is not None:
            return Body(raw, truncated=huge)
    except ConnectionLost:
        session.reopen()
        session.on(folder)
    raw = section(gather(session, [uid], "UID BODY.PEEK[HEADER]").get(uid, {}))
    if raw is not None or session.search(f"UID {uid}"):
        return Body(raw or b"", truncated=True, refused=True)
    return None


def section(fields: wire.Fields) -> bytes | None:
    """The one body section of an answer, whatever the server calls it; None for NIL."""
    return next((v for name, v in fields.items() if name.startswith("BODY[") and isinstance(v, bytes)), None)


def header_of(fields: wire.Fields) -> bytes:
    """The header lines of an answer, b"" where there are none."""
    return section(fields) or b""


def _message(location: Location, uid: int, fields: wire.Fields, body: Body) -> RemoteMessage:
    size = fields.get("RFC822.SIZE")
    arrived = received_at(fields.get("INTERNALDATE"))
    return RemoteMessage(
        state=location.state(uid, fields, content_key(body.raw, arrived, size)),
        received_at=arrived,
        size=wire.number(size) if wire.is_number(size) else len(body.raw),
        raw=body.raw,
        truncated=body.truncated,
        refused=body.refused,
    )


# --- parts ----------------------------------------------------------------------------------------------------


def whole(session: Session, uid: int) -> bytes:
    """A message's bytes. RemoteMissing where it is gone."""
    raw = section(gather(session, [uid], "UID BODY.PEEK[]").get(uid, {}))
    if raw is None:
        raise RemoteMissing()
    return raw


def part(session: Session, uid: int, part_id: str) -> Iterator[bytes]:
    """One part of a message, decoded, in pieces, by the server's reading of its structure. RemoteMissing, at the first
    piece, where there is none, and later where it is gone meanwhile."""
    if not _PART_ID.fullmatch(part_id):
        raise RemoteMissing("The message has no such part.")
    header = section(gather(session, [uid], f"UID BODY.PEEK[{part_id}.MIME]").get(uid, {}))
    if not header:
        raise RemoteMissing("The message has no such part.")
    encoding = BytesHeaderParser(policy=compat32).parsebytes(header).get("Content-Transfer-Encoding", "")
    yield from decode_pieces(_ranges(session, uid, part_id), str(encoding))


def _ranges(session: Session, uid: int, part_id: str) -> Iterator[bytes]:
    """As it stands there. A range that is shorter than asked for is the last one (RFC 3501 6.4.5)."""
    start = 0
    while True:
        found = gather(session, [uid], f"UID BODY.PEEK[{part_id}]<{start}.{PIECE}>")
        piece = section(found.get(uid, {}))
        if piece is None:
            raise RemoteMissing("The message has no such part.")
        yield piece
        start += len(piece)
        if len(piece) < PIECE:
            return


def size_of(session: Session, uid: int) -> int:
    """A message's size. RemoteMissing where it is gone."""
    found = gather(session, [uid], "UID RFC822.SIZE")
    if uid not in found:
        raise RemoteMissing()
    return _size(found[uid])


# --- states ---------------------------------------------------------------------------------------------------


def states(session: Session, location: Location, uids: Sequence[int]) -> Iterator[list[RemoteState]]:
    """The states of these messages, in chunks, each with what a moved message is known by."""
    folder = location.folder.remote_id
    for start in range(0, len(uids), STATES_TOGETHER):
        session.on(folder)
        chunk = uids[start : start + STATES_TOGETHER]
        found = gather(session, chunk, f"{location.items} {FACTS} {MESSAGE_ID}")
        unknown = [uid for uid in chunk if uid not in found]
        if unknown:  # gone, or its header cannot be read: its flags can
            found.update(gather(session, unknown, f"{location.items} {FACTS}"))
        yield [keyed_state(location, uid, found[uid]) for uid in chunk if uid in found]


def keyed_state(location: Location, uid: int, fields: wire.Fields) -> RemoteState:
    """The state from an answer that also has FACTS and MESSAGE_ID."""
    arrived, size = received_at(fields.get("INTERNALDATE")), fields.get("RFC822.SIZE")
    return location.state(uid, fields, content_key(header_of(fields), arrived, size))
