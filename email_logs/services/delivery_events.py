"""What providers tell of mails that left: kept once, joined to the mail they are about, and its state moved forward.

`take` is called by the hook with what one post said, `join_waiting` by the sender, `join_left` by the tick. An event
names its mail by our own id where that came back with it, else by the provider's, which may be written only after the
event came. Events come twice, late, in any order, and before the answer to the send; whatever comes, the row ends the
same. Promised: an event counts once, also when ten posts bring it at once; it moves only a mail of the table of the
integration that proved it; entry, event, suppression and what is told of it are one transaction.

Locks are taken in one order by everybody: entries by id, then events by key, then suppressions by address.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence

from django.db import transaction
from django.db.models import Exists, OuterRef

from core.ids import oldest_kept
from email_logs.models import DeliveryEvent, EmailLogEntry, EmailLogTable, Suppression
from email_logs.services import moving, suppressions
from integrations.models import EventType
from integrations.providers.delivery import Notice
from integrations.services import events
from integrations.services.events import NewEvent

TOLD = {"delivered": EventType.EMAIL_DELIVERED, "bounced": EventType.EMAIL_BOUNCED, "failed": EventType.EMAIL_FAILED}
"""State → what subscribers hear when a mail comes to it."""
LEFT_HOURS = 1
"""How long the tick looks for the mail of an event: sends end within minutes."""
LEFT_AT_ONCE = 1000


def take(*, table: EmailLogTable, notices: Iterable[Notice], quietly: bool = False) -> int:
    """Keep what one post said; how much of it was new. The caller has proved that the table's provider said it.
    `quietly`: subscribers hear of it from the caller."""
    rows = _rows(table, notices)
    if not rows:
        return 0
    with transaction.atomic():
        entries = _joined(table.pk, rows)
        fresh = _kept(rows)
        moved = moving.move(entries, fresh)
        _suppress(entries, fresh)
        _tell(() if quietly else moved)
    # The sender may have written the provider's id while this was under way, or since an event came first that is
    # repeated now; what is written later, the tick finds.
    new = {row.pk for row in fresh if row.entry_id}
    _join_later(table.pk, {row.message_id for row in rows if row.pk not in new and row.message_id})
    return len(fresh)


def join_waiting(entry: EmailLogEntry) -> None:
    """Events that came before the mail had its provider's id. Called with the update that gives it, inside or after its
    transaction; costs one look where none wait. One that is being kept at this moment, the tick finds."""
    if entry.message_id:
        transaction.on_commit(lambda: _join_later(entry.table_id, {entry.message_id}))


def join_left(limit: int = LEFT_AT_ONCE) -> int:
    """Events of the last hour that came before their mail had its provider's id; of how many mails."""
    same = EmailLogEntry.objects.filter(table=OuterRef("table"), message_id=OuterRef("message_id"))
    waiting = DeliveryEvent.objects.filter(entry_id__isnull=True, id__gte=oldest_kept(LEFT_HOURS / 24))
    left = (
        waiting.exclude(message_id="")
        .filter(Exists(same.exclude(message_id="")))
        .order_by()
        .values_list("table_id", "message_id")
    )
    by_table: dict[uuid.UUID, set[str]] = {}
    for table_id, message_id in left.distinct()[:limit]:
        by_table.setdefault(table_id, set()).add(message_id)
    for table_id, message_ids in by_table.items():
        _join_later(table_id, message_ids)
    return sum(len(ids) for ids in by_table.values())


# --- one post -----------------------------------------------------------------------------------------------------


def _rows(table: EmailLogTable, notices: Iterable[Notice]) -> list[DeliveryEvent]:
    """Each event of the post once. `entry_id` is still what the provider gave back as ours."""
    unique = {
        notice.key: DeliveryEvent(
            workspace_id=table.workspace_id,
            table=table,
            entry_id=_id(notice.reference),
            message_id=notice.message_id,
            event_key=notice.key,
            kind=notice.kind.value,
            recipients=list(notice.recipients),
            words=notice.words,
            unwanted=notice.unwanted.value if notice.unwanted else "",
            at=notice.at,
        )
        for notice in notices
    }
    return [unique[key] for key in sorted(unique)]


