"""The very first start: a workspace, its owner and a token, made once. Called by `manage.py up`."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from django.conf import settings
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import connection, transaction

from core.errors import InvalidInput
from workspaces.models import User, Workspace
from workspaces.services import members, tokens

LOCK = 0x50617463_68626179
"""Number of the advisory lock ("Patchbay" in ASCII): two first starts on one database make one owner."""
DEFAULT_EMAIL = "owner@localhost"
WORKSPACE_NAME = "My workspace"


@dataclass(frozen=True)
class FirstStart:
    """What is shown once and then known to nobody. `password` is None where the operator set it."""

    workspace: Workspace
    user: User
    email: str
    password: str | None = field(repr=False)
    token: str = field(repr=False)


@transaction.atomic
def first_start() -> FirstStart | None:
    """Make the first workspace, owner (OWNER_EMAIL, OWNER_PASSWORD) and token; None where any user exists. InvalidInput
    for an address that is none, or a password that anybody would guess."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
    if User.objects.exists():
        return None
    configured = str(getattr(settings, "OWNER_PASSWORD", "") or "")
    email = str(getattr(settings, "OWNER_EMAIL", "") or DEFAULT_EMAIL)
    if configured:
        _check_strength(configured, email)
    password = configured or secrets.token_urlsafe(12)
    owner = members.create_workspace(
        by=None,
        name=WORKSPACE_NAME,
        owner_email=email,
        owner_password=password,
    )
    issued = tokens.issue(by=None, membership=owner, name="First token")
    return FirstStart(
        workspace=owner.workspace,
        user=owner.user,
        email=owner.user.email,
        password=None if configured else password,
        token=issued.text,
    )


def _check_strength(password: str, email: str) -> None:
    try:
        validate_password(password, User(email=email))
    except ValidationError as error:
        raise InvalidInput(fields={"password": error.messages}) from error
