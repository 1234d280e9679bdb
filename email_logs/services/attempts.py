"""One attempt to hand a mail over, and what its outcome means.

`attempt` is called by `sending` in the process that was asked, and by `outgoing` in workers; no transaction is open
during the call. Promised: never two mails for one request, and never a false "failed". A mail that somebody may have is
repeated only under a provider's idempotency key, with the same credentials and while the key is remembered; else it is
`unknown` and never sent again. What surely was not taken is tried again, or goes to another provider where the
workspace asked for that.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta

from django.db.models.functions import Coalesce, Now
from django.utils import timezone

from core.errors import (
    CredentialsRejected,
    HubError,
    LeaseLost,
    NotConfigured,
    ProviderOutcomeUnknown,
    ProviderRateLimited,
    ProviderUnavailable,
    ProviderUnreached,
    ServiceBusy,
)
from core.work import backoff_seconds, sane_wait
from email_logs.models import EmailLogEntry, EmailLogTable, OutgoingEmail
from email_logs.services import fallback, letters, settling
from email_logs.services.settling import LEASE_SECONDS, Ended
from email_logs.states import State
from integrations.models import Health, Integration
from integrations.providers.mail import Accepted
from integrations.services import integration_health, quota
from integrations.services.integration_use import Disabled

logger = logging.getLogger("patchbay.send")

GIVE_UP = timedelta(hours=24)
"""A mail that nobody takes, or whose provider is broken or switched off, is kept this long."""
KEY_MARGIN = timedelta(hours=1)
"""Of the time a provider remembers a key: its clock and ours differ, and a call takes its time."""
BROKEN_SECONDS = 60.0
"""How often a provider is looked at whose credentials are refused, or that is switched off."""
LONGEST_REST = 300.0
REFUSED_KEYS = frozenset({"credentials_rejected", "needs_reconnect"})
BROKEN = (CredentialsRejected, Disabled, NotConfigured)
"""It tells of the provider and not of the mail, and a person can mend it."""
TEMPORARY = (ProviderUnavailable, ProviderRateLimited, ServiceBusy)
NOT_ASKED, RESTING = "The provider took nothing lately, so it was not asked.", "provider_rests"


class _Proved(Exception):
    """Internal: an event says that it was taken, so there is nothing left to do."""


class _Unrepeatable(Exception):
    """Internal: somebody may have it, and asking again could make it two."""


@dataclass(frozen=True, slots=True)
class _Outcome:
    """How one call went. `called`: the provider's own code was entered."""

    accepted: Accepted | None = None
    error: HubError | None = None
    called: bool = False
    broke: bool = False
    """It ended in an error that nobody translated."""


def attempt(work: OutgoingEmail, *, asked: bool) -> Ended:
    """Hand over a mail that is ours, from one provider to the next where that is wished. `asked`: a person waits for
    the answer, so that what is broken is said at once and nothing is kept behind their back."""
    while True:
        table = EmailLogTable.objects.select_related("integration__workspace").get(pk=work.table_id)
        try:
            ended = _once(work, table, asked=asked)
        except LeaseLost:
            logger.info("mail %s was taken over by another worker", work.pk)
            return Ended(_state(work))
        if ended is not None:
            return ended


def _once(work: OutgoingEmail, table: EmailLogTable, *, asked: bool) -> Ended | None:
    """One provider. None where the mail went on to another one."""
    integration = table.integration
    if integration is None:
        return settling.failed(work, table, NotConfigured("Its provider is gone."))
    try:
        outcome = _call(work, table, integration, asked=asked)
    except _Proved:
        return settling.proved(work, _state(work))
    except _Unrepeatable:
        return settling.unknown(work, ProviderOutcomeUnknown())
    if outcome.accepted is not None:
        ended = settling.accepted(work, table, outcome.accepted)
        if integration.failing_since is not None or integration.health == Health.UNKNOWN:
            integration_health.works(integration)
        return ended
    error = outcome.error or ServiceBusy()
    if isinstance(error, CredentialsRejected) and outcome.called:
        integration_health.refused(integration, error)
    if work.called_at is not None or _is_open(outcome, integration):
        return _perhaps_taken(work, table, integration, outcome)
    return _not_taken(work, table, integration, error, asked=asked)


# --- the call -----------------------------------------------------------------------------------------------------


def _call(work: OutgoingEmail, table: EmailLogTable, integration: Integration, *, asked: bool) -> _Outcome:
    called = False
    try:
        _check_repeatable(work, integration)
        if not asked:
            _check_in_order(table, integration)
        provider = letters.provider_for(integration)
        mail = letters.mail_of(work, provider)
        work.hold(lease_seconds=LEASE_SECONDS, calling=True, called_at=Coalesce("called_at", Now()))
        called = True
        if asked:
            with quota.urgently():
                return _Outcome(accepted=provider.send(mail))
        return _Outcome(accepted=provider.send(mail))
    except LeaseLost:
        raise
    except HubError as error:
        return _Outcome(error=error, called=called)
    except (_Proved, _Unrepeatable):
        raise
    except Exception:  # the boundary: whatever broke, the row must say the truth
        logger.exception("mail %s broke", work.pk)
        return _Outcome(error=ServiceBusy("Sending it broke here; the log says where."), called=called, broke=called)


