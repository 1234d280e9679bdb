"""Where email providers post what became of a mail: proved, read, kept. Called by the view.

Promised: whatever does not prove itself (forged, stale, for another integration, for one that is disabled, deleted or
has no secret yet) is one and the same refusal, and nothing is changed; body and headers are never logged.
"""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass

from core.errors import HubError
from email_logs.services import delivery_events, tables
from integrations.models import Integration
from integrations.providers.delivery import HookRefused, Posted
from integrations.providers.mail import MailProvider
from integrations.services import integration_use
from integrations.services.integrations import provider_of

logger = logging.getLogger("patchbay.hooks")


@dataclass(frozen=True, slots=True)
class Heard:
    """What came of a post."""

    received: int
    """Events in it that are about mail."""
    new: int
    """Those that were not known yet."""


def heard(*, provider: str, integration_id: str, posted: Posted) -> Heard:
    """Keep what a post says. HookRefused where it proves nothing, InvalidInput where a proved one says nothing."""
    integration = _named(integration_id)
    vendor = _vendor(integration, provider.lower().replace("_", "-")) if integration else None
    if integration is None or vendor is None:
        raise HookRefused
    try:
        vendor.prove(posted)
    except HookRefused:
        logger.info("a post to the hook of integration %s was refused", integration.pk)
        raise
    notices = vendor.notices(posted)
    if not notices:
        return Heard(0, 0)
    return Heard(len(notices), delivery_events.take(table=tables.of_integration(integration), notices=notices))


def _named(integration_id: str) -> Integration | None:
    try:
        pk = uuid.UUID(integration_id)
    except ValueError:
        return None
    return Integration.objects.enabled().filter(pk=pk).first()


def _vendor(integration: Integration, word: str) -> MailProvider | None:
    """Ready to prove posts; None where it is another provider's word, or it cannot be used."""
    kind = provider_of(integration)
    if not issubclass(kind, MailProvider) or word not in (kind.hook_word, tables.provider_name(integration)):
        return None
    try:
        vendor = integration_use.provider_for(integration)
    except HubError:
        return None
    return vendor if isinstance(vendor, MailProvider) else None
