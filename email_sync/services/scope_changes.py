"""Changing a mailbox's scope: the wish, its saving, and the work that follows for what is stored.

Called by the views (`wanted`, `save`) and by the task (`work`). Saved first, under the mailbox's lock: from then on no
page brings what is not wanted. What is stored and falls out is deleted for good by a piece of work that needs no
provider, in chunks; what is wanted again comes by a comparison with the provider.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import timedelta

from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from core.errors import InvalidInput, LeaseLost
from core.work import ACTIVE, WorkStatus
from email_sync import addresses
from email_sync.models import Excluded, Folder, MailScope, Message, ScopeChange
from email_sync.scope import AGE, ALL, BLOCKED, FOLDER, Scope, is_local
from email_sync.services import erasing, restoring, scoping, telling
from email_sync.services.locking import one_writer
from entities import matching
from integrations.models import Connection, SyncCursor, SyncRun
from integrations.services import sync_runs
from workspaces.models import User
from workspaces.services import audit

CHUNK = 500
LEASE_SECONDS = 60.0
SLICE_SECONDS = 40.0


# --- what is wanted -----------------------------------------------------------------------------------------------


def current(connection: Connection) -> MailScope:
    """The saved wish, or an unsaved row that stands for having none."""
    return MailScope.objects.filter(connection=connection).first() or MailScope(connection=connection)


def wanted(connection: Connection, changes: Mapping[str, object]) -> MailScope:
    """The wish as it would be with these columns of MailScope changed, not saved. InvalidInput for a folder that the
    mailbox does not have."""
    row = current(connection)
    days_before = row.days
    for name, value in changes.items():
        setattr(row, name, value)
    if row.folder_rule == ALL:
        row.folder_ids = []
    elif "folder_ids" in changes:
        _refuse_unknown(connection, row.folder_ids)
    if row.days != days_before:
        row.since = timezone.now() - timedelta(days=row.days) if row.days else None
    row.blocked = sorted(set(row.blocked))
    return row


def blocked_entry(text: str) -> str:
    """An address or a domain of a blocklist in its compared form. InvalidInput where it is neither."""
    given = text.strip().removeprefix("@")
    if addresses.is_email(given if "@" in given else f"x@{given}"):
        return matching.normalise(given) if "@" in given else matching.domain_of(f"x@{given}")
    raise InvalidInput(fields={"blocklist": [f"{text[:100]!r} is neither an address nor a domain."]})


def _refuse_unknown(connection: Connection, folder_ids: Sequence[str]) -> None:
    """Before the first listing nothing is known, so nothing is refused."""
    known = set(Folder.objects.filter(connection=connection).values_list("remote_id", flat=True))
    unknown = [folder_id for folder_id in folder_ids if folder_id not in known] if known else []
    if unknown:
        raise InvalidInput(
            fields={"folders.list": [f"There is no folder {folder_id[:100]!r}." for folder_id in unknown]}
        )


def coming_back(connection: Connection, before: Scope, after: Scope) -> QuerySet[Excluded]:
    """Notes that no longer hold, or may no longer: these mails are fetched and looked at anew."""
    doubted = Q(pk__in=[])
    if (before.folder_rule, before.folder_ids) != (after.folder_rule, after.folder_ids):
        doubted |= Q(reason=FOLDER)
    if before.since is not None and (after.since is None or after.since < before.since):
        doubted |= Q(reason=AGE)
    if freed := before.blocked - after.blocked:
        doubted |= Q(reason=BLOCKED, rule__in=freed)
    return Excluded.objects.filter(doubted, connection=connection)


# --- saving -------------------------------------------------------------------------------------------------------


def save(
    connection: Connection, *, changes: Mapping[str, object], by: User
) -> tuple[ScopeChange | None, list[SyncRun]]:
    """Save a wish: the work that follows and the runs, both to be rung. None where nothing changed."""
    with transaction.atomic():
        # In the order in which everybody locks: the connection, its work, then its mail.
        Connection.objects.select_for_update(no_key=True).get(pk=connection.pk)
        before = scoping.of(connection)
        row = wanted(connection, changes)
        after = scoping.from_row(connection, row)
        if after == before and row.days == current(connection).days:
            return None, []
        sync_runs.stop(connection=connection, reason="What is synced of this mailbox was changed.")
        _supersede(connection)
        one_writer(connection.pk)
        row.save()
        coming_back(connection, before, after).delete()
        if after.widens(before):
            SyncCursor.objects.filter(connection=connection, type="email").update(reconcile=True)
        total = Message.objects.filter(connection=connection).count()
        change = ScopeChange.objects.create(connection=connection, total=total)
        audit.record(
            by=by,
            workspace=connection.workspace,
            action="connection.scope_changed",
            target=connection,
            changes=_told(row),
        )
        return change, _resync(connection)


def _supersede(connection: Connection) -> None:
    """The work of an earlier wish ends: the new one looks at everything again."""
    ScopeChange.objects.filter(connection=connection, status__in=ACTIVE).update(
        status=WorkStatus.FAILED,
        fence=F("fence") + 1,
        lease_until=None,
        finished_at=Now(),
        error_code="superseded",
        error_message="The scope was changed again.",
    )


def _told(row: MailScope) -> dict[str, object]:
    """For the audit trail, which an owner reads: whom a user blocks is not the owner's business."""
    return {
        "folders": row.folder_rule,
        "days": row.days,
        "blocked": len(row.blocked),
        "metadata_only": row.metadata_only,
    }


