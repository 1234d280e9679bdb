"""Using an integration: the one place where its secrets are opened and its provider is made.

Called by the API, by deliveries, mail and schedules; no transaction is open while the vendor is asked. Promised: a
disabled or deleted integration is not used; what the vendor says about the credentials is kept as the integration's
health, and an incident is told once when it begins and once when it ends.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.utils import timezone

from core.errors import Conflict, HubError, NotConfigured
from integrations import fields
from integrations.models import Integration
from integrations.providers.base import IntegrationProvider
from integrations.services import integration_health, integration_tokens, quota
from integrations.services.integrations import filled_of, provider_of
from workspaces.services import audit

if TYPE_CHECKING:
    from workspaces.models import User

logger = logging.getLogger("patchbay.integrations")

TESTS_PER_MINUTE = 50
"""Checks of one integration: a caller could guess keys or look for servers with them."""


class Disabled(Conflict):
    """409: somebody switched it off."""

    default_code = "integration_disabled"
    default_message = "This integration is disabled. Enable it first."


@dataclass(frozen=True, slots=True)
class Tested:
    """What a live check came to."""

    ok: bool
    message: str
    latency_ms: int
    code: str = ""
    """Why not, a stable word."""
    details: Mapping[str, Any] | None = None


def provider_for(integration: Integration) -> IntegrationProvider:
    """Ready to be used. NotConfigured where it has no credentials, Disabled where it is off."""
    if integration.deleted_at is not None or not integration.enabled:
        raise Disabled
    return _made(integration)


def _made(integration: Integration) -> IntegrationProvider:
    kind = provider_of(integration)
    filled = filled_of(integration)
    if kind.credential_fields and not integration.has_credentials:
        raise NotConfigured("The credentials of this integration are missing: give them anew.")
    now = timezone.now()
    retired = [
        str(entry["value"])
        for entry in integration.secrets.get("retired", ())
        if datetime.fromisoformat(entry["until"]) > now
    ]
    meter = None
    if kind.pace is not None:
        meter = quota.Budget(integration.pk, "api", kind.pace.units, kind.pace.window_seconds)
    grant = integration_tokens.Shared(integration.pk, kind) if kind.refreshes else None
    return kind(config=filled.config, credentials=filled.credentials, retired=retired, meter=meter, grant=grant)


def test(*, integration: Integration) -> Tested:
    """Ask the vendor now, enabled or not, and keep what it said as the health of an enabled one."""
    quota.Budget(integration.pk, "tests", TESTS_PER_MINUTE, 60.0).spend(1)
    began = time.monotonic()
    try:
        with quota.urgently():
            checked = _made(integration).check()
    except HubError as error:
        integration_health.refused(integration, error, checking=True)
        return Tested(False, error.message, _since(began), error.code, {})
    integration_health.works(integration, checked)
    return Tested(True, checked.message, _since(began), "", checked.details)


def perform(*, integration: Integration, action: str, given: Mapping[str, Any], by: User) -> Mapping[str, Any]:
    """Do one of its actions with input that is checked here. The vendor's refusals come as they are."""
    kind = provider_of(integration)
    values = fields.read(kind.action(action).fields, given)
    provider = provider_for(integration)
    try:
        with quota.urgently():
            result = provider.perform(action, values)
    except HubError as error:
        integration_health.refused(integration, error)
        raise
    integration_health.works(integration)
    audit.record(
        by=by,
        workspace=integration.workspace,
        action="integration.used",
        target=integration,
        changes={"action": action, "fields": sorted(values)},
    )
    return result


def _since(began: float) -> int:
    return round((time.monotonic() - began) * 1000)


# --- on schedule --------------------------------------------------------------------------------------------------

CHECK_LEASE = timedelta(minutes=5)
CHECKS_AT_ONCE = 50


def check_due() -> int:
    """Check those whose day has come, or whose trouble wants another look; how many were."""
    now = timezone.now()
    rows = Integration.objects.enabled().filter(next_check_at__lte=now).order_by("next_check_at")
    done = 0
    for integration in rows[:CHECKS_AT_ONCE]:
        taken = Integration.objects.filter(pk=integration.pk, next_check_at=integration.next_check_at)
        if taken.update(next_check_at=now + CHECK_LEASE) and integration.has_credentials:
            _check_apart(integration)
            done += 1
    return done


def _check_apart(integration: Integration) -> None:
    """One that somebody checks all the time, or whose provider has a defect, must not cost the others their check."""
    try:
        test(integration=integration)
    except HubError as error:
        logger.info("integration %s is checked later: %s", integration.pk, error.code)
    except Exception:
        logger.exception("the check of integration %s broke; the others go on", integration.pk)
