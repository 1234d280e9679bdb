"""Drafts, written through: what is changed here is changed at the provider, and what is not yet there is told.

Called by the API. A draft is a message of the mailbox, made here or elsewhere; what was made here is its `Draft`
row and reaches the provider by `draft_saving`. One that was changed elsewhere meanwhile is a Conflict, with the
present one.
Sending one goes the way of every mail (`sending`), once.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.db.models import Exists, OuterRef, Prefetch, Q, QuerySet
from django.utils import timezone

from core.errors import Conflict, InvalidInput, NotFound, RemoteMissing
from core.ids import oldest_kept
from email_sync.composing import OutgoingAttachment
from email_sync.models import Draft, DraftFile, Message, Submission, SubmissionStage
from email_sync.records import DRAFTS, OutgoingMail, RemoteMessage, RemoteState
from email_sync.services import draft_refreshing, draft_saving, fetching, rewriting, sending, store
from email_sync.services.accounts import with_mailbox
from email_sync.services.draft_refreshing import DraftConflict, Present, look
from email_sync.services.draft_saving import LOCAL, UNSAVED
from email_sync.services.enclosing import File
from email_sync.services.locking import one_writer
from email_sync.services.sending import Letter
from integrations.models import Connection
from workspaces.services import audit

if TYPE_CHECKING:
    from workspaces.models import User, Workspace

FIELDS = ("to", "cc", "bcc", "subject", "body", "body_html", "from_email")
"""What a draft says, as `Letter` names it."""
LEAVING_NOW = (SubmissionStage.SCHEDULED, SubmissionStage.SENDING, SubmissionStage.UNCONFIRMED)


@dataclass(frozen=True, slots=True)
class Changes:
    """What a request changes; what is not in `fields` stays."""

    fields: Mapping[str, Any]
    files: Sequence[File] = field(default=())
    """New files. Of a document the draft keeps a copy."""
    kept: Sequence[uuid.UUID] | None = None
    """Which of the present files stay; None: all."""
    revision: int | None = None
    """The revision the caller saw; None: whatever there is."""

    @property
    def are_none(self) -> bool:
        """Whether the request says nothing at all."""
        return not self.fields and not self.files and self.kept is None and self.revision is None


# --- reading ------------------------------------------------------------------------------------------------------


def of(*, user: User, workspace: Workspace) -> QuerySet[Message]:
    """The caller's drafts, newest first."""
    return _with_rows(Message.objects.of(user=user, workspace=workspace).present().filter(in_drafts=True))


def find(*, user: User, workspace: Workspace, draft_id: object) -> Message:
    """One of the caller's drafts. One that was made here is found also after it went elsewhere, so that the caller can
    be told. NotFound for anything else."""
    own = Message.objects.of(user=user, workspace=workspace)
    made_here = Q(draft__isnull=False, draft__removing=False)
    message = _with_rows(own.filter(Q(in_drafts=True, removed_at__isnull=True) | made_here)).find(draft_id)
    if getattr(message, "draft", None) is not None and message.draft.removing:
        raise NotFound
    return message


def _with_rows(rows: QuerySet[Message]) -> Any:
    """What a draft is shown with, in three queries; no file's bytes are read for it."""
    files = Prefetch("draft__files", DraftFile.objects.defer("content"))
    leaving = Submission.objects.filter(draft=OuterRef("pk"), stage__in=LEAVING_NOW)
    shown = rows.select_related("connection", "body", "draft").prefetch_related("attachments", files)
    return shown.annotate(is_leaving=Exists(leaving)).exclude(draft__removing=True).order_by("-received_at", "-id")


# --- writing ------------------------------------------------------------------------------------------------------


