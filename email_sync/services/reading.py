"""Reading mail: pages of a folder or a search, counts, one message, one thread.

Cost follows the page asked for, never the mailbox: a folder is one partial index per mailbox, totals come from the
maintained counters, several mailboxes are read by a union of their newest rows. Everything starts from the caller's own
connections, so nobody reads what is not theirs.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import chain
from typing import TYPE_CHECKING, Any

from django.contrib.postgres.fields import ArrayField
from django.db.models import CharField, Q, QuerySet, Sum
from django.db.models.expressions import RawSQL

from core.api.pagination import Page, PageQuery, decode_cursor, encode_cursor
from core.errors import InvalidInput
from email_sync import search
from email_sync.models import (
    FOLDERS,
    Attachment,
    Bounce,
    ChangeStatus,
    Folder,
    FolderCounter,
    Message,
    MessageBody,
    Thread,
)
from email_sync.records import INBOX, ROLES
from email_sync.services import bounces, indexing
from email_sync.services.linking import entities_of
from email_sync.services.searching import Hit, newest_hits
from integrations.models import Connection

if TYPE_CHECKING:
    from workspaces.models import User, Workspace

Row = dict[str, Any]
"""A message as the lists show it: the columns of LIST_COLUMNS plus `pending`, `folder_name` and `entities`."""

LIST_COLUMNS = (
    "id", "connection_id", "thread_id", "message_id", "subject", "from_name", "from_email", "recipients", "snippet",
    "sent_at", "received_at", "is_read", "is_starred", "has_attachments", "defect", "folder_ids", "body_withheld",
    *(f"in_{role}" for role in ROLES),
)  # fmt: skip
_PENDING = RawSQL(
    "ARRAY(SELECT kind FROM email_sync_localchange "
    "WHERE message_id = email_sync_message.id AND status = %s ORDER BY id)",
    [ChangeStatus.PENDING],
    output_field=ArrayField(CharField()),
)
"""The kinds of a message's changes that the provider has not got yet. In SQL, because every page asks for it and an
expression of Django's is built anew each time."""
THREAD_LIMIT = 500
"""A thread answers with at most its newest so many messages."""


@dataclass(frozen=True, slots=True)
class InboxQuery:
    """What `email/inbox` was asked for, checked by the serializer."""

    folder: str = INBOX
    q: str = ""
    unread: bool = False
    """Unread only; False lists everything (seed document)."""
    connection_id: uuid.UUID | None = None
    paging: PageQuery = field(default_factory=PageQuery)


def inbox(*, user: User, workspace: Workspace, query: InboxQuery) -> Page[Row]:
    """A page of a folder or a search, newest first. InvalidInput for a malformed q or cursor."""
    parsed = search.parse_query(query.q)
    folder = parsed.folder or query.folder
    own = _own(user, workspace, query.connection_id)
    counters = [] if query.q else list(FolderCounter.objects.filter(connection__in=own, role=folder))
    wanted = _Wanted(
        # A folder without a counter is empty, so that one query says where to read and how much there is.
        mailboxes=_ids(own) if query.q else [counter.connection_id for counter in counters],
        parsed=parsed,
        within=FOLDERS[folder] & _dates(parsed),
        flags=_flags(parsed) & (Q(is_read=False) if query.unread else Q()),
    )
    limit = query.paging.limit
    if parsed.terms:
        rows, total, exact = _search(wanted, query.paging)
    else:
        rows = _read(wanted, query.paging)
        total, exact = _counted(wanted, query.paging) if query.q else (_sum(counters, unread=query.unread), True)
    more = len(rows) > limit
    rows = rows[:limit]
    following = encode_cursor([rows[-1]["received_at"].isoformat(), str(rows[-1]["id"])]) if more else None
    return Page(rows=_completed(rows, workspace.pk), total=total, next_cursor=following, total_is_exact=exact)


def search_is_complete(*, user: User, workspace: Workspace, query: InboxQuery) -> bool:
    """Whether every message could be found: False while mail of a first sync waits to be indexed, and q has words."""
    if not query.q or not search.parse_query(query.q).terms:
        return True
    return not indexing.is_waiting(_ids(_own(user, workspace, query.connection_id)))


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is asked for, as the database understands it."""

    mailboxes: Sequence[uuid.UUID]
    parsed: search.Query
    within: Q
    """The folder and bounds of the receiving time: what the folder's page index answers."""
    flags: Q

    def rows(self, mailbox: uuid.UUID) -> QuerySet[Message]:
        return Message.objects.filter(self.within & self.flags, connection_id=mailbox)

    def following(self, paging: PageQuery) -> _Wanted:
        """The same after the cursor, if there is one."""
        return replace(self, within=self.within & _after(paging.cursor)) if paging.cursor else self


