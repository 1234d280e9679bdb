"""A draft's way to the provider: saved, saved again, removed, each until the provider has it.

Called by `drafts` at once and by the sweeper afterwards. A save is repeatable: each revision has a Message-ID of its
own, by which the provider finds what a lost answer had already stored.
"""

from __future__ import annotations

import logging
import secrets
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.db.models.expressions import CombinedExpression
from django.db.models.functions import Now

from core.errors import (
    CursorExpired,
    HubError,
    NeedsReauth,
    ProviderAuthError,
    ProviderRateLimited,
    ProviderUnavailable,
    RemoteChanged,
    RemoteMissing,
    ServiceBusy,
)
from core.redaction import clean_words
from core.work import backoff_seconds, sane_wait
from email_sync.addresses import domain_of
from email_sync.composing import OutgoingAttachment
from email_sync.models import Draft, Message
from email_sync.providers.base import MailProvider
from email_sync.records import DRAFTS, OutgoingMail, RemoteState, Stream
from email_sync.scope import UNSAVED_PREFIX
from email_sync.services import fetching, sending, store, threads
from email_sync.services.accounts import with_mailbox
from email_sync.services.draft_refreshing import DraftConflict, Present, look, take
from email_sync.services.locking import one_writer
from email_sync.services.sending import Ancestry, Letter
from integrations.models import Connection, SyncCursor
from integrations.services import schedule

logger = logging.getLogger("patchbay.send")

LOCAL = "draft"
"""The stream of what no provider has yet: no sync compares it with anything."""
UNSAVED = UNSAVED_PREFIX
"""How the remote id of such a message begins."""
LEASE_SECONDS = 180
MAX_ATTEMPTS = 40
"""With waits of up to an hour more than a day; then it says so and waits for its user."""
ELSEWHERE = "This draft was changed, sent or removed elsewhere."
PASSING = (ProviderUnavailable, ProviderRateLimited, ServiceBusy, ProviderAuthError, NeedsReauth)


def lease() -> CombinedExpression:
    """Somebody is at work on it until then."""
    return Now() + timedelta(seconds=LEASE_SECONDS)


def ancestry(draft: Draft) -> Ancestry:
    """What it answers."""
    return Ancestry(draft.in_reply_to, draft.references, draft.parent)


def compose(
    connection: Connection,
    content: Mapping[str, Any],
    files: Sequence[OutgoingAttachment],
    ancestry: Ancestry,
    message_id: str = "",
) -> OutgoingMail:
    """The draft's bytes; without recipients if there are none yet."""
    letter = Letter(**{"to": [], "subject": "", "body": "", **content}, attachments=files)
    own_id = message_id or f"{secrets.token_hex(16)}@{domain_of(connection.account_email)}"
    return sending.compose(connection, letter, ancestry, message_id=own_id, draft=True)


# --- one step -----------------------------------------------------------------------------------------------------


def save(draft: Draft, *, alone: bool = False, seen: str = "") -> None:
    """One attempt, under the draft's lease. With `alone` a draft that is gone at the provider, or says something else
    there, is a Conflict, with the present one; without, its content is kept as a draft beside whatever replaced it.
    `seen` is the Message-ID the draft had before this revision, under which another client may have it still."""
    message = Message.objects.select_related("connection").get(pk=draft.pk)
    files = [
        OutgoingAttachment(file.file_name, file.content_type, bytes(file.content), file.content_id)
        for file in draft.files.all()
    ]
    mail = compose(message.connection, draft.content, files, ancestry(draft), draft.mail_id)
    place = _Place(message, draft.remote_version)
    found = _attempt(draft, lambda: with_mailbox(message.connection, lambda box: place.save(box, mail, alone)))
    if isinstance(found, Saved):
        _follow(draft, message, found)
    elif isinstance(found, Present):
        _take(message, found)
        raise DraftConflict(ELSEWHERE, message)
    elif found is RemoteMissing:
        with transaction.atomic():
            one_writer(message.connection_id)
            bury(message)
            _settled(draft, saved_revision=draft.revision)
        raise gone(message, seen)


