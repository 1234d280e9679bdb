"""Sending from a user's own mailbox: from what the API was given to a row, and its first attempt.

Called by the API and by `drafts`. The row is written before the provider is called; what follows is `submissions`.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.db import IntegrityError, transaction
from django.db.models.functions import Now
from django.utils import timezone

from core.errors import Conflict, InvalidInput, NeedsReauth, NotConfigured
from email_sync import composing
from email_sync.models import Draft, Message, Submission, SubmissionStage, Thread
from email_sync.models.outgoing import LEAVING
from email_sync.providers import MAIL_PROVIDERS
from email_sync.records import OutgoingMail
from email_sync.services import aliases, enclosing, forwarding, submissions
from integrations.models import Connection
from workspaces.services import audit

if TYPE_CHECKING:
    from workspaces.models import User, Workspace

KEY_HOURS = 24
"""How long an idempotency key means the same mail: as long as `workspaces.idempotency` promises."""
FURTHEST = timedelta(days=366)


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail as the API gives it, checked by the serializer."""

    to: Sequence[str]
    subject: str
    body: str
    body_html: str = ""
    cc: Sequence[str] = ()
    bcc: Sequence[str] = ()
    files: Sequence[enclosing.File] = field(default=())
    """What goes along as the caller names it; `send` adds it to `attachments`."""
    attachments: Sequence[composing.OutgoingAttachment] = field(default=())
    connection_id: uuid.UUID | None = None
    from_email: str = ""
    reply_to_id: uuid.UUID | None = None
    forward_of_id: uuid.UUID | None = None
    include_original: bool = True
    """Of a forward: put the original's words under one's own."""
    send_at: datetime | None = None
    undo_seconds: int = 0
    entity_type: str = ""
    entity_id: str = ""
    source: str = ""
    idempotency_key: str = ""

    @property
    def leaves_at(self) -> datetime | None:
        """When it is to leave; None: at once."""
        now = timezone.now()
        moment = max(self.send_at or now, now + timedelta(seconds=self.undo_seconds))
        return moment if moment > now + timedelta(milliseconds=100) else None


@dataclass(frozen=True, slots=True)
class Ancestry:
    """What a mail refers to. `parent` is the mail answered or passed on, where it is still stored."""

    in_reply_to: str = ""
    references: Sequence[str] = ()
    parent: Message | None = None


def send(*, user: User, workspace: Workspace, letter: Letter, by: User) -> Submission:
    """Compose, store, hand over. The submission tells what came of it; a mail refused at once is `failed` with the
    provider's words. InvalidInput for addresses and headers, NotConfigured where no mailbox can send, TooLarge,
    DocumentUnusable."""
    parent = find_parent(user, workspace, letter)
    connection = sender(user, workspace, letter.connection_id, parent)
    if letter.reply_to_id and parent and parent.connection_id != connection.pk:
        raise InvalidInput(fields={"replyToId": ["This email is in another mailbox than connectionId."]})
    if letter.send_at is not None and letter.send_at > timezone.now() + FURTHEST:
        raise InvalidInput(fields={"sendAt": ["At most a year ahead."]})
    if (before := earlier(connection, letter.idempotency_key)) is not None:
        return before
    letter = replace(letter, attachments=[*letter.attachments, *with_bytes(connection, letter.files)])
    if parent is not None and letter.forward_of_id is not None:
        letter = _forwarded(letter, parent, connection)
    elif parent is not None:
        letter = replace(letter, subject=composing.reply_subject(letter.subject, parent.subject))
    return hand_in(connection=connection, letter=letter, ancestry=ancestry(parent), by=by)


def hand_in(
    *, connection: Connection, letter: Letter, ancestry: Ancestry, by: User, draft: Draft | None = None
) -> Submission:
    """The row, and its first attempt unless its time is later."""
    mail = compose(connection, letter, ancestry)
    try:
        submission = _create(connection, letter, ancestry, mail, by=by, draft=draft)
    except IntegrityError:
        if (twin := earlier(connection, letter.idempotency_key)) is not None:
            return twin  # the same request came twice at once
        if draft is not None and draft.submissions.filter(stage__in=LEAVING).exists():
            raise Conflict("This draft is being sent already.", code="sending") from None
        raise
    return submission if submission.stage == SubmissionStage.SCHEDULED else submissions.attempt(submission)


