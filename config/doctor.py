"""The doctor's checks of the providers: settings that are half there, and addresses that may not be reached.

Listed in `settings.DOCTOR_CHECKS`. They live here because they read every setting and the registry of providers.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from django.conf import settings

from config import env
from core import egress
from core.errors import EgressRefused, ProviderUnavailable
from integrations.oauth import CONNECTION_PROVIDERS
from integrations.oauth.base import ConnectionProvider
from integrations.services.oauth_flow import redirect_uri
from workspaces.runtime.findings import Finding, error, ok, warning

LOOPBACK = ("127.0.0.1", "localhost", "::1")
PORTS = {"https": 443, "http": 80}


def check_providers() -> list[Finding]:
    """Each connection provider: connectable, or what is missing."""
    return [_provider(CONNECTION_PROVIDERS.get(key)) for key in CONNECTION_PROVIDERS]


def _provider(provider: type[ConnectionProvider]) -> Finding:
    missing = provider.missing_settings()
    if missing and len(missing) < len(provider.required_settings):
        mend = f"Set {' and '.join(missing)}; docs/providers/{provider.key}.md says where to find it."
        return error(provider.name, f"half configured: {' and '.join(missing)} is missing.", mend)
    if missing:
        return ok(provider.name, f"not configured; docs/providers/{provider.key}.md says how")
    if not provider.oauth:
        return ok(provider.name, "needs no settings")
    return _redirect(provider)


def _redirect(provider: type[ConnectionProvider]) -> Finding:
    """OAuth vendors take http only for the loopback."""
    address = redirect_uri(provider.key)
    public = urlsplit(settings.PUBLIC_URL)
    if public.scheme != "https" and public.hostname not in LOOPBACK:
        mend = "Serve Patchbay over https and set PUBLIC_URL to that address."
        return error(provider.name, f"does not redirect to {address}: it is http.", mend)
    return ok(provider.name, f"configured; register this redirect URL there: {address}")


def check_provider_addresses() -> list[Finding]:
    """Addresses that were changed from the vendor's own: may we reach them?"""
    return [_address(name, url) for name, url in _changed_addresses()]


def _changed_addresses() -> Iterator[tuple[str, str]]:
    for variable in env.VARIABLES:
        if variable.kind == "url" and variable.default:
            url = env.read(variable.name)
            if url != variable.default:
                yield variable.name, url


def _address(name: str, url: str) -> Finding:
    parts = urlsplit(url)
    try:
        egress.resolve(str(parts.hostname), parts.port or PORTS[parts.scheme])
    except EgressRefused:
        mend = "Add its network to EGRESS_ALLOW_CIDRS if it is yours, or remove the setting."
        return error(name, f"{parts.netloc} is a private address, which outgoing requests may not reach.", mend)
    except ProviderUnavailable as unavailable:
        return warning(name, unavailable.message, "Check the name and this machine's DNS.")
    return ok(name, f"{parts.netloc} may be reached")
