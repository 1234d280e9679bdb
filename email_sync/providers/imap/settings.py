"""Reading a connection's settings: where the two servers are and how to log in.

Shape: `{"imap": {"host", "port", "security", "username", "auth"?}, "smtp": {…}}`; `security` is tls, starttls or none,
`auth` is "" (password), xoauth2 or oauthbearer and only matters where there is an access token.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field

from core.errors import NotConfigured
from core.redaction import MASK
from email_sync.providers.base import MailAccount

TLS, STARTTLS, PLAIN = "tls", "starttls", "none"
XOAUTH2, OAUTHBEARER = "xoauth2", "oauthbearer"
SHORTEST_SECRET = 4
"""Shorter ones are in every other word."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One server and the log-in at it. `repr` shows no secret."""

    host: str
    port: int
    security: str
    username: str
    password: str = field(default="", repr=False)
    access_token: str = field(default="", repr=False)
    auth: str = ""

    def without_secrets(self, said: str) -> str:
        """The server's words, to be shown and stored: some repeat what they were sent, as it was or in base64."""
        plain = {secret for secret in (self.password, self.access_token) if len(secret) >= SHORTEST_SECRET}
        sent = {secret.encode() for secret in plain} | {f"\0{self.username}\0{self.password}".encode()}
        if self.access_token:
            sent.add(oauth_response(self))
        hidden = plain | {base64.b64encode(answer).decode() for answer in sent}
        for secret in sorted(hidden, key=len, reverse=True):
            said = said.replace(secret, MASK)
        return said


def endpoint(account: MailAccount, side: str) -> Endpoint:
    """The "imap" or "smtp" side of an account. NotConfigured where it has none that can be used."""
    given = account.settings.get(side)
    options: Mapping[str, object] = given if isinstance(given, Mapping) else {}
    host, port, security = options.get("host"), options.get("port"), options.get("security", TLS)
    if not isinstance(host, str) or not host or not isinstance(port, int) or security not in (TLS, STARTTLS, PLAIN):
        raise NotConfigured(f"This connection has no usable {side.upper()} server.")
    auth = str(options.get("auth") or XOAUTH2)
    if auth not in (XOAUTH2, OAUTHBEARER):
        raise NotConfigured(f"This connection's {side.upper()} log-in is of no known kind.")
    secrets = account.secrets
    return Endpoint(
        host=host,
        port=port,
        security=str(security),
        username=str(options.get("username") or account.email),
        password=secrets.get(f"{side}Password") or secrets.get("imapPassword", ""),
        access_token=account.access_token,
        auth=auth if account.access_token else "",
    )


def oauth_response(to: Endpoint) -> bytes:
    """The first SASL answer with an access token (Gmail's and Microsoft's XOAUTH2; RFC 7628 OAUTHBEARER)."""
    bearer = f"auth=Bearer {to.access_token}\x01\x01"
    if to.auth == OAUTHBEARER:
        identity = to.username.replace("=", "=3D").replace(",", "=2C")
        return f"n,a={identity},\x01host={to.host}\x01port={to.port}\x01{bearer}".encode()
    return f"user={to.username}\x01{bearer}".encode()


def oauth_surrender(to: Endpoint) -> bytes:
    """What the client must answer to the error the server explains in JSON; without it the server waits forever."""
    return b"\x01" if to.auth == OAUTHBEARER else b""
