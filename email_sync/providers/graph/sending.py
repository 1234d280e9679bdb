"""Mail on its way out through Graph, and how it is known again afterwards (reference 3.2).

Called by `provider`. A mail of the usual size is one call, as MIME. A larger one becomes a draft first, also as MIME,
its files go up one by one, and the draft is sent: until that last call nothing has left, so whatever fails before it is
ProviderUnavailable and the draft is taken away.
"""

from __future__ import annotations

import base64
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from core.errors import (
    CursorExpired,
    HubError,
    ProviderError,
    ProviderOutcomeUnknown,
    ProviderRejected,
    ProviderUnavailable,
    RemoteMissing,
)
from email_sync.providers.graph.api import LONG_TIMEOUT, MailApi, folder, message, query
from email_sync.providers.graph.messages import SUMMARY
from email_sync.providers.graph.outgoing import MAX_MIME, Enclosure, cut, with_bcc
from email_sync.records import OWN_ID_HEADER, OutgoingMail, SentMail
from integrations.providers.graph.answers import Json, identifier, items, objects, text
from integrations.providers.graph.errors import check

logger = logging.getLogger("patchbay.send")

MAX_ATTACHED = 3_000_000
"""Bytes of a file that is attached in one request; above, an upload session (reference 3.2)."""
NEWEST = 25
"""How many of the newest sent mails are looked at where none has the Message-ID."""
RANGE = 10 * 320 * 1024
"""Bytes of one range of an upload session: under 4 MB, a multiple of 320 KiB."""
PREPARE_SECONDS = 75.0
"""After this no further range is begun: with the send behind it all has to end within a submission's lease."""
UPLOAD_HOSTS = (".office.com", ".office365.com", ".outlook.com", ".office365.us", ".outlook.cn", ".microsoft.com")
"""Where upload sessions lie besides Graph's own host; theirs is outlook.office.com."""


def send(api: MailApi, mail: OutgoingMail) -> SentMail:
    """Hand the mail over, once. Where its copy in Sent is there at once, with the copy's ids."""
    mime = with_bcc(mail)
    if len(mime) > MAX_MIME:
        return _by_draft(api, mail, mime)
    _submit(api, "/me/sendMail", base64.b64encode(mime))
    try:
        found = find(api, mail.message_id)
    except ProviderError:
        found = None  # it is sent, whatever this question comes to
    return found or SentMail(message_id=mail.message_id, thread_remote_id=mail.thread_remote_id)


def find(api: MailApi, message_id: str) -> SentMail | None:
    """The copy in Sent, also where Exchange put another Message-ID in the place of ours. It may come a moment after the
    mail was taken (reference 3.2)."""
    found = of_message_id(api, "sentitems", message_id) or _of_own_id(api, message_id)
    if found is None:
        return None
    kept = text(found, "internetMessageId").strip("<>") or message_id
    return SentMail(identifier(found), text(found, "conversationId"), kept)


def _by_draft(api: MailApi, mail: OutgoingMail, mime: bytes) -> SentMail:
    draft = drafted(api, mail.message_id, mime)
    draft_id = identifier(draft)
    try:
        _submit(api, f"{message(draft_id)}/send")
    except ProviderOutcomeUnknown:
        raise
    except HubError:
        take_away(api, draft_id)
        raise
    return SentMail(draft_id, text(draft, "conversationId"), text(draft, "internetMessageId").strip("<>"))


def _submit(api: MailApi, path: str, content: bytes = b"") -> None:
    """The one call that sends. 202 alone says that the mail was taken."""
    headers = {"Content-Type": "text/plain"} if content else {}
    response = api.ask("POST", path, headers=headers, content=content, idempotent=False, timeout=LONG_TIMEOUT)
    if response.ok and response.status != 202:
        raise ProviderOutcomeUnknown(f"Microsoft answered {response.status} where it accepts a mail with 202.")
    try:
        check(response)
    except (RemoteMissing, CursorExpired) as error:
        if path != "/me/sendMail":  # a draft that is gone may be gone because it was sent
            raise ProviderOutcomeUnknown(error.message) from error
        raise ProviderRejected(error.message) from error


