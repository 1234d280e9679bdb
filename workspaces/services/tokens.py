"""API tokens: how their text is made, issued, checked and revoked.

Text: `hub_<12 hex lookup>_<43 url-safe characters><6 characters of checksum>`. The typed prefix lets secret scanners
find a leak, the checksum lets them (and us) drop a mistyped one without a look at the database (reference A1, GitHub's
practice). The database keeps the lookup and a SHA-256 of the whole.
"""

from __future__ import annotations

import base64
import hmac
import re
import secrets
import zlib
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256

from django.db import transaction
from django.utils import timezone

from core.errors import InvalidInput
from workspaces.models import ApiToken, Membership, User
from workspaces.services import audit, members

PREFIX = "hub"
TEXT = re.compile(r"hub_(?P<lookup>[0-9a-f]{12})_(?P<secret>[A-Za-z0-9_-]{43})(?P<crc>[A-Za-z0-9_-]{6})")


@dataclass(frozen=True)
class IssuedToken:
    """A new token and its text, which nobody can read again."""

    row: ApiToken
    text: str = field(repr=False)


def checksum(body: str) -> str:
    """CRC-32 of what comes before it, as six url-safe characters."""
    return base64.urlsafe_b64encode(zlib.crc32(body.encode()).to_bytes(4, "big")).decode().rstrip("=")


def digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def new_text() -> tuple[str, str]:
    """(lookup, text) of a token nobody has."""
    lookup = secrets.token_hex(6)
    body = f"{PREFIX}_{lookup}_{secrets.token_urlsafe(32)}"
    return lookup, body + checksum(body)


def lookup_of(text: str) -> str | None:
    """The public part of a token's text; None where it has not the form or the checksum of one of ours."""
    match = TEXT.fullmatch(text)
    if match is None or not hmac.compare_digest(checksum(text[:-6]), match["crc"]):
        return None
    return match["lookup"]


def matches(row: ApiToken, text: str) -> bool:
    """Whether this is the token's text, in constant time."""
    return hmac.compare_digest(row.digest, digest(text))


@transaction.atomic
def issue(
    *, by: User | None, membership: Membership, name: str = "API token", expires_at: datetime | None = None
) -> IssuedToken:
    """A new token of `membership`, valid until `expires_at` or until revoked. InvalidInput where that is past."""
    if expires_at is not None and expires_at <= timezone.now():
        raise InvalidInput(fields={"expiresAt": ["This must be in the future."]})
    lookup, text = new_text()
    row = ApiToken.objects.create(
        membership=membership, name=name, lookup=lookup, digest=digest(text), expires_at=expires_at
    )
    audit.record(
        by=by,
        workspace=membership.workspace,
        action="token.issued",
        target=row,
        changes={"name": name, "fingerprint": row.fingerprint, "expiresAt": expires_at, "user": membership.user.email},
    )
    return IssuedToken(row=row, text=text)


@transaction.atomic
def revoke(*, by: User | None, token: ApiToken) -> None:
    """End the token now. Doing it twice changes nothing more. Somebody else's takes the role to manage its member."""
    if by is not None and by.pk != token.membership.user_id:
        members.check_ceiling(by=by, workspace=token.workspace, roles=(token.role,))
    if not ApiToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=timezone.now()):
        return
    audit.record(
        by=by,
        workspace=token.workspace,
        action="token.revoked",
        target=token,
        changes={"name": token.name, "fingerprint": token.fingerprint, "user": token.user.email},
    )
    token.refresh_from_db(fields=["revoked_at"])
