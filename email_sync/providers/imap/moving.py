"""Changing a mailbox: flags, the archive, and the copy of a sent mail."""

from __future__ import annotations

import re
from collections.abc import Sequence

from core.errors import ProviderRejected, ProviderUnavailable, RemoteMissing
from email_sync.providers.imap import wire
from email_sync.providers.imap.connection import Reply
from email_sync.providers.imap.fetching import FACTS, MESSAGE_ID, gather, header_of, keyed_state, newest
from email_sync.providers.imap.naming import Location, message_id, place, remote_id
from email_sync.providers.imap.session import Session
from email_sync.records import (
    ARCHIVE,
    DRAFTS,
    OWN_ID_HEADER,
    SENT,
    OutgoingMail,
    RemoteFolder,
    RemoteState,
    SentMail,
)

STORED_TOGETHER = 500
NEWEST = 25
"""How many of the newest mails are looked at where the search found nothing."""
BOTH_IDS = f"BODY.PEEK[HEADER.FIELDS (MESSAGE-ID {OWN_ID_HEADER.upper()})]"
_COPIED = re.compile(rb"\[COPYUID (\d+) [\d:,]+ (\d+)\]")
APPENDED = re.compile(rb"\[APPENDUID (\d+) (\d+)\]")
_NEW_NAMES = {ARCHIVE: ("Archive", "\\Archive"), SENT: ("Sent", "\\Sent"), DRAFTS: ("Drafts", "\\Drafts")}


def store(session: Session, folder: str, uidvalidity: int, uids: Sequence[int], flags: dict[str, bool]) -> list[int]:
    """Set or clear flags; the UIDs that are there. A STORE of one that is gone is no error (RFC 3501 6.4.8), so that is
    asked first; and that it was done is read back."""
    try:
        box = session.select(folder)
    except RemoteMissing:
        return []
    if box.uidvalidity != uidvalidity:
        return []
    for flag in flags:
        if box.flags is not None and flag.lower() not in box.flags:
            raise ProviderRejected(f"The folder {folder} does not keep the flag {flag}.")
    there: list[int] = []
    for start in range(0, len(uids), STORED_TOGETHER):
        found = session.search(f"UID {wire.compress(uids[start : start + STORED_TOGETHER])}")
        for flag, wanted in flags.items() if found else ():
            verb = "+FLAGS.SILENT" if wanted else "-FLAGS.SILENT"
            session.demand("UID STORE", wire.compress(found), verb, f"({flag})", otherwise=ProviderRejected)
        now = gather(session, found, "UID FLAGS")
        _require_flags(now, flags)
        there += [uid for uid in found if uid in now]
    return there


def _require_flags(now: wire.Fetched, flags: dict[str, bool]) -> None:
    for fields in now.values():
        held = wire.words(fields.get("FLAGS"))
        if any((flag.lower() in held) != wanted for flag, wanted in flags.items()):
            raise ProviderUnavailable("The server said that it changed flags and did not.")


# --- the archive ----------------------------------------------------------------------------------------------


def relabel(session: Session, location: Location, uid: int, archived: bool) -> RemoteState:
    """Gmail: archived is not labelled as inbox; nothing moves."""
    session.select(location.folder.remote_id)
    require(session, location, uid)
    verb = "-X-GM-LABELS" if archived else "+X-GM-LABELS"
    session.demand("UID STORE", str(uid), verb, "(\\Inbox)", otherwise=ProviderRejected)
    return keyed_state(location, uid, require(session, location, uid))


def move(session: Session, source: Location, uid: int, role: str) -> RemoteState | None:
    """Into the folder of that role; the new state where the server says under which UID (RFC 4315)."""
    target = folder_of(session, role)
    if session.select(source.folder.remote_id).uidvalidity != source.uidvalidity:
        raise RemoteMissing()
    fields = require(session, source, uid)
    if target.remote_id == source.folder.remote_id:
        return keyed_state(source, uid, fields)
    copied = _move(session, source, uid, target, fields)
    if copied is None:
        return None
    return keyed_state(Location(int(copied[1]), target), int(copied[2]), fields)


def require(session: Session, location: Location, uid: int) -> wire.Fields:
    """What a state of the message is made of. RemoteMissing where it is gone."""
    found = gather(session, [uid], f"{location.items} {FACTS} {MESSAGE_ID}")
    if uid not in found:
        found = gather(session, [uid], f"{location.items} {FACTS}")
    if uid not in found:
        raise RemoteMissing()
    return found[uid]


def _move(
    session: Session, source: Location, uid: int, target: RemoteFolder, fields: wire.Fields
) -> re.Match[bytes] | None:
    """MOVE (RFC 6851), or what it stands for: the COPYUID where the server tells one. Where it does not, its OK is not
    enough: the message must have left, or be seen in the target before it is expunged. A message is only expunged by
    its UID; where the server cannot, all deleted ones of the folder would go, so that is done only if ours is the
    one."""
    name = session.wire_name(target.remote_id)
    if "MOVE" in session.capabilities:
        copied = _copied(session.demand("UID MOVE", str(uid), name, otherwise=ProviderRejected))
        if copied is None and uid in gather(session, [uid], "UID FLAGS"):
            raise ProviderUnavailable("The server said that it moved the message and did not.")
        return copied
    copied = _copied(session.demand("UID COPY", str(uid), name, otherwise=ProviderRejected))
    if copied is None:
        _require_copy(session, target, message_id(header_of(fields), "Message-ID").strip(b"<>"))
        if session.select(source.folder.remote_id).uidvalidity != source.uidvalidity:
            raise RemoteMissing()
    expunge(session, uid)
    return copied


