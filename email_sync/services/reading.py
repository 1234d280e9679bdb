"""Reading mail: pages of a folder or a search, counts, one message, one thread.

Cost follows the page asked for, never the mailbox: a folder is one partial index per mailbox, totals come from the
maintained counters, several mailboxes are read by a union of their newest rows. Everything starts from the caller's own
connections, so nobody reads what is not theirs.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.contrib.postgres.expressions import ArraySubquery
from django.contrib.postgres.search import SearchQuery
from django.db.models import OuterRef, Q, QuerySet, Sum

from core.api.pagination import Page, PageQuery, decode_cursor, encode_cursor
from core.errors import InvalidInput
from email_sync import search
from email_sync.models import (
    FOLDERS,
    Attachment,
    ChangeStatus,
    Folder,
    FolderCounter,
    LocalChange,
    Message,
    MessageBody,
    Thread,
)
from email_sync.records import INBOX, ROLES
from integrations.models import Connection
from workspaces.scoping import fetch

if TYPE_CHECKING:
    from workspaces.models import User, Workspace

Row = dict[str, Any]
"""A message as the lists show it: the columns of LIST_COLUMNS plus `pending` and `folder_name`."""

LIST_COLUMNS = (
    "id", "connection_id", "thread_id", "message_id", "subject", "from_name", "from_email", "recipients", "snippet",
    "sent_at", "received_at", "is_read", "is_starred", "has_attachments", "defect", "folder_ids",
    *(f"in_{role}" for role in ROLES),
)  # fmt: skip
SEARCH_COUNT_CAP = 1000
"""A search counts no further than this; `total` then is the cap and `totalIsExact` false."""
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
    mailboxes = _mailboxes(user, workspace, query.connection_id)
    condition = FOLDERS[folder] & _filters(parsed)
    if query.unread:
        condition &= Q(is_read=False)
    limit = query.paging.limit
    rows = _read(mailboxes, condition, parsed, query.paging)
    more = len(rows) > limit
    rows = rows[:limit]
    total, exact = _total(mailboxes, folder, condition, parsed, query)
    following = encode_cursor([rows[-1]["received_at"].isoformat(), str(rows[-1]["id"])]) if more else None
    return Page(rows=_named(rows), total=total, next_cursor=following, total_is_exact=exact)


def _mailboxes(user: User, workspace: Workspace, connection_id: uuid.UUID | None) -> list[uuid.UUID]:
    """The caller's mailboxes; a foreign one is simply not there."""
    own = Connection.objects.of(user=user, workspace=workspace)
    if connection_id is not None:
        return [own.find(connection_id).pk]
    return list(own.order_by("id").values_list("pk", flat=True))


def _filters(parsed: search.Query) -> Q:
    """The operators of a search that are columns, not words."""
    condition = Q()
    if parsed.before is not None:
        condition &= Q(received_at__lt=parsed.before)
    if parsed.after is not None:
        condition &= Q(received_at__gte=parsed.after)
    for column in ("has_attachments", "is_read", "is_starred"):
        wanted = getattr(parsed, column)
        if wanted is not None:
            condition &= Q(**{column: wanted})
    return condition


def _read(mailboxes: Sequence[uuid.UUID], condition: Q, parsed: search.Query, paging: PageQuery) -> list[Row]:
    """One row more than the page, so that the caller knows whether to go on."""
    offset = 0 if paging.cursor else (paging.page - 1) * paging.limit
    end = offset + paging.limit + 1
    if paging.cursor:
        condition &= _after(paging.cursor)
    pages = [_newest(mailbox, condition, parsed) for mailbox in mailboxes]
    if not pages:
        return []
    if len(pages) == 1:
        return list(pages[0][offset:end])
    first, *rest = [page[:end] for page in pages]
    return list(first.union(*rest, all=True).order_by("-received_at", "-id")[offset:end])


def _newest(mailbox: uuid.UUID, condition: Q, parsed: search.Query) -> QuerySet[Message, Row]:
    rows = _matching(mailbox, condition, parsed).annotate(pending=_pending_kinds())
    return rows.order_by("-received_at", "-id").values(*LIST_COLUMNS, "pending")


