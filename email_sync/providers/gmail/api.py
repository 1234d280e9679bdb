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
GET, LIST, HISTORY, PROFILE, LABELS, MODIFY, BATCH_MODIFY, SEND = 20, 5, 2, 1, 1, 5, 50, 100
SEND_AS, DRAFTS, DRAFT_CREATE, DRAFT_UPDATE, DRAFT_DELETE = 1, 5, 10, 15, 10
WATCH, STOP = 100, 50
"""Units of the methods, as projects of today pay them (reference 2.5); an attachment costs what a get does."""
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
        self._meter = account.meter
        self.together = max(1, min(batch.MAX_CALLS, account.meter.burst // (2 * GET)))
        """Messages to ask for in one batch. Half of what can be paid at once: the bucket fills while one is read."""

    def profile(self) -> Json:
        """users.getProfile."""
        return self._json("GET", "/profile", units=PROFILE)

    def labels(self) -> Json:
        """users.labels.list."""
        return self._json("GET", "/labels", units=LABELS)

    def messages(self, page_token: str, limit: int = PAGE, **filters: Any) -> Json:
        """users.messages.list, ids only. CursorExpired where the page token is refused."""
        params = {"maxResults": max(1, min(limit, PAGE)), "pageToken": page_token or None, **filters}
        params |= {"fields": "messages/id,nextPageToken"}
        response = self._ask("GET", "/messages", params=params, units=LIST)
        if refuses_argument(response):
            if page_token:
                raise CursorExpired("Gmail no longer takes the page token.")
            if filters.get("labelIds"):
                return {}  # the label was deleted after it was listed: nothing carries it
        return check(response).json_object()

    def history(self, start: str, page_token: str) -> Json:
        """users.history.list, every type. CursorExpired where `start` or the page token is no longer known."""
        params = {"startHistoryId": start, "pageToken": page_token or None, "maxResults": PAGE}
        response = self._ask("GET", "/history", params=params, units=HISTORY)
        if refuses_argument(response):
            raise CursorExpired("Gmail does not take the history id.")
        try:
            return check(response).json_object()
        except RemoteMissing as error:
            raise CursorExpired("Gmail no longer knows the history id.") from error

    def message(self, remote_id: str, **params: Any) -> Json:
        """users.messages.get. RemoteMissing where it is gone."""
        timeout = LONG_TIMEOUT if params.get("format") == "raw" else TIMEOUT
        return check(self._get(remote_id, timeout=timeout, **params)).json_object()

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
            yield from ((one, self._get(one, format=form)) for one in remote_ids)
        else:
            yield from zip(remote_ids, answers, strict=True)

    def _in_smaller_pieces(self, remote_ids: Sequence[str], form: str) -> Iterator[tuple[str, Response | None]]:
        """By halves, so that a few giant mails cannot stop the others; of a giant alone, the headers."""
        if len(remote_ids) == 1:
            yield remote_ids[0], self._get(remote_ids[0], format="metadata")
            return
        middle = len(remote_ids) // 2
        yield from self.each_message(remote_ids[:middle], form)
        yield from self.each_message(remote_ids[middle:], form)

    def attachment(self, remote_id: str, attachment_id: str) -> bytes:
        """users.messages.attachments.get, decoded. RemoteMissing where it is gone."""
        path = f"{_message(remote_id)}/attachments/{quote(attachment_id, safe='')}"
        answer = check(self._ask("GET", path, timeout=LONG_TIMEOUT, units=GET)).json_object()
        data = decoded(text(answer, "data"))
        if data is None:
            raise ProviderUnavailable("Gmail answered with an attachment that cannot be decoded.")
        return data

    def modify(self, remote_id: str, add: Sequence[str], remove: Sequence[str]) -> Json:
        """users.messages.modify. RemoteMissing where it is gone."""
        labels = {"addLabelIds": list(add), "removeLabelIds": list(remove)}
        return self._json("POST", f"{_message(remote_id)}/modify", json=labels, units=MODIFY)

    def batch_modify(self, remote_ids: Sequence[str], add: Sequence[str], remove: Sequence[str]) -> bool:
        """users.messages.batchModify, up to 1,000 ids. False where Gmail takes none because of one of the ids."""
        body = {"ids": list(remote_ids), "addLabelIds": list(add), "removeLabelIds": list(remove)}
        response = self._ask("POST", "/messages/batchModify", json=body, units=BATCH_MODIFY)
        if refuses_argument(response):
            return False
        try:
            check(response)
        except RemoteMissing:
            return False
        if response.content.strip():  # nothing, or an empty object; what says anything else did not come from Gmail
            response.json_object()
        return True

    def send(self, mime: bytes, thread_id: str) -> Json:
        """users.messages.send, once. ProviderOutcomeUnknown also where the answer to an accepted mail is garbage."""
        response = self._hand_in("POST", "/messages/send", mime, thread_id, units=SEND)
        try:
            return check(response).json_object()
        except ProviderUnavailable as error:
            if not response.ok:
                raise
            raise ProviderOutcomeUnknown("Gmail accepted the mail with an answer that cannot be read.") from error

    # --- drafts and senders -----------------------------------------------------------------------------------

    def send_as(self) -> Json:
        """users.settings.sendAs.list."""
        return self._json("GET", "/settings/sendAs", units=SEND_AS)

    def drafts(self, page_token: str) -> Json:
        """users.drafts.list: each draft's id and that of its present message."""
        params = {"maxResults": PAGE, "pageToken": page_token or None}
        return self._json("GET", "/drafts", params=params, units=DRAFTS)

    def create_draft(self, mime: bytes, thread_id: str) -> Json:
        """users.drafts.create."""
        return check(
            self._hand_in("POST", "/drafts", mime, thread_id, units=DRAFT_CREATE, within="message")
        ).json_object()

    def update_draft(self, draft_id: str, mime: bytes, thread_id: str) -> Json:
        """users.drafts.update: other content, and with it another message id (2.2). RemoteMissing where it is gone."""
        path = f"/drafts/{quote(draft_id, safe='')}"
        return check(self._hand_in("PUT", path, mime, thread_id, units=DRAFT_UPDATE, within="message")).json_object()

    def delete_draft(self, draft_id: str) -> None:
        """users.drafts.delete, for good. RemoteMissing where it is gone."""
        check(self._ask("DELETE", f"/drafts/{quote(draft_id, safe='')}", units=DRAFT_DELETE))

    # --- push -------------------------------------------------------------------------------------------------

    def watch(self, topic: str) -> Json:
        """users.watch: announce every change to a Pub/Sub topic. The same again prolongs."""
        return self._json("POST", "/watch", json={"topicName": topic}, units=WATCH)

    def stop(self) -> None:
        """users.stop: announce nothing any more, to whichever topic of the project."""
        check(self._ask("POST", "/stop", units=STOP))

    # --- calls ------------------------------------------------------------------------------------------------

    def _hand_in(
        self, method: str, path: str, mime: bytes, thread_id: str, *, units: int, within: str = ""
    ) -> Response:
        """A call that carries a mail, once: as base64 in JSON, a large one through the upload endpoint. `within` names
        the member of the body that holds the message."""
        envelope = {"threadId": thread_id} if thread_id else {}
        options: dict[str, Any] = {"idempotent": False, "timeout": LONG_TIMEOUT, "units": units}
        if len(mime) > MAX_INLINE_RAW:
            return self._upload(method, path, mime, {within: envelope} if within else envelope, **options)
        message = {**envelope, "raw": base64.urlsafe_b64encode(mime).decode("ascii")}
        return self._ask(method, path, json={within: message} if within else message, **options)

    def _upload(self, method: str, path: str, mime: bytes, envelope: Json, **options: Any) -> Response:
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
        url, params = f"{self._origin}/upload{USER}{path}", {"uploadType": "multipart"}
        return self._request(method, url, params=params, headers=headers, content=content, **options)

    def _batch(self, targets: Sequence[str]) -> list[Response | None] | None:
        """None where there is no batch endpoint; that is remembered."""
        if not self._batches:
            return None
        headers = {"Content-Type": batch.CONTENT_TYPE}
        url, content = self._origin + batch.PATH, batch.packed(targets)
        units = GET * len(targets)
        answer = self._request("POST", url, units=units, headers=headers, content=content, timeout=BATCH_TIMEOUT)
        if answer.status == 404:
            self._batches = False
            return None
        return batch.unpacked(check(answer), len(targets))

    def _get(self, remote_id: str, *, timeout: float = TIMEOUT, **params: Any) -> Response:
        return self._ask("GET", _message(remote_id), params=params, timeout=timeout, units=GET)

    def _json(self, method: str, path: str, **arguments: Any) -> Json:
        return check(self._ask(method, path, **arguments)).json_object()

    def _ask(self, method: str, path: str, **arguments: Any) -> Response:
        return self._request(method, f"{self._origin}{USER}{path}", **arguments)

    def _request(self, method: str, url: str, *, units: int, idempotent: bool = True, **arguments: Any) -> Response:
        """Everything but a send may be repeated without harm: it reads, or sets what is already so. A batch without an
        endpoint was paid for nothing: stand-ins have no quota."""
        self._meter.spend(units)
        limits: dict[str, Any] = {"timeout": TIMEOUT, "max_bytes": MAX_ANSWER_BYTES, "idempotent": idempotent}
        return http.request(method, url, bearer=self._bearer, **{**limits, **arguments})


def _message(remote_id: str) -> str:
    return f"/messages/{quote(remote_id, safe='')}"
