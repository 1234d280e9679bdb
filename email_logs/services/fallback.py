"""Another email provider for a mail that the first one surely did not take, where the workspace asked for that.

Called by `attempts`. A mail that somebody may have never moves, nor does one whose content was refused: it would be
refused, or told of, in the same way elsewhere. Templates are the vendor's own, so such a mail stays too.
"""

from __future__ import annotations

from core.errors import CredentialsRejected, HubError, NotConfigured, ProviderUnavailable
from email_logs.models import EmailLogTable, OutgoingEmail
from email_logs.services import letters, tables
from integrations import fields
from integrations.models import Integration
from integrations.providers.base import EMAIL
from integrations.providers.mail import QUOTA_CODE
from integrations.services.integration_use import Disabled
from integrations.services.integrations import provider_of

OF_THE_ACCOUNT = frozenset({QUOTA_CODE, "key_restricted"})
"""Refusals that tell of the account and not of the mail."""


def is_wished(integration: Integration) -> bool:
    """Whether the workspace asked for it."""
    return bool(integration.config.get("fallback"))


def helps(error: HubError) -> bool:
    """Whether another provider may do what this one could not. A pause of seconds is waited for."""
    told = (CredentialsRejected, Disabled, NotConfigured, ProviderUnavailable)
    return isinstance(error, told) or error.code in OF_THE_ACCOUNT


def next_provider(work: OutgoingEmail, table: EmailLogTable) -> EmailLogTable | None:
    """The table of the enabled provider to go on with: the site provider, else the oldest that works, was not tried and
    may send this mail. None where there is none."""
    kept = letters.contents(work)
    if kept["given"].get("templateId"):
        return None
    rows = Integration.objects.in_workspace(work.workspace_id).enabled().filter(has_credentials=True)
    rows = rows.filter(failing_since__isnull=True).exclude(pk__in=[*work.tried, table.integration_id])
    for row in rows.select_related("workspace").order_by("-is_site_email_provider", "created_at", "id"):
        if EMAIL in provider_of(row).capabilities and row.config.get("fromEmail") and _takes(row, work):
            other = tables.of_integration(row)
            if other.failing_since is None:
                return other
    return None


def _takes(row: Integration, work: OutgoingEmail) -> bool:
    given = given_elsewhere(work)
    try:
        provider = letters.provider_for(row)
        provider.refuse_unfit(provider.mail(fields.read(provider.action("send").fields, given)))
    except HubError:
        return False
    return True


def given_elsewhere(work: OutgoingEmail) -> dict[str, object]:
    """The input without a sender: at another provider another address is verified."""
    given: dict[str, object] = dict(letters.contents(work)["given"])
    return {name: value for name, value in given.items() if name not in ("fromEmail", "fromName", "idempotencyKey")}
