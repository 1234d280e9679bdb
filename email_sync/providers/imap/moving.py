"""Changing a mailbox: flags, the archive, and the copy of a sent mail."""

from __future__ import annotations

import re
from collections.abc import Sequence

from core.errors import ProviderRejected, RemoteMissing
from email_sync.providers.imap import wire
from email_sync.providers.imap.connection import Reply
from email_sync.providers.imap.fetching import FACTS, MESSAGE_ID, gather, header_of, keyed_state
from email_sync.providers.imap.naming import Location, message_id, place, remote_id
from email_sync.providers.imap.session import Session
from email_sync.records import ARCHIVE, SENT, OutgoingMail, RemoteFolder, RemoteState, SentMail

STORED_TOGETHER = 500
_COPIED = re.compile(rb"\[COPYUID (\d+) [\d:,]+ (\d+)\]")
_APPENDED = re.compile(rb"\[APPENDUID (\d+) (\d+)\]")
_NEW_NAMES = {ARCHIVE: ("Archive", "\\Archive"), SENT: ("Sent", "\\Sent")}


def store(session: Session, folder: str, uidvalidity: int, uids: Sequence[int], flags: dict[str, bool]) -> None:
    """Set or clear flags. Messages and folders that are gone are passed over (a STORE of them is no error)."""
    try:
        box = session.select(folder)
    except RemoteMissing:
        return
    if box.uidvalidity != uidvalidity:
        return
    for flag, wanted in flags.items():
        if box.flags is not None and flag.lower() not in box.flags:
            raise ProviderRejected(f"The folder {folder} does not keep the flag {flag}.")
        verb = "+FLAGS.SILENT" if wanted else "-FLAGS.SILENT"
        for start in range(0, len(uids), STORED_TOGETHER):
            chunk = wire.compress(uids[start : start + STORED_TOGETHER])
            session.demand("UID STORE", chunk, verb, f"({flag})", otherwise=ProviderRejected)


# --- the archive ----------------------------------------------------------------------------------------------


def relabel(session: Session, location: Location, uid: int, archived: bool) -> RemoteState:
    """Gmail: archived is not labelled as inbox; nothing moves."""
    session.select(location.folder.remote_id)
    _require(session, location, uid)
    verb = "-X-GM-LABELS" if archived else "+X-GM-LABELS"
    session.demand("UID STORE", str(uid), verb, "(\\Inbox)", otherwise=ProviderRejected)
    return keyed_state(location, uid, _require(session, location, uid))


def move(session: Session, source: Location, uid: int, role: str) -> RemoteState | None:
    """Into the folder of that role; the new state where the server says under which UID (RFC 4315)."""
    target = folder_of(session, role)
    if session.select(source.folder.remote_id).uidvalidity != source.uidvalidity:
        raise RemoteMissing()
    fields = _require(session, source, uid)
    if target.remote_id == source.folder.remote_id:
        return keyed_state(source, uid, fields)
    reply = _move(session, uid, session.wire_name(target.remote_id))
    said = [reply.text, *(line for line in reply.untagged.get("OK", []) if isinstance(line, bytes))]
    copied = _COPIED.search(b"\n".join(said))
    if copied is None:
        return None
    return keyed_state(Location(int(copied[1]), target), int(copied[2]), fields)


def _require(session: Session, location: Location, uid: int) -> wire.Fields:
    found = gather(session, [uid], f"{location.items} {FACTS} {MESSAGE_ID}")
    if uid not in found:
        found = gather(session, [uid], f"{location.items} {FACTS}")
    if uid not in found:
        raise RemoteMissing()
    return found[uid]


def _move(session: Session, uid: int, target: bytes) -> Reply:
    """MOVE (RFC 6851), or what it stands for. A message is only expunged by its UID; where the server cannot, all
    deleted ones of the folder would go, so that is done only if ours is the one."""
    if "MOVE" in session.capabilities:
        return session.demand("UID MOVE", str(uid), target, otherwise=ProviderRejected)
    reply = session.demand("UID COPY", str(uid), target, otherwise=ProviderRejected)
    session.demand("UID STORE", str(uid), "+FLAGS.SILENT", "(\\Deleted)", otherwise=ProviderRejected)
    if "UIDPLUS" in session.capabilities:
        session.demand("UID EXPUNGE", str(uid), otherwise=ProviderRejected)
    elif session.search("DELETED") == [uid]:
        session.demand("EXPUNGE", otherwise=ProviderRejected)
    return reply


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
    """The mail with this Message-ID in Sent. SEARCH matches parts of a header, so what it finds is compared."""
    folder = existing(session, SENT)
    if folder is None or not name or not name.isascii() or not name.isprintable():
        return None
    box = session.examine(folder.remote_id)
    if not box.messages:
        return None
    uids = session.search("HEADER Message-ID " + wire.quote(name).decode("ascii"))
    found = gather(session, uids, f"UID {MESSAGE_ID}")
    for uid in reversed(uids):
        if uid in found and message_id(header_of(found[uid])).strip(b"<>") == name.encode("ascii"):
            return SentMail(remote_id(box.uidvalidity, uid, folder.remote_id), message_id=name)
    return None


def file_copy(session: Session, mail: OutgoingMail) -> SentMail:
    """A copy in Sent, read. Looks first, so that a repeat after a lost answer makes no second one."""
    there = find_copy(session, mail.message_id)
    if there is not None:
        return there
    folder = folder_of(session, SENT)
    name = session.wire_name(folder.remote_id)
    reply = session.demand("APPEND", name, "(\\Seen)", literal=mail.mime, otherwise=ProviderRejected)
    appended = _APPENDED.search(reply.text)
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