def _own(user: User, workspace: Workspace, connection_id: uuid.UUID | None) -> QuerySet[Connection]:
    """The caller's mailboxes, or the one asked for: a foreign one is simply not there."""
    own = Connection.objects.of(user=user, workspace=workspace)
    return own if connection_id is None else own.filter(pk=own.find(connection_id).pk)


def _ids(own: QuerySet[Connection]) -> list[uuid.UUID]:
    return list(own.order_by("id").values_list("pk", flat=True))


def _dates(parsed: search.Query) -> Q:
    condition = Q()
    if parsed.before is not None:
        condition &= Q(received_at__lt=parsed.before)
    if parsed.after is not None:
        condition &= Q(received_at__gte=parsed.after)
    return condition


def _flags(parsed: search.Query) -> Q:
    """The operators of a search that are columns, not words."""
    columns = ("has_attachments", "is_read", "is_starred")
    return Q(**{column: value for column in columns if (value := getattr(parsed, column)) is not None})


def _bounds(paging: PageQuery) -> tuple[int, int]:
    """Where the page begins and ends: one row more than it has, so that the caller knows whether to go on."""
    offset = 0 if paging.cursor else (paging.page - 1) * paging.limit
    return offset, offset + paging.limit + 1


def _read(wanted: _Wanted, paging: PageQuery) -> list[Row]:
    offset, end = _bounds(paging)
    after = wanted.following(paging)
    pages = [_shown(after.rows(mailbox)) for mailbox in after.mailboxes]
    if not pages:
        return []
    if len(pages) == 1:
        return list(pages[0][offset:end])
    first, *rest = [page[:end] for page in pages]
    return list(first.union(*rest, all=True).order_by("-received_at", "-id")[offset:end])


def _shown(rows: QuerySet[Message]) -> QuerySet[Message, Row]:
    return rows.annotate(pending=_PENDING).order_by("-received_at", "-id").values(*LIST_COLUMNS, "pending")


def _search(wanted: _Wanted, paging: PageQuery) -> tuple[list[Row], int, bool]:
    """The rows of a page, how many there are in all and whether that is exact: nobody counts further than the page."""
    offset, end = _bounds(paging)
    counted = hits = _hits(wanted, end)
    if paging.cursor:
        hits = _hits(wanted.following(paging), end)
    shown = _shown(Message.objects.filter(pk__in=[hit.message_id for hit in hits[offset:end]]))
    return list(shown), len(counted), len(counted) < end


def _hits(wanted: _Wanted, count: int) -> list[Hit]:
    found = (newest_hits(m, wanted.parsed, wanted.within, wanted.flags, count) for m in wanted.mailboxes)
    return sorted(chain.from_iterable(found), reverse=True)[:count]


def _after(cursor: str) -> Q:
    """Keyset in the form PostgreSQL turns into one index range (reference ecosystem 4.3)."""
    try:
        moment, message_id = decode_cursor(cursor)
        received_at, pk = datetime.fromisoformat(str(moment)), uuid.UUID(str(message_id))
        if received_at.utcoffset() != timedelta():  # ours are in UTC; others may be out of PostgreSQL's range
            raise ValueError
    except (TypeError, ValueError):
        raise InvalidInput(fields={"cursor": ["This cursor is not one of ours."]}) from None
    return Q(received_at__lte=received_at) & ~Q(received_at=received_at, id__gte=pk)


def _sum(counters: Sequence[FolderCounter], *, unread: bool) -> int:
    return sum(counter.unread if unread else counter.total for counter in counters)


def _counted(wanted: _Wanted, paging: PageQuery) -> tuple[int, bool]:
    """With filters: counted as far as the page goes, and whether that is all."""
    _, end = _bounds(paging)
    counted = sum(wanted.rows(mailbox)[:end].count() for mailbox in wanted.mailboxes)
    return min(counted, end), counted < end


def folder_counts(*, user: User, workspace: Workspace) -> dict[str, dict[str, int]]:
    """Total and unread of every folder, over the caller's mailboxes."""
    rows = FolderCounter.objects.filter(connection__in=_own(user, workspace, None)).values("role")
    sums = rows.annotate(all_total=Sum("total"), all_unread=Sum("unread")).order_by("role")
    figures = {row["role"]: {"total": row["all_total"], "unread": row["all_unread"]} for row in sums}
    return {folder: figures.get(folder, {"total": 0, "unread": 0}) for folder in FOLDERS}


