"""Drafts over IMAP: a new content is a new message, so replacing is appending the new one, then removing the old.

Called by `provider`. In this order a break in between leaves both, never neither; a repeat finds the new one by its
Message-ID and removes the old.
"""

from __future__ import annotations

from core.errors import ProviderRejected, ProviderUnavailable, RemoteMissing, UnsupportedOperation
from email_sync.providers.imap.fetching import keyed_state
from email_sync.providers.imap.moving import APPENDED, expunge, find, folder_of, require
from email_sync.providers.imap.naming import Location, place
from email_sync.providers.imap.session import Session
from email_sync.records import DRAFTS, OutgoingMail, RemoteFolder, RemoteState


def save(session: Session, mail: OutgoingMail, replaces: str) -> RemoteState:
    """See `providers.base.MailProvider.save_draft`."""
    _refuse_gmail(session)
    folder = folder_of(session, DRAFTS)
    found = find(session, folder, mail.message_id)
    if found is None:
        if replaces:
            _select(session, replaces)
        uid = _append(session, folder, mail)
    else:
        uid = found[0]
    if replaces:
        _remove_if_there(session, replaces)
    location = Location(session.examine(folder.remote_id).uidvalidity, folder)
    return keyed_state(location, uid, require(session, location, uid))


def delete(session: Session, remote_id: str) -> None:
    """See `providers.base.MailProvider.delete_draft`."""
    _refuse_gmail(session)
    expunge(session, _select(session, remote_id))


def _append(session: Session, folder: RemoteFolder, mail: OutgoingMail) -> int:
    """The UID it got; asked for where the server does not say (RFC 4315)."""
    name = session.wire_name(folder.remote_id)
    reply = session.demand("APPEND", name, "(\\Draft \\Seen)", literal=mail.with_bcc(), otherwise=ProviderRejected)
    if appended := APPENDED.search(reply.text):
        return int(appended[2])
    found = find(session, folder, mail.message_id)
    if found is None:
        raise ProviderUnavailable("The server took the draft but does not show it.")
    return found[0]


def _select(session: Session, remote_id: str) -> int:
    """Select the message's folder for writing; its UID. RemoteMissing where it is no longer there."""
    uidvalidity, uid, folder = place(remote_id)
    if session.select(folder).uidvalidity != uidvalidity or session.search(f"UID {uid}") != [uid]:
        raise RemoteMissing("The draft is no longer there.")
    return uid


def _remove_if_there(session: Session, remote_id: str) -> None:
    try:
        expunge(session, _select(session, remote_id))
    except RemoteMissing:
        return


def _refuse_gmail(session: Session) -> None:
    """A draft there is in two folders under two UIDs, and the one the sync follows is not the one to expunge."""
    if session.gmail:
        raise UnsupportedOperation("Gmail keeps drafts for its own API only: connect the account as Google.")