def _id(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text) if text else None
    except ValueError:
        return None


def _joined(table_id: uuid.UUID, rows: Sequence[DeliveryEvent]) -> dict[uuid.UUID, EmailLogEntry]:
    """The entries these are about, locked; each row has its entry's id, or none. By our own id where it came back, else
    by the provider's."""
    by_message = _ids_of(table_id, {row.message_id for row in rows if row.entry_id is None})
    wanted = {row.entry_id or by_message.get(row.message_id) for row in rows}
    entries = _locked(table_id, {pk for pk in wanted if pk})
    for row in rows:
        pk = row.entry_id or by_message.get(row.message_id)
        row.entry_id = pk if pk in entries else None
    return entries


def _ids_of(table_id: uuid.UUID, message_ids: Iterable[str]) -> dict[str, uuid.UUID]:
    known = [message_id for message_id in message_ids if message_id]
    if not known:
        return {}
    rows = EmailLogEntry.objects.filter(table=table_id, message_id__in=known).exclude(message_id="").order_by()
    return dict(rows.values_list("message_id", "pk"))


def _locked(table_id: uuid.UUID, ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, EmailLogEntry]:
    ids = list(ids)
    if not ids:
        return {}
    rows = EmailLogEntry.objects.filter(pk__in=ids, table=table_id).only(*moving.NEEDED).order_by("pk")
    return {row.pk: row for row in rows.select_for_update(no_key=True)}


def _kept(rows: Sequence[DeliveryEvent]) -> list[DeliveryEvent]:
    """Those that are new. A twin that is being written now is waited for."""
    DeliveryEvent.objects.bulk_create(rows, ignore_conflicts=True)
    ours = DeliveryEvent.objects.filter(pk__in=[row.pk for row in rows]).order_by()
    written = set(ours.values_list("pk", flat=True))
    return [row for row in rows if row.pk in written]


# --- joined later -------------------------------------------------------------------------------------------------


def _join_later(table_id: uuid.UUID, message_ids: Iterable[str]) -> None:
    """Events that wait under these ids, where the mail is known by now."""
    waiting = DeliveryEvent.objects.filter(table=table_id, message_id__in=list(message_ids), entry_id__isnull=True)
    if not message_ids or not waiting.exists():
        return
    with transaction.atomic():
        known = _ids_of(table_id, message_ids)
        entries = _locked(table_id, known.values())
        rows = list(waiting.filter(message_id__in=list(known)).order_by("event_key").select_for_update(of=("self",)))
        for row in rows:
            row.entry_id = known[row.message_id]
        DeliveryEvent.objects.bulk_update(rows, ["entry_id"])
        _tell(moving.move(entries, rows))
        _suppress(entries, rows)


# --- what follows -------------------------------------------------------------------------------------------------


def _tell(moved: Iterable[tuple[EmailLogEntry, str]]) -> None:
    events.record_many(
        NewEvent(TOLD[state], entry.workspace_id, payload={"emailId": str(entry.pk), "tableId": str(entry.table_id)})
        for entry, state in moved
        if state in TOLD
    )


def _suppress(entries: Mapping[uuid.UUID, EmailLogEntry], rows: Iterable[DeliveryEvent]) -> None:
    """Only addresses the mail was sent to; where the event names none, the only one there was."""
    found = [
        Suppression(
            workspace_id=row.workspace_id,
            address=address,
            reason=row.unwanted,
            words=row.words,
            entry_id=row.entry_id,
        )
        for row in rows
        if row.unwanted and row.entry_id
        for address in moving.concerned(entries[row.entry_id], row)
    ]
    if found:
        suppressions.note(found)
