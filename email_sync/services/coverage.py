"""Is everything here that the provider has? Compared once a day, after the first sync, and when asked for; mended.

Called by the engine as the last step of a run. A folder at a time: its ids are listed (a listing alone is cheap), what
changed meanwhile is caught up, and then the two sets are compared. What is missing is fetched. What is stored and not
listed is asked for by its id: it comes where it was moved without a word (Graph's A→B→A, reference 3.3), and is removed
under the engine's brake where it does not. The counters are compared too. A `CoverageCheck` row says what was found; it
goes on where a slice or a worker ended.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.db import connection as database
from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Now

from core.errors import CursorExpired
from email_sync.models import Excluded, Message
from email_sync.records import Stream
from email_sync.scope import is_imported
from email_sync.services import counting, isolating, store
from email_sync.services.fetching import prepare
from email_sync.services.pages import PAGE
from email_sync.services.reconcile import listed_since
from email_sync.services.store import Incoming
from integrations.models import Connection, CoverageCheck, SyncCursor, SyncState

if TYPE_CHECKING:
    from email_sync.services.engine import MailboxSync

EVERY = timedelta(days=1)
LOOKED_UP_TOGETHER = 5000
SINCE_IS_VAGUE = timedelta(days=2)
"""A listing since a moment is right give or take a day (`MailProvider.list_ids`)."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Where a folder and its rows differ."""

    missing: list[str]
    """Without what is set aside: that has its own times (`isolating`)."""
    doubtful: list[str]
    """Stored here and not listed, or listed here and stored elsewhere: to be asked for one by one."""
    unlisted: int
    """How many of the doubtful are not listed: the most that might be removed."""


def due(connection: Connection, type: str) -> CoverageCheck | None:
    """The check to work on now: one under way, or a new one where its time has come."""
    under_way = CoverageCheck.objects.filter(connection=connection, type=type, ended_at__isnull=True).first()
    if under_way is not None:
        return under_way
    states = SyncState.objects.filter(connection=connection, type=type)
    if not states.filter(Q(next_check_at__isnull=True) | Q(next_check_at__lte=Now())).exists():
        return None
    check = CoverageCheck.objects.create(connection=connection, type=type)
    check.refresh_from_db()
    return check


def unchecked(check: CoverageCheck, streams: Iterable[Stream], cursors: Mapping[str, SyncCursor]) -> Iterator[Stream]:
    """The folders that are still to be compared. One that does not sync has no figures to compare."""
    for stream in streams:
        cursor = cursors.get(stream.key)
        if cursor is None or not cursor.backfill_done or cursor.reconcile:
            continue
        if cursor.checked_at is None or cursor.checked_at < check.began_at:
            yield stream


def check_stream(sync: MailboxSync, check: CoverageCheck, stream: Stream) -> bool:
    """Compare and mend one folder. True where the slice ended before."""
    began_at = _database_time()
    resyncs = sync.cursors[stream.key].resyncs
    try:
        listed = listed_since(sync.mailbox, stream, sync.scope.since, between=sync.hold_if_slow)
    except CursorExpired:
        return False
    if sync.catch_up(stream):
        return True
    if sync.cursors[stream.key].resyncs != resyncs:
        return False  # renumbered under our eyes: the list is worth nothing, and a reconcile has compared everything
    listed -= _left_meanwhile(sync.connection, began_at)
    gap = _gap(sync, stream, listed, began_at)
    fetched = _fetch_missing(sync, stream, gap.missing)
    moved, removed = _ask_for(sync, stream, gap)
    moved += _mend_states(sync, stream)
    _note(sync, check, stream, listed, fetched=fetched, moved=moved, removed=removed)
    return False


def end(sync: MailboxSync, check: CoverageCheck) -> None:
    """The counters, then the figures for everybody."""
    recounted = counting.mend(sync.connection, hold=sync.hold_on)
    with transaction.atomic():
        sync.hold_on()
        check.refresh_from_db()
        CoverageCheck.objects.filter(pk=check.pk).update(ended_at=Now(), recounted=recounted)
        SyncState.objects.filter(connection=sync.connection, type=check.type).update(
            coverage_remote=check.remote,
            coverage_stored=check.stored,
            coverage_missing=check.missing,
            coverage_checked_at=Now(),
            next_check_at=Now() + EVERY * (0.9 + 0.2 * random.random()),  # noqa: S311 - jitter, not a secret
        )


# --- comparing ----------------------------------------------------------------------------------------------------


