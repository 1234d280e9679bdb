"""Drafts that were changed elsewhere under the id they have: taken as they are now, told to whoever saw another one.

Called by `drafts` and `draft_saving` where the provider has another version than was seen here, and by the engine
where it tells that a draft changed. Promised: nothing that was written elsewhere is overwritten, and a revision of ours
that the provider lacks is not undone. Where another content is another remote id, the ordinary sync does all this.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import F, Q, QuerySet

from core.errors import Conflict, RemoteMissing
from email_sync.composing import OutgoingAttachment
from email_sync.models import Draft, DraftFile, Message, Submission, SubmissionStage
from email_sync.models.outgoing import LEAVING
from email_sync.providers.base import MailProvider
from email_sync.records import DRAFTS, RemoteState, Stream
from email_sync.services import fetching, rewriting, store
from email_sync.services.locking import one_writer
from integrations.models import Connection


class DraftConflict(Conflict):
    """409: the draft is not the one that was seen. `present` stands in its place; None where nothing does."""

    def __init__(self, words: str, present: Message | None) -> None:
        self.present = present
        super().__init__(words, extra={"draftId": str(present.pk) if present else None})


@dataclass(frozen=True, slots=True)
class Present:
    """A draft as the provider has it."""

    version: str
    item: store.Incoming
    files: Sequence[bytes]
    """The content of each of its parts that are no text, in the parser's order."""

    def as_attachments(self) -> list[OutgoingAttachment]:
        """Its files as they leave with the next revision."""
        parts = zip(self.item.parsed.attachments, self.files, strict=True)
        return [OutgoingAttachment(it.file_name, it.content_type, content, it.content_id) for it, content in parts]


def look(mailbox: MailProvider, stream: str, remote_id: str) -> Present:
    """RemoteMissing where it is gone. Its version is asked for first: a change in between makes another conflict, never
    a change that nobody saw."""
    version = mailbox.draft_versions([remote_id]).get(remote_id, "")
    found = fetching.bring(mailbox, Stream(stream), [remote_id])
    if found.error is not None:
        raise found.error
    if not found.messages:
        raise RemoteMissing("The draft is no longer there.")
    [item] = found.messages
    return Present(version, item, [mailbox.attachment(remote_id, part.part_id) for part in item.parsed.attachments])


def take(row: Message, present: Present) -> None:
    """The provider's words in place of ours, as the next revision. Inside the caller's transaction, under the mailbox's
    lock. A draft that was going stays."""
    store.write_page(connection=row.connection, stream=row.stream, updated=[present.item.remote.state])
    row.refresh_from_db()
    rewriting.rewrite(row, present.item)
    parsed = present.item.parsed
    draft, _ = Draft.objects.select_for_update().get_or_create(message=row)
    draft.submissions.filter(stage=SubmissionStage.SENT).update(draft=None)  # what left is another mail than this
    draft.files.all().delete()
    add_files(draft, present.as_attachments())
    fresh = Message.objects.select_related("body").get(pk=row.pk)
    Draft.objects.filter(pk=draft.pk).update(
        content=draft.content if fresh.body_withheld else content_of(fresh),
        in_reply_to=next(iter(parsed.in_reply_to), ""),
        references=list(parsed.references),
        revision=F("revision") + 1,
        saved_revision=F("revision") + 1,
        remote_version=present.version,
        mail_id=parsed.message_id,
        removing=False,
        attempts=0,
        lease_until=None,
        next_attempt_at=None,
        error_code="",
        error_message="",
    )


def is_as_stored(row: Message, present: Present) -> bool:
    """Whether a draft that only the provider has written says what is stored of it. `row` with its body and parts."""
    parsed = present.item.parsed
    people = {"to": store.pairs(parsed.to), "cc": store.pairs(parsed.cc), "bcc": store.pairs(parsed.bcc)}
    theirs = (parsed.subject, parsed.sender.email, people, parsed.text, parsed.html)
    parts = sorted((part.file_name, part.size) for part in parsed.attachments)
    ours = (row.subject, row.from_email, row.recipients, row.body.text, row.body.html)
    return theirs == ours and parts == sorted((part.file_name, part.size) for part in row.attachments.all())


# --- during a sync ------------------------------------------------------------------------------------------------


def follow(
    connection: Connection, mailbox: MailProvider, states: Sequence[RemoteState], *, hold: Callable[[], None]
) -> None:
    """Stored drafts among these that say something else by now. One of ours that is still to be saved is left to its
    save, which meets the conflict. `hold` proves the run's fence inside each transaction."""
    drafts = [state.remote_id for state in states if DRAFTS in state.roles]
    if not drafts:
        return
    versions = mailbox.draft_versions(drafts)
    for row in _rows(connection).filter(remote_id__in=list(versions)):
        draft = getattr(row, "draft", None)
        if draft is not None and draft.remote_version in ("", versions[row.remote_id]):
            continue
        try:
            present = look(mailbox, row.stream, row.remote_id)
        except RemoteMissing:
            continue
        if row.body_withheld or (draft is None and is_as_stored(row, present)):
            continue
        with transaction.atomic():
            hold()
            one_writer(connection.pk)
            if _rows(connection).filter(pk=row.pk, remote_id=row.remote_id).exists() and not _is_busy(row):
                take(row, present)


def _is_busy(row: Message) -> bool:
    """It is being saved, removed or sent: whoever does that meets the provider's version."""
    unsaved = Q(lease_until__isnull=False) | Q(saved_revision__lt=F("revision")) | Q(removing=True)
    leaving = Submission.objects.filter(draft=row.pk, stage__in=LEAVING).exclude(stage=SubmissionStage.SENT)
    return leaving.exists() or Draft.objects.filter(unsaved, pk=row.pk).exists()


def _rows(connection: Connection) -> QuerySet[Message]:
    rows = Message.objects.present().filter(connection=connection)
    return rows.select_related("connection", "body", "draft").prefetch_related("attachments")


# --- what a draft says --------------------------------------------------------------------------------------------


def content_of(message: Message) -> dict[str, Any]:
    """What a draft made elsewhere says. Conflict where only its metadata is kept: it would be saved without a text."""
    if message.body_withheld:
        raise Conflict("Only metadata of this mailbox is kept here.", code="metadata_only")
    people = {kind: [_person(*pair) for pair in message.recipients.get(kind) or ()] for kind in ("to", "cc", "bcc")}
    texts = {"subject": message.subject, "body": message.body.text, "body_html": message.body.html}
    return {**people, **texts, "from_email": message.from_email}


def add_files(draft: Draft, files: Sequence[OutgoingAttachment]) -> None:
    """Further files of a draft."""
    DraftFile.objects.bulk_create(
        DraftFile(
            draft=draft,
            file_name=file.file_name,
            content_type=file.content_type[:255],
            content_id=file.content_id,
            size=len(file.content),
            content=file.content,
        )
        for file in files
    )


def _person(name: str, email: str) -> str:
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{quoted}" <{email}>' if name else email
