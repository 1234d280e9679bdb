"""How an integration is: what its last check or use said, and incidents told once when they begin and once when they
end.

Called by `services.integration_use` and by deliveries. A refusal of the credentials is an incident at once; a vendor
that does not answer is one only after several checks in a row, since outages of minutes are normal. The newest checks
are kept as they came out.
"""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from core.errors import (
    CredentialsRejected,
    EgressRefused,
    HubError,
    NotConfigured,
    ProviderRateLimited,
    ProviderRejected,
    ProviderUnavailable,
    RemoteMissing,
)
from integrations.models import EventType, Health, Integration, IntegrationCheck
from integrations.providers.base import Checked
from integrations.services import events, notices

DAILY = timedelta(days=1)
AGAIN = (timedelta(minutes=5), timedelta(minutes=15), timedelta(hours=1), timedelta(hours=6))
"""When a failing one is checked again, by how often it failed; the last one goes on."""
PATIENCE = 3
"""Checks in a row without an answer before it counts as failing."""
FINAL = (CredentialsRejected, ProviderRejected, EgressRefused, RemoteMissing, NotConfigured)
RECONNECT = "needs_reconnect"
"""The code of a CredentialsRejected that only new credentials mend."""


def works(integration: Integration, checked: Checked | None = None) -> None:
    """The vendor did what was asked. A use says nothing about what a limited key cannot do."""
    with transaction.atomic():
        row = _locked(integration)
        if row is None:
            return
        if checked is not None:
            row.health = Health.LIMITED if checked.limited else Health.OK
            row.health_message, row.health_code, row.health_checked_at = checked.message, "", timezone.now()
            row.next_check_at = timezone.now() + DAILY
            _remember(row, checked.message, limited=bool(checked.limited))
        elif row.failing_since is not None or row.health == Health.UNKNOWN:
            row.health, row.health_message, row.health_code = Health.OK, "", ""
            row.health_checked_at = timezone.now()
        else:
            return
        row.check_failures = 0
        if row.failing_since is not None:
            row.failing_since = None
            _tell(row, EventType.INTEGRATION_RECOVERED)
            notices.recovered(row)
        _save(row)


def refused(integration: Integration, error: HubError, *, checking: bool = False) -> None:
    """It did not. A use says something about the integration only where its credentials are refused."""
    if not checking and not isinstance(error, CredentialsRejected):
        return
    if isinstance(error, ProviderRateLimited):
        return
    with transaction.atomic():
        row = _locked(integration)
        if row is None:
            return
        row.check_failures += 1
        row.next_check_at = timezone.now() + AGAIN[min(row.check_failures, len(AGAIN)) - 1]
        row.health_checked_at = timezone.now()
        row.health_message, row.health_code = error.message, error.code
        if checking:
            _remember(row, error.message, code=error.code)
        waits = isinstance(error, ProviderUnavailable) and not isinstance(error, FINAL)
        if not waits or row.check_failures >= PATIENCE:
            row.health = Health.NEEDS_RECONNECT if error.code == RECONNECT else Health.FAILING
            if row.failing_since is None:
                row.failing_since = timezone.now()
                _tell(row, EventType.INTEGRATION_FAILING, code=error.code)
                notices.failing(row)
        _save(row)


def ended(row: Integration, *, code: str, words: str) -> None:
    """It was switched off because it is over. Inside the transaction that did so and holds the row."""
    row.health, row.health_code, row.health_message = Health.FAILING, code, words
    row.health_checked_at = timezone.now()
    if row.failing_since is None:
        row.failing_since = timezone.now()
        _tell(row, EventType.INTEGRATION_FAILING, code=code)
    notices.switched_off(row)
    _save(row)


def _locked(integration: Integration) -> Integration | None:
    """The row as it is now, without its secrets; None where it was disabled, deleted or changed meanwhile: what was
    found out is of other settings."""
    rows = Integration.objects.enabled().defer("credentials").select_for_update(of=("self",), no_key=True)
    row = rows.filter(pk=integration.pk).select_related("workspace").first()
    if row is None or row.updated_at != integration.updated_at:
        return None
    return row


def checks(integration: Integration, *, limit: int = 20) -> list[IntegrationCheck]:
    """What its checks said, newest first."""
    return list(IntegrationCheck.objects.filter(integration=integration).order_by("-id")[:limit])


def _remember(row: Integration, message: str, *, code: str = "", limited: bool = False) -> None:
    """Another check; the oldest goes. Whoever comes here holds the integration's row."""
    own = IntegrationCheck.objects.filter(integration=row)
    IntegrationCheck.objects.create(integration=row, code=code, limited=limited, message=message)
    own.exclude(pk__in=own.order_by("-id").values("pk")[: IntegrationCheck.KEPT]).delete()


def _save(row: Integration) -> None:
    row.save(
        update_fields=(
            "health", "health_code", "health_message", "health_checked_at", "failing_since", "next_check_at",
            "check_failures",
        )
    )  # fmt: skip


def _tell(row: Integration, type: str, **facts: str) -> None:
    payload = {"integrationId": str(row.pk), "integrationType": row.type, **facts}
    events.record(workspace_id=row.workspace_id, type=type, payload=payload)
