"""Gmail's calls, one method each: path, parameters and limits as in Google's discovery document (a test compares).

Called by `provider` alone. Answers are plain JSON objects, still to be read by `answers`; refusals are `core.errors`.
"""

from __future__ import annotations

import base64
import json as jsonlib
import uuid
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

from core import http
from core.errors import CursorExpired, ProviderOutcomeUnknown, ProviderUnavailable, RemoteMissing
from core.http import Response
from email_sync.providers.base import MailAccount
from email_sync.providers.gmail import batch
from email_sync.providers.gmail.answers import Json, decoded, text
from email_sync.providers.gmail.errors import check, refuses_argument

DEFAULT_ORIGIN = "https://gmail.googleapis.com"
USER = "/gmail/v1/users/me"
PAGE = 500
"""The most that messages.list and history.list give at once."""
MAX_MODIFIED = 1000
MAX_SENT_BYTES = 36_700_160
MAX_INLINE_RAW = 5 * 1024 * 1024
"""Mail above this goes through the upload endpoint: as bytes, not as base64 inside JSON."""
TIMEOUT, BATCH_TIMEOUT, LONG_TIMEOUT = 30.0, 60.0, 120.0
"""Seconds; the long one for a whole mail or attachment. A send and the question after it stay within a submission's
lease."""
MAX_ANSWER_BYTES = 96 * 1024 * 1024
"""A batch of 50 messages with their texts, or the largest message in base64."""


