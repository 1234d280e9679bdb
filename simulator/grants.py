"""OAuth as the vendors share it: clients, codes, grants, access and refresh tokens. `google_oauth` and
`microsoft_oauth` put their own rules and words on top; API endpoints ask here whose token a request carries."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

GOOGLE_CLIENT_ID = "000000000001-simulator.apps.googleusercontent.com"
GOOGLE_CLIENT_SECRET = "GOCSPX-simulator-google-secret"
MICROSOFT_CLIENT_ID = "5f1a7e00-51c0-4a00-8000-000000000001"
MICROSOFT_CLIENT_SECRET = "sim8Q~simulator-microsoft-secret"
# Google drops the oldest refresh token of an account and client beyond this number, in silence.
MAX_REFRESH_TOKENS = 100


@dataclass
class Client:
    """With no `redirect_uris` any redirect URI is taken, so that a hub may run on any port."""

    vendor: str
    client_id: str
    secret: str
    redirect_uris: list[str] = field(default_factory=list)


@dataclass
class Grant:
    """What one user allowed one client. `scopes` is all that was ever granted and not withdrawn."""

    vendor: str
    client_id: str
    account: str
    scopes: set[str] = field(default_factory=set)
    revoked: bool = False


@dataclass
class Code:
    grant: Grant
    redirect_uri: str
    scopes: list[str]
    expires_at: float
    challenge: str = ""
    challenge_method: str = ""
    offline: bool = False
    used: bool = False


@dataclass
class AccessToken:
    token: str
    grant: Grant
    scopes: list[str]
    expires_at: float
    family: int = 0
    claims: str = ""
    """As the token request named them: a JSON object."""


@dataclass
class RefreshToken:
    """Tokens that came from one another share a `family`; a dead family is dead for all of them."""

    token: str
    grant: Grant
    scopes: list[str]
    expires_at: float
    family: int
    used: bool = False


class Authority:
    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.clients: dict[tuple[str, str], Client] = {}
        self.grants: dict[tuple[str, str, str], Grant] = {}
        self.codes: dict[str, Code] = {}
        self.access: dict[str, AccessToken] = {}
        self.refresh: dict[str, RefreshToken] = {}
        self.dead_families: set[int] = set()
        self._serial = 0
        self.add_client(Client("google", GOOGLE_CLIENT_ID, GOOGLE_CLIENT_SECRET))
        self.add_client(Client("microsoft", MICROSOFT_CLIENT_ID, MICROSOFT_CLIENT_SECRET))

    def add_client(self, client: Client) -> None:
        self.clients[client.vendor, client.client_id] = client

    def secret_text(self, prefix: str, length: int) -> str:
        """A new token: unguessable to look at, the same in every run with the same seed."""
        self._serial += 1
        digest = hashlib.shake_256(f"{self.seed}/{self._serial}/{prefix}".encode()).digest(length)
        return prefix + base64.urlsafe_b64encode(digest).decode().rstrip("=")[:length]

    def grant_for(self, vendor: str, client_id: str, account: str) -> Grant | None:
        """The living grant, None when there never was one or it was revoked."""
        grant = self.grants.get((vendor, client_id, account))
        return grant if grant and not grant.revoked else None

    def consent(self, vendor: str, client_id: str, account: str, scopes: list[str]) -> Grant:
        grant = self.grant_for(vendor, client_id, account)
        if grant is None:
            grant = self.grants[vendor, client_id, account] = Grant(vendor, client_id, account)
        grant.scopes |= set(scopes)
        return grant

    def issue_code(self, code: Code, prefix: str) -> str:
        text = self.secret_text(prefix, 60)
        self.codes[text] = code
        return text

    def issue_access(
        self, grant: Grant, scopes: list[str], expires_at: float, prefix: str, family: int = 0
    ) -> AccessToken:
        token = AccessToken(self.secret_text(prefix, 180), grant, scopes, expires_at, family)
        self.access[token.token] = token
        return token

    def issue_refresh(
        self, grant: Grant, scopes: list[str], expires_at: float, prefix: str, family: int = 0
    ) -> RefreshToken:
        self._serial += 1
        token = RefreshToken(self.secret_text(prefix, 90), grant, scopes, expires_at, family or self._serial)
        self.refresh[token.token] = token
        return token

    def drop_surplus(self, grant: Grant) -> None:
        """Google's silent limit of live refresh tokens."""
        mine = [token for token in self.refresh.values() if token.grant is grant]
        for token in mine[:-MAX_REFRESH_TOKENS]:
            del self.refresh[token.token]

    def live_access(self, token: str, now: float) -> AccessToken | None:
        found = self.access.get(token)
        if found is None or found.grant.revoked or found.expires_at <= now or found.family in self.dead_families:
            return None
        return found

    def account_of(self, token: str) -> str:
        """Whose token this is, dead or alive; empty when unknown. For fault rules and the ledger."""
        found = self.access.get(token) or self.refresh.get(token)
        if found:
            return found.grant.account
        code = self.codes.get(token)
        return code.grant.account if code else ""

    def kill_family(self, family: int) -> None:
        self.dead_families.add(family)

    def revoke(self, vendor: str = "", account: str = "") -> int:
        """Revokes grants, of one vendor or account if named; how many."""
        living = [grant for grant in self._matching(vendor, account) if not grant.revoked]
        for grant in living:
            grant.revoked = True
            grant.scopes.clear()
        return len(living)

    def _matching(self, vendor: str, account: str) -> Iterator[Grant]:
        for grant in self.grants.values():
            if vendor in ("", grant.vendor) and account in ("", grant.account):
                yield grant

    def expire(self, kind: str, now: float, vendor: str = "", account: str = "") -> int:
        """Ends the life of `access`, `refresh` or `all` tokens now; how many."""
        grants = {id(grant) for grant in self._matching(vendor, account)}
        tokens: list[AccessToken | RefreshToken] = []
        if kind in ("access", "all"):
            tokens.extend(self.access.values())
        if kind in ("refresh", "all"):
            tokens.extend(self.refresh.values())
        ended = [token for token in tokens if id(token.grant) in grants and token.expires_at > now]
        for token in ended:
            token.expires_at = now
        return len(ended)


def challenge_of(verifier: str, method: str) -> str:
    """RFC 7636, 4.2."""
    if method == "plain":
        return verifier
    digest = hashlib.sha256(verifier.encode("ascii", "replace")).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")