def create(
    *,
    user: User,
    workspace: Workspace,
    changes: Changes,
    connection_id: uuid.UUID | None = None,
    reply_to_id: uuid.UUID | None = None,
    idempotency_key: str = "",
    by: User,
) -> Message:
    """A new draft: here at once, at the provider now or as soon as it answers. The one that an earlier request with
    this key made, where its answer was lost with our process."""
    parent = sending.find_parent(user, workspace, Letter((), "", "", reply_to_id=reply_to_id))
    connection = sending.sender(user, workspace, connection_id, parent)
    content = {name: changes.fields[name] for name in FIELDS if name in changes.fields}
    ancestry = sending.ancestry(parent)
    files = sending.with_bytes(connection, changes.files)
    mail = draft_saving.compose(connection, content, files, ancestry)
    with transaction.atomic():
        one_writer(connection.pk)
        if (before := _earlier(connection, idempotency_key)) is not None:
            return find(user=user, workspace=workspace, draft_id=before.pk)
        message = _store(connection, mail, parent)
        draft = Draft.objects.create(
            message=message,
            content=content,
            parent=parent,
            in_reply_to=ancestry.in_reply_to,
            references=list(ancestry.references),
            mail_id=mail.message_id,
            idempotency_key=idempotency_key,
            lease_until=draft_saving.lease(),
        )
        draft_refreshing.add_files(draft, files)
        audit.record(by=by, workspace=workspace, action="email.draft.create", target=draft)
    draft_saving.save(draft)
    return find(user=user, workspace=workspace, draft_id=message.pk)