def _resync(connection: Connection) -> list[SyncRun]:
    if connection.disconnected_at is not None:
        return []
    return sync_runs.start_all(connections=[connection], type="email", trigger="scope")


def latest(connection: Connection) -> ScopeChange | None:
    """The work of the last saving, under way or over."""
    return ScopeChange.objects.filter(connection=connection).order_by("-created_at", "-id").first()


# --- the work -----------------------------------------------------------------------------------------------------


def work(change_id: object) -> bool:
    """One slice. True where there is more to do at once."""
    change: ScopeChange | None = ScopeChange.objects.claim(change_id, lease_seconds=LEASE_SECONDS)
    if change is None:
        return False
    deadline = time.monotonic() + SLICE_SECONDS
    try:
        while _chunk(change):
            if time.monotonic() >= deadline:
                change.retry(after_seconds=0, attempts=0)
                return True
        _forget_streams(change)
        change.finish()
    except LeaseLost:  # another wish was saved meanwhile, or the connection is going
        return False
    return False


def _chunk(change: ScopeChange) -> bool:
    """One transaction. False where there was nothing left to look at."""
    with transaction.atomic():
        change.hold(lease_seconds=LEASE_SECONDS, attempts=0)
        one_writer(change.connection_id)
        rows = Message.objects.filter(connection=change.connection, remote_id__gt=change.position)
        chunk = list(rows.order_by("remote_id")[:CHUNK])
        if not chunk:
            return False
        scope = scoping.of(change.connection)
        change.removed += _remove_unwanted(change.connection, scope, chunk)
        change.reduced += _reduce(scope, chunk)
        change.position, change.done = chunk[-1].remote_id, change.done + len(chunk)
        change.save(update_fields=["position", "done", "removed", "reduced"])
    return True


def _remove_unwanted(connection: Connection, scope: Scope, chunk: Sequence[Message]) -> int:
    verdicts = [(message, scope.verdict(scoping.outside_of_row(message))) for message in chunk]
    unwanted = [(message, verdict) for message, verdict in verdicts if verdict is not None]
    at_provider = [(m, v) for m, v in unwanted if m.removed_at is None and not is_local(m.remote_id)]
    scoping.note([scoping.noted(connection, message, verdict) for message, verdict in at_provider])
    erased = erasing.erase(connection, [message.remote_id for message, _ in unwanted])
    telling.page(connection, new=[], changed=[], removed=erased)
    return len(erased)


def _reduce(scope: Scope, chunk: Sequence[Message]) -> int:
    kept = [m.pk for m in chunk if not m.body_withheld and scope.verdict(scoping.outside_of_row(m)) is None]
    if not scope.metadata_only or not kept:
        return 0
    restoring.withhold(kept)
    return len(kept)


def _forget_streams(change: ScopeChange) -> None:
    """Folders that are not wanted begin anew when they are wanted again."""
    scope = scoping.of(change.connection)
    folders = set(Folder.objects.filter(connection=change.connection).values_list("remote_id", flat=True))
    with transaction.atomic():
        change.hold(lease_seconds=LEASE_SECONDS)
        for cursor in SyncCursor.objects.filter(connection=change.connection, type="email"):
            if cursor.stream in folders and scope.folder_verdict([cursor.stream]) is not None:
                cursor.delete()


def due(limit: int = 100) -> list[object]:
    """Work to ring: never begun, or left by a worker that died."""
    return ScopeChange.objects.to_ring(limit)