@dataclass(frozen=True, slots=True)
class Saved:
    """Where a draft's new content is, and the other one that stays beside it, where there is one."""

    state: RemoteState
    beside: Present | None = None


@dataclass(frozen=True, slots=True)
class _Place:
    """The provider's copy of a draft as it was seen last."""

    message: Message
    version: str

    def save(self, mailbox: MailProvider, mail: OutgoingMail, alone: bool) -> Saved | Present:
        """`Present` is what stands there instead, with `alone`."""
        remote_id = "" if self.message.remote_id.startswith(UNSAVED) else self.message.remote_id
        try:
            return Saved(mailbox.save_draft(mail, remote_id, self.version))
        except RemoteMissing:
            if alone:
                raise
            return Saved(mailbox.save_draft(mail))
        except RemoteChanged:
            present = look(mailbox, self.message.stream, remote_id)
            return present if alone else Saved(mailbox.save_draft(mail), present)

    def delete(self, mailbox: MailProvider) -> Present | None:
        """`Present` is what stands there instead."""
        try:
            mailbox.delete_draft(self.message.remote_id, self.version)
        except RemoteChanged:
            return look(mailbox, self.message.stream, self.message.remote_id)
        return None


def _take(message: Message, present: Present) -> None:
    with transaction.atomic():
        one_writer(message.connection_id)
        take(message, present)


def delete(draft: Draft, *, alone: bool = False) -> None:
    """One attempt to remove the provider's copy. One that is gone there is done; one that says something else than was
    seen here stays a draft, which with `alone` is a Conflict."""
    message = Message.objects.select_related("connection").get(pk=draft.pk)
    if message.remote_id.startswith(UNSAVED):
        done: object = RemoteMissing
    else:
        place = _Place(message, draft.remote_version)
        done = _attempt(draft, lambda: with_mailbox(message.connection, place.delete))
    if isinstance(done, Present):
        _take(message, done)
        if alone:
            raise DraftConflict(ELSEWHERE, message)
    elif done is not False:
        with transaction.atomic():
            one_writer(message.connection_id)
            bury(message)
            _settled(draft)


def _attempt(draft: Draft, call: Callable[[], object]) -> object:
    """What the provider answered; the class RemoteMissing where it has no such draft; False where nothing came of it:
    then the row says why, and when it is tried again."""
    try:
        return call()
    except RemoteMissing:
        return RemoteMissing
    except PASSING as error:
        _later(draft, error)
    except HubError as error:
        _later(draft, error, final=True)
    except Exception:  # the boundary: a draft that breaks must not be tried without end
        logger.exception("draft %s broke", draft.pk)
        _later(draft, ProviderUnavailable("The draft could not be stored; the log says why."))
    return False


def _later(draft: Draft, error: HubError, *, final: bool = False) -> None:
    attempts = draft.attempts + 1
    wait = backoff_seconds(attempts)
    if isinstance(error, ProviderRateLimited):
        wait = sane_wait(error.retry_after)
    over = final or attempts >= MAX_ATTEMPTS
    logger.info("draft %s: %s", draft.pk, error.code)
    Draft.objects.filter(pk=draft.pk, revision=draft.revision).update(
        attempts=attempts,
        lease_until=None,
        next_attempt_at=None if over else Now() + timedelta(seconds=wait),
        error_code=error.code[:64],
        error_message=clean_words(error.message),
    )


def _follow(draft: Draft, message: Message, saved: Saved) -> None:
    """The message under the id the provider gave its new content. A sync that was quicker has made a row of its own: it
    gives way. What was changed elsewhere meanwhile gets its own row."""
    state, beside = saved.state, [saved.beside.item] if saved.beside else []
    with transaction.atomic():
        one_writer(message.connection_id)
        row = Message.objects.select_for_update(of=("self",)).get(pk=message.pk)
        twins = Message.objects.filter(connection=row.connection_id, remote_id=state.remote_id).exclude(pk=row.pk)
        touched = {row.thread_id, *twins.values_list("thread_id", flat=True)}
        twins.delete()
        store.move_row(row, _stream(row, state), state)
        Message.objects.filter(pk=row.pk).update(**store.state_columns(state))
        threads.recount(touched)
        _settled(draft, saved_revision=draft.revision, remote_version=state.version)
        store.write_page(connection=message.connection, stream=message.stream, messages=beside)


