"""Answers of providers: the whole response as a value, and what its status means in `core.errors`.

Called through `core.http`. Promised: a body that is not what it says becomes ProviderUnavailable and never another
exception; the provider's own words are quoted cleaned, and only where they are words (JSON or short plain text).
"""

from __future__ import annotations

import json as jsonlib
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from core.errors import (
    ProviderAuthError,
    ProviderOutcomeUnknown,
    ProviderRateLimited,
    ProviderRejected,
    ProviderUnavailable,
    RemoteMissing,
)
from core.redaction import clean_words

MAX_RETRY_AFTER = 7 * 86400.0
REDIRECTS = frozenset({301, 302, 303, 307, 308})
_WORD_KEYS = ("message", "error_description", "detail", "description", "title", "error", "errors", "reason", "code")


@dataclass(frozen=True)
class Response:
    """An answer, whole. `headers` ignore case; `idempotent` is what the request was."""

    status: int
    headers: httpx.Headers
    content: bytes
    url: str
    idempotent: bool
    elapsed: float = field(compare=False, default=0.0)

    @property
    def ok(self) -> bool:
        """True for 2xx."""
        return 200 <= self.status < 300

    @property
    def host(self) -> str:
        """Who answered."""
        return httpx.URL(self.url).host

    @property
    def text(self) -> str:
        """The body as text, in the charset it names or UTF-8; what does not decode is replaced."""
        charset = re.search(r"charset=[\"']?([\w.\-]+)", self.headers.get("content-type", ""), re.IGNORECASE)
        try:
            return self.content.decode(charset[1] if charset else "utf-8", errors="replace")
        except LookupError:
            return self.content.decode("utf-8", errors="replace")

    def json(self) -> Any:
        """The body as JSON (strict: no NaN). ProviderUnavailable where it is anything else."""
        try:
            return jsonlib.loads(self.content, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise ProviderUnavailable(f"{self.host} answered with something that is not JSON.") from error

    def json_object(self) -> dict[str, Any]:
        """The body as a JSON object; ProviderUnavailable where it is none, or where a 2xx carries an error: an empty
        list must not be read out of it (reference reliability R7)."""
        value = self.json()
        if not isinstance(value, dict):
            raise ProviderUnavailable(f"{self.host} answered with JSON of another form than expected.")
        if self.ok and isinstance(value.get("error"), dict):
            words = clean_words(_first_words(value["error"]))
            raise ProviderUnavailable(f"{self.host} answered {self.status} with an error: {words}")
        return value


def raise_for_provider(response: Response, who: str = "The provider", *, quote: bool = True) -> Response:
    """`response` itself where it is 2xx, else the error its status means, in the provider's own cleaned words.

    401 ProviderAuthError; 404, 410 RemoteMissing; 429, and 503 that names a time, ProviderRateLimited; 408, 425 and 5xx
    ProviderUnavailable (ProviderOutcomeUnknown where a 5xx other than 501 and 503 leaves a non-idempotent request
    open); every other status ProviderRejected. `quote=False` keeps the words out (a target the caller did not choose).
    """
    if response.ok:
        return response
    status = response.status
    words = _provider_words(response) if quote else ""
    message = f"{who} answered {status}: {words}" if words else f"{who} answered {status}."
    if status == 401:
        raise ProviderAuthError(message)
    if status in (404, 410):
        raise RemoteMissing(message)
    if status == 429 or (status == 503 and "retry-after" in response.headers):
        raise ProviderRateLimited(message, retry_after=_retry_after(response))
    if status in (408, 425, 501, 503) or (status >= 500 and response.idempotent):
        raise ProviderUnavailable(message)
    if status >= 500:
        raise ProviderOutcomeUnknown(message)
    if status in REDIRECTS:
        raise ProviderRejected(f"{who} answered with a redirect ({status}), which is not followed.")
    raise ProviderRejected(message)


def parse_retry_after(value: str | None, *, now: datetime | None = None, default: float = 60.0) -> float:
    """Seconds to wait by a Retry-After value, seconds or a date (RFC 9110 10.2.3); `default` where it is neither.

    `now` should be the answer's own Date, so that a wrong clock here or there does not matter.
    """
    text = (value or "").strip()
    if re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,6})?", text):
        return min(float(text), MAX_RETRY_AFTER)
    moment = _http_date(text)
    if moment is None:
        return default
    return min(max((moment - (now or datetime.now(UTC))).total_seconds(), 0.0), MAX_RETRY_AFTER)


def _retry_after(response: Response) -> float:
    return parse_retry_after(response.headers.get("retry-after"), now=_http_date(response.headers.get("date", "")))


def _http_date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _provider_words(response: Response) -> str:
    """What a provider says about its refusal: the first text under a usual key, or a short plain body."""
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "text/plain":
        return clean_words(response.text)
    if not kind.endswith("json"):
        return ""
    try:
        return clean_words(_first_words(response.json()))
    except ProviderUnavailable:
        return ""


def _first_words(value: object, depth: int = 0) -> str:
    """The most telling text of an error body as providers nest it: {"error": {"message"}}, {"errors": [{"detail"}]}."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and depth < 5:
        return _first_words(value[0], depth + 1)
    if isinstance(value, dict) and depth < 5:
        return next(filter(None, (_first_words(value.get(key), depth + 1) for key in _WORD_KEYS)), "")
    return ""