def drafted(api: MailApi, message_id: str, mime: bytes) -> Json:
    """A new draft with its files. One that an earlier attempt left is taken away first."""
    rest, files = cut(mime)
    if len(rest) > MAX_MIME:
        raise ProviderRejected(f"Microsoft takes at most {MAX_MIME:,} bytes of text in a mail.", code="too_large")
    with _nothing_sent():
        left = of_message_id(api, "drafts", message_id)
        if left is not None:
            take_away(api, identifier(left))
        headers = {"Content-Type": "text/plain"}
        content = base64.b64encode(rest)
        draft = api.json(
            "POST", "/me/messages", headers=headers, content=content, idempotent=False, timeout=LONG_TIMEOUT
        )
        until = time.monotonic() + PREPARE_SECONDS
        try:
            for file in files:
                _attach(api, identifier(draft), file, until)
        except HubError:
            take_away(api, identifier(draft))
            raise
    return draft


@contextmanager
def _nothing_sent() -> Iterator[None]:
    """Before the call that sends, an unknown outcome is none: nothing has left."""
    try:
        yield
    except (ProviderOutcomeUnknown, RemoteMissing, CursorExpired) as error:
        raise ProviderUnavailable(error.message) from error


def _attach(api: MailApi, draft_id: str, file: Enclosure, until: float) -> None:
    if len(file.content) > MAX_ATTACHED:
        _upload(api, draft_id, file, until)
        return
    body = {
        "@odata.type": "#microsoft.graph.fileAttachment",
        "name": file.file_name,
        "contentType": file.content_type,
        "contentBytes": base64.b64encode(file.content).decode("ascii"),
        "isInline": file.inline,
    }
    body |= {"contentId": file.content_id} if file.content_id else {}
    api.json("POST", f"{message(draft_id)}/attachments", json=body, idempotent=False, timeout=LONG_TIMEOUT)


def _upload(api: MailApi, draft_id: str, file: Enclosure, until: float) -> None:
    """Range by range, in order (reference 3.2)."""
    size = len(file.content)
    item: dict[str, object] = {"attachmentType": "file", "name": file.file_name, "size": size}
    item |= {"contentType": file.content_type, "isInline": file.inline}
    item |= {"contentId": file.content_id} if file.content_id else {}
    path = f"{message(draft_id)}/attachments/createUploadSession"
    url = text(api.json("POST", path, json={"AttachmentItem": item}, idempotent=False), "uploadUrl")
    if not _may_upload(api, url):
        raise ProviderUnavailable("Microsoft named an address to upload to that is not its own.")
    for start in range(0, size, RANGE):
        if time.monotonic() > until:
            raise ProviderUnavailable("Sending the files up to Microsoft takes too long.")
        piece = file.content[start : start + RANGE]
        check(api.upload(url, piece, f"bytes {start}-{start + len(piece) - 1}/{size}"))


def _may_upload(api: MailApi, url: str) -> bool:
    """Graph's own origin, or a host of Microsoft's mail (reference 8.97)."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    return api.is_ours(url) or (parts.scheme == "https" and host.endswith(UPLOAD_HOSTS))


def of_message_id(api: MailApi, well_known: str, message_id: str) -> Json | None:
    """The message of a folder with this Message-ID."""
    wanted = query(filter=_carries(message_id), select=f"{SUMMARY},internetMessageId", top=1)
    found = items(api.json("GET", f"{folder(well_known)}/messages{wanted}"))
    return found[0] if found else None


def carrying(api: MailApi, message_id: str) -> tuple[str, ...]:
    """Every message that carries the Message-ID, wherever it is."""
    wanted = query(filter=_carries(message_id), select="id", top=NEWEST)
    return tuple(identifier(item) for item in items(api.json("GET", f"/me/messages{wanted}")))


def _carries(message_id: str) -> str:
    """The filter for a Message-ID: a quote in it is doubled, white space is none of it."""
    quoted = "".join(message_id.split()).replace("'", "''")
    return f"internetMessageId eq '<{quoted}>'"


def _of_own_id(api: MailApi, message_id: str) -> Json | None:
    """The message of the newest sent that carries our id in our own header."""
    fields = "id,conversationId,internetMessageId,internetMessageHeaders"
    newest = query(select=fields, orderby="receivedDateTime desc", top=NEWEST)
    for item in items(api.json("GET", f"{folder('sentitems')}/messages{newest}")):
        headers = {text(it, "name").lower(): text(it, "value") for it in objects(item, "internetMessageHeaders")}
        if headers.get(OWN_ID_HEADER.lower(), "").strip(" <>") == message_id:
            return item
    return None


def take_away(api: MailApi, draft_id: str) -> None:
    """A draft of our own, for good, as far as that goes: what failed before is what counts."""
    try:
        check(api.ask("POST", f"{message(draft_id)}/permanentDelete"))
    except ProviderError as error:
        logger.info("a draft that was not sent stays: %s", error.code)
