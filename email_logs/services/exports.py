"""A log as a file made in the background, for as many rows as there are: begun, worked at in slices, fetched, gone.

Called by the API, the console and the task. Work is walked by key, a piece of the file commits together with the place
it ends at, so a kill repeats a piece and the file has each row once. An entry is as it was when it was come to; what is
logged after the beginning is not in it. A file goes after a day, with the log, and when personal data are erased; who
sees less now than the file shows does not get it.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import F, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from core.errors import Conflict, HubError, LeaseLost, PermissionRefused
from core.work import ACTIVE, WorkStatus, backoff_seconds
from email_logs.columns import STORED, cells
from email_logs.files import FORMATS, Cells, Writer
from email_logs.models import EmailLogEntry, EmailLogExport, EmailLogTable, ExportChunk
from email_logs.services import exporting, reading, searching
from email_logs.services.exporting import CHUNK, Exported
from email_logs.services.reading import Filters, wanted_of
from email_logs.services.searching import Place, Wanted
from email_logs.services.visibility import Sight, sight
from workspaces.services import audit

if TYPE_CHECKING:
    from workspaces.models import User, Workspace

logger = logging.getLogger("patchbay.mail")

SMALL = 20_000
"""So many rows are streamed in a moment; the console makes files of more in the background."""
MOST_COUNTED = 1_000_000
"""Rows that words narrow are counted so far, for the progress that is shown."""
KEEP_HOURS = 24
MOST_KEPT = 20
"""Exports of a log at a time, so that nobody fills the database with files."""
LEASE_SECONDS = 60.0
SLICE_SECONDS = 20.0
MAX_ATTEMPTS = 5
"""At one piece."""
ERASED = "Personal data were erased meanwhile, and files made before are gone. Export again."
SEES_LESS = "It shows mail of mailboxes that you do not see, or not whole. Export it yourself."


def is_small(*, table: EmailLogTable, by: User, filters: Filters) -> bool:
    """Whether a file of these rows is made while one waits. InvalidInput for a q that makes no sense."""
    wanted = wanted_of(table, sight(table=table, user=by), filters)
    return wanted is None or searching.counted(wanted, most=SMALL + 1) <= SMALL


def of(table: EmailLogTable) -> QuerySet[EmailLogExport]:
    """Everybody's of this log, newest first."""
    return EmailLogExport.objects.filter(table=table).select_related("created_by", "table__workspace")


def start(
    *, table: EmailLogTable, by: User, filters: Filters, oldest_first: bool, format: str
) -> tuple[EmailLogExport, bool]:
    """An export of the rows that `by` sees now, to be rung, and whether it begins: where one of theirs of this log is
    under way, that is answered. InvalidInput as for a streamed one, Conflict where too many are kept."""
    kind, seen = FORMATS[format], sight(table=table, user=by)
    wanted = wanted_of(table, seen, filters, oldest_first=oldest_first)
    under_way = of(table).filter(created_by=by, status__in=ACTIVE)
    total = None if under_way.exists() else exporting.count_rows(kind, wanted)
    with transaction.atomic():
        EmailLogTable.objects.select_for_update(no_key=True).get(pk=table.pk)  # of two at once one waits and sees
        if (found := under_way.first()) is not None:
            return found, False
        if of(table).count() >= MOST_KEPT:
            raise Conflict(f"{MOST_KEPT} exports of this log are kept. Delete one first.", code="too_many")
        made = EmailLogExport.objects.create(
            table=table, created_by=by, format=format, filters=filters.given, oldest_first=oldest_first, total=total,
            until=_end(table, filters), mailboxes=_named(seen),
        )  # fmt: skip
        audit.record(
            by=by, workspace=table.workspace, action="email_log.export_started", target=table,
            changes={"format": format, **filters.told},
        )  # fmt: skip
        made.refresh_from_db()
    return made, True


def fetched(*, export: EmailLogExport, by: User) -> Exported:
    """The file. Conflict where it is not made yet, PermissionRefused where it shows more than `by` may see now."""
    export.require_content()
    if not _sees(by, export):
        raise PermissionRefused(SEES_LESS)
    table = export.table
    audit.record(
        by=by, workspace=table.workspace, action="email_log.exported", target=table,
        changes={"format": export.format, "export": str(export.pk), **Filters.of(export.filters).told},
    )  # fmt: skip
    name = exporting.file_name(table, export.created_at, export.format)
    return Exported(name, FORMATS[export.format].content_type, export.content(), export.size)


def remove(*, export: EmailLogExport, by: User) -> None:
    """End it where it is under way, with what there is of its file."""
    with transaction.atomic():
        if EmailLogExport.objects.filter(pk=export.pk).delete()[0]:
            changes = {"export": str(export.pk), "createdBy": export.created_by.email}
            audit.record(
                by=by, workspace=export.table.workspace, action="email_log.export_deleted", target=export.table,
                changes=changes,
            )  # fmt: skip


def forget_old() -> int:
    """Remove those whose day is over; how many rows."""
    return int(EmailLogExport.objects.exclude(status__in=ACTIVE).filter(expires_at__lt=Now()).delete()[0])


def end_all(*, workspace: Workspace) -> int:
    """Take away every file of a workspace, those in the making too, inside the caller's transaction; how many. The rows
    stay and say why, without what was searched for."""
    rows = EmailLogExport.objects.filter(table__workspace=workspace).order_by("pk")
    ids = list(rows.select_for_update(of=("self",)).values_list("pk", flat=True))
    ExportChunk.objects.filter(export__in=ids).delete()
    return EmailLogExport.objects.filter(pk__in=ids).update(
        status=WorkStatus.FAILED, fence=F("fence") + 1, lease_until=None, finished_at=Now(), size=0, chunks=0,
        filters={}, expires_at=_expiry(), error_code="erased", error_message=ERASED,
    )  # fmt: skip


