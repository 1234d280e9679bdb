"""Mail on its way out through Gmail, and how it is known again afterwards (reference 2.2).

Called by `provider` and `drafts`. Gmail has no idempotency key for a send and may put a Message-ID of its own in the
place of ours; every mail carries ours a second time (`OWN_ID_HEADER`), in a header nobody touches: it settles what a
send without an answer was.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from core.errors import ProviderError, ProviderRejected, ProviderUnavailable, RemoteMissing
from email_sync.providers.gmail.answers import Json, child, children, identifier, identifier_or_none
from email_sync.providers.gmail.api import MAX_SENT_BYTES, GmailApi
from email_sync.providers.gmail.errors import check
from email_sync.providers.gmail.messages import headers_of
from email_sync.records import OWN_ID_HEADER, OutgoingMail, SentMail

NEWEST = 25
"""How many of the newest sent mails are looked at where the search found nothing."""


def send(api: GmailApi, mail: OutgoingMail) -> SentMail:
    """Hand the mail over, once, and read again what Gmail made of its Message-ID."""
    mime = mail.with_bcc()
    if len(mime) > MAX_SENT_BYTES:
        raise ProviderRejected(f"Gmail takes mail of at most {MAX_SENT_BYTES:,} bytes.", code="message_too_large")
    answer = _handed_over(api, mime, mail.thread_remote_id)
    remote_id = identifier_or_none(answer, "id")
    try:
        kept = _header(api.message(remote_id, format="metadata"), "Message-ID") if remote_id else ""
    except ProviderError:
        kept = ""  # it is sent, whatever this question comes to
    return SentMail(remote_id, identifier_or_none(answer, "threadId"), kept or mail.message_id)


def find(api: GmailApi, message_id: str) -> SentMail | None:
    """The mail sent with this Message-ID of ours or of Gmail's; None only where that is sure.

    First by search, also in the trash. A search may be loose or lag behind, and knows only the id that Gmail kept: what
    it finds is looked at, and after it the newest sent mails are.
    """
    query = f"rfc822msgid:{''.join(message_id.split())}"
    found = api.messages("", NEWEST, q=query, labelIds="SENT", includeSpamTrash=True)
    sent = matching(api, ids(found), message_id)
    if sent is None:
        newest = api.messages("", NEWEST, labelIds="SENT", includeSpamTrash=True)
        sent = matching(api, ids(newest), message_id)
    return sent


def _handed_over(api: GmailApi, mime: bytes, thread_id: str) -> Json:
    """A thread that is gone meanwhile is refused as a whole (404): the mail then goes without it."""
    try:
        return api.send(mime, thread_id)
    except RemoteMissing as error:
        if not thread_id:
            raise ProviderRejected("Gmail refused the mail without saying why.") from error
    return _handed_over(api, mime, "")


def matching(api: GmailApi, remote_ids: Sequence[str], message_id: str) -> SentMail | None:
    """The first of these that carries the Message-ID, as its own or as ours."""
    for remote_id, message in _metadata(api, remote_ids):
        if message_id in (_header(message, "Message-ID"), _header(message, OWN_ID_HEADER)):
            kept = _header(message, "Message-ID") or message_id
            return SentMail(remote_id, identifier_or_none(message, "threadId"), kept)
    return None


def carrying(api: GmailApi, message_id: str) -> tuple[str, ...]:
    """Every message that carries the Message-ID, wherever it is."""
    found = ids(api.messages("", NEWEST, q=f"rfc822msgid:{''.join(message_id.split())}", includeSpamTrash=True))
    told = _metadata(api, found)
    return tuple(remote_id for remote_id, message in told if _header(message, "Message-ID") == message_id)


def _metadata(api: GmailApi, remote_ids: Sequence[str]) -> Iterator[tuple[str, Json]]:
    """The headers of each that is there. ProviderUnavailable where an answer is missing: no is no until it is sure."""
    for remote_id, answer in api.each_message(remote_ids, "metadata") if remote_ids else ():
        if answer is None:
            raise ProviderUnavailable("Gmail left a message out of its answer.")
        try:
            message = check(answer).json_object()
        except RemoteMissing:
            continue
        if not headers_of(child(message, "payload")):
            raise ProviderUnavailable("Gmail answered without headers.")
        yield remote_id, message


def _header(message: Json, name: str) -> str:
    """An id from a header, without angle brackets."""
    headers = headers_of(child(message, "payload"))
    return next((value.strip().strip("<>") for given, value in headers if given.lower() == name.lower()), "")


def ids(answer: Json) -> list[str]:
    """The message ids of a listing."""
    return [identifier(item) for item in children(answer, "messages")]
