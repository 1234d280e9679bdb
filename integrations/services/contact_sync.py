"""Following a CRM: the contacts and companies of an integration become matches of addresses and domains.

Called by the tasks (`start_due`, `due`, `work`) and by the action `sync_contacts` (`start`). A page is asked for
outside any transaction and written in one with the cursor, so a worker that dies loses nothing and doubles nothing.
Promised: at most one run of an integration is under way; disabling or deleting it stops the run at its next page; a
page costs the same number of queries however many records it has.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from functools import cache
from typing import cast

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Greatest, Now

from core.errors import UnsupportedOperation
from core.work import WorkStatus
from entities.services import followed
from integrations.models import ContactSync, Integration
from integrations.models.integration_run import IntegrationRunQuerySet
from integrations.providers import INTEGRATION_PROVIDERS
from integrations.providers.base import CONTACTS
from integrations.records import CrmPage, CrmRecord, CrmSource
from integrations.services import integration_use
from integrations.services.integration_runs import LEASE_SECONDS, MANUAL, SCHEDULE, IntegrationRuns
from integrations.services.integration_use import Disabled

ACTION = "sync_contacts"


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


def _begin(rows: IntegrationRunQuerySet, trigger: str) -> None:
    """What rests is queued. A run that broke off goes on with its counters."""
    rows.filter(midway=False).begin(trigger, done=0, total=0, made=0, removed=0, skipped={})
    rows.filter(midway=True).begin(trigger)


# --- working ------------------------------------------------------------------------------------------------------


def _follow(sync: ContactSync, integration: Integration, deadline: float) -> bool:
    """Page after page until the end or the deadline; at least one."""
    source = cast("CrmSource", integration_use.provider_for(integration))
    _same_account(sync, integration, source)
    while True:
        page = source.read_page(sync.cursor)
        _write(sync, integration, source, page)
        if page.last or time.monotonic() >= deadline:
            return not page.last


def _same_account(sync: ContactSync, integration: Integration, source: CrmSource) -> None:
    """Of another account, or under other names, nothing of what is there holds: it is undone and begun anew."""
    account = " ".join((source.account().id, source.entity_type("contact"), source.entity_type("company")))
    if account == sync.account:
        return
    with transaction.atomic():
        sync.hold(lease_seconds=LEASE_SECONDS, account=account, cursor={}, midway=False, last_synced_at=None)
        followed.forget(workspace_id=integration.workspace_id, source_id=integration.pk)
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


RUNS = IntegrationRuns(
    rows=ContactSync,
    what="The sync",
    slice=_follow,
    pause_seconds=lambda: settings.CRM_SYNC_INTERVAL_SECONDS,
    last_at="last_synced_at",
    next_at="next_sync_at",
)
due, work = RUNS.due, RUNS.work