# --- the work -----------------------------------------------------------------------------------------------------


def due(limit: int = 100) -> list[object]:
    """Work to ring: waiting, or left by a worker that died."""
    return EmailLogExport.objects.to_ring(limit)


def work(export_id: object, *, seconds: float = SLICE_SECONDS) -> bool:
    """One slice. True where there is more to do at once."""
    export: EmailLogExport | None = EmailLogExport.objects.claim(export_id, lease_seconds=LEASE_SECONDS)
    if export is None:
        return False
    try:
        try:
            return _go_on(export, time.monotonic() + seconds)
        except LeaseLost:
            raise
        except HubError as error:
            export.fail(code=error.code, message=error.message, expires_at=_expiry())
        except Exception:  # the boundary: whatever broke, the row must say so and not wait for its lease
            logger.exception("export %s broke", export.pk)
            said = {"code": "internal_error", "message": "It broke; the log says where."}
            if export.attempts >= MAX_ATTEMPTS:
                export.fail(**said, expires_at=_expiry())
            else:
                export.retry(after_seconds=backoff_seconds(export.attempts), **said)
    except LeaseLost:
        logger.info("export %s was deleted, or taken over by another worker", export.pk)
    return False


def _go_on(export: EmailLogExport, deadline: float) -> bool:
    if not _sees(export.created_by, export):
        raise PermissionRefused(SEES_LESS)
    wanted = _wanted(export)
    if export.total is None:
        export.total = reading.about(wanted, most=MOST_COUNTED) if wanted is not None else 0
        with transaction.atomic():
            export.hold(lease_seconds=LEASE_SECONDS, total=export.total)
    writer = FORMATS[export.format].writer(export.written)
    while _write(export, wanted, writer):
        if time.monotonic() >= deadline:
            export.retry(after_seconds=0, attempts=0)
            return True
    return False


def _write(export: EmailLogExport, wanted: Wanted | None, writer: Writer) -> bool:
    """The next piece, with the place it ends at; False where it was the last."""
    found: Sequence[Place] = ()
    last = None
    if wanted is not None:
        found, last = searching.stretch(replace(wanted, after=_place(export)), CHUNK)
    rows = _rows(export, found)
    begin = writer.begin() if not export.chunks else b""
    data = begin + writer.rows(rows) + (writer.end() if last is None else b"")
    most = FORMATS[export.format].most_rows
    if most and export.done + len(rows) > most:
        exporting.refuse_rows(most)
    with transaction.atomic():
        export.hold(lease_seconds=LEASE_SECONDS, attempts=0)
        if data:
            export.append(data)
        export.written, export.done = writer.state, export.done + len(rows)
        export.place = [last.sent_at.isoformat(), str(last.id)] if last is not None else export.place
        export.save(update_fields=["size", "chunks", "written", "done", "place"])
        if last is None:
            export.finish(expires_at=_expiry(), total=F("done"))
    return last is not None


def _rows(export: EmailLogExport, found: Sequence[Place]) -> list[Cells]:
    """In the order they were found. Removed meanwhile: left out."""
    rows = EmailLogEntry.objects.filter(table=export.table_id, pk__in=[place.id for place in found]).order_by()
    stored = {row["id"]: row for row in rows.values("id", "connection_id", *STORED)}
    seen, provider = _sight(export), export.table.provider
    return [
        cells(row, provider, whole=seen.is_whole(row["connection_id"]))
        for place in found
        if (row := stored.get(place.id)) is not None
    ]


def _wanted(export: EmailLogExport) -> Wanted | None:
    filters = Filters.of(export.filters)
    wanted = wanted_of(export.table, _sight(export), filters, oldest_first=export.oldest_first)
    return wanted and replace(wanted, until=export.until)


def _end(table: EmailLogTable, filters: Filters) -> datetime:
    """Just after the newest entry there is: whoever walks towards it arrives."""
    newest = EmailLogEntry.objects.filter(table=table).order_by("-sent_at", "-id").values_list("sent_at", flat=True)
    end = newest.first() or timezone.now()
    end += timedelta(microseconds=1)
    return min(filters.until, end) if filters.until else end


def _place(export: EmailLogExport) -> Place | None:
    if export.place is None:
        return None
    moment, pk = export.place
    return Place(datetime.fromisoformat(moment), uuid.UUID(pk))


def _expiry() -> object:
    return Now() + timedelta(hours=KEEP_HOURS)


# --- what may be seen ---------------------------------------------------------------------------------------------


def _named(seen: Sight) -> Mapping[str, bool] | None:
    return None if seen.mailboxes is None else {str(pk): whole for pk, whole in seen.mailboxes.items()}


def _sight(export: EmailLogExport) -> Sight:
    """As it was when the export began."""
    named = export.mailboxes
    return Sight(None if named is None else {uuid.UUID(pk): whole for pk, whole in named.items()})


def _sees(user: User, export: EmailLogExport) -> bool:
    """Whether somebody sees at this moment all that the file shows."""
    shown, now = _sight(export).mailboxes, sight(table=export.table, user=user).mailboxes
    return not shown or now is None or all(pk in now and now[pk] >= whole for pk, whole in shown.items())
