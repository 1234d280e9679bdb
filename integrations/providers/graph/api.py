"""Graph's calls: every request carries the immutable-id preference, is paid for and keeps to four in flight.

Called by the adapters of mail and calendars. Paths are below /v1.0. Answers are plain JSON objects, still to be read
by `answers`; refusals are `core.errors`.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import quote, urlsplit

from core import http
from core.errors import ProviderError, ProviderUnavailable, RemoteMissing
from core.http import Response
from core.metering import Meter
from integrations.providers.graph import batch
from integrations.providers.graph.answers import Json, text
from integrations.providers.graph.batch import Call
from integrations.providers.graph.errors import check

DEFAULT_ORIGIN = "https://graph.microsoft.com"
VERSION = "/v1.0"
IMMUTABLE = 'IdType="ImmutableId"'
"""On every call or on none: ids of the two forms never match (reference 8.35)."""
NEXT, DELTA = "@odata.nextLink", "@odata.deltaLink"
TIMEOUT, BATCH_TIMEOUT = 30.0, 60.0
"""Seconds. A send and the questions around it stay within a submission's lease."""
_PLAIN = ",:'()@"
"""Characters of OData's that need no escape in a query."""


class Account(Protocol):
    """What of an account reaches Graph."""

    @property
    def access_token(self) -> str: ...

    @property
    def settings(self) -> Mapping[str, object]: ...

    @property
    def meter(self) -> Meter: ...


class GraphApi:
    """The mailbox of one access token.."""

    preferences = IMMUTABLE
    """What every request prefers, those inside a batch too."""
    max_answer_bytes = 48 * 1024 * 1024

    def __init__(self, account: Account) -> None:
        origin = account.settings.get("graphApiUrl")
        self.origin = (origin if isinstance(origin, str) and origin else DEFAULT_ORIGIN).rstrip("/")
        self._bearer = account.access_token
        self._meter = account.meter

    def ask(self, method: str, path: str, *, prefer: str = "", **arguments: Any) -> Response:
        """One request, unjudged. Everything but a send may be repeated without harm: it reads, or sets what is already
        so; a send says `idempotent=False`."""
        return self._request(method, f"{self.origin}{VERSION}{path}", prefer=prefer, **arguments)

    def json(self, method: str, path: str, **arguments: Any) -> Json:
        """One request, judged, as its object."""
        return check(self.ask(method, path, **arguments)).json_object()

    def follow(self, link: str, *, prefer: str = "") -> Json:
        """The page a link of Graph's leads to. ProviderUnavailable where it leads elsewhere: our token goes along
        (reference 8.97)."""
        if not self.is_ours(link):
            raise ProviderUnavailable("Microsoft answered with a link to another server.")
        return check(self._request("GET", link, prefer=prefer)).json_object()

    def is_ours(self, link: str) -> bool:
        """Whether a link leads to the configured Graph."""
        own, given = urlsplit(self.origin), _split(link)
        return given is not None and (own.scheme, own.netloc.lower()) == given

    def pages(self, page: Json) -> Iterator[Json]:
        """This page and those after it. ProviderUnavailable where they lead in a circle."""
        followed: set[str] = set()
        while True:
            yield page
            link = text(page, NEXT)
            if not link:
                return
            if link in followed:
                raise ProviderUnavailable("Microsoft answered with a page that leads back to itself.")
            followed.add(link)
            page = self.follow(link)

    def batch(self, calls: Sequence[Call]) -> list[Response | None]:
        """The answers in the order of the calls, unjudged, None for one that was lost. At most 20 calls."""
        if not calls:
            return []
        body = batch.packed(calls, {"Prefer": self.preferences})
        url = f"{self.origin}{VERSION}{batch.PATH}"
        at_once = min(len(calls), batch.AT_ONCE)
        answer = self._request("POST", url, units=len(calls), at_once=at_once, json=body, timeout=BATCH_TIMEOUT)
        return batch.unpacked(check(answer), len(calls))

    def each(self, calls: Sequence[Call]) -> Iterator[Response | ProviderError]:
        """The answer to each call, or what its refusal means; in order, 20 at a time."""
        for start in range(0, len(calls), batch.MAX_CALLS):
            for answer in self.batch(calls[start : start + batch.MAX_CALLS]):
                try:
                    yield check(_there(answer))
                except ProviderError as refusal:
                    yield refusal

    def found(self, calls: Sequence[Call]) -> Iterator[Json | None]:
        """The object each call asks for, None where it is gone; another refusal is raised."""
        for answer in self.each(calls):
            if isinstance(answer, RemoteMissing):
                yield None
            elif isinstance(answer, ProviderError):
                raise answer
            else:
                yield answer.json_object()

    def _request(
        self,
        method: str,
        url: str,
        *,
        prefer: str = "",
        units: int = 1,
        at_once: int = 1,
        headers: Mapping[str, str] | None = None,
        idempotent: bool = True,
        **arguments: Any,
    ) -> Response:
        self._meter.spend(units)
        preferences = f"{self.preferences}, {prefer}" if prefer else self.preferences
        sent = {"Prefer": preferences, "client-request-id": str(uuid.uuid4()), **(headers or {})}
        limits: dict[str, Any] = {"timeout": TIMEOUT, "max_bytes": self.max_answer_bytes, "idempotent": idempotent}
        with self._meter.slot(at_once):
            return http.request(method, url, bearer=self._bearer, headers=sent, **{**limits, **arguments})


def query(**parameters: str | int) -> str:
    """OData's `$` parameters as a query, blanks as %20: `query(top=5)` is `?$top=5`."""
    return "?" + "&".join(f"${name}={quote(str(value), safe=_PLAIN)}" for name, value in parameters.items())


def _there(answer: Response | None) -> Response:
    if answer is None:
        raise ProviderUnavailable("Microsoft left a part out of its answer.")
    return answer


def _split(link: str) -> tuple[str, str] | None:
    try:
        parts = urlsplit(link)
    except ValueError:
        return None
    return parts.scheme, parts.netloc.lower()
