"""Microsoft accounts (Microsoft 365, Outlook.com): docs/providers/microsoft.md says how to register a client.

Endpoints and parameters: https://learn.microsoft.com/en-us/entra/identity-platform/v2-oauth2-auth-code-flow
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar

from django.conf import settings
from social_core.backends.microsoft import MicrosoftOAuth2

from integrations.oauth.base import origin_of
from integrations.oauth.strategy import HubBackend, SocialProvider
from integrations.token_endpoint import Refusals

GRAPH = "https://graph.microsoft.com/"


CAPABILITY = {"values": ["cp1"]}
"""That we understand a claims challenge: without it Graph sends none, and what an organisation revokes lasts until the
token ends (https://learn.microsoft.com/en-us/entra/identity-platform/claims-challenge#client-capabilities)."""


def with_capability(claims: str) -> str:
    """The claims a token is asked with: those its API asked for ("" for none), and what we can do."""
    asked = json.loads(claims) if claims else {}
    own = asked.get("access_token")
    return json.dumps({**asked, "access_token": {**(own if isinstance(own, dict) else {}), "xms_cc": CAPABILITY}})


class MicrosoftBackend(HubBackend, MicrosoftOAuth2[Any]):
    """social-core's Graph backend for any tenant and any Graph."""

    refusals = Refusals(
        "Microsoft",
        dead=frozenset({"invalid_grant", "interaction_required", "consent_required", "login_required"}),
        # Unknown application, wrong, missing or expired secret, client registered as a single-page app.
        client_numbers=frozenset({700016, 7000215, 7000218, 7000222, 9002325, 9002327, 700084}),
        passing_numbers=frozenset({90033}),
    )

    def auth_complete_params(self, state: str | None = None) -> dict[str, str]:
        return {**super().auth_complete_params(state), "claims": with_capability("")}

    def refresh_token_params(self, token: str, *args: Any, **kwargs: Any) -> dict[str, str]:
        return {**super().refresh_token_params(token, *args, **kwargs), "claims": with_capability(self.claims)}

    def user_data(self, access_token: str, *args: Any, **kwargs: Any) -> dict[str, Any] | None:
        """As the base's, whose URL cannot be set."""
        headers = {"Authorization": f"Bearer {access_token}", "Accept": "application/json"}
        return self.get_json(f"{settings.GRAPH_API_URL.rstrip('/')}/v1.0/me", headers=headers)

    def verified_address(self, profile: Mapping[str, Any]) -> str:
        """The sign-in name: its domain is one that its tenant has proved to own. `mail` is whatever a tenant's admin
        wrote there (https://learn.microsoft.com/en-us/entra/identity-platform/claims-validation#validate-the-subject).
        A guest's name is not an address of theirs."""
        name = str(profile.get("userPrincipalName") or "")
        return "" if "#EXT#" in name.upper() else name


class Microsoft(SocialProvider):
    """Each refresh brings a new refresh token. There is no call that revokes one grant."""

    key = "microsoft"
    name = "Microsoft"
    required_settings = ("MICROSOFT_CLIENT_ID", "MICROSOFT_CLIENT_SECRET")
    identity_scopes = ("openid", "profile", "email", "offline_access", "User.Read")
    sign_in_scopes = ("openid", "profile", "email", "User.Read")
    scopes: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "email": ("Mail.ReadWrite", "Mail.Send"),
        "calendar": ("Calendars.ReadWrite",),
    }
    backend_class = MicrosoftBackend

    @classmethod
    def canonical_scope(cls, scope: str) -> str:
        """Graph's scopes come back with or without the resource in front, in any case."""
        return scope.lower().removeprefix(GRAPH)

    @classmethod
    def authorize_url(cls) -> str:
        return str(settings.MICROSOFT_AUTHORIZE_URL)

    @classmethod
    def sent_by(cls, issuer: str) -> bool:
        """Under `common` the issuer names the user's own tenant, so only the host can be compared."""
        return origin_of(issuer) == origin_of(cls.authorize_url())

    @classmethod
    def backend_settings(cls) -> dict[str, object]:
        return {
            "KEY": settings.MICROSOFT_CLIENT_ID,
            "SECRET": settings.MICROSOFT_CLIENT_SECRET,
            "AUTHORIZATION_URL": cls.authorize_url(),
            "ACCESS_TOKEN_URL": settings.MICROSOFT_TOKEN_URL,
            "AUTH_EXTRA_ARGUMENTS": {"prompt": "select_account"},
        }

    def revoke(self, token: str) -> bool:
        """https://learn.microsoft.com/en-us/entra/identity-platform/v2-protocols names no revocation endpoint."""
        return False
