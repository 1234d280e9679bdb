"""The Gmail adapter: one stream, the mailbox; labels are folders and flags; changes come from the history.

Used by the sync engine and the mail services through the registry. The account's settings may name another origin
under `gmailApiUrl`. A call's refusal is raised as it comes, after what was read before it has been yielded.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import ClassVar

from core.errors import (
    CursorExpired,
    ProviderAuthError,
    ProviderError,
    ProviderRateLimited,
    ProviderRejected,
    ProviderUnavailable,
    RemoteMissing,
)
from core.http import Response
from core.metering import Quota
from email_sync.parsing.message import attachment
from email_sync.parsing.text import one_line
from email_sync.providers.base import MailAccount, MailProvider
from email_sync.providers.gmail import answers, batch, drafts, sending
from email_sync.providers.gmail.api import MAX_MODIFIED, PAGE, GmailApi
from email_sync.providers.gmail.errors import check, refuses_argument
from email_sync.providers.gmail.history import Cursor, change_page
from email_sync.providers.gmail.messages import (
    FLAGS,
    ROLES,
    STARRED,
    UNREAD,
    find_part,
    message_of,
    state_of,
)
from email_sync.records import (
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

MAILBOX = Stream("mailbox")
MAX_FOLDER_NAME = 500
SEARCHED_TOGETHER = 20
"""Addresses in one search: a query is part of the URL."""
PHASES: dict[str, dict[str, object]] = {
    "inbox": {"labelIds": "INBOX"},
    "sent": {"labelIds": "SENT"},
    "all": {"includeSpamTrash": True},
}
"""The order of a listing. The last phase is the whole mailbox: ids of the first two come again in it."""


class Gmail(MailProvider):
    """A Gmail mailbox. Listing tokens are `<phase>:<page token>`; `history` says what a cursor is."""

    key: ClassVar[str] = "google"
    fetch_batch: ClassVar[int] = batch.MAX_CALLS
    quota: ClassVar[Quota | None] = Quota(6000, 60.0)

    def __init__(self, account: MailAccount) -> None:
        super().__init__(account)
        self._api = GmailApi(account)

    def folders(self) -> list[RemoteFolder]:
        """Every label but the flags. Renamed and deleted labels show here only: the history does not tell (2.3)."""
        folders = []
        for label in answers.children(self._api.labels(), "labels"):
            label_id = answers.identifier(label)
            if label_id not in FLAGS:
                name = one_line(answers.text(label, "name"), MAX_FOLDER_NAME) or label_id
                folders.append(RemoteFolder(label_id, name, ROLES.get(label_id, "")))
        return folders

    def streams(self, folders: Sequence[RemoteFolder]) -> list[Stream]:
        """The one stream."""
        return [MAILBOX]

    def start_cursor(self, stream: Stream) -> str:
        """The mailbox's history id; a message's own would grow too old in a quiet mailbox (2.3)."""
        return answers.history_id(self._api.profile())

    def totals(self, streams: Sequence[Stream], *, since: datetime | None = None) -> dict[str, int]:
        """The profile's figure; a search has none that could be relied on."""
        total = None if since else self._total()
        return {} if total is None else {stream.key: total for stream in streams}

    def list_ids(self, stream: Stream, token: str, limit: int, *, since: datetime | None = None) -> IdPage:
        """Inbox, then sent, then everything. `total`, the mailbox's, comes with the first page of a phase."""
        phase, _, page_token = (token or "inbox:").partition(":")
        if phase not in PHASES:
            raise CursorExpired("This is no listing token of Gmail.")
        total = None if page_token or since else self._total()
        recent = {"q": f"after:{int(since.timestamp())}"} if since else {}  # seconds since the epoch are taken too
        while True:
            answer = self._api.messages(page_token, limit, **PHASES[phase], **recent)
            ids = _ids(answer)
            next_token = _next_token(phase, answers.next_page(answer, page_token))
            if ids or not next_token or not next_token.endswith(":"):
                return IdPage(ids, next_token, total)
            phase, page_token = next_token[:-1], ""

    def matching_ids(self, stream: Stream, addresses: Sequence[str], limit: int) -> tuple[str, ...]:
        """By Gmail's search, some addresses in one question. What holds a quote or a brace is no address of its."""
        plain = [address for address in addresses if not set(address) & set('"{}() \t\r\n')]
        found: dict[str, None] = {}
        for start in range(0, len(plain), SEARCHED_TOGETHER):
            part = plain[start : start + SEARCHED_TOGETHER]
            query = " ".join(f"{field}:{address}" for address in part for field in ("from", "to", "cc"))
            found |= dict.fromkeys(_ids(self._api.messages("", limit, q=f"{{{query}}}")))
        return tuple(found)[:limit]

    def fetch(self, stream: Stream, remote_ids: Sequence[str]) -> Iterator[RemoteMessage]:
        """Up to 50 in one batch. What is refused inside a batch is raised once the rest of it has been yielded."""
        together = self._api.together
        for start in range(0, len(remote_ids), together):
            refusals: list[ProviderError] = []
            for remote_id, answer in self._api.each_message(remote_ids[start : start + together], "full"):
                try:
                    message = self._message(remote_id, answer)
                except ProviderError as error:
                    refusals.append(error)
                    continue
                if message is not None:
                    yield message
            if refusals:
                raise max(refusals, key=_weight)

    def states(self, stream: Stream) -> Iterator[list[RemoteState]]:
        """By listing the ids under each label: 5 units for 500 ids, where a get is 20 units for one.

        The listings are not one moment's. Take a cursor before, and the changes since then put right what moved.
        """
        labels: dict[str, set[str]] = {}
        for label_id in [*sorted(FLAGS), *(folder.remote_id for folder in self.folders())]:
            for remote_id in self._all_ids(label_id):
                labels.setdefault(remote_id, set()).add(label_id)
        for remote_id in self._all_ids(""):
            labels.setdefault(remote_id, set())
        found = iter(labels.items())
        while chunk := list(itertools.islice(found, PAGE)):
            yield [state_of(remote_id, label_ids) for remote_id, label_ids in chunk]

    def changes(self, stream: Stream, cursor: str) -> ChangePage:
        """One page of the history."""
        place = Cursor.read(cursor)
        return change_page(place, self._api.history(place.start, place.page_token))

    def set_flags(
        self, remote_ids: Sequence[str], *, read: bool | None = None, starred: bool | None = None
    ) -> frozenset[str]:
        """By batchModify, 1,000 at a time. It passes over ids that are gone without a word; what it takes counts."""
        wanted = {UNREAD: None if read is None else not read, STARRED: starred}
        add = [label for label, on in wanted.items() if on is True]
        remove = [label for label, on in wanted.items() if on is False]
        if not add and not remove:
            return frozenset()
        chunks = (remote_ids[start : start + MAX_MODIFIED] for start in range(0, len(remote_ids), MAX_MODIFIED))
        return frozenset(taken for chunk in chunks for taken in self._modify(chunk, add, remove))

    def set_archived(self, remote_id: str, archived: bool) -> RemoteState | None:
        """By taking INBOX off or putting it on."""
        add, remove = ([], ["INBOX"]) if archived else (["INBOX"], [])
        return state_of(remote_id, answers.identifiers(self._api.modify(remote_id, add, remove), "labelIds"))

    def send(self, mail: OutgoingMail) -> SentMail:
        """Gmail files the copy itself and may change the Message-ID."""
        return sending.send(self._api, mail)

    def file_sent(self, mail: OutgoingMail) -> SentMail:
        """Gmail has filed it."""
        return self.find_sent(mail.message_id) or SentMail(message_id=mail.message_id)

    def find_sent(self, message_id: str) -> SentMail | None:
        """Also where Gmail put another Message-ID in its place."""
        return sending.find(self._api, message_id)

    def aliases(self) -> list[Address]:
        """The settings' send-as addresses that were verified."""
        return drafts.senders(self._api)

    def save_draft(self, mail: OutgoingMail, replaces: str = "", version: str = "") -> RemoteState:
        """The content of a draft is a message of its own: its id changes with every save."""
        return drafts.save(self._api, mail, replaces)

    def delete_draft(self, remote_id: str, version: str = "") -> None:
        """For good; Gmail moves no draft to the trash."""
        drafts.delete(self._api, remote_id)

    def attachment(self, remote_id: str, part_id: str) -> bytes:
        """Attachment ids change with every get, part ids do not (2.2): the message is read again first."""
        payload = answers.child(self._api.message(remote_id, format="full"), "payload")
        part = find_part(payload, part_id)
        if part is None:
            raise RemoteMissing("The message has no such part.")
        body = answers.child(part, "body")
        attachment_id, data = answers.text(body, "attachmentId"), answers.text(body, "data")
        if attachment_id:
            return self._api.attachment(remote_id, attachment_id)
        if not data and answers.children(part, "parts"):
            return self._part_of_raw(remote_id, part_id)
        content = answers.decoded(data)
        if content is None:
            raise ProviderUnavailable("Gmail answered with a part that cannot be decoded.")
        return content

    def find(self, message_id: str) -> tuple[str, ...]:
        """By search; what it finds is looked at."""
        return sending.carrying(self._api, message_id)

    def raw(self, remote_id: str) -> bytes:
        """By format=raw: the bytes as Gmail keeps them."""
        raw = answers.decoded(answers.text(self._api.message(remote_id, format="raw"), "raw"))
        if raw is None:
            raise ProviderUnavailable("Gmail answered with a message that cannot be decoded.")
        return raw

    def _part_of_raw(self, remote_id: str, part_id: str) -> bytes:
        """A message within the message has no attachment id where it has no file name: it is cut out of the whole.
        Gmail counts parts from 0, the parser as IMAP does from 1."""
        if not re.fullmatch(r"\d{1,4}(\.\d{1,4}){0,60}", part_id):
            raise RemoteMissing("The part cannot be found in the message.")
        return attachment(self.raw(remote_id), ".".join(str(int(number) + 1) for number in part_id.split(".")))

    def _total(self) -> int | None:
        """How many messages the mailbox has; None where the server has no profile (stand-ins)."""
        try:
            return answers.number(self._api.profile(), "messagesTotal") or None
        except RemoteMissing:
            return None

    def _message(self, remote_id: str, answer: Response | None) -> RemoteMessage | None:
        """The message in an answer; None where it is gone, or where Gmail no longer takes its id for one."""
        if answer is None:
            raise ProviderUnavailable("Gmail left a message out of its answer.")
        if refuses_argument(answer):
            return None
        try:
            found = check(answer).json_object()
        except RemoteMissing:
            return None
        if answers.identifier(found) != remote_id:
            raise ProviderUnavailable("Gmail answered with another message than was asked for.")
        return message_of(remote_id, found, lambda attachment_id: self._api.attachment(remote_id, attachment_id))

    def _all_ids(self, label_id: str) -> Iterator[str]:
        """Every id under a label, spam and trash included; of the whole mailbox where it is ""."""
        page_token = ""
        while True:
            answer = self._api.messages(page_token, labelIds=label_id or None, includeSpamTrash=True)
            yield from _ids(answer)
            page_token = answers.next_page(answer, page_token)
            if not page_token:
                return

    def _modify(self, remote_ids: Sequence[str], add: Sequence[str], remove: Sequence[str]) -> list[str]:
        """The ids taken. One Gmail no longer takes must not hold up the others: it is found by halving, and left."""
        if self._api.batch_modify(remote_ids, add, remove):
            return list(remote_ids)
        if len(remote_ids) < 2:
            return []
        middle = len(remote_ids) // 2
        return [*self._modify(remote_ids[:middle], add, remove), *self._modify(remote_ids[middle:], add, remove)]


def _ids(answer: answers.Json) -> tuple[str, ...]:
    return tuple(answers.identifier(item) for item in answers.children(answer, "messages"))


def _next_token(phase: str, page_token: str) -> str:
    """Where a listing goes on: in this phase, at the beginning of the next, or "" after the last."""
    if page_token:
        return f"{phase}:{page_token}"
    following = list(PHASES)[list(PHASES).index(phase) + 1 :]
    return f"{following[0]}:" if following else ""


def _weight(error: ProviderError) -> tuple[int, float]:
    """Which of several refusals decides: the one that helps most to know, the longest wait first."""
    if isinstance(error, ProviderRateLimited):
        return 2, error.retry_after
    if isinstance(error, ProviderAuthError):
        return 4, 0.0
    return (3, 0.0) if isinstance(error, ProviderRejected) else (1, 0.0)
