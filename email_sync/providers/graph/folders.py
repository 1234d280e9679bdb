"""The mailbox's folders and what each stands for (reference 1.1, 3.2).

Called by `provider`. Roles come from the well-known names, asked by name in one batch; a display name is whatever the
user's language or taste makes it. What lies below Deleted Items or Junk is trash or spam like them. Hidden folders are
not listed unless asked for; search folders hold no mail of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from core.errors import ProviderUnavailable
from email_sync.parsing.text import one_line
from email_sync.providers.graph.api import MailApi, folder, query
from email_sync.records import ARCHIVE, DRAFTS, INBOX, SENT, SPAM, TRASH, RemoteFolder, Stream
from integrations.providers.graph.answers import Json, identifier, items, number, text
from integrations.providers.graph.batch import Call

WELL_KNOWN = {
    "inbox": INBOX,
    "sentitems": SENT,
    "drafts": DRAFTS,
    "archive": ARCHIVE,
    "deleteditems": TRASH,
    "junkemail": SPAM,
}
"""Outbox, conversation history, clutter and what else has such a name have no role of ours."""
ORDER = {INBOX: 0, SENT: 1, ARCHIVE: 2, DRAFTS: 3, "": 4, TRASH: 5, SPAM: 6}
HANDED_DOWN = frozenset({TRASH, SPAM})
PAGE = 100
MAX_NAME = 500
MAX_FOLDERS = 5_000
"""A tree that never ends would keep the sync from its mail; Exchange allows 1,000 children of a folder."""
_FIELDS = "id,displayName,childFolderCount,totalItemCount,isHidden"


@dataclass(frozen=True, slots=True)
class Tree:
    """Every folder that is synced."""

    folders: tuple[RemoteFolder, ...]
    totals: Mapping[str, int]
    """Folder id → how many items it holds."""

    def roles(self) -> Mapping[str, str]:
        """Folder id → role."""
        return {found.remote_id: found.role for found in self.folders}


def walk(api: MailApi) -> Tree:
    """The whole tree, level by level."""
    roles, level = _top(api)
    found: dict[str, RemoteFolder] = {}
    totals: dict[str, int] = {}
    while level:
        parents = []
        for item, above in level:
            kept = _folder(item, above, roles)
            if kept.remote_id in found or len(found) >= MAX_FOLDERS:
                continue
            found[kept.remote_id] = kept
            if (total := number(item, "totalItemCount")) is not None:
                totals[kept.remote_id] = total
            if number(item, "childFolderCount"):
                parents.append(kept)
        level = _children(api, parents)
    return Tree(tuple(found.values()), totals)


def streams(folders: Sequence[RemoteFolder]) -> list[Stream]:
    """One stream per folder, in the order of the first sync."""
    ranked = sorted(folders, key=lambda found: ORDER[found.role])
    return [Stream(found.remote_id, found) for found in ranked]


Level = list[tuple[Json, RemoteFolder | None]]
"""Folders as Graph gives them, each with the one above."""


def _top(api: MailApi) -> tuple[dict[str, str], Level]:
    """The ids of the well-known folders, and the first level; in one batch."""
    listing = Call("/me/mailFolders" + query(top=PAGE, select=_FIELDS))
    named = [Call(folder(name) + query(select="id")) for name in WELL_KNOWN]
    first, *others = api.found([listing, *named])
    if first is None:
        raise ProviderUnavailable("Microsoft listed no folders.")
    ids = zip(WELL_KNOWN.values(), others, strict=True)
    roles = {identifier(item): role for role, item in ids if item is not None}
    return roles, [(item, None) for item in _visible(api, first)]


def _children(api: MailApi, parents: Sequence[RemoteFolder]) -> Level:
    calls = [Call(f"{folder(above.remote_id)}/childFolders" + query(top=PAGE, select=_FIELDS)) for above in parents]
    pages = zip(parents, api.found(calls), strict=True)
    return [(item, above) for above, page in pages if page is not None for item in _visible(api, page)]


def _visible(api: MailApi, page: Json) -> Iterable[Json]:
    for following in api.pages(page):
        for item in items(following):
            searches = text(item, "@odata.type").endswith("mailSearchFolder")
            if not searches and item.get("isHidden") is not True:
                yield item


def _folder(item: Json, above: RemoteFolder | None, roles: Mapping[str, str]) -> RemoteFolder:
    folder_id = identifier(item)
    name = one_line(text(item, "displayName"), MAX_NAME) or folder_id[:MAX_NAME]
    role = roles.get(folder_id, "")
    if above is not None:
        name = f"{above.name}/{name}"[:MAX_NAME]
        role = role or (above.role if above.role in HANDED_DOWN else "")
    return RemoteFolder(folder_id, name, role)
