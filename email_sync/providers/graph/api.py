"""The calls that only mail makes: whole mails as MIME, uploads; and the paths of messages and folders.

Called by the modules beside it. What every call of Graph's has in common is `integrations.providers.graph.api`'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

from core import http
from core.errors import ProviderError, ProviderUnavailable
from core.http import Response
from integrations.providers.graph.api import DELTA, NEXT, TIMEOUT, GraphApi, query
from integrations.providers.graph.batch import Call
from integrations.providers.graph.errors import check

__all__ = ["DELTA", "LONG_TIMEOUT", "NEXT", "MailApi", "folder", "message", "query"]

LONG_TIMEOUT = 90.0
"""Seconds, for a whole mail."""
MAX_MAIL_BYTES = 64 * 1024 * 1024


class MailApi(GraphApi):
    """The mails of one access token. What is more than a batch of 20 mails may be is taken by halves."""

    def mimes(self, remote_ids: Sequence[str]) -> Iterator[tuple[str, Response | ProviderError]]:
        """The mail of each id as RFC 822 bytes, up to 20 in one batch; by halves where they are too much together."""
        try:
            answers = list(self.each([Call(f"{message(remote_id)}/$value") for remote_id in remote_ids]))
        except ProviderUnavailable as error:
            if error.code != http.TOO_LARGE:
                raise
            yield from self._in_smaller_pieces(remote_ids)
            return
        yield from zip(remote_ids, answers, strict=True)

    def _in_smaller_pieces(self, remote_ids: Sequence[str]) -> Iterator[tuple[str, Response | ProviderError]]:
        if len(remote_ids) > 1:
            middle = len(remote_ids) // 2
            yield from self.mimes(remote_ids[:middle])
            yield from self.mimes(remote_ids[middle:])
            return
        try:
            yield remote_ids[0], self.mime(remote_ids[0])
        except ProviderError as refusal:
            yield remote_ids[0], refusal

    def mime(self, remote_id: str) -> Response:
        """One mail as RFC 822 bytes, as Exchange makes them anew (reference 3.2). RemoteMissing where it is gone; a
        ProviderUnavailable with `http.TOO_LARGE` where it is more than is taken."""
        limits: dict[str, Any] = {"timeout": LONG_TIMEOUT, "max_bytes": MAX_MAIL_BYTES}
        return check(self.ask("GET", f"{message(remote_id)}/$value", **limits))

    def upload(self, url: str, content: bytes, content_range: str) -> Response:
        """A range of a file to the address of an upload session, which is a credential in itself: without our token."""
        headers = {"Content-Range": content_range, "Content-Type": "application/octet-stream"}
        with self._meter.slot():
            return http.request(
                "PUT", url, headers=headers, content=content, timeout=TIMEOUT, secret_url=True, idempotent=False
            )


def message(remote_id: str) -> str:
    """The path of a message."""
    return f"/me/messages/{quote(remote_id, safe='')}"


def folder(folder_id: str) -> str:
    """The path of a folder, by its id or well-known name."""
    return f"/me/mailFolders/{quote(folder_id, safe='')}"
