"""What the email log of a workspace holds about one address: which entries name it, and all of it as JSON.

Called by the API and by the erasure. An address is compared as one address is, letter by letter but for case: what a
person adds to theirs is another one. Promised: the cost of a look through a log follows its entries, in steps of
milliseconds, and memory follows nothing.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from email.utils import parseaddr
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db.models import BooleanField, ExpressionWrapper, Func, Q, TextField, Value

from core.addresses import exact
from core.api.serializers import wire_time
from core.errors import InvalidInput
from email_logs.columns import COLUMNS, STORED, cells
from email_logs.models import DeliveryEvent, EmailLogEntry, EmailLogTable, Suppression
from email_logs.services import following
from email_logs.services.following import CHUNK, START, Place
from email_logs.services.marks import mark_of
from email_logs.services.visibility import sight
from workspaces.services import audit

if TYPE_CHECKING:
    from workspaces.models import User, Workspace

PEOPLE = ("to", "cc", "bcc", "sender")
"""Columns of an entry that name people."""
RECIPIENTS = PEOPLE[:3]
ERASED = "(erased)"
"""What stands where an address was."""
_BETWEEN = re.compile(r',\s*(?=(?:[^"]*"[^"]*")*[^"]*$)')
_JOINED = Func("recipients", Value(" "), function="array_to_string", output_field=TextField())


def checked(address: str) -> str:
    """The form in which it is compared; InvalidInput where it is none."""
    found = exact(address)
    if not re.fullmatch(r"[^@\s,]+@[^@\s,]+", found):
        raise InvalidInput(fields={"address": ["This is not an email address."]})
    return found


# --- which entries name it ----------------------------------------------------------------------------------------


def split(people: str) -> list[str]:
    """The addresses of a column, as they are written there."""
    return [part for part in _BETWEEN.split(people) if part]


def is_of(part: str, address: str) -> bool:
    """Whether this part of a column is the address, with a name or without."""
    return exact(parseaddr(part)[1] or part) == address


def names(entry: EmailLogEntry, address: str) -> bool:
    return any(is_of(part, address) for name in PEOPLE for part in split(getattr(entry, name)))


class Stretch(NamedTuple):
    """A piece of a log that was looked through."""

    ids: Sequence[uuid.UUID]
    """Entries that may name the address."""
    seen: int
    place: Place


def stretch(table_id: uuid.UUID, place: Place, address: str) -> Stretch:
    """The next CHUNK entries after this place. PostgreSQL leaves out nearly all that do not name the address."""
    local = address.rpartition("@")[0]
    mentioned = Q(*((f"{name}__icontains", local) for name in PEOPLE), _connector=Q.OR)
    rows = following.after(place, table_id=table_id).annotate(
        hit=ExpressionWrapper(mentioned, output_field=BooleanField())
    )
    ids = []
    seen = 0
    for number, pk, hit in rows.values_list("transaction", "id", "hit")[:CHUNK]:
        place, seen = Place(number, pk), seen + 1
        if hit:
            ids.append(pk)
    return Stretch(ids, seen, place)


def tables_of(workspace: Workspace | uuid.UUID) -> list[EmailLogTable]:
    return list(EmailLogTable.objects.in_workspace(workspace).select_related("workspace").order_by("pk"))


def unjoined(table_id: uuid.UUID, address: str) -> list[DeliveryEvent]:
    """Events about the address whose mail nobody knows."""
    rows = DeliveryEvent.objects.filter(table_id=table_id, entry_id=None).alias(joined=_JOINED)
    found = rows.filter(joined__icontains=address.rpartition("@")[0]).order_by("at", "id")
    return [row for row in found if any(is_of(part, address) for part in row.recipients)]


# --- all of it ----------------------------------------------------------------------------------------------------


def export(*, workspace: Workspace, address: str, by: User) -> Iterator[str]:
    """All that is held about the address as one JSON object, piece by piece: {"address", "entries", "events",
    "suppression", "hidden"}. Mail of users' own mailboxes as far as `by` may see it; `hidden` counts what they may
    not. The audit row is there before the first byte. InvalidInput for what is no address."""
    wanted = checked(address)
    mark = mark_of(workspace.pk, wanted)
    audit.record(by=by, workspace=workspace, action="personal_data.exported", changes={"address": mark})
    return _pieces(workspace, wanted, mark, by)


def _pieces(workspace: Workspace, address: str, mark: str, by: User) -> Iterator[str]:
    tables, hidden = tables_of(workspace), 0
    yield f'{{"address": {json.dumps(address)}, "entries": ['
    between = ""
    for table in tables:
        for shown in _entries(table, address, by):
            if shown is None:
                hidden += 1
                continue
            yield between + json.dumps(shown, ensure_ascii=False)
            between = ", "
    yield '], "events": ['
    others = [_event(row, whole=True) for table in tables for row in unjoined(table.pk, address)]
    yield ", ".join(json.dumps(row, ensure_ascii=False) for row in others)
    row = Suppression.objects.in_workspace(workspace).filter(address__in=(address, mark)).first()
    suppression = row and {"reason": row.reason, "words": row.words, "createdAt": wire_time(row.created_at)}
    yield f'], "suppression": {json.dumps(suppression, ensure_ascii=False)}, "hidden": {hidden}}}'


def _entries(table: EmailLogTable, address: str, by: User) -> Iterator[dict[str, Any] | None]:
    """Each entry that names the address; None for one that `by` may not see."""
    seen = sight(table=table, user=by)
    place = START
    while (found := stretch(table.pk, place, address)).seen:
        place = found.place
        entries = [row for row in EmailLogEntry.objects.filter(pk__in=found.ids) if names(row, address)]
        events = _events([row.pk for row in entries])
        for row in entries:
            if seen.mailboxes is not None and row.connection_id not in seen.mailboxes:
                yield None
                continue
            yield _entry(row, table, events.get(row.pk, ()), whole=seen.is_whole(row.connection_id))


def _events(ids: Sequence[uuid.UUID]) -> Mapping[uuid.UUID, list[DeliveryEvent]]:
    found: dict[uuid.UUID, list[DeliveryEvent]] = {}
    for row in DeliveryEvent.objects.filter(entry_id__in=ids).order_by("at", "id") if ids else ():
        if row.entry_id is not None:
            found.setdefault(row.entry_id, []).append(row)
    return found


def _entry(row: EmailLogEntry, table: EmailLogTable, events: Iterable[DeliveryEvent], *, whole: bool) -> dict[str, Any]:
    values = cells({name: getattr(row, name) for name in STORED}, table.provider, whole=whole)
    columns = {column.name: value for column, value in zip(COLUMNS, values, strict=True)}
    columns["Sent At"] = wire_time(row.sent_at)
    return {
        "id": str(row.pk),
        "tableId": str(table.pk),
        "columns": columns,
        "state": row.state,
        "events": [_event(event, whole=whole) for event in events],
    }


def _event(row: DeliveryEvent, *, whole: bool) -> dict[str, Any]:
    shown = {"at": wire_time(row.at), "what": row.kind}
    return {**shown, "recipients": list(row.recipients), "words": row.words} if whole else shown
