"""The token of a Pub/Sub push: who signed it, for whom, on whose behalf
(cloud.google.com/pubsub/docs/authenticate-push-subscriptions).

Called by `gmail`. Promised: only RS256 with a key of Google's published set; the set is kept for as long as its answer
says, and an unknown key id has it fetched again at most once a minute, so that forged tokens cost nobody a request.
Why a token was refused is for the log; who sent it learns nothing.
"""

from __future__ import annotations

import hmac
import logging
import re
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import jwt
from jwt import PyJWK
from jwt.exceptions import PyJWTError

from core import http
from core.errors import EgressRefused, InvalidInput, ProviderError, ServiceBusy
from integrations.doorbells import KnockRefused

logger = logging.getLogger("patchbay.push")

CERTS_URL = "https://www.googleapis.com/oauth2/v3/certs"
ISSUERS = ["https://accounts.google.com", "accounts.google.com"]
LEEWAY_SECONDS = 60
MAX_TOKEN = 8192
MIN_KEPT, MAX_KEPT = 300.0, 86_400.0
REFETCH_SECONDS = 60.0
TIMEOUT = 5.0
_MAX_AGE = re.compile(r"max-age=(\d{1,9})")


def prove(authorization: str, *, certs_url: str, audience: str, service_account: str) -> None:
    """Returns where `authorization` carries a token that Google signed for this audience and service account, now.
    KnockRefused otherwise; ServiceBusy where Google's keys cannot be had."""
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token or len(token) > MAX_TOKEN or not service_account:
        raise _refused("no token, or no service account is set")
    claims = _claims(token.strip(), certs_url, audience)
    email = claims.get("email")
    if claims.get("email_verified") is not True or not isinstance(email, str):
        raise _refused("its e-mail address is not verified")
    if not hmac.compare_digest(email.encode(), service_account.encode()):
        raise _refused("another service account")


def _claims(token: str, certs_url: str, audience: str) -> dict[str, Any]:
    try:
        header = jwt.get_unverified_header(token)
        if header.get("alg") != "RS256":
            raise _refused("not RS256")
        key = _keys(certs_url).find(str(header.get("kid") or ""))
        options: Any = {"require": ["exp", "iat", "aud", "iss"], "strict_aud": True}
        found: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=["RS256"],
            audience=audience,
            issuer=ISSUERS,
            leeway=LEEWAY_SECONDS,
            options=options,
        )
    except (PyJWTError, ValueError, TypeError, RecursionError) as error:
        raise _refused(type(error).__name__) from None
    return found


def _refused(why: str) -> KnockRefused:
    logger.info("a push was refused: %s", why)
    return KnockRefused()


@dataclass
class Keys:
    """The signing keys published at one address."""

    url: str
    _by_id: dict[str, PyJWK] = field(default_factory=dict)
    _good_until: float = 0.0
    _asked_at: float = float("-inf")
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def find(self, key_id: str) -> PyJWK:
        """KnockRefused where Google has no such key; ServiceBusy where it cannot be asked."""
        with self._lock:
            known = self._by_id.get(key_id)
            if known is not None and time.monotonic() < self._good_until:
                return known
            self._refresh()
            if key_id in self._by_id:
                return self._by_id[key_id]
        raise _refused("an unknown key")

    def _refresh(self) -> None:
        """At most once in `REFETCH_SECONDS`, whether it worked or not."""
        now = time.monotonic()
        if now - self._asked_at < REFETCH_SECONDS:
            if now >= self._good_until:
                raise ServiceBusy("Google's keys cannot be had at the moment.", retry_after=REFETCH_SECONDS)
            return
        self._asked_at = now
        try:
            answer = http.raise_for_provider(http.request("GET", self.url, timeout=TIMEOUT, max_bytes=256 * 1024))
            keys = _read(answer.json_object())
        except (ProviderError, EgressRefused, InvalidInput) as error:
            logger.warning("Google's keys were not fetched: %s", error.code)
            if now >= self._good_until:
                raise ServiceBusy("Google's keys cannot be had at the moment.", retry_after=REFETCH_SECONDS) from None
            return
        told = _MAX_AGE.search(answer.headers.get("cache-control", ""))
        self._by_id = keys
        self._good_until = now + min(max(float(told[1]) if told else 0.0, MIN_KEPT), MAX_KEPT)


def _read(answer: Any) -> dict[str, PyJWK]:
    """The RSA signing keys of a key set by id; others in it are left out."""
    found: dict[str, PyJWK] = {}
    entries = answer.get("keys")
    for entry in entries if isinstance(entries, list) else []:
        try:
            if entry["kty"] == "RSA" and entry.get("use", "sig") == "sig":
                found[str(entry["kid"])] = PyJWK.from_dict(entry, algorithm="RS256")
        except (PyJWTError, ValueError, TypeError, LookupError):
            continue
    return found


_sets: dict[str, Keys] = {}


def _keys(url: str) -> Keys:
    """This process's, by address: one, the operator's."""
    return _sets.setdefault(url, Keys(url))