def _matching(mailbox: uuid.UUID, condition: Q, parsed: search.Query) -> QuerySet[Message]:
    rows = Message.objects.filter(condition, connection_id=mailbox)
    if words := parsed.tsquery():
        rows = rows.filter(
            search__connection_id=mailbox,
            search__document=_FoldedQuery(words),
        )
    return rows


class _FoldedQuery(SearchQuery):
    """A tsquery as it is written. `to_tsquery` would take some words apart ("12e3abc") that `services.indexing` has
    stored whole: both sides are folded already."""

    template = "%(expressions)s::tsquery"


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


def _total(
    mailboxes: Sequence[uuid.UUID], folder: str, condition: Q, parsed: search.Query, query: InboxQuery
) -> tuple[int, bool]:
    """From the counters; a search is counted up to the cap."""
    if not query.q:
        figures = _counters(mailboxes).get(folder, {"total": 0, "unread": 0})
        return figures["unread" if query.unread else "total"], True
    counted = 0
    for mailbox in mailboxes:
        counted += _matching(mailbox, condition, parsed).order_by()[: SEARCH_COUNT_CAP + 1].count()
    return min(counted, SEARCH_COUNT_CAP), counted <= SEARCH_COUNT_CAP


def _counters(mailboxes: Sequence[uuid.UUID]) -> dict[str, dict[str, int]]:
    rows = FolderCounter.objects.filter(connection__in=mailboxes).values("role")
    return {
        row["role"]: {"total": row["all_total"], "unread": row["all_unread"]}
        for row in rows.annotate(all_total=Sum("total"), all_unread=Sum("unread")).order_by("role")
    }


def folder_counts(*, user: User, workspace: Workspace) -> dict[str, dict[str, int]]:
    """Total and unread of every folder, over the caller's mailboxes."""
    figures = _counters(_mailboxes(user, workspace, None))
    return {folder: figures.get(folder, {"total": 0, "unread": 0}) for folder in FOLDERS}


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


def email_row(message: Message) -> Row:
    """The list row of one message, as `inbox` gives it."""
    row: Row = {column: getattr(message, column) for column in LIST_COLUMNS}
    changes = message.local_changes.filter(status=ChangeStatus.PENDING).order_by("id")
    row["pending"] = list(changes.values_list("kind", flat=True))
    return _named([row])[0]


@dataclass(frozen=True, slots=True)
class Detail:
    """A message with all its page shows."""

    row: Row
    body: MessageBody
    attachments: list[Attachment]


def email_detail(message: Message) -> Detail:
    """One message with body and attachments."""
    return Detail(row=email_row(message), body=message.body, attachments=list(message.attachments.all()))


def find_thread(*, user: User, workspace: Workspace, thread_id: object) -> Thread:
    """The thread, following merges. NotFound for a foreign, malformed or missing id alike."""
    own = Thread.objects.filter(connection__user=user, connection__workspace=workspace)
    thread = fetch(own.select_related("merged_into"), pk=thread_id)
    while thread.merged_into is not None:
        thread = thread.merged_into
    return thread


def thread_details(thread: Thread) -> list[Detail]:
    """The messages of a thread, oldest first; of a very long one the newest."""
    messages = list(
        thread.messages.present()
        .select_related("body")
        .prefetch_related("attachments")
        .annotate(pending=_pending_kinds())
        .order_by("-received_at", "-id")[:THREAD_LIMIT]
    )
    messages.reverse()
    rows = _named([{**{c: getattr(m, c) for c in LIST_COLUMNS}, "pending": m.pending} for m in messages])
    return [
        Detail(row=row, body=message.body, attachments=list(message.attachments.all()))
        for row, message in zip(rows, messages, strict=True)
    ]


def _pending_kinds() -> ArraySubquery:
    changes = LocalChange.objects.filter(message=OuterRef("pk"), status=ChangeStatus.PENDING).order_by("id")
    return ArraySubquery(changes.values("kind"))
