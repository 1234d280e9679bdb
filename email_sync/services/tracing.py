"""Why a mail is here, or is not: what is known of one Message-ID in each of the caller's mailboxes.

Called by the view. Answers from rows; with `live` the provider is asked as well. Every finding is a code for programs
and a sentence for the person who helps the user; `certain` says whether it explains the mail or only may.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from core.errors import HubError
from email_sync import threading
from email_sync.models import Excluded, Folder, Message, Unfetched
from email_sync.scope import AGE, ALL, BLOCKED, FOLDER, is_imported
from email_sync.services import linking, scoping
from email_sync.services.accounts import with_mailbox
from email_sync.services.linking import LinkedEntity
from integrations.models import Connection, SyncCursor, Visibility
from workspaces.models import User, Workspace

MAX_COPIES = 20


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that explains the mail's fate, or may."""

    code: str
    message: str
    certain: bool = True
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Copy:
    """One row of the mail."""

    message: Message
    folders: list[str]
    """Names, as the provider has them; roles where it has none."""
    entities: list[LinkedEntity]


@dataclass(slots=True)
class MailboxTrace:
    """What is known in one mailbox. `copies` first that are there, then removed ones."""

    connection: Connection
    copies: list[Copy] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    seen_by: Finding | None = None
    live: Finding | None = None

    @property
    def stored(self) -> bool:
        return any(copy.message.removed_at is None for copy in self.copies)


def trace(*, user: User, workspace: Workspace, message_id: str, live: bool) -> list[MailboxTrace]:
    """Every mailbox of the caller, oldest first."""
    wanted = message_id.strip().removeprefix("<").removesuffix(">")
    own = Connection.objects.of(user=user, workspace=workspace)
    return [_of_mailbox(connection, wanted, live) for connection in own.order_by("created_at", "id")]


def _of_mailbox(connection: Connection, message_id: str, live: bool) -> MailboxTrace:
    found = MailboxTrace(connection)
    rows = Message.objects.filter(connection=connection, message_id=message_id).order_by("removed_at", "id")
    found.copies = _copies(connection, list(rows[:MAX_COPIES]))
    if found.stored:
        found.findings = [_stored(copy.message) for copy in found.copies if copy.message.removed_at is None]
        found.seen_by = _visible(connection, any(copy.entities for copy in found.copies))
    else:
        certain = [*_removed(found.copies), *_kept_out(connection, message_id)]
        found.findings = certain or list(_absent(connection))
    if live:
        found.live = _ask(connection, message_id)
    return found


# --- where it is --------------------------------------------------------------------------------------------------


def _copies(connection: Connection, rows: Sequence[Message]) -> list[Copy]:
    folder_ids = {folder_id for row in rows for folder_id in row.folder_ids}
    known = Folder.objects.filter(connection=connection, remote_id__in=folder_ids)
    names: Mapping[str, str] = dict(known.values_list("remote_id", "name"))
    entities = linking.entities_of(workspace_id=connection.workspace_id, thread_ids={row.thread_id for row in rows})
    return [
        Copy(row, [names[i] for i in row.folder_ids if i in names] or row.folders, entities.get(row.thread_id, []))
        for row in rows
    ]


def _stored(message: Message) -> Finding:
    how = "imported from a file" if is_imported(message.remote_id) else "stored by the sync"
    words = f"It is here, {how} on {_day(message.created_at)}."
    if message.body_withheld:
        words += " Only its metadata is kept, as the user wishes."
    if message.defect:
        words += f" It could not be read whole: {message.defect}"
    return Finding("imported" if is_imported(message.remote_id) else "stored", words, at=message.created_at)


def _visible(connection: Connection, linked: bool) -> Finding:
    if connection.visibility == Visibility.PRIVATE:
        return Finding("private", "Nobody but the mailbox's user sees it: the mailbox is private.")
    if not linked:
        words = "Nobody but the mailbox's user sees it: its conversation is linked to no entity."
        return Finding("not_linked", words)
    if connection.visibility == Visibility.METADATA:
        words = "Colleagues see on the timeline of its entities who wrote, when, and the subject, but no text."
        return Finding("metadata", words)
    return Finding("full", "Colleagues see it whole on the timeline of its entities.")


# --- why it is not ------------------------------------------------------------------------------------------------

_CAUSES = {
    "deleted": "the provider said that it was deleted there, or moved to a folder that is not synced",
    "absent": "it was missing from a complete listing of the mailbox",
}
_KEPT_OUT = {
    FOLDER: "It is in a folder that is not synced",
    AGE: "It is older than the user wants mail to be synced",
    BLOCKED: "It is from or to somebody on the mailbox's blocklist",
}


