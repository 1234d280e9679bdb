"""Lists of documents, newest first, and one document. Called by the API and the console.

Promised: the cost follows the page that is asked for. Ids are ordered by time, so a page is a stretch of an index that
begins with the workspace and what it is narrowed by. Words are looked for among the nearest RECENT documents first,
where a frequent one fills its page, then among FURTHER ones if it may fill there; a rare one is asked of the word
index, which holds the workspace as a word.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from django.db import connection as database
from django.db.models import Q, QuerySet
from django.db.models.expressions import RawSQL

from core.api.pagination import Page, PageQuery, decode_cursor, encode_cursor
from core.errors import InvalidInput
from core.ids import least_at
from documents.models import Document, DocumentStatus

if TYPE_CHECKING:
    from workspaces.models import Workspace

COUNTED = 10_000
"""A list is counted as far as this."""
RECENT, FURTHER = 2_000, 16_000
MAX_WORDS = 16
PREFIX_FROM = 2
"""Words of so many characters may go on: "contr" finds contract.pdf."""


@dataclass(frozen=True, slots=True)
class Filters:
    """What a list is narrowed by; all of it must be so."""

    entity_type: str = ""
    entity_id: str = ""
    status: str = ""
    archived: bool | None = None
    content_type: str = ""
    """`image/png`, or `image/*`."""
    uploaded_by: uuid.UUID | None = None
    since: datetime | None = None
    until: datetime | None = None
    q: str = ""


@dataclass(frozen=True, slots=True)
class DocumentsQuery:
    """A list as a reader asked for it, checked by the serializer."""

    filters: Filters = field(default_factory=Filters)
    paging: PageQuery = field(default_factory=PageQuery)


def find(*, workspace: Workspace, document_id: object) -> Document:
    """NotFound for a foreign, malformed or missing id alike."""
    rows = Document.objects.in_workspace(workspace).select_related("workspace", "uploaded_by", "confirmation")
    return rows.fetch(document_id)


def listed(*, workspace: Workspace, query: DocumentsQuery) -> Page[Document]:
    """A page. InvalidInput for a q or a cursor that makes no sense."""
    rows = _narrowed(workspace, query.filters)
    after = _place(query.paging.cursor) if query.paging.cursor else None
    if after is not None:
        rows = rows.filter(id__lt=after)
    limit = query.paging.limit
    start = 0 if after else (query.paging.page - 1) * limit
    if words := _words(workspace.pk, query.filters.q):
        ids = _matching(rows, words, start + limit + 1)
        total, exact = len(ids), len(ids) <= start + limit
        found = ids[start:]
    else:
        found = list(rows.values_list("pk", flat=True)[start : start + limit + 1])
        total = _counted(_narrowed(workspace, query.filters))
        exact = total <= COUNTED
        total = min(total, COUNTED)
    following = encode_cursor([str(found[limit - 1])]) if len(found) > limit else None
    return Page(_loaded(workspace, found[:limit]), max(total, start + len(found[:limit])), following, exact)


def found(*, rows: QuerySet[Document], workspace_ids: Sequence[uuid.UUID], q: str, count: int) -> list[uuid.UUID]:
    """The newest `count` of these rows that have the words of `q`, for the console. InvalidInput for too many words."""
    ids: list[uuid.UUID] = []
    for workspace_id in workspace_ids:
        if words := _words(workspace_id, q):
            ids += _matching(rows.filter(workspace=workspace_id).order_by("-id"), words, count)
    return sorted(ids, reverse=True)[:count]


def counts(*, workspace: Workspace, entity_type: str, entity_id: str) -> Mapping[str, int]:
    """How many documents of an entity there are in each state, each counted as far as COUNTED. One query."""
    rows = Document.objects.in_workspace(workspace).of_entity(entity_type=entity_type, entity_id=entity_id).order_by()
    parts = [rows.filter(status=status).values("status")[:COUNTED] for status in DocumentStatus.values]
    found = parts[0].union(*parts[1:], all=True)
    sql, values = found.query.sql_with_params()
    with database.cursor() as cursor:
        cursor.execute(f"SELECT status, count(*) FROM ({sql}) AS counted (status) GROUP BY status", values)  # noqa: S608 - Django's own
        known = dict(cursor.fetchall())
    return {status: known.get(status, 0) for status in DocumentStatus.values}


def _narrowed(workspace: Workspace, filters: Filters) -> QuerySet[Document]:
    rows: QuerySet[Document] = Document.objects.in_workspace(workspace).order_by("-id")
    exact = {
        "entity_type": filters.entity_type,
        "entity_id": filters.entity_id,
        "status": filters.status,
        "uploaded_by": filters.uploaded_by,
    }
    rows = rows.filter(**{name: value for name, value in exact.items() if value})
    if filters.archived is not None:
        archived = Q(status=DocumentStatus.ARCHIVED)
        rows = rows.filter(archived if filters.archived else ~archived)
    if filters.content_type.endswith("/*"):
        rows = rows.filter(content_type__startswith=filters.content_type[:-1])
    elif filters.content_type:
        rows = rows.filter(content_type=filters.content_type)
    if filters.since is not None:
        rows = rows.filter(id__gte=least_at(filters.since))
    if filters.until is not None:
        rows = rows.filter(id__lt=least_at(filters.until))
    return rows


def _counted(rows: QuerySet[Document]) -> int:
    return rows.order_by().values("pk")[: COUNTED + 1].count()


def _loaded(workspace: Workspace, ids: Sequence[uuid.UUID]) -> list[Document]:
    """In this order. Deleted meanwhile: left out."""
    rows = Document.objects.in_workspace(workspace).select_related("uploaded_by", "confirmation").order_by()
    found = rows.in_bulk(ids)
    return [found[pk] for pk in ids if pk in found]


def _place(cursor: str) -> uuid.UUID:
    try:
        [text] = decode_cursor(cursor)
        return uuid.UUID(str(text))
    except ValueError:
        raise InvalidInput(fields={"cursor": ["This cursor is not one of ours."]}) from None


# --- words --------------------------------------------------------------------------------------------------------


def _words(workspace_id: uuid.UUID, q: str) -> str:
    """The tsquery of a free text: every word must be in the name, each may go on. "" for no text. Words are folded by
    PostgreSQL, by the function that folds what is stored."""
    if not q.strip():
        return ""
    with database.cursor() as cursor:
        cursor.execute("SELECT email_logs_words(%s)", [q])
        folded: list[str] = cursor.fetchone()[0]
    if not folded or len(folded) > MAX_WORDS:
        raise InvalidInput(fields={"q": [f"Give 1 to {MAX_WORDS} words of a file's name."]})
    parts = [f"'W{workspace_id}'", *(_quoted(word) for word in folded)]
    return " & ".join(parts)


def _quoted(word: str) -> str:
    inner = word.replace("\\", "\\\\").replace("'", "''")
    return f"'{inner}'" + (":*" if len(word) >= PREFIX_FROM else "")


def _matching(rows: QuerySet[Document], words: str, count: int) -> list[uuid.UUID]:
    """The first `count` that have these words. How dense they are among the nearest says where to look on: further
    there, which ends where the page is full, or in the word index, which brings all that have them."""
    for window in (RECENT, FURTHER):
        hits, whole = _within(rows, words, count, window)
        if len(hits) >= count or whole:
            return hits
        if len(hits) * FURTHER < count * window:
            break
    # OFFSET 0 is a fence: the word index is asked, and not every document in turn.
    everywhere = RawSQL("SELECT id FROM documents_document WHERE words @@ %s::tsquery OFFSET 0", (words,))
    return list(rows.filter(pk__in=everywhere).values_list("pk", flat=True)[:count])


def _within(rows: QuerySet[Document], words: str, count: int, window: int) -> tuple[list[uuid.UUID], bool]:
    """The first of the `window` nearest that have these words, and whether there are no more than those. The LIMIT
    inside is a fence too: rows are read in their order, and reading stops with the last one wanted."""
    nearest = rows.annotate(words=RawSQL("documents_document.words", ())).values_list("pk", "words")[:window]
    sql, values = nearest.query.sql_with_params()
    with database.cursor() as cursor:
        cursor.execute(
            f"SELECT id FROM ({sql}) AS nearest (id, words) WHERE words @@ %s::tsquery LIMIT %s",  # noqa: S608 - Django's own
            [*values, words, count],
        )
        hits = [pk for (pk,) in cursor.fetchall()]
    return hits, len(hits) < count and not rows[window : window + 1].exists()
