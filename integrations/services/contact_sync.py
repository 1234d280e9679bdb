"""Following a CRM: the contacts and companies of an integration become matches of addresses and domains.

Called by the tasks (`start_due`, `due`, `work`) and by the action `sync_contacts` (`start`). A page is asked for
outside any transaction and written in one with the cursor, so a worker that dies loses nothing and doubles nothing.
Promised: at most one run of an integration is under way; disabling or deleting it stops the run at its next page; a
page costs the same number of queries however many records it has.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from functools import cache
from typing import cast

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Greatest, Now

from core.errors import (
    CredentialsRejected,
    HubError,
    LeaseLost,
    NotConfigured,
    ProviderRateLimited,
    ProviderRejected,
    UnsupportedOperation,
)
from core.http import clean_words
from core.work import WorkStatus, backoff_seconds
from entities.services import followed
from integrations.models import ContactSync, Integration
from integrations.models.contact_sync import ContactSyncQuerySet
from integrations.providers import INTEGRATION_PROVIDERS
from integrations.providers.base import CONTACTS
from integrations.records import CrmPage, CrmRecord, CrmSource
from integrations.services import integration_health, integration_use
from integrations.services.integration_use import Disabled
from integrations.services.sync_runs import Crashing, sane_wait

logger = logging.getLogger("patchbay.sync")

ACTION = "sync_contacts"
LEASE_SECONDS = 60.0
SLICE_SECONDS = 40.0
MAX_ATTEMPTS = 6
"""Attempts without a committed page between them before a run has failed."""
LONGEST_PAUSE = 6 * 3600
"""Seconds between runs that fail one after another."""
SCHEDULE, MANUAL = "schedule", "manual"


@cache
def types() -> tuple[str, ...]:
    """Types of integrations whose contacts can be followed."""
    return tuple(key for key in INTEGRATION_PROVIDERS if CONTACTS in INTEGRATION_PROVIDERS.get(key).capabilities)


# --- beginning ----------------------------------------------------------------------------------------------------


def start(*, integration: Integration, trigger: str = MANUAL) -> ContactSync:
    """Queue a run, or give back the one under way. The caller rings it after commit (`tasks.ring_contact_sync`).

    Disabled where the integration is off, NotConfigured without credentials, UnsupportedOperation for other types.
    """
    if integration.type not in types():
        raise UnsupportedOperation("There are no contacts to sync at this integration.")
    integration_use.provider_for(integration)
    with transaction.atomic():
        sync, created = ContactSync.objects.get_or_create(integration=integration, defaults={"trigger": trigger})
        if not created:
            _begin(ContactSync.objects.filter(pk=sync.pk), trigger)
    sync.refresh_from_db()
    return sync


def start_due() -> None:
    """Queue the runs whose time has come, of integrations that are on; new ones begin at once."""
    ready = Integration.objects.enabled().filter(type__in=types(), has_credentials=True)
    if new := list(ready.filter(contact_sync=None).values_list("pk", flat=True)):
        rows = [ContactSync(integration_id=pk, trigger=SCHEDULE) for pk in new]
        ContactSync.objects.bulk_create(rows, ignore_conflicts=True)
    mended = Q(status=WorkStatus.FAILED, integration__credentials_changed_at__gt=F("finished_at"))
    due = ContactSync.objects.filter(mended | Q(next_sync_at__lte=Now()), integration__in=ready)
    ids = list(due.resting().values_list("pk", flat=True))
    if ids:
        _begin(ContactSync.objects.filter(pk__in=ids), SCHEDULE)


def _begin(rows: ContactSyncQuerySet, trigger: str) -> None:
    """What rests is queued. A run that broke off goes on with its counters."""
    resting = rows.resting()
    fresh = {"done": 0, "total": 0, "made": 0, "removed": 0, "skipped": {}}
    queued = {
        "status": WorkStatus.QUEUED,
        "trigger": trigger,
        "run": F("run") + 1,
        "attempts": 0,
        "next_attempt_at": Now(),
        "started_at": None,
        "finished_at": None,
    }
    resting.filter(midway=False).update(**queued, **fresh)
    resting.filter(midway=True).update(**queued)


def due(limit: int = 100) -> list[object]:
    """Work to ring: waiting, or left by a worker that died."""
    return list(ContactSync.objects.due().order_by("next_attempt_at").values_list("pk", flat=True)[:limit])


# --- working ------------------------------------------------------------------------------------------------------


def work(sync_id: object, *, seconds: float = SLICE_SECONDS) -> bool:
    """One slice. True where there is more to do at once. Never raises for a provider."""
    sync: ContactSync | None = ContactSync.objects.claim(sync_id, lease_seconds=LEASE_SECONDS)
    if sync is None:
        return False
    integration = Integration.objects.select_related("workspace").get(pk=sync.integration_id)
    try:
        if sync.attempts > MAX_ATTEMPTS:  # no attempt ended by itself: each took its worker along
            raise Crashing
        return _follow(sync, integration, time.monotonic() + seconds)
    except LeaseLost:
        logger.info("contact sync %s was taken over by another worker", sync.pk)
    except (HubError, OSError) as error:
        _after_error(sync, integration, error)
    except Exception as error:
        logger.exception("contact sync %s broke", sync.pk)
        _after_error(sync, integration, error)
    return False


def _follow(sync: ContactSync, integration: Integration, deadline: float) -> bool:
    """Page after page until the end or the deadline; at least one."""
    source = cast("CrmSource", integration_use.provider_for(integration))
    _same_account(sync, source)
    while True:
        page = source.read_page(sync.cursor)
        _write(sync, integration, source, page)
        if page.last:
            interval = timedelta(seconds=settings.CRM_SYNC_INTERVAL_SECONDS)
            sync.finish(last_synced_at=Now(), next_sync_at=Now() + interval, failures=0, error_at=None)
            integration_health.works(integration)
            return False
        if time.monotonic() >= deadline:
            sync.retry(after_seconds=0, attempts=0, error_at=None)
            return True


def _same_account(sync: ContactSync, source: CrmSource) -> None:
    """Of another account, or under other names, nothing of what is there holds: it is undone and begun anew."""
    account = " ".join((source.account().id, source.entity_type("contact"), source.entity_type("company")))
    if account == sync.account:
        return
    with transaction.atomic():
        sync.hold(lease_seconds=LEASE_SECONDS, account=account, cursor={}, midway=False, last_synced_at=None)
        followed.forget(source_id=sync.integration_id)
    sync.refresh_from_db()


def _write(sync: ContactSync, integration: Integration, source: CrmSource, page: CrmPage) -> None:
    """A page's matches with the cursor and the counters, or nothing of it."""
    count = len(page.records)
    with transaction.atomic():
        sync.hold(lease_seconds=LEASE_SECONDS, cursor=dict(page.cursor), midway=not page.last, attempts=0)
        if not Integration.objects.enabled().filter(pk=integration.pk).exists():
            raise Disabled
        outcomes = [_matched(integration, source, page, kind) for kind in ("contact", "company")]
        skipped = sum((Counter(outcome.skipped) for outcome in outcomes), Counter(sync.skipped))
        ContactSync.objects.filter(pk=sync.pk).update(
            done=F("done") + count,
            total=Greatest(F("total") + (page.total or 0), F("done") + count),
            made=F("made") + sum(outcome.made for outcome in outcomes),
            removed=F("removed") + sum(outcome.removed for outcome in outcomes),
            skipped=skipped,
        )
    sync.cursor, sync.skipped = dict(page.cursor), skipped


