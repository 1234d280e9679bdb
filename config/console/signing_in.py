"""Signing in to the console with an account at a provider, for people who are here already: nobody is made by it.

The consent flow is the one that connects accounts (`integrations.oauth`: state and PKCE by social-core, HTTP through
our door), without a lasting grant and with its state in the visitor's own session. Who comes back is known by the
address that the provider itself vouches for, and by nothing else; the tokens are thrown away (ADR 0033).
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib.auth import login
from django.http import HttpRequest
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from unfold.forms import AuthenticationForm

from core.errors import InvalidInput, NotConfigured, PermissionRefused
from integrations.oauth import CONNECTION_PROVIDERS, oauth_provider
from integrations.oauth.base import ConnectionProvider
from workspaces.models import User

SESSION = "console_sign_in"
SECONDS = 600
BACKEND = "django.contrib.auth.backends.ModelBackend"
"""Whose `get_user` asks on every request whether the account is still active."""


class PasswordForm(AuthenticationForm):
    """unfold's log-in form, for members too: Django's admin lets in staff only."""

    def confirm_login_allowed(self, user: Any) -> None:
        """ValidationError for who has no place here, in the words of a wrong password."""
        if not (user.is_active and user.memberships.exists()):
            super().confirm_login_allowed(user)


@dataclass
class Visitor:
    """Somebody who has not said yet who they are, as the protocol client needs a user, on which it writes its notes.
    `id` ties both legs."""

    id: str
    is_authenticated: bool = True


def providers() -> list[type[ConnectionProvider]]:
    """Those that are set up here."""
    found = [CONNECTION_PROVIDERS.get(key) for key in CONNECTION_PROVIDERS]
    return [provider for provider in found if provider.oauth and provider.configured()]


def redirect_uri(provider: str) -> str:
    """The redirect URL to register with the vendor, beside that of connections."""
    return str(settings.PUBLIC_URL).rstrip("/") + reverse("admin:signed_in", args=[provider])


def begin(request: HttpRequest, provider: str) -> str:
    """Where to send the visitor. NotFound, NotConfigured: there is no such sign-in here."""
    client = oauth_provider(provider)
    if not client.configured():
        raise NotConfigured(f"Sign-in with {client.name} is not set up on this server.")
    visitor = Visitor(secrets.token_urlsafe(16))
    begun = client.begin_sign_in(visitor=visitor, redirect_uri=redirect_uri(provider))
    request.session[SESSION] = {
        "provider": provider,
        "visitor": visitor.id,
        "session": begun.session,
        "next": _own_page(request.POST.get("next", "")),
        "at": time.time(),
    }
    return begun.url


def finish(request: HttpRequest, provider: str) -> str:
    """Sign in whoever the provider says it is; the page to go to. InvalidInput: not begun here, or refused there.
    PermissionRefused: nobody here has that address."""
    begun = request.session.pop(SESSION, None)
    client = oauth_provider(provider)
    if not isinstance(begun, dict) or begun["provider"] != provider or begun["at"] < time.time() - SECONDS:
        where = f"Sign in again, at {settings.PUBLIC_URL}: this sign-in was not begun here, or took too long."
        raise InvalidInput(where, code="state_invalid")
    issuer = request.GET.get("iss", "")
    if issuer and not client.sent_by(issuer):
        raise InvalidInput(f"This answer does not come from {client.name}.", code="state_invalid")
    answer: Mapping[str, str] = {name: str(value) for name, value in request.GET.items()}
    _, account = client.complete(
        user=Visitor(begun["visitor"]),
        redirect_uri=redirect_uri(provider),
        session=dict(begun["session"]),
        answer=answer,
    )
    login(request, _invited(account.verified_email, client.name), backend=BACKEND)
    return str(begun["next"])


def _invited(address: str, vendor: str) -> User:
    """The active user with this address."""
    if not address:
        raise PermissionRefused(f"{vendor} does not vouch for an address of this account. Sign in by password.")
    user = User.objects.filter(email=address, is_active=True).first()
    if user is None:
        raise PermissionRefused(f"Nobody here has the address {address}. Ask an owner of your workspace to add it.")
    return user


def _own_page(path: str) -> str:
    """A page of this site; the first one where `path` leads elsewhere."""
    return path if url_has_allowed_host_and_scheme(path, allowed_hosts=None) else reverse("admin:index")
