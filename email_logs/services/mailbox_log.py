"""The log of mail that users send from their own mailboxes: an entry per mail, in the table of the mailbox's provider.

Called by the sync app where such a mail is settled, inside that transaction. An entry has the id of what the caller
calls the mail, so that nothing else joins the two. Nothing is suppressed for what comes as mail: a report is a
stranger's word, and one recipient of a mail could make others unreachable with it.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models.functions import Now

from core.addresses import exact
from core.redaction import clean_words
from email_logs.models import EmailLogEntry
from email_logs.services import delivery_events, moving, tables
from email_logs.states import ORDER, State, is_forward
from integrations.models.event import WRITING_TRANSACTION
from integrations.providers.delivery import MAX_WORDS, Notice, Told


@dataclass(frozen=True, slots=True)
class OwnMail:
    """A mail of a user's own."""

    id: uuid.UUID
    """A time-ordered id of the caller's, the same for ever."""
    workspace_id: uuid.UUID
    connection_id: uuid.UUID
    provider: str
    """The mailbox provider's key."""
    sender: str
    to: tuple[str, ...]
    cc: tuple[str, ...]
    bcc: tuple[str, ...]
    subject: str
    message_id: str
    source: str
    attachments: int


def note(mail: OwnMail, state: State, *, words: str = "", first: bool = False) -> None:
    """Where it stands: an entry, or an earlier one moved forward. `first`: nothing was noted of it before."""
    if first or not _moved(mail, state, words):
        _add(mail, state, words)


def _moved(mail: OwnMail, state: State, words: str) -> bool:
    earlier = [one for one in ORDER if is_forward(one, state)]
    return bool(
        EmailLogEntry.objects.filter(pk=mail.id, state__in=earlier).update(
            state=state,
            state_at=Now(),
            sent_at=Now(),
            message_id=mail.message_id,
            error=words,
            transaction=WRITING_TRANSACTION,
        )
    )


def _add(mail: OwnMail, state: State, words: str) -> None:
    """One that is there already stands further on."""
    entry = EmailLogEntry(
        id=mail.id,
        workspace_id=mail.workspace_id,
        table=tables.of_mailboxes(mail.workspace_id, mail.provider),
        connection_id=mail.connection_id,
        to=", ".join(mail.to),
        cc=", ".join(mail.cc),
        bcc=", ".join(mail.bcc),
        sender=mail.sender,
        subject=mail.subject,
        state=state,
        message_id=mail.message_id,
        source=mail.source,
        error=words,
        attachments=mail.attachments,
    )
    EmailLogEntry.objects.bulk_create([entry], ignore_conflicts=True)


def bounced(*, mail_id: uuid.UUID, report_id: uuid.UUID, at: datetime, refused: Mapping[str, str]) -> None:
    """A report that came to the mailbox says so of these recipients, each with the server's words. The caller has made
    sure that the mail was sent to them, and tells subscribers."""
    entry = EmailLogEntry.objects.filter(pk=mail_id).select_related("table").first()
    if entry is not None:
        notices = _notices(entry, report_id, at, refused)
        delivery_events.take(table=entry.table, notices=notices, quietly=True)


def bounced_elsewhere(
    *, workspace_id: uuid.UUID, mail_ids: Iterable[str], report_id: uuid.UUID, at: datetime, refused: Mapping[str, str]
) -> None:
    """A report in somebody's mailbox about a mail the workspace sent through an email provider: by our own id, which
    only who got the mail knows, and of nobody it was not sent to."""
    ids = {found for text in mail_ids if (found := _entry_id(text))}
    if not ids:
        return
    sent = EmailLogEntry.objects.in_workspace(workspace_id).filter(pk__in=ids, table__integration__isnull=False)
    for entry in sent.exclude(state=State.QUEUED).select_related("table"):
        reached = moving.recipients(entry)
        named = {recipient: words for recipient, words in refused.items() if exact(recipient) in reached}
        delivery_events.take(table=entry.table, notices=_notices(entry, report_id, at, named))


def _entry_id(message_id: str) -> uuid.UUID | None:
    """Of an id we put into a header: the entry's id before the sign."""
    try:
        return uuid.UUID(message_id.partition("@")[0])
    except ValueError:
        return None


def _notices(entry: EmailLogEntry, report_id: uuid.UUID, at: datetime, refused: Mapping[str, str]) -> Sequence[Notice]:
    return [
        Notice(
            key=f"report:{report_id}:{exact(recipient)}",
            kind=Told.BOUNCED,
            at=at,
            reference=str(entry.pk),
            recipients=(recipient,),
            words=clean_words(words, MAX_WORDS),
        )
        for recipient, words in refused.items()
    ]
