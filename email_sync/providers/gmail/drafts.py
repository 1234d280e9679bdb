"""Drafts and sender addresses at Gmail (reference 2.2, 8.22).

Called by `provider`. A draft keeps its draft id while every new content is another message with another message id.
Ours is the message id, which the sync knows; the draft id is looked up when it is needed.
"""

from __future__ import annotations

from core.errors import RemoteMissing
from email_sync.addresses import is_email
from email_sync.providers.gmail import sending
from email_sync.providers.gmail.answers import (
    Json,
    child,
    children,
    identifier,
    identifier_or_none,
    identifiers,
    next_page,
    text,
)
from email_sync.providers.gmail.api import GmailApi
from email_sync.providers.gmail.messages import state_of
from email_sync.records import Address, OutgoingMail, RemoteState

LABEL = "DRAFT"


def save(api: GmailApi, mail: OutgoingMail, replaces: str) -> RemoteState:
    """See `providers.base.MailProvider.save_draft`. An update replaces in one step: where the mail is found, the old
    one is gone."""
    query = f"rfc822msgid:{''.join(mail.message_id.split())}"
    there = sending.matching(api, sending.ids(api.messages("", 10, q=query, labelIds=LABEL)), mail.message_id)
    if there is not None:
        return state_of(there.remote_id, [LABEL])
    draft_id = _draft_id(api, replaces) if replaces else ""
    try:
        return _state(_stored(api, draft_id, mail, mail.thread_remote_id))
    except RemoteMissing:
        if not mail.thread_remote_id:
            raise
    return _state(_stored(api, draft_id, mail, ""))  # it was the thread that is gone


def delete(api: GmailApi, remote_id: str) -> None:
    """See `providers.base.MailProvider.delete_draft`."""
    api.delete_draft(_draft_id(api, remote_id))


def senders(api: GmailApi) -> list[Address]:
    """The account's own address, then the others it may send as; not those still to be verified."""
    found = [item for item in children(api.send_as(), "sendAs") if is_email(text(item, "sendAsEmail"))]
    usable = [item for item in found if item.get("isPrimary") or text(item, "verificationStatus") != "pending"]
    usable.sort(key=lambda item: not item.get("isPrimary"))
    return [Address(text(item, "displayName"), text(item, "sendAsEmail")) for item in usable]


def _draft_id(api: GmailApi, remote_id: str) -> str:
    """The draft whose content is this message. RemoteMissing where none is: it was changed, sent or removed."""
    page_token = ""
    while True:
        answer = api.drafts(page_token)
        for draft in children(answer, "drafts"):
            if identifier_or_none(child(draft, "message"), "id") == remote_id:
                return identifier(draft)
        page_token = next_page(answer, page_token)
        if not page_token:
            raise RemoteMissing("The draft is no longer there.")


def _stored(api: GmailApi, draft_id: str, mail: OutgoingMail, thread_id: str) -> Json:
    if draft_id:
        return api.update_draft(draft_id, mail.with_bcc(), thread_id)
    return api.create_draft(mail.with_bcc(), thread_id)


def _state(answer: Json) -> RemoteState:
    message = child(answer, "message")
    return state_of(identifier(message), identifiers(message, "labelIds") or [LABEL])