def _stream(row: Message, state: RemoteState) -> str:
    """The stream whose sync will see it."""
    cursors = SyncCursor.objects.filter(connection=row.connection_id, type="email")
    streams = set(cursors.values_list("stream", flat=True))
    found = [folder for folder in (state.stream, *state.folder_ids) if folder in streams]
    return found[0] if found else next(iter(streams)) if len(streams) == 1 else row.stream


def _settled(draft: Draft, **columns: object) -> None:
    """A revision made meanwhile stays due."""
    clear: dict[str, object] = {"attempts": 0, "lease_until": None, "error_code": "", "error_message": ""}
    Draft.objects.filter(pk=draft.pk, revision=draft.revision).update(**clear, next_attempt_at=None, **columns)
    Draft.objects.filter(pk=draft.pk).exclude(revision=draft.revision).update(**columns)


def bury(message: Message) -> None:
    """A tombstone, inside the caller's transaction."""
    store.write_page(connection=message.connection, stream=message.stream, removed=[message.remote_id])


# --- changed elsewhere --------------------------------------------------------------------------------------------


def gone(message: Message, seen: str = "") -> DraftConflict:
    """The draft was changed, sent or removed elsewhere; with the present one where there is one."""
    return DraftConflict(ELSEWHERE, _present(message, {message.message_id, seen} - {""}))


def _present(message: Message, message_ids: set[str]) -> Message | None:
    """What stands in its place: the newest draft of its thread, or with one of these Message-IDs, after a look at what
    is new."""
    try:
        with_mailbox(message.connection, lambda mailbox: _look(message.connection, mailbox))
    except HubError as error:
        logger.info("drafts of connection %s: %s", message.connection_id, error.message)
    schedule.soon(connection=message.connection, type="email")
    same = Q(thread=message.thread_id) | Q(message_id__in=message_ids)
    rows = Message.objects.present().filter(same, connection=message.connection_id, in_drafts=True)
    return rows.exclude(pk=message.pk).order_by("-received_at", "-id").first()


def _look(connection: Connection, mailbox: MailProvider) -> None:
    """The new mail of the stream that drafts are in, without moving its cursor: the next sync sees it again."""
    streams = mailbox.streams(mailbox.folders())
    for stream in [s for s in streams if s.folder is not None and s.folder.role == DRAFTS] or streams[:1]:
        cursor = SyncCursor.objects.filter(connection=connection, type="email", stream=stream.key).first()
        if cursor is not None and not cursor.reconcile:
            _take_new(connection, mailbox, stream, cursor.cursor)


def _take_new(connection: Connection, mailbox: MailProvider, stream: Stream, cursor: str) -> None:
    try:
        page = mailbox.changes(stream, cursor)
        new = [i for i in page.added if i not in store.stored_ids(connection, page.added)][: mailbox.fetch_batch]
        brought = fetching.bring(mailbox, stream, new)
    except CursorExpired:
        return
    with transaction.atomic():
        store.write_page(connection=connection, stream=stream.key, messages=brought.messages)


# --- the sweeper's side -------------------------------------------------------------------------------------------


def take_due(limit: int = 100) -> list[uuid.UUID]:
    """Drafts the provider lacks something of, or whose worker died."""
    due = Q(next_attempt_at__lte=Now(), lease_until__isnull=True) | Q(lease_until__lt=Now())
    return list(Draft.objects.filter(due).order_by("pk").values_list("pk", flat=True)[:limit])


def settle(draft_id: uuid.UUID) -> None:
    """The next step of one draft."""
    due = Q(next_attempt_at__lte=Now(), lease_until__isnull=True) | Q(lease_until__lt=Now())
    with transaction.atomic():
        draft = Draft.objects.select_for_update(skip_locked=True).filter(due, pk=draft_id).first()
        if draft is None:
            return
        Draft.objects.filter(pk=draft.pk).update(lease_until=lease())
    if draft.removing:
        delete(draft)
    elif draft.saved_revision < draft.revision:
        save(draft)
    else:
        _settled(draft)
