"""What changed in a folder since a cursor (reference 3.3).

Called by `provider`. A cursor is the whole URL Graph gave last: of the next page, or of the next round. A first round
names every message of the folder once; Graph knows no "from now on" (`$deltatoken=latest` does not hold for mail:
github.com/microsoftgraph/msgraph-sdk-dotnet/issues/1281), and a filter by time would hide the flags of older mail for
ever. So the first round is walked, and what it names is a change like any other: nothing falls between cursor and
listing, whichever comes first.

What Graph says is taken for a hint where it may mislead: an id named as removed, named twice, named in part or as
lying in another folder is looked at before it is believed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from core.errors import CursorExpired, ProviderRejected, ProviderUnavailable
from email_sync.providers.graph.api import DELTA, NEXT, MailApi, folder, query
from email_sync.providers.graph.messages import SUMMARY, is_whole
from integrations.providers.graph.answers import Json, identifier, items, text
from integrations.providers.graph.errors import MAILBOX_FULL

PAGE = 500
PREFER = f"odata.maxpagesize={PAGE}"
UNTOLD = "untold"
"""The cursor of a folder whose changes Graph does not tell because the mailbox is full (reference 8.39): reading still
works, so each sync compares the whole folder."""
WHY_UNTOLD = (
    "The mailbox is full, so Microsoft does not tell what changes in this folder. Each sync compares all of it, which "
    "is slower, until there is room again."
)


@dataclass(frozen=True, slots=True)
class Told:
    """A page of a round: the whole objects, the ids to look at, and where to go on."""

    items: dict[str, Json]
    doubtful: tuple[str, ...]
    cursor: str
    more: bool


def start(api: MailApi, folder_id: str) -> str:
    """The cursor behind the first page of a first round. What that page named is not told again: it has to be listed
    afterwards."""
    path = f"{folder(folder_id)}/messages/delta" + query(select=SUMMARY)
    try:
        return _going_on(api.json("GET", path, prefer=PREFER))[0]
    except ProviderRejected as refusal:
        if refusal.code != MAILBOX_FULL:
            raise
        return UNTOLD


def page(api: MailApi, folder_id: str, cursor: str) -> Told:
    """One page of a round. CursorExpired where the cursor is of another Graph, or no longer known to this one."""
    if not api.is_ours(cursor):
        raise CursorExpired("This is no cursor of this Microsoft Graph.")
    try:
        answer = api.follow(cursor, prefer=PREFER)
    except ProviderRejected as refusal:
        if refusal.code == MAILBOX_FULL:
            raise CursorExpired(refusal.message) from refusal
        raise
    following, more = _going_on(answer)
    if more and following == cursor:
        raise ProviderUnavailable("Microsoft answered with a page that leads back to itself.")
    whole, doubtful = _sorted(items(answer), folder_id)
    return Told(whole, doubtful, following, more)


def _going_on(answer: Json) -> tuple[str, bool]:
    """The next cursor, and whether the round goes on. A page with neither link cannot be gone on from."""
    following = text(answer, NEXT)
    if following or text(answer, DELTA):
        return following or text(answer, DELTA), bool(following)
    raise CursorExpired("Microsoft told changes without saying where to go on.")


def _sorted(told: Iterable[Json], folder_id: str) -> tuple[dict[str, Json], tuple[str, ...]]:
    """Those to be believed, and the ids of those to be looked at."""
    whole: dict[str, Json] = {}
    doubtful: dict[str, None] = {}
    for item in told:
        remote_id = identifier(item)
        believable = "@removed" not in item and is_whole(item) and text(item, "parentFolderId") == folder_id
        if not believable or whole.setdefault(remote_id, item) != item:
            doubtful[remote_id] = None
    return {i: item for i, item in whole.items() if i not in doubtful}, tuple(doubtful)
