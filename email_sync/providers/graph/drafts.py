"""Drafts at Graph: their content, what it is known by, and how one gives way to another (reference 3.2).

Called by `provider`. A draft of another client's is changed in place: its id stays, so what was seen of it is held
against what it says now, before anything takes its place. Its `changeKey` alone would not do: it changes within
milliseconds of a save, and with every flag (github.com/OfficeDev/ews-managed-api/issues/249). So the content decides
whether it was changed, and the change key whether that is still so when it goes (`If-Match`, 412
ErrorIrresolvableConflict where it is not).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from core.errors import RemoteChanged, RemoteMissing
from email_sync.providers.graph.api import MailApi, folder, message, query
from email_sync.providers.graph.outgoing import MAX_MIME, with_bcc
from email_sync.providers.graph.sending import drafted, of_message_id, take_away
from email_sync.records import OutgoingMail
from integrations.providers.graph.answers import Json, child, identifier, objects, text
from integrations.providers.graph.batch import Call
from integrations.providers.graph.errors import check

PEOPLE = ("toRecipients", "ccRecipients", "bccRecipients", "replyTo")
CONTENT = query(
    select=f"isDraft,parentFolderId,subject,body,from,importance,{','.join(PEOPLE)}",
    expand="attachments($select=name,size,contentType,isInline)",
)
TRIES = 4
"""Of taking one away whose change key moves although its content does not."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A draft as it is now."""

    version: str
    etag: str


def save(api: MailApi, mail: OutgoingMail, replaces: str, version: str) -> tuple[Json, str]:
    """A draft in place of another, or a new one where that is "", and its version. None is ever changed: MIME, which
    alone keeps the headers of a reply, makes a new one. Nothing is stored where the other is gone or changed."""
    mime = with_bcc(mail)
    stored = of_message_id(api, "drafts", mail.message_id) if len(mime) <= MAX_MIME else None
    if stored is None:
        if replaces:
            _as_seen(api, replaces, version)
        stored = drafted(api, mail.message_id, mime)
    own_id = identifier(stored)
    if replaces and replaces != own_id:
        _give_way(api, replaces, version, to=own_id)
    return stored, _look(api, own_id).version


def _give_way(api: MailApi, draft_id: str, version: str, *, to: str) -> None:
    """One that went by itself meanwhile is no loss; one that was changed stays, and the new one goes."""
    try:
        discard(api, draft_id, version)
    except RemoteMissing:
        return
    except RemoteChanged:
        take_away(api, to)
        raise


def discard(api: MailApi, draft_id: str, version: str = "") -> None:
    """Take a draft away for good, past Deleted Items. RemoteMissing where it is gone or no draft any more,
    RemoteChanged where it says something else than was seen ("" is any)."""
    for _ in range(TRIES):
        headers = {"If-Match": _as_seen(api, draft_id, version).etag}
        answer = api.ask("POST", f"{message(draft_id)}/permanentDelete", headers=headers)
        if answer.status != 412:
            check(answer)
            return
    raise RemoteChanged()


def versions(api: MailApi, remote_ids: Sequence[str]) -> dict[str, str]:
    """Of those that are there."""
    found = zip(remote_ids, api.found([Call(message(remote_id) + CONTENT) for remote_id in remote_ids]), strict=True)
    return {remote_id: _version(item) for remote_id, item in found if item is not None}


def _as_seen(api: MailApi, draft_id: str, version: str) -> Seen:
    now = _look(api, draft_id)
    if version and now.version != version:
        raise RemoteChanged()
    return now


def _look(api: MailApi, draft_id: str) -> Seen:
    """RemoteMissing also where it was sent or thrown away: its id lives on in Sent or in Deleted Items."""
    item, bin_ = api.found([Call(message(draft_id) + CONTENT), Call(folder("deleteditems") + query(select="id"))])
    if item is None or item.get("isDraft") is not True:
        raise RemoteMissing("The draft is no longer there.")
    if bin_ is not None and text(item, "parentFolderId") == identifier(bin_):
        raise RemoteMissing("The draft was thrown away.")
    return Seen(_version(item), text(item, "@odata.etag") or "*")


def _version(item: Json) -> str:
    """A digest of what it says: its people by address alone, since Exchange puts names to them later."""
    people = [sorted(_address(person) for person in objects(item, kind)) for kind in PEOPLE]
    files = sorted(
        [text(file, "name"), str(file.get("size")), text(file, "contentType"), str(file.get("isInline"))]
        for file in objects(item, "attachments")
    )
    body = child(item, "body")
    said = [text(item, "subject"), text(item, "importance"), text(body, "contentType"), text(body, "content")]
    whole = json.dumps([said, _address(child(item, "from")), people, files])
    return hashlib.sha256(whole.encode("utf-8", "replace")).hexdigest()[:40]


def _address(person: Json) -> str:
    return text(child(person, "emailAddress"), "address").lower()
