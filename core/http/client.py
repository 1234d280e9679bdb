"""Sending: one request, its limits, its redirects, and what it means when no whole answer comes.

Called through `core.http`, whose docstring is the promise.
"""

from __future__ import annotations

import json as jsonlib
import logging
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpcore
import httpx

from core.errors import InvalidInput, ProviderOutcomeUnknown, ProviderUnavailable, ProviderUnreached
from core.http import transport
from core.http.answer import REDIRECTS, Response
from core.http.body import BadBody, TooLarge, read_body
from core.redaction import SECRET_NAME, clean_words

logger = logging.getLogger("patchbay.http")

DEFAULT_TIMEOUT = 30.0
DEFAULT_MAX_BYTES = 16 * 1024 * 1024
MAX_REDIRECTS = 3
TOO_LARGE = "answer_too_large"
"""The code of a ProviderUnavailable whose answer went past `max_bytes`: asking for less may help."""
_BROKEN = (httpcore.NetworkError, httpcore.RemoteProtocolError)
_OURS = frozenset({"host", "content-length", "transfer-encoding", "connection"})
_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9a-z]+")
_HEADER_VALUE = re.compile(r"[\t -~]*")
IDEMPOTENT_METHODS = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS"})  # RFC 9110 9.2.2
# Some compress only for a user agent that says "gzip": developers.google.com/workspace/gmail/api/guides/performance
USER_AGENT = "Patchbay (gzip)"

Value = str | int | float | bool | None
Fields = Mapping[str, Value | Sequence[str | int | float | bool]]


def request(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    params: Fields | None = None,
    json: Any = None,
    data: Fields | None = None,
    content: bytes | None = None,
    bearer: str | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    max_bytes: int = DEFAULT_MAX_BYTES,
    idempotent: bool | None = None,
    secret_url: bool = False,
) -> Response:
    """Ask and return the whole answer whatever its status; see `raise_for_provider` for judging it.

    `timeout` bounds everything in seconds, redirects included. `max_bytes` caps the body both packed and unpacked.
    `params` are merged into the URL's query; None values are left out. `idempotent` says that repeating does no harm
    (default by method). `secret_url`: the URL is a credential in itself (a hook's), so its path is never logged and
    plain http carries it only where it may carry secrets.

    EgressRefused: the address may not be reached. InvalidInput: the URL or a header is malformed.
    ProviderUnavailable: no answer and nothing happened, or repeating is harmless; ProviderUnreached where nothing of it
    left. ProviderOutcomeUnknown: the rest.
    """
    method = method.upper()
    repeatable = method in IDEMPOTENT_METHODS if idempotent is None else idempotent
    target = _target(url, params)
    prepared = httpx.Request(method, target, headers=_headers(headers, bearer, json), **_body(json, data, content))
    secret = bool(bearer) or secret_url or _carries_secret(headers, params, data, json)
    opened_only = prepared.url.scheme == "http" and secret
    call = _Call(time.monotonic() + timeout, max_bytes, repeatable, opened_only, secret_url)
    response = call.send(prepared)
    for _ in range(MAX_REDIRECTS):
        onward = _redirect_target(prepared, response)
        if onward is None:
            break
        prepared = httpx.Request(method, onward, headers=prepared.headers)
        response = call.send(prepared)
    return response