def _gap(sync: MailboxSync, stream: Stream, listed: set[str], began_at: datetime) -> Gap:
    """What came while the folder was listed is on neither side."""
    old = Message.objects.present().filter(connection=sync.connection, stream=stream.key, created_at__lt=began_at)
    if sync.scope.since is not None:
        old = old.filter(received_at__gte=sync.scope.since + SINCE_IS_VAGUE)
    stored = old.values_list("remote_id", flat=True).iterator(chunk_size=LOOKED_UP_TOGETHER)
    unlisted = [i for i in stored if i not in listed and not is_imported(i)]
    elsewhere: list[str] = []
    missing: list[str] = []
    for part in _parts(sorted(listed)):
        rows = Message.objects.present().filter(connection=sync.connection, remote_id__any_of=part)
        elsewhere += rows.exclude(stream=stream.key).values_list("remote_id", flat=True)
        known = store.stored_ids(sync.connection, part) | isolating.set_aside_ids(sync.connection, part)
        missing += [remote_id for remote_id in part if remote_id not in known]
    return Gap(missing, [*unlisted, *elsewhere], len(unlisted))


def _left_meanwhile(connection: Connection, began_at: datetime) -> set[str]:
    """Removed by the changes since the listing began: they may have been listed before."""
    rows = Message.objects.filter(connection=connection, removed_at__gte=began_at)
    return set(rows.values_list("remote_id", flat=True))


def _present(connection: Connection, remote_ids: Sequence[str]) -> set[str]:
    rows = Message.objects.present().filter(connection=connection, remote_id__any_of=remote_ids)
    return set(rows.values_list("remote_id", flat=True))


def _parts(remote_ids: Sequence[str], size: int = LOOKED_UP_TOGETHER) -> Iterator[Sequence[str]]:
    return (remote_ids[start : start + size] for start in range(0, len(remote_ids), size))


def _database_time() -> datetime:
    with database.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        now: datetime = cursor.fetchone()[0]
    return now


# --- mending ------------------------------------------------------------------------------------------------------


def _fetch_missing(sync: MailboxSync, stream: Stream, missing: Sequence[str]) -> int:
    before = sync.run.added
    for part in _parts(missing, PAGE):
        prepare()
        sync.write(stream, sync.fetch(stream, part))
    return sync.run.added - before


def _ask_for(sync: MailboxSync, stream: Stream, gap: Gap) -> tuple[int, int]:
    """How many were found elsewhere, and how many are gone. A suspicious share is not even asked for: it is held."""
    cursor = sync.cursors[stream.key]
    if not sync.may_remove(cursor, gap.unlisted, compared=True):
        return 0, 0
    changed, gone = sync.run.changed, list[str]()
    for part in _parts(gap.doubtful, PAGE):
        prepare()
        came = sync.fetch(stream, part, doubt=False)
        for key, items in _by_stream(sync, stream, came).items():
            sync.write(Stream(key), items)
        there = {item.remote.state.remote_id for item in came}
        gone += [remote_id for remote_id in part if remote_id not in there]
    for part in _parts(gone, PAGE * 5):
        sync.write(stream, [], removed=part, removed_cause="absent")
    return sync.run.changed - changed, len(gone)


def _mend_states(sync: MailboxSync, stream: Stream) -> int:
    """Flags and folders that no change told of, where the provider may forget to. The states are younger than the
    changes that were caught up; what happens while they come is told by the next changes."""
    changed = sync.run.changed
    for states in sync.mailbox.states(stream) if sync.mailbox.may_forget_changes else ():
        present = _present(sync.connection, [state.remote_id for state in states])
        sync.write(stream, [], updated=[state for state in states if state.remote_id in present])
    return sync.run.changed - changed


def _by_stream(sync: MailboxSync, asked: Stream, items: Sequence[Incoming]) -> dict[str, list[Incoming]]:
    """The folder each is in by the provider's word, where that is one of ours; else the one it was asked of."""
    groups: dict[str, list[Incoming]] = {}
    for item in items:
        home = next((folder for folder in item.remote.state.folder_ids if folder in sync.cursors), asked.key)
        groups.setdefault(home, []).append(item)
    return groups


def _note(sync: MailboxSync, check: CoverageCheck, stream: Stream, listed: set[str], **mended: int) -> None:
    """The folder's figures, by what is stored now. What came without its body counts as missing until it is whole."""
    stored = excluded = 0
    for part in _parts(sorted(listed)):
        present = _present(sync.connection, part)
        stored += len(present - isolating.set_aside_ids(sync.connection, part))
        left_out = Excluded.objects.filter(connection=sync.connection, remote_id__any_of=part)
        excluded += left_out.exclude(remote_id__any_of=present).count()
    figures = {"remote": len(listed), "stored": stored, "excluded": excluded, **mended}
    figures["missing"] = len(listed) - stored - excluded
    with transaction.atomic():
        sync.hold()
        isolating.note_forgotten(sync.connection, stream.key)
        CoverageCheck.objects.filter(pk=check.pk).update(**{name: F(name) + more for name, more in figures.items()})
        sync.move(sync.cursors[stream.key], {"checked_at": _database_time()})