def _earlier(connection: Connection, key: str) -> Draft | None:
    """Asked under the mailbox's lock, so twins make one. A key lasts as long as one of a send."""
    made = Draft.objects.filter(message__connection=connection, idempotency_key=key, removing=False)
    return made.filter(pk__gte=oldest_kept(sending.KEY_HOURS // 24)).first() if key else None


def _store(connection: Connection, mail: OutgoingMail, parent: Message | None) -> Message:
    """The message, under a remote id of our own until the provider gives it one. No sync looks at its stream."""
    state = RemoteState(f"{UNSAVED}{uuid.uuid4()}", (), frozenset({DRAFTS}), is_read=True, is_starred=False)
    same_mailbox = parent is not None and parent.connection_id == connection.pk
    thread = parent.thread.remote_id if parent is not None and same_mailbox else ""
    written = store.write_page(connection=connection, stream=LOCAL, messages=[_incoming(state, mail, thread)])
    if not written.new_ids:
        raise Conflict("The mailbox's scope keeps mail with one of these people out.", code="out_of_scope")
    return Message.objects.get(pk=written.new_ids[0])


def _incoming(state: RemoteState, mail: OutgoingMail, thread_remote_id: str = "") -> store.Incoming:
    raw = mail.with_bcc()
    remote = RemoteMessage(state, timezone.now(), len(raw), thread_remote_id=thread_remote_id, raw=raw)
    return fetching.parse_all([remote])[0]


def change(*, message: Message, changes: Changes, by: User) -> Message:
    """Other content. Conflict, with the present draft, where another revision was seen, or where it was changed, sent
    or removed elsewhere; Conflict where it is on its way."""
    if changes.are_none:
        _refuse_unchangeable(message)
        return message
    connection = message.connection
    new = sending.with_bytes(connection, changes.files)
    draft = _own(message, changes.revision)
    content = draft.content | {name: changes.fields[name] for name in FIELDS if name in changes.fields}
    files = [*_kept(draft, changes.kept), *new]
    mail = draft_saving.compose(connection, content, files, draft_saving.ancestry(draft))
    with transaction.atomic():
        one_writer(connection.pk)
        row = Message.objects.select_for_update(of=("self",)).get(pk=message.pk)
        raised = Draft.objects.filter(pk=draft.pk, revision=draft.revision).update(
            content=content,
            revision=draft.revision + 1,
            mail_id=mail.message_id,
            lease_until=draft_saving.lease(),
            attempts=0,
            next_attempt_at=None,
        )
        if not raised:
            raise _changed_here(message)
        if changes.kept is not None:
            draft.files.exclude(pk__in=changes.kept).delete()
        draft_refreshing.add_files(draft, new)
        rewriting.rewrite(row, _incoming(_state_of(row), mail))
        audit.record(by=by, workspace=connection.workspace, action="email.draft.change", target=draft)
    draft.refresh_from_db()
    draft_saving.save(draft, alone=True, seen=message.message_id)
    return _again(message)


def remove(*, message: Message, by: User) -> None:
    """Gone here at once, at the provider now or as soon as it answers. Conflict where it is on its way, and
    where it was changed elsewhere: then it stays."""
    _refuse_leaving(message)
    with transaction.atomic():
        one_writer(message.connection_id)
        draft, _ = Draft.objects.get_or_create(message=message)
        columns = {"removing": True, "attempts": 0, "lease_until": draft_saving.lease(), "next_attempt_at": None}
        Draft.objects.filter(pk=draft.pk).update(**columns)
        draft_saving.bury(message)
        audit.record(by=by, workspace=message.connection.workspace, action="email.draft.remove", target=draft)
    draft.refresh_from_db()
    draft_saving.delete(draft, alone=True)


def send(*, message: Message, leaving: Mapping[str, Any], idempotency_key: str, by: User) -> Submission:
    """Send it; `leaving` are fields of `Letter` (when, for what). Once: while it is on its way, and after, it is no
    draft. Conflict as `change`."""
    connection = message.connection
    if (before := sending.earlier(connection, idempotency_key)) is not None:
        return before
    draft = _own(message, None)
    sending.sender(connection.user, connection.workspace, connection.pk)
    files = [_as_attachment(file) for file in draft.files.all()]
    empty = {"to": [], "subject": "", "body": ""}
    letter = Letter(**empty | draft.content, **leaving, attachments=files, idempotency_key=idempotency_key)
    ancestry = draft_saving.ancestry(draft)
    submission = sending.hand_in(connection=connection, letter=letter, ancestry=ancestry, by=by, draft=draft)
    if submission.stage == SubmissionStage.SENT:
        draft_saving.settle(draft.pk)
    return submission


# --- one that may be changed --------------------------------------------------------------------------------------


def _own(message: Message, revision: int | None) -> Draft:
    """The draft's row, made where it was written elsewhere. Conflict where it cannot be changed."""
    _refuse_unchangeable(message)
    draft = getattr(message, "draft", None) or _adopt(message)
    if revision is not None and revision != draft.revision:
        raise _changed_here(message)
    return draft


def _refuse_unchangeable(message: Message) -> None:
    _refuse_leaving(message)
    if message.removed_at is not None or not message.in_drafts:
        raise draft_saving.gone(message)


def _refuse_leaving(message: Message) -> None:
    if Submission.objects.filter(draft=message.pk, stage__in=LEAVING_NOW).exists():
        raise Conflict("This draft is on its way; cancel the send first.", code="sending")


def _changed_here(message: Message) -> DraftConflict:
    return DraftConflict("This draft was changed meanwhile.", message)


def _adopt(message: Message) -> Draft:
    """The row of a draft made elsewhere, with its files: they come along when its content is replaced. Conflict where
    it says something else there by now than here."""
    content = draft_refreshing.content_of(message)
    try:
        present = with_mailbox(message.connection, lambda box: look(box, message.stream, message.remote_id))
    except RemoteMissing:
        raise draft_saving.gone(message) from None
    with transaction.atomic():
        one_writer(message.connection_id)
        if not present.version or draft_refreshing.is_as_stored(message, present):
            return _made(message, content, present)
        draft_refreshing.take(message, present)
    raise DraftConflict(draft_saving.ELSEWHERE, message)


def _made(message: Message, content: dict[str, Any], present: Present) -> Draft:
    draft, made = Draft.objects.get_or_create(
        message=message,
        defaults={
            "content": content,
            "in_reply_to": next(iter(message.body.in_reply_to), ""),
            "references": message.body.references,
            "saved_revision": 1,
            "remote_version": present.version,
            "mail_id": message.message_id,
        },
    )
    if made:
        draft_refreshing.add_files(draft, present.as_attachments())
    return draft


# --- files --------------------------------------------------------------------------------------------------------


def _kept(draft: Draft, wanted: Sequence[uuid.UUID] | None) -> list[OutgoingAttachment]:
    files = {file.pk: file for file in draft.files.all()}
    if wanted is None:
        return [_as_attachment(file) for file in files.values()]
    if unknown := [str(pk) for pk in wanted if pk not in files]:
        raise InvalidInput(fields={"keepAttachments": [f"The draft has no file {unknown[0]}."]})
    return [_as_attachment(files[pk]) for pk in dict.fromkeys(wanted)]


def _as_attachment(file: DraftFile) -> OutgoingAttachment:
    return OutgoingAttachment(file.file_name, file.content_type, bytes(file.content), file.content_id)


def _state_of(row: Message) -> RemoteState:
    return RemoteState(row.remote_id, tuple(row.folder_ids), frozenset({DRAFTS}), row.is_read, row.is_starred)


def _again(message: Message) -> Message:
    return find(user=message.connection.user, workspace=message.connection.workspace, draft_id=message.pk)


def shown(message: Message) -> Message:
    """A present draft with what it is shown with."""
    found: Message = _with_rows(Message.objects.filter(pk=message.pk)).get()
    return found