@dataclass(frozen=True)
class _Call:
    """One call of `request`: its limits, over as many sends as redirects take."""

    deadline: float
    max_bytes: int
    repeatable: bool
    opened_only: bool
    secret_url: bool

    def send(self, prepared: httpx.Request) -> Response:
        """Send, translate, log one line."""
        started = time.monotonic()
        outcome = "failed"
        try:
            response = self._exchange(prepared)
            outcome = str(response.status)
            return response
        finally:
            path = "/***" if self.secret_url else prepared.url.raw_path.partition(b"?")[0].decode("ascii")
            milliseconds = round((time.monotonic() - started) * 1000)
            level = logging.DEBUG if outcome.startswith("2") else logging.INFO  # a sync asks thousands of times
            logger.log(level, "%s %s%s %s %sms", prepared.method, _origin(prepared.url), path, outcome, milliseconds)

    def _exchange(self, prepared: httpx.Request) -> Response:
        """A pooled connection may have died in the pool: what may be repeated is repeated once, on a new one."""
        fresh, left = not self.repeatable, False
        while True:
            attempt = transport.Attempt(self.deadline)
            try:
                return self._once(prepared, attempt, fresh=fresh)
            except (*_BROKEN, httpcore.TimeoutException, BadBody) as error:
                left = left or attempt.written
                if fresh or attempt.connected or not isinstance(error, _BROKEN):
                    raise self._lost(prepared, error, left=left) from error
            except ProviderUnavailable as error:  # of `core.egress`: no connection came about
                if left:
                    raise
                raise ProviderUnreached(error.message, code=error.code) from error
            fresh = True

    def _once(self, prepared: httpx.Request, attempt: transport.Attempt, *, fresh: bool) -> Response:
        started = time.monotonic()
        with transport.exchange(prepared, attempt, opened_only=self.opened_only, fresh=fresh) as answer:
            headers = httpx.Headers(answer.headers)
            content = read_body(answer.iter_stream(), headers.get("content-encoding", ""), self.max_bytes)
        elapsed = time.monotonic() - started
        return Response(answer.status, headers, content, str(prepared.url), self.repeatable, elapsed)

    def _lost(self, prepared: httpx.Request, error: Exception, *, left: bool) -> ProviderUnavailable:
        """What the lack of a whole answer means. `left`: some of the request did."""
        reason = str(error) if isinstance(error, BadBody) else "the connection broke before the answer was complete"
        if isinstance(error, httpcore.TimeoutException):
            reason = "no complete answer came in time"
        message = f"The server {prepared.url.host} failed: {reason}."
        code = TOO_LARGE if isinstance(error, TooLarge) else ""
        if not left:
            return ProviderUnreached(message, code=code)
        return (ProviderUnavailable if self.repeatable else ProviderOutcomeUnknown)(message, code=code)


def _target(url: str, params: Fields | None) -> httpx.URL:
    """The URL with `params` merged into its query."""
    target = _parse_url(url)
    return target.copy_merge_params(_given(params)) if params else target


def _headers(headers: Mapping[str, str] | None, bearer: str | None, json: object) -> dict[str, str]:
    """Ours under the caller's; InvalidInput where one could break out of its line."""
    lines = {"user-agent": USER_AGENT, "accept-encoding": "gzip"}
    if json is not None:
        lines["content-type"] = "application/json"
    lines.update({name.lower(): value for name, value in (headers or {}).items()})
    if bearer is not None:
        lines["authorization"] = f"Bearer {bearer}"
    for name, value in lines.items():
        if name in _OURS or not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            raise InvalidInput(f"The header {clean_words(name, 40)!r} cannot be sent.")
    return lines


def _body(json: object, data: Fields | None, content: bytes | None) -> dict[str, Any]:
    """The body argument of httpx.Request. Unpaired surrogates become question marks: they have no UTF-8."""
    if json is not None:
        text = jsonlib.dumps(json, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return {"content": text.encode("utf-8", "replace")}
    return {"content": content} if data is None else {"data": _given(data)}


def _given(fields: Fields) -> dict[str, Any]:
    """Without the Nones; text that has no UTF-8 (unpaired surrogates) is replaced."""
    return {
        name: value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
        for name, value in fields.items()
        if value is not None
    }


def _parse_url(url: str) -> httpx.URL:
    try:
        target = httpx.URL(url)
    except (httpx.InvalidURL, ValueError, TypeError) as error:
        raise InvalidInput("The URL is not valid.", fields={"url": ["Not a valid URL."]}) from error
    if target.scheme not in ("http", "https") or not target.host or target.port == 0:
        raise InvalidInput("The URL has to begin with https:// and name a host.", fields={"url": ["Not an https URL."]})
    if target.userinfo:
        raise InvalidInput("The URL must not hold a user name or password.", fields={"url": ["Holds a credential."]})
    return target.copy_with(fragment=None)


def _carries_secret(*parts: object) -> bool:
    """Does a header, query or top-level body name say that its value is a secret?"""
    return any(isinstance(part, Mapping) and any(SECRET_NAME.search(str(name)) for name in part) for part in parts)


def _redirect_target(sent: httpx.Request, response: Response) -> httpx.URL | None:
    """Where to go on: only GET and HEAD, only within the same origin."""
    location = response.headers.get("location")
    if response.status not in REDIRECTS or not location or sent.method not in ("GET", "HEAD"):
        return None
    try:
        target = sent.url.join(location).copy_with(fragment=None)
    except httpx.InvalidURL:
        return None
    return target if _origin(target) == _origin(sent.url) and not target.userinfo else None


def _origin(url: httpx.URL) -> str:
    """Scheme, host and port where it is not the scheme's own."""
    host = f"[{url.host}]" if ":" in url.host else url.host
    return f"{url.scheme}://{host}" + (f":{url.port}" if url.port is not None else "")