def _copied(reply: Reply) -> re.Match[bytes] | None:
    said = [reply.text, *(line for line in reply.untagged.get("OK", []) if isinstance(line, bytes))]
    return _COPIED.search(b"\n".join(said))


def _require_copy(session: Session, target: RemoteFolder, name: bytes) -> None:
    """A message without a Message-ID cannot be told from others: there the server's word has to do."""
    if name and name.isascii() and find(session, target, name.decode("ascii")) is None:
        raise ProviderUnavailable("The server said that it copied the message and did not.")


def expunge(session: Session, uid: int) -> None:
    """Remove one message of the selected folder for good."""
    session.demand("UID STORE", str(uid), "+FLAGS.SILENT", "(\\Deleted)", otherwise=ProviderRejected)
    if "UIDPLUS" in session.capabilities:
        session.demand("UID EXPUNGE", str(uid), otherwise=ProviderRejected)
    elif session.search("DELETED") == [uid]:
        session.demand("EXPUNGE", otherwise=ProviderRejected)


def folder_of(session: Session, role: str) -> RemoteFolder:
    """The folder of that role, made where there is none."""
    found = existing(session, role)
    if found is not None:
        return found
    name, use = _NEW_NAMES[role]
    quoted = wire.quote(session.namespaces().personal + name.encode("ascii"))
    special = (f"(USE ({use}))",) if "CREATE-SPECIAL-USE" in session.capabilities else ()
    session.demand("CREATE", quoted, *special, otherwise=ProviderRejected)
    session.command("SUBSCRIBE", quoted)
    session.folders(fresh=True)
    found = existing(session, role)
    if found is None:
        raise ProviderRejected(f"The server made the folder {name} but does not list it.")
    return found


def existing(session: Session, role: str) -> RemoteFolder | None:
    """The first folder of that role."""
    return next((entry.folder for entry in session.folders() if entry.folder.role == role and entry.usable), None)


# --- the copy in Sent -----------------------------------------------------------------------------------------


def find_copy(session: Session, name: str) -> SentMail | None:
    """The mail with this Message-ID, as its own or as ours, in Sent."""
    folder = existing(session, SENT)
    found = find(session, folder, name) if folder is not None else None
    if folder is None or found is None:
        return None
    uid, kept = found
    return SentMail(remote_id(session.on(folder.remote_id).uidvalidity, uid, folder.remote_id), message_id=kept)


def find(session: Session, folder: RemoteFolder, name: str) -> tuple[int, str] | None:
    """The newest message of a folder that carries this Message-ID, and the Message-ID the server kept. SEARCH matches
    parts of a header, so what it finds is compared; not every server searches headers it does not index, so the newest
    are looked at as well."""
    if not name or not name.isascii() or not name.isprintable():
        return None
    box = session.examine(folder.remote_id)
    if not box.messages:
        return None
    wanted = wire.quote(name).decode("ascii")
    uids = session.search(f"OR HEADER Message-ID {wanted} HEADER {OWN_ID_HEADER} {wanted}")
    return _carrying(session, uids, name) or _carrying(session, newest(session, box, box.uidnext, NEWEST, None), name)


def _carrying(session: Session, uids: Sequence[int], name: str) -> tuple[int, str] | None:
    found = gather(session, uids, f"UID {BOTH_IDS}")
    for uid in sorted(found, reverse=True):
        header = header_of(found[uid])
        kept, ours = (message_id(header, which).strip(b"<>") for which in ("Message-ID", OWN_ID_HEADER))
        if name.encode("ascii") in (kept, ours):
            return uid, kept.decode("ascii", "replace") or name
    return None


def file_copy(session: Session, mail: OutgoingMail) -> SentMail:
    """A copy in Sent, read. Looks first, so that a repeat after a lost answer makes no second one."""
    there = find_copy(session, mail.message_id)
    if there is not None:
        return there
    folder = folder_of(session, SENT)
    name = session.wire_name(folder.remote_id)
    reply = session.demand("APPEND", name, "(\\Seen)", literal=mail.mime, otherwise=ProviderRejected)
    appended = APPENDED.search(reply.text)
    filed = remote_id(int(appended[1]), int(appended[2]), folder.remote_id) if appended else ""
    return SentMail(filed, message_id=mail.message_id)


def grouped(remote_ids: Sequence[str]) -> dict[tuple[str, int], list[int]]:
    """UIDs by folder and its UIDVALIDITY. What is no id of ours names nothing and is left out."""
    groups: dict[tuple[str, int], list[int]] = {}
    for text in remote_ids:
        try:
            uidvalidity, uid, folder = place(text)
        except RemoteMissing:
            continue
        groups.setdefault((folder, uidvalidity), []).append(uid)
    return groups
