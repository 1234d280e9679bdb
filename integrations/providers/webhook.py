"""WEBHOOK: any address that wants to be told, signed as Standard Webhooks 1.0.0 says
(github.com/standard-webhooks/standard-webhooks, spec). docs/webhooks.md is the page for users.

The secret is free text: `whsec_` and base64 is what the specification calls one, anything else is taken as its UTF-8
bytes. While a secret is being rotated every message carries a signature by each.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import secrets
import time
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import ClassVar

from core.errors import ProviderRejected
from core.http import request
from core.ids import uuid7
from integrations.fields import Field
from integrations.providers.base import EVENTS, Announced, Announcement, Checked, IntegrationProvider, announced

PREFIX = "whsec_"
STRONG = 24
"""Bytes the specification asks of a secret."""
MADE = 32
"""Bytes of one that is made here: as long as the hash."""


def new_secret() -> str:
    """One nobody can guess, as the specification writes them."""
    return PREFIX + base64.b64encode(secrets.token_bytes(MADE)).decode()


class Webhook(IntegrationProvider):
    """One endpoint."""

    key = "WEBHOOK"
    name = "Webhook"
    description = "Signed HTTP messages about what happens, to an address of yours."
    config_fields: ClassVar[tuple[Field, ...]] = (
        Field("url", "Address", kind="url", destination=True, help="Answers 2xx within 20 seconds; 410 ends it."),
    )
    credential_fields: ClassVar[tuple[Field, ...]] = (
        Field(
            "secret",
            "Signing secret",
            kind="secret",
            least=8,
            made=new_secret,
            help="Best: whsec_ and base64 of 24 or more bytes.",
        ),
    )
    capabilities: ClassVar[frozenset[str]] = frozenset({EVENTS})
    felt: ClassVar[bool] = True
    rotates: ClassVar[str] = "secret"
    timeout: ClassVar[float] = 20.0

    def check(self) -> Checked:
        """A signed message of type `integration.test`: there is no way to ask an endpoint that does less."""
        body = {"type": "integration.test", "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "data": {}}
        taken = self._post(f"msg_{uuid7().hex}", json.dumps(body, separators=(",", ":")).encode())
        if not taken.accepted:
            raise ProviderRejected(taken.reason)
        weak = len(secret_bytes(self.need("secret"))) < STRONG
        words = f"The endpoint took a signed test message ({taken.status})."
        if weak:
            words += f" Its secret is shorter than {STRONG} bytes: take a longer one."
        return Checked(words, limited=weak, details={"status": taken.status})

    def announce(self, announcement: Announcement) -> Announced:
        """Signed anew on every attempt, under the same id."""
        return self._post(announcement.id, announcement.body)

    def _post(self, message_id: str, body: bytes) -> Announced:
        url = self.need("url")
        keys = [self.need("secret"), *self.retired]
        headers = {"content-type": "application/json", **signed(message_id, int(time.time()), body, keys)}
        return announced(request("POST", url, headers=headers, content=body, timeout=self.timeout, max_bytes=64 * 1024))


def signed(message_id: str, timestamp: int, body: bytes, keys: Sequence[str]) -> Mapping[str, str]:
    """The three headers of a message; one signature per secret, newest first."""
    signatures = " ".join(_signature(secret, message_id, timestamp, body) for secret in keys)
    return {"webhook-id": message_id, "webhook-timestamp": str(timestamp), "webhook-signature": signatures}


def _signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    content = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(secret_bytes(secret), content, sha256).digest()).decode()


def secret_bytes(secret: str) -> bytes:
    """The key in a secret: what `whsec_` says in base64, else the text itself."""
    if secret.startswith(PREFIX):
        try:
            return base64.b64decode(secret.removeprefix(PREFIX), validate=True)
        except (binascii.Error, ValueError):
            pass
    return secret.encode()