def _matched(integration: Integration, source: CrmSource, page: CrmPage, kind: str) -> followed.Followed:
    records = [record for record in page.records if record.kind == kind]
    if not records:
        return followed.Followed()
    follow = followed.follow_addresses if kind == "contact" else followed.follow_domains
    return follow(
        workspace_id=integration.workspace_id,
        source_id=integration.pk,
        entity_type=source.entity_type(records[0].kind),
        names=_names(records),
    )


def _names(records: list[CrmRecord]) -> Mapping[str, tuple[str, ...]]:
    """Entity id → what it is called; nothing for what went into another record."""
    merged = {gone: () for record in records for gone in record.merged}
    return {**merged, **{record.id: record.names for record in records}}


# --- when it does not work ----------------------------------------------------------------------------------------


def _after_error(sync: ContactSync, integration: Integration, error: Exception) -> None:
    """The error carries the decision (DESIGN 3). A worker that lost its lease decides nothing."""
    code, message = "internal_error", "The sync broke; the log says where. It is tried again."
    if isinstance(error, HubError):
        code, message = error.code[:64], clean_words(error.message)
    try:
        _decide(sync, error, code, message)
    except LeaseLost:
        logger.info("contact sync %s was taken over by another worker", sync.pk)
        return
    if isinstance(error, CredentialsRejected):
        integration_health.refused(integration, error)


def _decide(sync: ContactSync, error: Exception, code: str, message: str) -> None:
    if isinstance(error, ProviderRateLimited):
        wait, attempts = sane_wait(error.retry_after), Greatest(F("attempts") - 1, 0)
        sync.retry(after_seconds=wait, code=code, message=message, attempts=attempts, error_at=Now())
    elif isinstance(error, Disabled):  # it goes on as soon as it is on again
        sync.fail(code=code, message=message, next_sync_at=Now(), error_at=Now())
    elif _passing(error) and sync.attempts < MAX_ATTEMPTS:
        wait = backoff_seconds(sync.attempts)
        sync.retry(after_seconds=wait, code=code, message=message, error_at=Now())
    else:
        wait = backoff_seconds(sync.failures + 1, base=settings.CRM_SYNC_INTERVAL_SECONDS, cap=LONGEST_PAUSE)
        following = Now() + timedelta(seconds=wait)
        failures = F("failures") + 1
        sync.fail(code=code, message=message, failures=failures, next_sync_at=following, error_at=Now())


def _passing(error: Exception) -> bool:
    """Worth another attempt: the provider was away, or we broke."""
    return not isinstance(error, (ProviderRejected, NotConfigured, UnsupportedOperation, Crashing))
