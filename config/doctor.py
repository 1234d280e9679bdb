"""The doctor's checks of the providers: settings that are half there, addresses that may not be reached, listening.

Listed in `settings.DOCTOR_CHECKS`. They live here because they read every setting and the registry of providers.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from django.conf import settings
from django.db import DatabaseError

from config import env
from core import egress
from core.errors import EgressRefused, ProviderUnavailable
from email_logs.services import outgoing
from email_sync.services import listening, switchboard
from integrations.models import Integration
from integrations.oauth import CONNECTION_PROVIDERS
from integrations.oauth.base import ConnectionProvider
from integrations.services.oauth_flow import redirect_uri
from workspaces.runtime.findings import Finding, error, ok, warning
from workspaces.services import periodic

LISTENING_LATE_SECONDS = 60.0
SHOWN = 20
"""Findings of one kind; more would bury the others."""
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
        if variable.kind in ("url", "origin") and variable.default:
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


def check_integrations() -> list[Finding]:
    """Workspaces' integrations that do not work. Their owners were told; an operator may be who can mend it."""
    try:
        broken = list(
            Integration.objects.enabled()
            .filter(failing_since__isnull=False)
            .order_by("failing_since")
            .values_list("workspace__name", "name", "health_message")[:SHOWN]
        )
        total = Integration.objects.enabled().count()
    except DatabaseError:
        return []  # the database's own check says so
    if not broken:
        return [ok("integrations", f"{total} enabled, none known not to work")]
    mend = "Its workspace's owner or admin sets it right: POST /api/integrations/:id/test says more."
    return [warning("integrations", f"{name} of {workspace}: {said}", mend) for workspace, name, said in broken]


def check_mail() -> list[Finding]:
    """Whether workspaces' mail leaves: providers that take nothing, and what waits for them."""
    try:
        stuck = list(outgoing.stuck().values_list("integration__name", "failing_since")[:SHOWN])
        waiting = outgoing.waiting()
    except DatabaseError:
        return []  # the database's own check says so
    if not stuck:
        return [ok("workspaces' mail", f"{waiting} waiting, every provider takes mail")]
    mend = "POST /api/integrations/:id/test says why; queued mail is kept for a day."
    return [
        warning("workspaces' mail", f"{name} takes nothing since {since:%F %R} UTC.", mend) for name, since in stuck
    ]


def check_listening() -> list[Finding]:
    """Whether a process listens to the mail servers that tell of changes by themselves."""
    try:
        mailboxes = listening.wanted().count()
        age = periodic.seconds_since_beat(name=switchboard.HEARTBEAT)
    except DatabaseError:
        return []  # the database's own check says so
    if not mailboxes:
        return [ok("push", "no mailbox needs a listening process")]
    if age is None or age > LISTENING_LATE_SECONDS:
        mend = "Start `manage.py idle`; `make run` and compose.yaml do."
        return [
            warning("push", f"No process listens for {mailboxes} mailboxes: they are asked by interval only.", mend)
        ]
    return [ok("push", f"a process listens, last seen {age:.0f} s ago; {mailboxes} mailboxes can be listened to")]
