"""The scope of a mailbox applied where its mail is written: after the parser, before the rows. And what it kept out.

Called by the writer for every page, under the mailbox's lock, so a scope that was saved a moment ago holds from the
next page on. What stays out is noted in `Excluded`, which syncs count as known.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.conf import settings
from django.db.models import Count

from email_sync import threading
from email_sync.models import Excluded, MailScope, Message
from email_sync.records import RemoteState
from email_sync.scope import AGE, FOLDER, Outside, Scope, Verdict, metadata_of, people_of
from entities.matching import normalise
from integrations.models import Connection

if TYPE_CHECKING:
    from email_sync.services.store import Incoming


def of(connection: Connection) -> Scope:
    """The scope that holds for a mailbox now, read anew."""
    row = MailScope.objects.filter(connection=connection).first()
    return from_row(connection, row)


def from_row(connection: Connection, row: MailScope | None) -> Scope:
    """The rule that a row, or none, stands for."""
    if row is None:
        return Scope(since=default_since(connection))
    return Scope(
        folder_rule=row.folder_rule,
        folder_ids=frozenset(row.folder_ids),
        since=default_since(connection) if row.days is None else row.since,
        blocked=frozenset(row.blocked),
        own=own_addresses(connection) if row.blocked else frozenset(),
        metadata_only=row.metadata_only,
    )


def own_addresses(connection: Connection) -> frozenset[str]:
    """The account's address and those it also sends as, in their compared form."""
    aliases = connection.aliases.values_list("email", flat=True)
    return frozenset(normalise(email) for email in (connection.account_email, *aliases))


def default_since(connection: Connection) -> datetime | None:
    """How far back the operator lets mail go, counted from the connecting: it must not move on, or a mail that was
    wanted would one day no longer be."""
    days = settings.MAIL_BACKFILL_DAYS
    return connection.created_at - timedelta(days=days) if days else None


@dataclass(frozen=True, slots=True)
class Sifted:
    """A page as it may be written."""

    messages: Sequence[Incoming]
    updated: Sequence[RemoteState]
    leaving: tuple[str, ...] = ()
    """Remote ids that are not wanted where they are now; rows of theirs go."""


def sift(connection: Connection, stream: str, messages: Sequence[Incoming], updated: Sequence[RemoteState]) -> Sifted:
    """Leave out what is not wanted and note it; take what is wanted off the notes."""
    scope = of(connection)
    if scope == Scope():
        return Sifted(messages, updated)
    verdicts = [(item, scope.verdict(outside_of(item))) for item in messages]
    moved = [(state, scope.folder_verdict(state.folder_ids)) for state in updated]
    out = {item.remote.state.remote_id: _noted(connection, stream, item, v) for item, v in verdicts if v is not None}
    left = {s.remote_id: _note(connection, stream, s.remote_id, v) for s, v in moved if v is not None}
    note([*out.values(), *left.values()])
    admitted = [item for item, verdict in verdicts if verdict is None]
    forget(connection, [item.remote.state.remote_id for item in admitted])
    if scope.metadata_only:
        admitted = [replace(item, parsed=metadata_of(item.parsed), withheld=True) for item in admitted]
    return Sifted(admitted, [state for state, verdict in moved if verdict is None], (*out, *left))


def outside_of(item: Incoming) -> Outside:
    """What the rules look at of a message that came."""
    state = item.remote.state
    return Outside(state.remote_id, state.folder_ids, item.remote.received_at, people_of(item.parsed))


def outside_of_row(message: Message) -> Outside:
    """What the rules look at of a stored message."""
    people = [email for pairs in message.recipients.values() for _, email in pairs]
    return Outside(message.remote_id, message.folder_ids, message.received_at, [message.from_email, *people])


def _noted(connection: Connection, stream: str, item: Incoming, verdict: Verdict) -> Excluded:
    row = _note(connection, stream, item.remote.state.remote_id, verdict)
    row.key = threading.message_id_key(item.parsed.message_id) if item.parsed.message_id else None
    row.received_at = item.remote.received_at
    return row


def noted(connection: Connection, message: Message, verdict: Verdict) -> Excluded:
    """The note about a stored message that goes."""
    row = _note(connection, message.stream, message.remote_id, verdict)
    row.key = threading.message_id_key(message.message_id) if message.message_id else None
    row.received_at = message.received_at
    return row


def _note(connection: Connection, stream: str, remote_id: str, verdict: Verdict) -> Excluded:
    return Excluded(connection=connection, stream=stream, remote_id=remote_id, reason=verdict.reason, rule=verdict.rule)


def note(rows: Sequence[Excluded]) -> None:
    """Note what stays out, once each; a later verdict on the same mail replaces the earlier one."""
    if rows:
        Excluded.objects.bulk_create(
            rows,
            update_conflicts=True,
            unique_fields=["connection", "remote_id"],
            update_fields=["stream", "reason", "rule"],
        )


def note_older(connection: Connection, stream: str, remote_ids: Iterable[str]) -> None:
    """Note mail that is known to lie before the horizon without having been fetched."""
    note([_note(connection, stream, remote_id, Verdict(AGE)) for remote_id in remote_ids])


def forget(connection: Connection, remote_ids: Sequence[str]) -> None:
    """These are no longer kept out: they are stored by now, or gone at the provider."""
    if remote_ids:
        Excluded.objects.filter(connection=connection, remote_id__any_of=set(remote_ids)).delete()


def excluded_ids(connection: Connection, remote_ids: Sequence[str]) -> set[str]:
    """Which of these are kept out."""
    rows = Excluded.objects.filter(connection=connection, remote_id__any_of=set(remote_ids))
    return set(rows.values_list("remote_id", flat=True))


def readmitted(connection: Connection, states: Sequence[RemoteState]) -> set[str]:
    """Which of these were kept out by their folder and are in a wanted one now: they have to be fetched."""
    ids = {state.remote_id for state in states}
    rows = Excluded.objects.filter(connection=connection, reason=FOLDER, remote_id__any_of=ids)
    kept_out = set(rows.values_list("remote_id", flat=True))
    if not kept_out:
        return set()
    scope = of(connection)
    return {s.remote_id for s in states if s.remote_id in kept_out and scope.folder_verdict(s.folder_ids) is None}


def forget_gone(connection: Connection, stream: str, present: set[str]) -> None:
    """After a complete listing of a stream: notes of mail that is no longer there go."""
    rows = Excluded.objects.filter(connection=connection, stream=stream).values_list("pk", "remote_id")
    gone = [pk for pk, remote_id in rows.iterator(chunk_size=5000) if remote_id not in present]
    for start in range(0, len(gone), 5000):
        Excluded.objects.filter(pk__in=gone[start : start + 5000]).delete()


def kept_out(connection: Connection) -> dict[str, int]:
    """How many mails each reason keeps out."""
    rows = Excluded.objects.filter(connection=connection).values("reason").annotate(count=Count("pk"))
    return {row["reason"]: row["count"] for row in rows.order_by("reason")}