def _completed(rows: Sequence[Row], workspace_id: uuid.UUID) -> list[Row]:
    """With their folders' names and the CRM entities of their conversations: so many queries for a page as for one."""
    entities = entities_of(workspace_id=workspace_id, thread_ids=[row["thread_id"] for row in rows])
    for row in rows:
        row["entities"] = entities.get(row["thread_id"], [])
    return _named(rows)


def _named(rows: Sequence[Row]) -> list[Row]:
    """A message in no folder with a role is shown under its own folder's name; one query, only where there is one."""
    roleless = {(row["connection_id"], folder_id) for row in rows if not _roles(row) for folder_id in row["folder_ids"]}
    names: dict[tuple[uuid.UUID, str], str] = {}
    if roleless:
        found = Folder.objects.filter(
            connection__in={connection for connection, _ in roleless}, remote_id__in={folder for _, folder in roleless}
        )
        names = {(row.connection_id, row.remote_id): row.name for row in found}
    for row in rows:
        own = [names[key] for folder_id in row["folder_ids"] if (key := (row["connection_id"], folder_id)) in names]
        row["folder_name"] = own[0] if own else ""
    return list(rows)


def _roles(row: Row) -> list[str]:
    return [role for role in ROLES if row[f"in_{role}"]]


def emails(*, user: User, workspace: Workspace, ids: Sequence[str]) -> list[Row]:
    """Those of these ids that are the caller's and that the provider still has, oldest first."""
    own = Message.objects.of(user=user, workspace=workspace).present().filter(pk__in=ids)
    rows = own.annotate(pending=_PENDING).order_by("received_at", "id")
    return _completed(list(rows.values(*LIST_COLUMNS, "pending")), workspace.pk)


def email_row(message: Message) -> Row:
    """The list row of one message, as `inbox` gives it."""
    row: Row = {column: getattr(message, column) for column in LIST_COLUMNS}
    changes = message.local_changes.filter(status=ChangeStatus.PENDING).order_by("id")
    row["pending"] = list(changes.values_list("kind", flat=True))
    return _completed([row], message.connection.workspace_id)[0]


@dataclass(frozen=True, slots=True)
class Detail:
    """A message with all its page shows."""

    row: Row
    body: MessageBody
    attachments: list[Attachment]
    bounces: list[Bounce] = field(default_factory=list)
    """Of a mail that was sent from here: whom it did not reach."""


def email_detail(message: Message) -> Detail:
    """One message with body and attachments."""
    returned = list(bounces.of_messages(message.connection_id, [message.message_id])) if message.in_sent else []
    files = list(message.attachments.all())
    return Detail(row=email_row(message), body=message.body, attachments=files, bounces=returned)


def thread_details(thread: Thread, *, is_own: bool = True) -> list[Detail]:
    """The messages of a thread, oldest first; of a very long one the newest. Of a colleague's no drafts, trash and
    spam."""
    messages = thread.messages.present() if is_own else thread.messages.shown()
    rows = list(_shown(messages).values(*LIST_COLUMNS, "pending", *_BODY_COLUMNS)[:THREAD_LIMIT])
    rows.reverse()
    bodies = [_taken_body(row) for row in rows]
    files = _files(thread, since=rows[0]["received_at"]) if rows else {}
    returned = _returned(thread, rows) if is_own else {}
    return [
        Detail(
            row=row,
            body=body,
            attachments=files.get(row["id"], []),
            bounces=returned.get(row["message_id"], []) if row["in_sent"] else [],
        )
        for row, body in zip(_completed(rows, thread.connection.workspace_id), bodies, strict=True)
    ]


_BODY_COLUMNS = ("body__text", "body__html", "body__headers")
"""What is shown of a body; who it answers is not, and takes as long to read."""


def _taken_body(row: Row) -> MessageBody:
    text, html, headers = (row.pop(column) for column in _BODY_COLUMNS)
    return MessageBody(message_id=row["id"], text=text, html=html, headers=headers)


def _files(thread: Thread, *, since: datetime) -> dict[uuid.UUID, list[Attachment]]:
    """The attachments of a thread's messages. Asked for by thread and time: hundreds of ids in a statement take longer
    to write than to answer."""
    found: dict[uuid.UUID, list[Attachment]] = {}
    for part in Attachment.objects.filter(message__thread=thread, message__received_at__gte=since):
        found.setdefault(part.message_id, []).append(part)
    return found


def _returned(thread: Thread, rows: Sequence[Row]) -> dict[str, list[Bounce]]:
    """The bounces of what was sent, by Message-ID."""
    sent = [row["message_id"] for row in rows if row["in_sent"] and row["message_id"]]
    found: dict[str, list[Bounce]] = {}
    for bounce in bounces.of_messages(thread.connection_id, sent) if sent else ():
        found.setdefault(bounce.submission.message_id, []).append(bounce)
    return found
