"""Google accounts (Gmail, Workspace): docs/providers/google.md says how to register a client.

Endpoints and parameters: https://developers.google.com/identity/protocols/oauth2/web-server
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from django.conf import settings
from social_core.backends.google import GoogleOAuth2

from integrations.oauth.strategy import HubBackend, SocialProvider
from integrations.token_endpoint import Refusals

API = "https://www.googleapis.com/auth/"


class GoogleBackend(HubBackend, GoogleOAuth2[Any]):
    """social-core's Google with today's endpoints: its own are the older aliases."""

    refusals = Refusals("Google")

    def user_data(self, access_token: str, *args: Any, **kwargs: Any) -> dict[str, Any] | None:
        """As the base's, whose URL cannot be set. The address must be one that Google has verified."""
        headers = {"Authorization": f"Bearer {access_token}"}
        profile = self.get_json(settings.GOOGLE_USERINFO_URL, headers=headers)
        self.validate_email_verified(profile)
        return profile

    def verified_address(self, profile: Mapping[str, Any]) -> str:
        """Its own word (https://developers.google.com/identity/openid-connect/openid-connect#obtainuserinfo)."""
        return str(profile.get("email") or "") if profile.get("email_verified") is True else ""

    def revoke_token(self, token: str, uid: str) -> bool:
        """A form, posted (…/oauth2/web-server#tokenrevoke); the base would put the token into the URL."""
        self.request(settings.GOOGLE_REVOKE_URL, method="POST", data={"token": token}, stage="disconnect")
        return True


class Google(SocialProvider):
    """Refresh tokens come only with `access_type=offline`, and after the first time only with `prompt=consent`."""

    key = "google"
    name = "Google"
    required_settings = ("GOOGLE_CLIENT_ID", "GOOGLE_CLIENT_SECRET")
    identity_scopes = ("openid", "email", "profile")
    scopes: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "email": (f"{API}gmail.modify",),
        # calendarList.list is not allowed with calendar.events alone.
        "calendar": (f"{API}calendar.events", f"{API}calendar.calendarlist.readonly", f"{API}calendar.freebusy"),
    }
    backend_class = GoogleBackend

    @classmethod
    def canonical_scope(cls, scope: str) -> str:
        """`email` and `profile` come back under their long names."""
        return {"email": f"{API}userinfo.email", "profile": f"{API}userinfo.profile"}.get(scope, scope)

    @classmethod
    def authorize_url(cls) -> str:
        return str(settings.GOOGLE_AUTHORIZE_URL)

    @classmethod
    def backend_settings(cls) -> dict[str, object]:
        return {
            "KEY": settings.GOOGLE_CLIENT_ID,
            "SECRET": settings.GOOGLE_CLIENT_SECRET,
            "AUTHORIZATION_URL": settings.GOOGLE_AUTHORIZE_URL,
            "ACCESS_TOKEN_URL": settings.GOOGLE_TOKEN_URL,
            # Without include_granted_scopes a connection holds what was asked for it, not what another one got.
            "AUTH_EXTRA_ARGUMENTS": {"access_type": "offline", "prompt": "consent"},
        }