def _create(
    connection: Connection,
    letter: Letter,
    ancestry: Ancestry,
    mail: OutgoingMail,
    *,
    by: User,
    draft: Draft | None,
) -> Submission:
    """The row, under the lease of its first attempt, or waiting for its time. IntegrityError where the key or the draft
    has one already."""
    leaves_at = letter.leaves_at
    lease = Now() + timedelta(seconds=submissions.LEASE_SECONDS)
    with transaction.atomic():
        submission = Submission.objects.create(
            connection=connection,
            idempotency_key=letter.idempotency_key,
            stage=SubmissionStage.SCHEDULED if leaves_at else SubmissionStage.SENDING,
            message_id=mail.message_id,
            sender=mail.sender,
            recipients=list(mail.recipients),
            to=list(mail.to),
            cc=list(mail.cc),
            bcc=list(mail.bcc),
            attachment_count=len(letter.attachments),
            subject=letter.subject,
            mime=mail.mime,
            thread=_thread_parent(ancestry, connection),
            send_at=leaves_at,
            next_attempt_at=leaves_at,
            attempts=0 if leaves_at else 1,
            lease_until=None if leaves_at else lease,
            entity_type=letter.entity_type,
            entity_id=letter.entity_id,
            source=letter.source,
            draft=draft,
        )
        audit.record(by=by, workspace=connection.workspace, action="email.send", target=submission)
    return submission


def _thread_parent(ancestry: Ancestry, connection: Connection) -> Thread | None:
    """The thread of the mail it refers to, where both are in one mailbox."""
    parent = ancestry.parent
    return parent.thread if parent is not None and parent.connection_id == connection.pk else None


def earlier(connection: Connection, key: str) -> Submission | None:
    """The same request came before and its answer was lost with our process: its row says what became of it. A key
    that is older than keys last is given free: another mail may use it."""
    if not key:
        return None
    same = Submission.objects.filter(connection=connection, idempotency_key=key)
    same.filter(created_at__lt=Now() - timedelta(hours=KEY_HOURS)).update(idempotency_key="")
    return same.first()


# --- what it is made of -------------------------------------------------------------------------------------------


def find_parent(user: User, workspace: Workspace, letter: Letter) -> Message | None:
    """The mail that is answered or passed on, of the caller's own."""
    if letter.reply_to_id is not None and letter.forward_of_id is not None:
        raise InvalidInput(fields={"forwardOfId": ["A mail answers one or passes one on, not both."]})
    wanted = letter.reply_to_id or letter.forward_of_id
    if wanted is None:
        return None
    own = Message.objects.of(user=user, workspace=workspace)
    return own.select_related("body", "thread", "connection").find(wanted)


def sender(
    user: User, workspace: Workspace, connection_id: uuid.UUID | None, parent: Message | None = None
) -> Connection:
    """The asked-for connection, else the one the answered mail is in, else the oldest that can send."""
    own = Connection.objects.of(user=user, workspace=workspace).connected()
    if connection_id is not None:
        connection = own.find(connection_id)
    elif parent is not None:
        connection = own.find(parent.connection_id)
    else:
        found = own.filter(provider__in=list(MAIL_PROVIDERS)).order_by("needs_reauth", "created_at").first()
        if found is None:
            raise NotConfigured("Connect a mailbox first.")
        connection = found
    if connection.provider not in MAIL_PROVIDERS:
        raise NotConfigured("This connection cannot send mail.")
    if connection.needs_reauth:
        raise NeedsReauth()
    return connection


def with_bytes(connection: Connection, files: Sequence[enclosing.File]) -> list[composing.OutgoingAttachment]:
    """What goes along, with what is a document of the workspace read."""
    limit = MAIL_PROVIDERS.get(connection.provider).max_mail_bytes
    return enclosing.opened(files, workspace=connection.workspace, limit=limit)


def ancestry(parent: Message | None) -> Ancestry:
    """What an answer to this mail, or a copy passed on, refers to."""
    if parent is None:
        return Ancestry()
    references = composing.reply_references(parent.body.references, parent.body.in_reply_to)
    return Ancestry(parent.message_id, references, parent)


def _forwarded(letter: Letter, original: Message, connection: Connection) -> Letter:
    files = forwarding.attachments(original, limit=MAIL_PROVIDERS.get(connection.provider).max_mail_bytes)
    subject = composing.forward_subject(letter.subject, original.subject)
    letter = replace(letter, subject=subject, attachments=[*files, *letter.attachments])
    if letter.include_original:
        body = forwarding.body(original, letter.body, letter.body_html)
        letter = replace(letter, body=body.text, body_html=body.html)
    return letter


def compose(
    connection: Connection, letter: Letter, ancestry: Ancestry, *, message_id: str = "", draft: bool = False
) -> OutgoingMail:
    """The mail's bytes and envelope, from the mailbox's own address or one of its aliases."""
    thread = ancestry.parent.thread if ancestry.parent and ancestry.parent.connection_id == connection.pk else None
    return composing.compose(
        sender=aliases.sender(connection, letter.from_email),
        to=letter.to,
        cc=letter.cc,
        bcc=letter.bcc,
        subject=letter.subject,
        text=letter.body,
        html=letter.body_html,
        attachments=letter.attachments,
        in_reply_to=ancestry.in_reply_to,
        references=ancestry.references,
        thread_remote_id=thread.remote_id if thread else "",
        message_id=message_id,
        max_bytes=MAIL_PROVIDERS.get(connection.provider).max_mail_bytes,
        draft=draft,
    )