class GmailApi:
    """The mailbox of one access token."""

    def __init__(self, account: MailAccount) -> None:
        origin = account.settings.get("gmailApiUrl")
        self._origin = (origin if isinstance(origin, str) and origin else DEFAULT_ORIGIN).rstrip("/")
        self._bearer = account.access_token
        self._batches = True

    def profile(self) -> Json:
        """users.getProfile."""
        return self._json("GET", "/profile")

    def labels(self) -> Json:
        """users.labels.list."""
        return self._json("GET", "/labels")

    def messages(self, page_token: str, limit: int = PAGE, **filters: Any) -> Json:
        """users.messages.list, ids only. CursorExpired where the page token is refused."""
        params = {"maxResults": max(1, min(limit, PAGE)), "pageToken": page_token or None, **filters}
        response = self._ask("GET", "/messages", params={**params, "fields": "messages/id,nextPageToken"})
        if refuses_argument(response):
            if page_token:
                raise CursorExpired("Gmail no longer takes the page token.")
            if filters.get("labelIds"):
                return {}  # the label was deleted after it was listed: nothing carries it
        return check(response).json_object()

    def history(self, start: str, page_token: str) -> Json:
        """users.history.list, every type. CursorExpired where `start` or the page token is no longer known."""
        params = {"startHistoryId": start, "pageToken": page_token or None, "maxResults": PAGE}
        response = self._ask("GET", "/history", params=params)
        if refuses_argument(response):
            raise CursorExpired("Gmail does not take the history id.")
        try:
            return check(response).json_object()
        except RemoteMissing as error:
            raise CursorExpired("Gmail no longer knows the history id.") from error

    def message(self, remote_id: str, **params: Any) -> Json:
        """users.messages.get. RemoteMissing where it is gone."""
        timeout = LONG_TIMEOUT if params.get("format") == "raw" else TIMEOUT
        return check(self._ask("GET", _message(remote_id), params=params, timeout=timeout)).json_object()

    def each_message(self, remote_ids: Sequence[str], form: str) -> Iterator[tuple[str, Response | None]]:
        """users.messages.get in a format for up to 50 ids in one batch: the answer to each, unjudged, None where it
        was lost. One by one where the server has no batch endpoint (stand-ins)."""
        try:
            answers = self._batch([f"{USER}{_message(remote_id)}?format={form}" for remote_id in remote_ids])
        except ProviderUnavailable as error:
            if error.code != http.TOO_LARGE:
                raise
            yield from self._in_smaller_pieces(remote_ids, form)
            return
        if answers is None:
            yield from ((one, self._ask("GET", _message(one), params={"format": form})) for one in remote_ids)
        else:
            yield from zip(remote_ids, answers, strict=True)

    def _in_smaller_pieces(self, remote_ids: Sequence[str], form: str) -> Iterator[tuple[str, Response | None]]:
        """By halves, so that a few giant mails cannot stop the others; of a giant alone, the headers."""
        if len(remote_ids) == 1:
            yield remote_ids[0], self._ask("GET", _message(remote_ids[0]), params={"format": "metadata"})
            return
        middle = len(remote_ids) // 2
        yield from self.each_message(remote_ids[:middle], form)
        yield from self.each_message(remote_ids[middle:], form)

    def attachment(self, remote_id: str, attachment_id: str) -> bytes:
        """users.messages.attachments.get, decoded. RemoteMissing where it is gone."""
        path = f"{_message(remote_id)}/attachments/{quote(attachment_id, safe='')}"
        answer = check(self._ask("GET", path, timeout=LONG_TIMEOUT)).json_object()
        data = decoded(text(answer, "data"))
        if data is None:
            raise ProviderUnavailable("Gmail answered with an attachment that cannot be decoded.")
        return data

    def modify(self, remote_id: str, add: Sequence[str], remove: Sequence[str]) -> Json:
        """users.messages.modify. RemoteMissing where it is gone."""
        labels = {"addLabelIds": list(add), "removeLabelIds": list(remove)}
        return self._json("POST", f"{_message(remote_id)}/modify", json=labels)

    def batch_modify(self, remote_ids: Sequence[str], add: Sequence[str], remove: Sequence[str]) -> bool:
        """users.messages.batchModify, up to 1,000 ids. False where Gmail takes none because of one of the ids."""
        body = {"ids": list(remote_ids), "addLabelIds": list(add), "removeLabelIds": list(remove)}
        response = self._ask("POST", "/messages/batchModify", json=body)
        if refuses_argument(response):
            return False
        try:
            check(response)
        except RemoteMissing:
            return False
        return True

    def send(self, mime: bytes, thread_id: str) -> Json:
        """users.messages.send, once. ProviderOutcomeUnknown also where the answer to an accepted mail is garbage."""
        envelope = {"threadId": thread_id} if thread_id else {}
        if len(mime) > MAX_INLINE_RAW:
            response = self._upload(mime, envelope)
        else:
            raw = base64.urlsafe_b64encode(mime).decode("ascii")
            body = {**envelope, "raw": raw}
            response = self._ask("POST", "/messages/send", json=body, idempotent=False, timeout=LONG_TIMEOUT)
        try:
            return check(response).json_object()
        except ProviderUnavailable as error:
            if not response.ok:
                raise
            raise ProviderOutcomeUnknown("Gmail accepted the mail with an answer that cannot be read.") from error

    def _upload(self, mime: bytes, envelope: Json) -> Response:
        """The same through the upload endpoint, as multipart/related: the thread, then the mail as it is."""
        boundary = uuid.uuid4().hex
        content = b"".join(
            [
                f"--{boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n".encode(),
                jsonlib.dumps(envelope).encode(),
                f"\r\n--{boundary}\r\nContent-Type: message/rfc822\r\n\r\n".encode(),
                mime,
                f"\r\n--{boundary}--\r\n".encode(),
            ]
        )
        headers = {"Content-Type": f"multipart/related; boundary={boundary}"}
        options: dict[str, Any] = {"headers": headers, "idempotent": False, "timeout": LONG_TIMEOUT}
        url = f"{self._origin}/upload{USER}/messages/send"
        return self._request("POST", url, params={"uploadType": "multipart"}, content=content, **options)

    def _batch(self, targets: Sequence[str]) -> list[Response | None] | None:
        """None where there is no batch endpoint; that is remembered."""
        if not self._batches:
            return None
        headers = {"Content-Type": batch.CONTENT_TYPE}
        url, content = self._origin + batch.PATH, batch.packed(targets)
        answer = self._request("POST", url, headers=headers, content=content, timeout=BATCH_TIMEOUT)
        if answer.status == 404:
            self._batches = False
            return None
        return batch.unpacked(check(answer), len(targets))

    def _json(self, method: str, path: str, **arguments: Any) -> Json:
        return check(self._ask(method, path, **arguments)).json_object()

    def _ask(self, method: str, path: str, **arguments: Any) -> Response:
        return self._request(method, f"{self._origin}{USER}{path}", **arguments)

    def _request(self, method: str, url: str, *, idempotent: bool = True, **arguments: Any) -> Response:
        """Everything but a send may be repeated without harm: it reads, or sets what is already so."""
        limits: dict[str, Any] = {"timeout": TIMEOUT, "max_bytes": MAX_ANSWER_BYTES, "idempotent": idempotent}
        return http.request(method, url, bearer=self._bearer, **{**limits, **arguments})


def _message(remote_id: str) -> str:
    return f"/messages/{quote(remote_id, safe='')}"
