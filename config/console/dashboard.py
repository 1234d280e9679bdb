"""The first page: how mail, calendars, integrations and deliveries are, each figure with the list behind it.

It reads rows and counts that are kept anyway (`syncing`, `mailing`, `surroundings`), never a whole log, so it costs
the same at ten million mails as at ten. The page fetches its middle again by itself, often while a sync is under way.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.utils import timezone

from config.console import links, mailing, setup, surroundings, syncing
from config.console.mailing import Mailing
from config.console.scope import scope_of
from config.console.surroundings import Endpoint, Surroundings
from config.console.syncing import Reason, Syncing
from config.console.words import duration, several
from documents.models import Document
from email_logs.admin.looks import SHADES, bars, name_of
from email_logs.models import EmailLogEntry, EmailLogTable
from email_logs.states import FAILED_WORD, State
from integrations.admin.looks import HEALTH_WORDS
from integrations.models import Connection, ConnectionStatus, Delivery, Health, Integration, SyncRun
from integrations.oauth import CONNECTION_PROVIDERS
from workspaces.services import key_ages

BUSY_SECONDS, QUIET_SECONDS = 5, 60
"""How often the page looks again while a sync is under way, and else."""
BANNERS = 3
"""Workspaces whose set-up is spoken of here; the set-up page has more."""
HEALTH = {
    Health.NEEDS_RECONNECT: ("bad", "Rotate their secrets."),
    Health.FAILING: ("bad", "Checked again by itself; the page of each says why."),
    Health.LIMITED: ("warn", "They work, but may not do all they could."),
    Health.UNKNOWN: ("calm", "Checked by itself soon."),
    Health.OK: ("good", "Nothing to do."),
}
"""What the last check said → a colour and what to do, worst first."""
LATE_SECONDS = 300
"""From then on a sync that waits is worth a colour, whatever the interval."""


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure of the first row."""

    title: str
    figure: str
    words: str
    url: str = ""
    tone: str = "calm"
    """"calm", "good", "warn", "bad": a colour beside the words, never instead of them."""


def shown(request: HttpRequest) -> dict[str, Any]:
    """What the templates show."""
    scope = scope_of(request)
    sync, mail, around = syncing.read(scope), mailing.read(scope), surroundings.read(scope)
    return {
        "tiles": _tiles(request, sync, mail, around),
        "checklists": [found for found in setup.checklists(request) if found.next is not None][:BANNERS],
        "groups": _groups(request, sync),
        "troubled": [_troubled(request, row) for row in sync.troubled],
        "sync_reasons": [_reason(request, reason, sync) for reason in sync.reasons],
        "runs": [_run(request, run) for run in sync.runs],
        "more_runs": max(0, sync.under_way - len(sync.runs)),
        "runs_url": links.to_list(request, SyncRun, status__exact="running"),
        "coverage": sync.coverage,
        "mail_days": mailing.DAYS,
        "mail_total": mail.total,
        "mail_chart": bars(mail.days, legend=False) if mail.total else "",
        "mail_states": _states(request, mail),
        "logs": [_log(request, log) for log in mail.logs],
        "mail_reasons": [_mail_reason(request, reason, mail) for reason in mail.reasons],
        "broken": [_broken(request, row) for row in around.broken],
        "health": _health(request, around),
        "endpoints": [_endpoint(request, endpoint) for endpoint in around.endpoints],
        "refresh_seconds": BUSY_SECONDS if sync.under_way else QUIET_SECONDS,
    }


# --- the first row ------------------------------------------------------------------------------------------------


def _tiles(request: HttpRequest, sync: Syncing, mail: Mailing, around: Surroundings) -> list[Tile]:
    return [
        _connections(request, sync),
        _lag(request, sync),
        _coverage(request, sync),
        _mail(request, mail),
        _integrations(request, around),
        _webhooks(request, around),
        _storage(request, around),
        _keys(around),
    ]


def _connections(request: HttpRequest, sync: Syncing) -> Tile:
    dead, failing = (sync.counts.get(status, 0) for status in (ConnectionStatus.NEEDS_REAUTH, ConnectionStatus.ERROR))
    url = links.to_list(request, Connection)
    if dead:
        words, url = several(dead, "needs sign-in", "need sign-in"), _of_status(request, ConnectionStatus.NEEDS_REAUTH)
        return Tile("Connections", f"{sync.total:,}", words, url, "bad")
    if failing:
        return Tile("Connections", f"{sync.total:,}", f"{failing:,} with an error",
                    _of_status(request, ConnectionStatus.ERROR), "warn")  # fmt: skip
    if not sync.total:
        return Tile("Connections", "0", "No mailbox is connected yet.", url)
    return Tile("Connections", f"{sync.total:,}", "All are well.", url, "good")


