"""The Microsoft Graph adapter: one stream per mail folder, ids that survive a move, changes from each folder's delta.

Used by the sync engine and the mail services through the registry. The account's settings may name another origin
under `graphApiUrl`. A call's refusal is raised as it comes, after what was read before it has been yielded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import ClassVar

from core import http
from core.errors import (
    ProviderAuthError,
    ProviderError,
    ProviderRateLimited,
    ProviderRejected,
    RemoteMissing,
)
from core.http import Response
from core.metering import Quota
from email_sync.parsing.message import attachment
from email_sync.parsing.text import one_line
from email_sync.providers.base import MailAccount, MailProvider
from email_sync.providers.graph import delta, drafts, folders, listing, sending
from email_sync.providers.graph.api import MailApi, folder, message, query
from email_sync.providers.graph.messages import EPOCH, OUTLINE, SUMMARY, is_whole, message_of, outline, state_of
from email_sync.records import (
    ARCHIVE,
    DRAFTS,
    INBOX,
    Address,
    ChangePage,
    IdPage,
    OutgoingMail,
    RemoteFolder,
    RemoteMessage,
    RemoteState,
    SentMail,
    Stream,
)
from integrations.providers.graph import batch
from integrations.providers.graph.answers import Json, identifier, items, moment, text, texts
from integrations.providers.graph.batch import Call

REMEMBERED = 5_000
"""Summaries, of half a kilobyte each."""
_SEARCHABLE = re.compile(r"[A-Za-z0-9.!#$%&*+/=?^_{|}~@-]{3,254}")


class Graph(MailProvider):
    """A mailbox of Microsoft 365 or Outlook.com."""

    key: ClassVar[str] = "microsoft"
    may_forget_changes: ClassVar[bool] = True
    fetch_batch: ClassVar[int] = batch.MAX_CALLS
    quota: ClassVar[Quota | None] = Quota(10_000, 600.0, in_flight=4)
    """Per application and mailbox (reference 3.6); a batch is the sum of its parts."""

    def __init__(self, account: MailAccount) -> None:
        super().__init__(account)
        self._api = MailApi(account)
        self._tree: folders.Tree | None = None
        self._summaries: dict[str, Json] = {}
        """Of what was listed or told and not fetched yet, the newest last: `fetch` needs not ask again. Several pages
        are listed before the first of them is fetched."""

    # --- what there is ----------------------------------------------------------------------------------------

    def folders(self) -> list[RemoteFolder]:
        self._tree = folders.walk(self._api)
        return list(self._tree.folders)

    def streams(self, folders_: Sequence[RemoteFolder]) -> list[Stream]:
        return folders.streams(folders_)

    def start_cursor(self, stream: Stream) -> str:
        """Behind the first page of a first round, whose remaining pages `changes` gives: see `delta`."""
        return delta.start(self._api, stream.key)

    def totals(self, streams: Sequence[Stream], *, since: datetime | None = None) -> dict[str, int]:
        """They came with the folders."""
        known = self._tree.totals if self._tree is not None and since is None else {}
        return {stream.key: known[stream.key] for stream in streams if stream.key in known}

    def list_ids(self, stream: Stream, token: str, limit: int, *, since: datetime | None = None) -> IdPage:
        """See `listing` for what a token is."""
        place = listing.Place.read(token) if token else None
        listed = listing.page(self._api, stream.key, place, limit, since)
        found = {identifier(item): item for item in listed.items}
        self._remember(found)
        return IdPage(tuple(found), listed.place.token() if listed.place else "", listed.total)

    def fetch(self, stream: Stream, remote_ids: Sequence[str]) -> Iterator[RemoteMessage]:
        """As MIME, 20 in a batch. What is refused inside a batch is raised once the rest of it has been yielded."""
        known = self._summaries
        for start in range(0, len(remote_ids), batch.MAX_CALLS):
            asked = list(dict.fromkeys(remote_ids[start : start + batch.MAX_CALLS]))
            taken = {i: known.pop(i) for i in asked if i in known}
            found = {i: item for i, item in taken.items() if is_whole(item)}
            found |= self._look(i for i in asked if i not in found)
            refusals: list[ProviderError] = []
            for remote_id, answer in self._api.mimes(list(found)):
                try:
                    yield self._message(found[remote_id], stream, answer)
                except RemoteMissing:
                    continue
                except ProviderError as error:
                    refusals.append(error)
            if refusals:
                raise max(refusals, key=_weight)

    def states(self, stream: Stream) -> Iterator[list[RemoteState]]:
        """By listing, which also works where the changes are not told."""
        for page in listing.every(self._api, stream.key):
            yield [state_of(item, self._role(item, stream)) for item in page]

    def changes(self, stream: Stream, cursor: str) -> ChangePage:
        """One page of a round. New messages are among the updated: Graph does not tell them apart. One that left for
        another folder is updated, too; removed is only what Graph no longer has."""
        told = delta.page(self._api, stream.key, cursor)
        found = told.items | self._look(told.doubtful)
        places = {remote_id: text(item, "parentFolderId") for remote_id, item in found.items()}
        synced = self._synced(stream, set(places.values()))
        here = {i: item for i, item in found.items() if places[i] in synced}
        self._remember(here)
        updated = tuple(state_of(item, self._role(item, stream)) for item in here.values())
        removed = tuple(i for i in (*told.items, *told.doubtful) if i not in here)
        return ChangePage(told.cursor, updated=updated, removed=removed, more=told.more)

    def untold(self, cursor: str) -> str:
        return delta.WHY_UNTOLD if cursor == delta.UNTOLD else ""

    def matching_ids(self, stream: Stream, addresses: Sequence[str], limit: int) -> tuple[str, ...]:
        """By search, one per address; an address that could not stand in one is left out."""
        wanted = [address for address in addresses if _SEARCHABLE.fullmatch(address)]
        paths = [query(search=f'"participants:{it}"', select="id,receivedDateTime", top=limit) for it in wanted]
        found: dict[str, datetime] = {}
        for page in self._api.found([Call(f"{folder(stream.key)}/messages{path}") for path in paths]):
            for item in items(page) if page is not None else ():
                found[identifier(item)] = moment(item, "receivedDateTime") or EPOCH
        return tuple(sorted(found, key=found.__getitem__, reverse=True)[:limit])

    def find(self, message_id: str) -> tuple[str, ...]:
        """By a filter over all folders."""
        return sending.carrying(self._api, message_id)

    def raw(self, remote_id: str) -> bytes:
        return self._api.mime(remote_id).content

    def attachment(self, remote_id: str, part_id: str) -> bytes:
        """Cut out of the whole by our own parser, whose part numbers the caller has: Graph's attachments have ids of
        their own, and not every part is one."""
        return attachment(self.raw(remote_id), part_id)

    # --- changing it ------------------------------------------------------------------------------------------

    def set_flags(
        self, remote_ids: Sequence[str], *, read: bool | None = None, starred: bool | None = None
    ) -> frozenset[str]:
        body: dict[str, object] = {} if read is None else {"isRead": read}
        if starred is not None:
            body["flag"] = {"flagStatus": "flagged" if starred else "notFlagged"}
        if not body:
            return frozenset()
        met: set[str] = set()
        refusals: list[ProviderError] = []
        answers = self._api.each([Call(message(remote_id), "PATCH", body) for remote_id in remote_ids])
        for remote_id, answer in zip(remote_ids, answers, strict=True):
            if not isinstance(answer, ProviderError):
                met.add(remote_id)
            elif not isinstance(answer, RemoteMissing):
                refusals.append(answer)
        if refusals:
            raise max(refusals, key=_weight)
        return frozenset(met)

    def set_archived(self, remote_id: str, archived: bool) -> RemoteState | None:
        """By a move. One that is there already is left alone."""
        name, role = ("archive", ARCHIVE) if archived else ("inbox", INBOX)
        asked = [Call(folder(name) + query(select="id")), Call(message(remote_id) + query(select=SUMMARY))]
        target, item = self._api.found(asked)
        if item is None:
            raise RemoteMissing()
        if target is None:
            raise ProviderRejected("This mailbox has no archive folder yet. Archive a mail in Outlook once.")
        if text(item, "parentFolderId") != identifier(target):
            item = self._api.json("POST", f"{message(remote_id)}/move", json={"destinationId": name})
        return state_of(item, role)

    # --- sending ----------------------------------------------------------------------------------------------

    def send(self, mail: OutgoingMail) -> SentMail:
        """Exchange files the copy itself."""
        return sending.send(self._api, mail)

    def file_sent(self, mail: OutgoingMail) -> SentMail:
        """Exchange has filed it."""
        return self.find_sent(mail.message_id) or SentMail(message_id=mail.message_id)

    def find_sent(self, message_id: str) -> SentMail | None:
        return sending.find(self._api, message_id)

    def aliases(self) -> list[Address]:
        """The account's own address first, then those its mailbox also receives mail for. Whether Microsoft sends from
        those is the organisation's choice; it says so when it does not."""
        me = self._api.json("GET", "/me" + query(select="displayName,mail,userPrincipalName,proxyAddresses"))
        name = one_line(text(me, "displayName"), 320)
        own = text(me, "mail") or text(me, "userPrincipalName") or self.account.email
        others = [it[5:] for it in texts(me, "proxyAddresses") if it[:5].lower() == "smtp:"]
        known = {address.lower(): address for address in reversed([own, *others]) if "@" in address}
        return [Address(name, known.pop(address.lower())) for address in (own, *others) if address.lower() in known]

    def save_draft(self, mail: OutgoingMail, replaces: str = "", version: str = "") -> RemoteState:
        item, saved_version = drafts.save(self._api, mail, replaces, version)
        return replace(state_of(item, DRAFTS), version=saved_version)

    def delete_draft(self, remote_id: str, version: str = "") -> None:
        drafts.discard(self._api, remote_id, version)

    def draft_versions(self, remote_ids: Sequence[str]) -> Mapping[str, str]:
        """A draft keeps its id whatever it says."""
        return drafts.versions(self._api, remote_ids)

    # --- what the calls share ---------------------------------------------------------------------------------

    def _remember(self, summaries: dict[str, Json]) -> None:
        """As the newest; the oldest are forgotten where that would be too many."""
        kept = {i: item for i, item in self._summaries.items() if i not in summaries}
        room = max(0, REMEMBERED - len(summaries))
        self._summaries = dict(list(kept.items())[-room:] if room else []) | summaries

    def _look(self, remote_ids: Iterable[str]) -> dict[str, Json]:
        """The summaries of these messages as they are now; those gone are left out."""
        ids = list(remote_ids)
        calls = [Call(message(remote_id) + query(select=SUMMARY)) for remote_id in ids]
        found = zip(ids, self._api.found(calls), strict=True)
        return {remote_id: item for remote_id, item in found if item is not None}

    def _message(self, item: Json, stream: Stream, answer: Response | ProviderError) -> RemoteMessage:
        """What cannot be had as MIME, for good or because it is too much, comes as an outline."""
        role = self._role(item, stream)
        if not isinstance(answer, ProviderError):
            return message_of(item, role, answer.content)
        if isinstance(answer, ProviderRejected) or answer.code == http.TOO_LARGE:
            form = self._api.json("GET", message(identifier(item)) + query(select=OUTLINE))
            return message_of(item, role, outline(form), truncated=True)
        raise answer

    def _role(self, item: Json, stream: Stream) -> str:
        """The role of the folder a message is in; of the stream's own without a question."""
        folder_id = text(item, "parentFolderId")
        if stream.folder is not None and folder_id == stream.key:
            return stream.folder.role
        return self._roles().get(folder_id, "")

    def _synced(self, stream: Stream, folder_ids: set[str]) -> set[str]:
        """Those of these folders that are synced; the tree is read again for one that is new to us. What was purged
        may still answer from a hidden folder of Exchange's own."""
        if folder_ids <= {stream.key}:
            return folder_ids
        if not folder_ids <= {stream.key, *self._roles()}:
            self.folders()
        return folder_ids & {stream.key, *self._roles()}

    def _roles(self) -> Mapping[str, str]:
        if self._tree is None:
            self.folders()
        return self._tree.roles() if self._tree is not None else {}


def _weight(error: ProviderError) -> tuple[int, float]:
    """Which of several refusals decides: the one that helps most to know, the longest wait first."""
    if isinstance(error, ProviderRateLimited):
        return 2, error.retry_after
    if isinstance(error, ProviderAuthError):
        return 4, 0.0
    return (3, 0.0) if isinstance(error, ProviderRejected) else (1, 0.0)
