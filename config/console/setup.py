"""The set-up pages: what a new workspace still lacks, what each provider must be told, and what the doctor finds.

All of it is read from where it is declared or stored; nothing here remembers that a step was done.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db.models import Count, Exists, OuterRef, QuerySet, Subquery
from django.http import HttpRequest
from django.utils.module_loading import import_string

from config.console import links, signing_in
from config.console.scope import scope_of
from core.admin import is_operator
from integrations.models import Connection, Integration
from integrations.oauth import CONNECTION_PROVIDERS
from integrations.oauth.base import ConnectionProvider, OAuthProvider
from integrations.providers import INTEGRATION_PROVIDERS
from integrations.providers.mail import MailProvider
from integrations.services import capabilities
from integrations.services.oauth_flow import redirect_uri
from workspaces.models import Membership, Workspace
from workspaces.runtime.findings import Finding

SHOWN = 10
OWNERS_CHECKS = (
    "workspaces.runtime.checks.check_heartbeat",
    "workspaces.runtime.checks.check_public_url",
    "config.doctor.check_providers",
)
"""Of `settings.DOCTOR_CHECKS`, what tells nothing of other workspaces or of the machine."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do once."""

    title: str
    words: str
    done: bool
    url: str
    button: str


@dataclass(frozen=True, slots=True)
class Checklist:
    """One workspace's steps, in the order they make sense."""

    workspace: Workspace
    steps: tuple[Step, ...]

    @property
    def done(self) -> int:
        """How many are."""
        return sum(step.done for step in self.steps)

    @property
    def next(self) -> Step | None:
        """The first that is not; None where all are."""
        return next((step for step in self.steps if not step.done), None)


def mail_types() -> list[str]:
    """Types of integrations that send mail."""
    return [key for key in INTEGRATION_PROVIDERS if issubclass(INTEGRATION_PROVIDERS.get(key), MailProvider)]


def checklists(request: HttpRequest) -> list[Checklist]:
    """Of the workspaces that are shown, the oldest first, at most SHOWN; one statement."""
    return [_checklist(request, workspace) for workspace in _looked_at(request)]


def _looked_at(request: HttpRequest) -> QuerySet[Workspace]:
    own = OuterRef("pk")
    mail = Integration.objects.enabled().filter(workspace=own, type__in=mail_types())
    people = Membership.objects.filter(workspace=own).order_by().values("workspace").annotate(n=Count("pk")).values("n")
    rows: QuerySet[Workspace] = scope_of(request).of(Workspace.objects.all(), "pk")
    return rows.annotate(
        has_mailbox=Exists(Connection.objects.connected().filter(workspace=own, purging_at__isnull=True)),
        has_provider=Exists(mail),
        has_site=Exists(mail.filter(is_site_email_provider=True)),
        people=Subquery(people),
    ).order_by("created_at", "pk")[:SHOWN]


def _checklist(request: HttpRequest, workspace: Any) -> Checklist:
    return Checklist(
        workspace,
        (
            Step(
                "Connect a mailbox",
                "Your own account first; its mail and calendar begin to sync at once.",
                workspace.has_mailbox,
                links.to_list(request, Connection),
                "Connect",
            ),
            Step(
                "Add an email provider",
                "What the workspace itself sends goes out through it and is logged.",
                workspace.has_provider,
                links.to_new(request, Integration),
                "Add one",
            ),
            Step(
                "Make it the site provider",
                "Notifications and automations are sent through the one that is chosen.",
                workspace.has_site,
                links.to_list(request, Integration),
                "Choose",
            ),
            Step(
                "Invite a colleague",
                "Each member connects an account of their own.",
                (workspace.people or 0) > 1,
                links.to_new(request, Membership),
                "Invite",
            ),
        ),
    )


# --- providers ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ProviderGuide:
    """What has to be registered with a provider, and which settings it takes."""

    key: str
    name: str
    oauth: bool
    configured: bool
    settings: tuple[tuple[str, bool], ...]
    """Environment variable → whether it is set; never its value."""
    redirect_urls: tuple[tuple[str, str], ...]
    """(what for, URL) to register with the vendor, to the letter."""
    scopes: tuple[tuple[str, tuple[str, ...]], ...]
    """(what for, permissions) that are asked."""

    @property
    def document(self) -> str:
        """Where the steps at the vendor are described."""
        return f"docs/providers/{self.key}.md"


def guides() -> list[ProviderGuide]:
    """Of every connection provider."""
    return [guide(key) for key in CONNECTION_PROVIDERS]


def guide(key: str) -> ProviderGuide:
    """Of one; KeyError where there is none."""
    provider: type[ConnectionProvider] = CONNECTION_PROVIDERS.get(key)
    missing = set(provider.missing_settings())
    return ProviderGuide(
        key=provider.key,
        name=provider.name,
        oauth=provider.oauth,
        configured=provider.configured(),
        settings=tuple((name, name not in missing) for name in provider.required_settings),
        redirect_urls=_redirect_urls(provider),
        scopes=_scopes(provider),
    )


def _redirect_urls(provider: type[ConnectionProvider]) -> tuple[tuple[str, str], ...]:
    if not provider.oauth:
        return ()
    return (
        ("Connecting accounts", redirect_uri(provider.key)),
        ("Signing in to this console", signing_in.redirect_uri(provider.key)),
    )


def _scopes(provider: type[ConnectionProvider]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    if not issubclass(provider, OAuthProvider):
        return ()
    names = [name for name in capabilities.of_provider(provider.key) if provider.scopes.get(name)]
    wanted = [(name, provider.scopes[name]) for name in names]
    return (("whose account it is", provider.identity_scopes), *wanted)


# --- the doctor ---------------------------------------------------------------------------------------------------


def findings(request: HttpRequest) -> list[Finding]:
    """What `manage.py doctor` finds; to owners the part that concerns them. What is wrong comes first."""
    order = {"error": 0, "warning": 1, "ok": 2}
    paths = settings.DOCTOR_CHECKS if is_operator(request) else OWNERS_CHECKS
    found: list[Finding] = [finding for path in paths for finding in import_string(path)()]
    return sorted(found, key=lambda finding: order[finding.level])