def _of_status(request: HttpRequest, status: str) -> str:
    return links.to_list(request, Connection, **syncing.QUERIES[status])


def _lag(request: HttpRequest, sync: Syncing) -> Tile:
    url = links.to_list(request, SyncRun)
    busy = f"{several(sync.under_way, 'sync')} under way" if sync.under_way else "Nothing waits."
    if sync.lag_seconds < 1:
        return Tile("Sync lag", "none", busy, url, "good" if sync.total else "calm")
    late = sync.lag_seconds > max(LATE_SECONDS, settings.SYNC_INTERVAL_SECONDS)
    words = f"The longest a due sync has waited; {busy[0].lower()}{busy[1:]}"
    return Tile("Sync lag", duration(sync.lag_seconds), words, url, "warn" if late else "good")


def _coverage(request: HttpRequest, sync: Syncing) -> Tile:
    checked = [found for found in sync.coverage if found.checked]
    if not checked:
        return Tile("Coverage", "–", "Compared after each first sync.", links.to_list(request, Connection))
    remote, missing = sum(f.remote for f in checked), sum(f.missing for f in checked)
    share = min(found.share for found in checked)
    words = f"of {remote:,} items; {several(missing, 'is', 'are')} missing" if missing else f"of {remote:,} items"
    return Tile("Coverage", f"{share:g} %", words, links.to_list(request, Connection), "warn" if missing else "good")


def _mail(request: HttpRequest, mail: Mailing) -> Tile:
    url = links.to_list(request, EmailLogTable)
    if not mail.total:
        return Tile(f"Mail in {mailing.DAYS} days", "0", "Nothing was sent.", url)
    words = f"{mail.failed:,} failed or bounced" if mail.failed else "None failed."
    return Tile(f"Mail in {mailing.DAYS} days", f"{mail.total:,}", words, url, "warn" if mail.failed else "good")


def _integrations(request: HttpRequest, around: Surroundings) -> Tile:
    url = links.to_list(request, Integration)
    broken = around.health.get(Health.FAILING, 0) + around.health.get(Health.NEEDS_RECONNECT, 0)
    if not around.integrations:
        return Tile("Integrations", "0", "None is enabled.", url)
    limited = around.health.get(Health.LIMITED, 0)
    words = f"{broken:,} not working" if broken else f"{limited:,} limited" if limited else "No check failed."
    return Tile("Integrations", f"{around.integrations:,}", words, url, "bad" if broken else "good")


def _webhooks(request: HttpRequest, around: Surroundings) -> Tile:
    url = links.to_list(request, Delivery)
    if not around.endpoints:
        return Tile("Event endpoints", "0", "Nobody subscribes to events.", url)
    failed = sum(endpoint.failed for endpoint in around.endpoints)
    if around.failing_endpoints:
        words = f"{several(around.failing_endpoints, 'fails', 'fail')} now"
        return Tile("Event endpoints", f"{len(around.endpoints)}", words, url, "bad")
    words = f"{several(failed, 'delivery', 'deliveries')} given up" if failed else "All take their events."
    return Tile("Event endpoints", f"{len(around.endpoints)}", words, url, "warn" if failed else "good")


def _storage(request: HttpRequest, around: Surroundings) -> Tile:
    stored, quota = around.stored_bytes, around.quota_bytes
    words = f"of {filesizeformat(quota)} ({stored * 100 // quota} %)" if quota else "no limit is set"
    tone = "warn" if quota and stored > 0.9 * quota else "calm"
    return Tile("Documents stored", str(filesizeformat(stored)), words, links.to_list(request, Document), tone)


def _keys(around: Surroundings) -> Tile:
    """Age of the key that seals what is stored now, and of the credential that was changed longest ago."""
    since = key_ages.newest_since()
    oldest = around.oldest_credential
    words = f"oldest credential: {duration((timezone.now() - oldest).total_seconds())}" if oldest else "no credentials"
    return Tile("Sealing key", duration((timezone.now() - since).total_seconds()) if since else "new", words)


# --- lists --------------------------------------------------------------------------------------------------------


