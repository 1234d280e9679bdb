"""What changed in a folder since a cursor, as cheaply as the server allows.

Three grades (RFC 7162): with QRESYNC one SELECT tells of new, changed and vanished messages; with CONDSTORE changed
flags are told and expunges found by comparing UID sets; with neither the flags are compared as sets too. The sets
travel in the cursor, so that this knows no database.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from core.errors import CursorExpired, ProviderRejected, ProviderUnavailable
from email_sync.providers.imap import wire
from email_sync.providers.imap.naming import Cursor, Location, remote_id
from email_sync.providers.imap.session import Box, Figures, Session
from email_sync.records import ChangePage, RemoteState

VANISHED_LIMIT = 100_000
"""A server that forgot old expunges names every UID it no longer has (RFC 7162 3.2.5.2): then listing is cheaper."""


NOT_LISTED = "The server says that the folder holds messages and lists none."


@dataclass(frozen=True, slots=True)
class Seen:
    """The UID sets of a folder now; the flag sets only where the server does not number changes."""

    known: set[int]
    unseen: set[int]
    flagged: set[int]


def cursor_of(box: Box, seen: Seen | None) -> Cursor:
    """The cursor that stands for the folder as selected."""
    if seen is None:
        return Cursor(box.uidvalidity, box.uidnext, box.messages, box.modseq)
    known = wire.compress(seen.known)
    if box.modseq:
        return Cursor(box.uidvalidity, box.uidnext, box.messages, box.modseq, known)
    unseen, flagged = wire.compress(seen.unseen), wire.compress(seen.flagged)
    return Cursor(box.uidvalidity, box.uidnext, box.messages, 0, known, unseen, flagged)


def look(session: Session, box: Box) -> Seen | None:
    """The UID sets under UIDNEXT (later mail is the next cursor's); None where the server reports expunges by
    itself."""
    if session.qresync and box.modseq:
        return None
    known = set(_search(session, box, ""))
    if box.modseq:
        return Seen(known, set(), set())
    unseen, flagged = _search(session, box, " UNSEEN"), _search(session, box, " FLAGGED")
    return Seen(known, known & set(unseen), known & set(flagged))


def present(session: Session, box: Box) -> list[int]:
    """All UIDs of the folder, ascending."""
    return _search(session, box, "")


def _search(session: Session, box: Box, flag: str, low: int = 1) -> list[int]:
    """Not `n:*`, which always names the last message (reference 8.47), and nothing where there is nothing."""
    if not box.messages or low >= box.uidnext:
        return []
    found = session.search(f"UID {low}:{box.uidnext - 1}{flag}")
    if not found and not flag and low == 1:
        raise ProviderUnavailable(NOT_LISTED)
    return found


def since(session: Session, location: Location, cursor: Cursor) -> ChangePage:
    """What happened in the location's folder since the cursor. CursorExpired where the server cannot tell."""
    folder = location.folder.remote_id
    if cursor.modseq and _unchanged(session, folder, cursor):
        return ChangePage(cursor.dump())
    asked = (cursor.uidvalidity, cursor.modseq) if session.qresync and cursor.modseq else None
    box = session.examine(folder, since=asked)
    _require_same_life(cursor, box)
    seen = look(session, box)
    page = _told(session, location, cursor, box) if seen is None else _compared(session, location, cursor, box, seen)
    return replace(page, cursor=cursor_of(box, seen).dump())


def _unchanged(session: Session, folder: str, cursor: Cursor) -> bool:
    """STATUS says so without a SELECT; it may not be asked of the selected folder."""
    if session.box is not None and session.box.folder_id == folder:
        return False
    now = session.status(folder)
    return now == Figures(cursor.uidvalidity, cursor.uidnext, cursor.messages, cursor.modseq)


def _require_same_life(cursor: Cursor, box: Box) -> None:
    """UIDVALIDITY 0 or changed means other messages (reference 8.46); a figure that went back is a restored backup."""
    same = box.uidvalidity == cursor.uidvalidity != 0
    if not same or box.uidnext < cursor.uidnext or box.modseq < cursor.modseq:
        raise CursorExpired()


def _told(session: Session, location: Location, cursor: Cursor, box: Box) -> ChangePage:
    """The server has told with the SELECT (QRESYNC). An answer we could not read may hide a change."""
    gone = wire.below(box.vanished, cursor.uidnext)
    if not cursor.modseq or box.changed.garbled or wire.size(gone) > VANISHED_LIMIT:
        raise CursorExpired()
    new = {uid for uid in box.changed if uid >= cursor.uidnext} | set(_search(session, box, "", cursor.uidnext))
    changed = {uid: fields for uid, fields in box.changed.items() if uid < cursor.uidnext}
    return _page(location, new, [location.state(uid, fields) for uid, fields in changed.items()], wire.expand(gone))


def _compared(session: Session, location: Location, cursor: Cursor, box: Box, seen: Seen) -> ChangePage:
    """The server tells less: compare what was known with what is there."""
    known = _saved(cursor.known)
    kept = known & seen.known
    if box.modseq:
        updated = _changed_since(session, location, cursor, kept)
    else:
        unseen, flagged = _saved(cursor.unseen), _saved(cursor.flagged)
        different = kept & ((unseen ^ seen.unseen) | (flagged ^ seen.flagged))
        updated = [_state(location, uid, seen) for uid in sorted(different)]
    return _page(location, seen.known - known, updated, known - seen.known)


def _saved(text: str | None) -> set[int]:
    """A set of the cursor. A cursor made when the server told more has none."""
    if text is None:
        raise CursorExpired()
    try:
        return set(wire.expand(wire.ranges(text)))
    except wire.Garbled:
        raise CursorExpired() from None


def _changed_since(session: Session, location: Location, cursor: Cursor, kept: set[int]) -> list[RemoteState]:
    if not cursor.modseq:
        raise CursorExpired()
    if not kept or cursor.modseq == session.on(location.folder.remote_id).modseq:
        return []
    changed_since = f"(CHANGEDSINCE {cursor.modseq})"
    try:
        found = session.fetch(f"1:{cursor.uidnext - 1}", location.items, changed_since)
    except ProviderRejected:
        raise CursorExpired() from None
    if found.garbled:
        raise CursorExpired()
    return [location.state(uid, fields) for uid, fields in found.items() if uid in kept and "FLAGS" in fields]


def _state(location: Location, uid: int, seen: Seen) -> RemoteState:
    held = ((b"\\Seen", uid not in seen.unseen), (b"\\Flagged", uid in seen.flagged))
    return location.state(uid, {"FLAGS": [flag for flag, is_set in held if is_set]})


def _page(location: Location, new: Iterable[int], updated: Iterable[RemoteState], gone: Iterable[int]) -> ChangePage:
    def name(uid: int) -> str:
        return remote_id(location.uidvalidity, uid, location.folder.remote_id)

    newest_first = sorted(new, reverse=True)
    return ChangePage("", tuple(map(name, newest_first)), tuple(updated), tuple(map(name, gone)))