def _removed(copies: Sequence[Copy]) -> Iterator[Finding]:
    for message in (copy.message for copy in copies):
        cause = _CAUSES.get(message.removed_cause, message.removed_cause)
        words = f"It was here from {_day(message.created_at)} and was removed on {_day(message.removed_at)}: {cause}."
        yield Finding(f"removed_{message.removed_cause}", words, at=message.removed_at)


def _kept_out(connection: Connection, message_id: str) -> Iterator[Finding]:
    for row in Excluded.objects.filter(connection=connection, key=threading.message_id_key(message_id)):
        rule = f" ({row.rule})" if row.rule else ""
        words = f"The provider has it, and it is kept out by the mailbox's scope. {_KEPT_OUT[row.reason]}{rule}."
        yield Finding(f"excluded_{row.reason}", words, at=row.created_at)


def _absent(connection: Connection) -> Iterator[Finding]:
    """Nothing is known of it: what may be the reason, the likeliest first."""
    yield from _not_syncing(connection)
    yield from _unfinished(connection)
    scope = scoping.of(connection)
    if scope.folder_rule != ALL:
        yield Finding("folders_not_synced", "Some folders of this mailbox are not synced; it may be in one.", False)
    if scope.since is not None:
        words = f"Mail received before {_day(scope.since)} is not synced; it may be older."
        yield Finding("before_horizon", words, False, scope.since)
    if connection.last_synced_at is None:
        yield Finding("never_synced", "This mailbox has not finished a sync yet.", False)
    else:
        when = _day(connection.last_synced_at)
        words = f"The provider had not shown such a message when the mailbox was last synced, {when}."
        yield Finding("never_seen", words, False, connection.last_synced_at)


def _not_syncing(connection: Connection) -> Iterator[Finding]:
    if connection.disconnected_at is not None:
        words = f"The account was disconnected on {_day(connection.disconnected_at)}; nothing has come since."
        yield Finding("disconnected", words, False, connection.disconnected_at)
    elif connection.needs_reauth:
        words = f"The provider no longer lets us in ({connection.last_error_message}) Its user has to connect again."
        yield Finding("needs_reauth", words, False, connection.last_error_at)
    elif connection.paused or not connection.sync_email:
        yield Finding("paused", "The sync of this mailbox is paused or switched off.", False)
    elif connection.last_error_code:
        words = f"The last sync failed: {connection.last_error_message}"
        yield Finding("failing", words, False, connection.last_error_at)


def _unfinished(connection: Connection) -> Iterator[Finding]:
    cursors = list(SyncCursor.objects.filter(connection=connection, type="email").order_by("id"))
    waiting = [cursor for cursor in cursors if not cursor.backfill_done]
    if waiting:
        done = sum(cursor.listed for cursor in cursors)
        total = sum(max(cursor.total or 0, cursor.listed) for cursor in cursors)
        words = f"The first sync is under way and may not have reached it: {done} of {total} messages."
        yield Finding("not_reached", words, False)
    names = dict(Folder.objects.filter(connection=connection).values_list("remote_id", "name"))
    for cursor in cursors:
        name = names.get(cursor.stream, cursor.stream)
        if cursor.last_error:
            yield Finding("folder_refused", f"The folder {name} does not sync: {cursor.last_error}", False)
        if cursor.reconcile:
            yield Finding("folder_compared", f"The folder {name} is about to be compared as a whole.", False)
    set_aside = Unfetched.objects.filter(connection=connection).count()
    if set_aside:
        words = f"{set_aside} messages are listed by the provider but could not be fetched; it may be one of them."
        yield Finding("unfetched", words, False)


# --- asking the provider ------------------------------------------------------------------------------------------


def _ask(connection: Connection, message_id: str) -> Finding:
    """What the provider says now. Its refusal is an answer too."""
    try:
        remote_ids = with_mailbox(connection, lambda mailbox: mailbox.find(message_id))
    except HubError as error:
        return Finding("not_asked", f"The provider could not be asked: {error.message}", False)
    if not remote_ids:
        return Finding("not_at_provider", "The provider finds no such message.")
    here = Message.objects.present().filter(connection=connection, remote_id__in=remote_ids).count()
    words = f"The provider has {len(remote_ids)} of it now; {here} of them are here."
    return Finding("at_provider" if here == len(remote_ids) else "missing_here", words)


def _day(moment: datetime | None) -> str:
    return "an unknown day" if moment is None else f"{moment:%Y-%m-%d %H:%M} UTC"