def _check_repeatable(work: OutgoingEmail, integration: Integration) -> None:
    """Of a mail that somebody may have: whether it may be sent again."""
    if work.called_at is None:
        return
    if _state(work) not in (State.QUEUED, State.UNKNOWN):
        raise _Proved
    changed = integration.credentials_changed_at
    if not _within_key(work, integration) or (changed is not None and changed > work.called_at):
        raise _Unrepeatable  # other credentials may be of another account, which knows no such key


def _within_key(work: OutgoingEmail, integration: Integration) -> bool:
    lasts = letters.kind_of(integration).keys_last
    return lasts is not None and timezone.now() < (work.called_at or timezone.now()) + lasts - KEY_MARGIN


def _check_in_order(table: EmailLogTable, integration: Integration) -> None:
    """Whether asking makes sense: its key may be known to be refused, or it rests and the mail may go elsewhere."""
    if integration.failing_since is not None and integration.health_code in REFUSED_KEYS:
        raise CredentialsRejected(integration.health_message, code=integration.health_code)
    if table.failing_since is not None and table.not_before is not None and table.not_before > timezone.now():
        raise ProviderUnreached(NOT_ASKED, code=RESTING)


def _state(work: OutgoingEmail) -> str:
    return EmailLogEntry.objects.values_list("state", flat=True).get(pk=work.entry_id)


# --- what it means ------------------------------------------------------------------------------------------------


def _is_open(outcome: _Outcome, integration: Integration) -> bool:
    """Whether this call may have handed the mail over."""
    error = outcome.error
    if not outcome.called or isinstance(error, (ProviderUnreached, ProviderRateLimited)):
        return False
    if isinstance(error, ProviderOutcomeUnknown) or outcome.broke:
        return True
    # Without keys a provider's call says itself when it is not sure; under a key it says "unavailable" for both.
    return isinstance(error, ProviderUnavailable) and letters.kind_of(integration).keys_last is not None


def _perhaps_taken(work: OutgoingEmail, table: EmailLogTable, integration: Integration, outcome: _Outcome) -> Ended:
    """Again under the same key where that does no harm, else nobody knows. Never "failed", whatever is said now."""
    error = outcome.error or ServiceBusy()
    work.refresh_from_db(fields=("called_at",))
    harmless = isinstance(error, (*TEMPORARY, *BROKEN)) and not isinstance(error, ProviderOutcomeUnknown)
    if not harmless or not _within_key(work, integration):
        return settling.unknown(work, error)
    return settling.again(work, table, error, wait=_wait(work, table, error), rest=_rest(work, table, error))


def _not_taken(
    work: OutgoingEmail, table: EmailLogTable, integration: Integration, error: HubError, *, asked: bool
) -> Ended | None:
    """Surely not: to another provider, again, or over."""
    if fallback.is_wished(integration) and fallback.helps(error):
        other = fallback.next_provider(work, table)
        if other is not None:
            settling.moved(work, table, other, error, rest=_rest(work, table, error))
            return None
    if isinstance(error, BROKEN) and (asked or integration.deleted_at is not None):
        return settling.failed(work, table, error)
    if not isinstance(error, (*TEMPORARY, *BROKEN)):
        return settling.failed(work, table, error)
    if timezone.now() - work.created_at > GIVE_UP:
        return settling.given_up(work, table, error)
    return settling.again(work, table, error, wait=_wait(work, table, error), rest=_rest(work, table, error))


def _wait(work: OutgoingEmail, table: EmailLogTable, error: HubError) -> float:
    """Until this mail is tried again."""
    if error.code == RESTING and table.not_before is not None:
        return max(1.0, (table.not_before - timezone.now()).total_seconds())
    if isinstance(error, ProviderRateLimited):
        return sane_wait(error.retry_after)
    return BROKEN_SECONDS if isinstance(error, BROKEN) else backoff_seconds(work.attempts, cap=LONGEST_REST)


def _rest(work: OutgoingEmail, table: EmailLogTable, error: HubError) -> float:
    """Until its provider is asked anything; 0 where this tells nothing of it. A wait is the table's: a thousand mails
    do not ask each."""
    tells = isinstance(error, (ProviderRateLimited, ProviderUnavailable, *BROKEN)) and error.code != RESTING
    return _wait(work, table, error) if tells else 0.0