def _groups(request: HttpRequest, sync: Syncing) -> list[dict[str, Any]]:
    tones = {ConnectionStatus.ACTIVE: "good", ConnectionStatus.NEEDS_REAUTH: "bad", ConnectionStatus.ERROR: "warn"}
    return [
        {
            "title": title, "advice": advice, "count": sync.counts[status],
            "url": _of_status(request, status), "tone": tones.get(ConnectionStatus(status), "calm"),
        }
        for status, (title, advice) in syncing.TITLES.items()
        if sync.counts.get(status)
    ]  # fmt: skip


def _troubled(request: HttpRequest, row: Connection) -> dict[str, Any]:
    dead, own = row.needs_reauth, row.user_id == request.user.pk
    mend = "Connect your account again." if own else f"{row.user} has to connect the account again."
    return {
        "account": row.account_email,
        "provider": CONNECTION_PROVIDERS.get(row.provider).name,
        "words": row.last_error_message or "The provider no longer accepts the sign-in.",
        "advice": mend if dead else "It is tried again by itself.",
        "url": links.to_row(request, row),
        "tone": "bad" if dead else "warn",
    }


def _reason(request: HttpRequest, reason: Reason, sync: Syncing) -> dict[str, Any]:
    url = links.to_list(request, Connection, disconnected_at__isnull=True, last_error_code__exact=reason.code)
    most = max(found.count for found in sync.reasons)
    return {
        "words": reason.words or reason.code,
        "count": reason.count,
        "url": url,
        "share": reason.count * 100 // most,
    }


def _run(request: HttpRequest, run: SyncRun) -> dict[str, Any]:
    left = duration(run.eta_seconds())
    return {
        "account": run.connection.account_email,
        "type": run.type,
        "done": run.done,
        "total": run.total,
        "share": min(100, 100 * run.done // (run.total or 1)),
        "left": f"about {left} left" if left else "",
        "url": links.to_row(request, run.connection),
    }


def _states(request: HttpRequest, mail: Mailing) -> list[dict[str, Any]]:
    """The one log's entries where there is one log; else the logs, for a page shows one at a time."""
    one = mail.logs[0].table if len(mail.logs) == 1 else None
    return [
        {
            "name": State(state).label,
            "colour": SHADES[State(state)],
            "count": count,
            "url": _entries(request, one, state=state) if one else links.to_list(request, EmailLogTable),
        }
        for state, count in mail.states.items()
    ]


def _entries(request: HttpRequest, table: EmailLogTable, **query: object) -> str:
    first = (timezone.now() - timedelta(days=mailing.DAYS - 1)).date()
    return links.to_list(request, EmailLogEntry, log=table.pk, sent_at_from=first, **query)


def _log(request: HttpRequest, log: mailing.Log) -> dict[str, Any]:
    return {
        "name": name_of(log.table),
        "sent": log.sent,
        "failed": log.failed,
        "url": _entries(request, log.table),
        "failed_url": _entries(request, log.table, status=FAILED_WORD),
    }


def _mail_reason(request: HttpRequest, reason: Reason, mail: Mailing) -> dict[str, Any]:
    """To the log that failed most: what was put together of several has no one list."""
    worst = max((log for log in mail.logs if log.table.integration_id), key=lambda log: log.failed)
    most = max(found.count for found in mail.reasons)
    url = _entries(request, worst.table, status=FAILED_WORD)
    return {"words": reason.words, "count": reason.count, "url": url, "share": reason.count * 100 // most}


def _broken(request: HttpRequest, row: Integration) -> dict[str, Any]:
    since = duration((timezone.now() - row.failing_since).total_seconds()) if row.failing_since else ""
    words = row.health_message or "Its last check failed."
    return {"name": row.name, "words": words, "since": since, "url": links.to_row(request, row)}


def _health(request: HttpRequest, around: Surroundings) -> list[dict[str, Any]]:
    return [
        {
            "title": HEALTH_WORDS[health], "advice": advice, "count": around.health[health], "tone": tone,
            "url": links.to_list(request, Integration, enabled__exact=1, health__exact=health),
        }
        for health, (tone, advice) in HEALTH.items()
        if around.health.get(health)
    ]  # fmt: skip


def _endpoint(request: HttpRequest, endpoint: Endpoint) -> dict[str, Any]:
    since = endpoint.row.failing_since
    return {
        "name": endpoint.row.integration.name,
        "waiting": endpoint.waiting,
        "failed": endpoint.failed,
        "more": endpoint.at_least,
        "failing": duration((timezone.now() - since).total_seconds()) if since else "",
        "url": links.to_list(request, Delivery, endpoint=endpoint.row.pk),
    }
