"""Taking one person's address out of a workspace's email log for good.

Begun by the API (`start`), which works for a moment itself, and gone on with by the task (`work`). Entries and their
events stay, without the address: what was sent, when, and what became of it is the workspace's own. Mail that has not
left leaves without that person, or not at all; what is with its provider at this moment is looked at again once that is
settled. Whom not to write to stays known by a keyed mark alone, so that the person is not written to again. Promised:
doing it again finds nothing; a worker that dies loses nothing; each transaction holds its locks for milliseconds; an
erased entry is a change, so a mirror erases it too.
"""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from django.db import IntegrityError, transaction
from django.db.models import F, Func, Q, TextField, Value
from django.db.models.functions import Now

from core.crypto import seal_for
from core.errors import LeaseLost
from core.work import ACTIVE, WorkStatus, backoff_seconds
from email_logs.models import DeliveryEvent, EmailLogEntry, OutgoingEmail, PersonalDataErasure, Suppression
from email_logs.services import days, exports, letters, personal_data
from email_logs.services.following import START, Place
from email_logs.services.marks import mark_of
from email_logs.services.personal_data import ERASED, PEOPLE, RECIPIENTS, is_of, split, tables_of
from email_logs.states import State
from integrations.models.event import WRITING_TRANSACTION
from workspaces.services import audit

if TYPE_CHECKING:
    from workspaces.models import User, Workspace

logger = logging.getLogger("patchbay.mail")

LEASE_SECONDS = 60.0
INLINE_SECONDS = 2.0
"""How long the request itself works: a small log is through when it is answered."""
SLICE_SECONDS = 40.0
LOOK_AGAIN_SECONDS = 60.0
"""Where a mail is with its provider."""
EVENTS = 5000
NOT_SENT = "Not sent: its recipient's address was erased."
_TEXTS = Func(F("recipients"), Value(" "), function="array_to_string", output_field=TextField())


def start(*, workspace: Workspace, address: str, by: User) -> PersonalDataErasure:
    """An erasure, worked for a moment, or the one of this address under way. InvalidInput for what is no address."""
    wanted = personal_data.checked(address)
    mark = mark_of(workspace.pk, wanted)
    same = PersonalDataErasure.objects.filter(workspace=workspace, mark=mark, status__in=ACTIVE)
    row = same.first()
    if row is None:
        total = days.estimate([table.pk for table in tables_of(workspace)])
        row = PersonalDataErasure(workspace=workspace, created_by=by, address=wanted, mark=mark, total=total)
        try:
            with transaction.atomic():
                row.save(force_insert=True)
                audit.record(
                    by=by, workspace=workspace, action="personal_data.erased", target=row, changes={"address": mark}
                )
        except IntegrityError:  # a twin began it meanwhile
            row = same.get()
    work(row.pk, seconds=INLINE_SECONDS)
    row.refresh_from_db()
    return row


def due(limit: int = 100) -> list[object]:
    """Work to ring: waiting, or left by a worker that died."""
    return PersonalDataErasure.objects.to_ring(limit)


def work(erasure_id: object, *, seconds: float = SLICE_SECONDS) -> bool:
    """One slice. True where there is more to do at once."""
    erasure: PersonalDataErasure | None = PersonalDataErasure.objects.claim(erasure_id, lease_seconds=LEASE_SECONDS)
    if erasure is None:
        return False
    try:
        return _go_on(erasure, str(erasure.address), time.monotonic() + seconds)
    except LeaseLost:
        logger.info("erasure %s was taken over by another worker", erasure.pk)
    except Exception:
        logger.exception("erasure %s broke", erasure.pk)
        wait = backoff_seconds(erasure.attempts)
        erasure.retry(after_seconds=wait, code="internal_error", message="It broke; the log says where.")
    return False


def _go_on(erasure: PersonalDataErasure, address: str, deadline: float) -> bool:
    for step in (_entries, _events, _mails):
        while step(erasure, address):
            if time.monotonic() >= deadline:
                erasure.retry(after_seconds=0, attempts=0)
                return True
    if erasure.waiting:
        erasure.retry(after_seconds=LOOK_AGAIN_SECONDS, attempts=0)
        return False
    with transaction.atomic():
        marked = _suppressions(erasure.workspace_id, address, erasure.mark)
        erasure.hold(lease_seconds=LEASE_SECONDS, suppressions=marked)
        erasure.finish(address=None, total=F("done"))
        found = {name: getattr(erasure, name) for name in ("entries", "events", "mails", "suppressions")}
        found["exports"] = exports.end_all(workspace=erasure.workspace)
        audit.record(
            by=None, workspace=erasure.workspace, action="personal_data.erasure_finished", target=erasure,
            changes={"address": erasure.mark, **found},
        )  # fmt: skip
    return False


# --- entries ------------------------------------------------------------------------------------------------------


def _entries(erasure: PersonalDataErasure, address: str) -> bool:
    """The next stretch of a log that has one. An entry that changes meanwhile, or moves to another log, comes again."""
    for table in tables_of(erasure.workspace_id):
        number, pk = erasure.places.get(str(table.pk), START)
        found = personal_data.stretch(table.pk, Place(int(number), uuid.UUID(str(pk))), address)
        if found.seen:
            _erase_entries(erasure, address, table.pk, found)
            return True
    return False


def _erase_entries(
    erasure: PersonalDataErasure, address: str, table_id: uuid.UUID, found: personal_data.Stretch
) -> None:
    """A stretch with the place after it, or nothing of it."""
    places = {**erasure.places, str(table_id): [found.place.transaction, str(found.place.entry_id)]}
    with transaction.atomic():
        locked = EmailLogEntry.objects.select_for_update().filter(pk__in=found.ids).order_by("pk")
        hits = [row for row in locked if personal_data.names(row, address)]
        for row in hits:
            _clear(row, address)
            row.transaction = WRITING_TRANSACTION
        EmailLogEntry.objects.bulk_update(hits, [*PEOPLE, "subject", "error", "transaction"])
        ids = [row.pk for row in hits]
        told = _clear_events(DeliveryEvent.objects.filter(entry_id__in=ids), address)
        unsettled = OutgoingEmail.objects.filter(pk__in=ids, status__in=ACTIVE).values_list("pk", flat=True)
        waiting = sorted({*erasure.waiting, *map(str, unsettled)})
        erasure.hold(
            lease_seconds=LEASE_SECONDS, attempts=0, places=places, waiting=waiting, done=F("done") + found.seen,
            entries=F("entries") + len(hits), events=F("events") + told,
        )  # fmt: skip
    erasure.places, erasure.waiting = places, waiting


def _clear(row: EmailLogEntry, address: str) -> None:
    """The address goes wherever it stands; what was said to nobody else goes whole."""
    for name in PEOPLE:
        parts = [ERASED if is_of(part, address) else part for part in split(getattr(row, name))]
        setattr(row, name, ", ".join(parts))
    others = [part for name in RECIPIENTS for part in split(getattr(row, name)) if part != ERASED]
    row.subject = _without(row.subject, address) if others else ""
    row.error = _without(row.error, address) if others else ""


def _without(text: str, address: str) -> str:
    return re.sub(re.escape(address), ERASED, text, flags=re.IGNORECASE)


# --- events -------------------------------------------------------------------------------------------------------


def _events(erasure: PersonalDataErasure, address: str) -> bool:
    """The next stretch of events: those of mails nobody knows, and of addresses that no entry names (a forward)."""
    for table in tables_of(erasure.workspace_id):
        last = erasure.events_seen.get(str(table.pk), "")
        rows = DeliveryEvent.objects.filter(table=table, event_key__gt=last).order_by("event_key")
        keys = list(rows.values_list("event_key", flat=True)[:EVENTS])
        if keys:
            seen = {**erasure.events_seen, str(table.pk): keys[-1]}
            with transaction.atomic():
                told = _clear_events(rows.filter(event_key__lte=keys[-1]), address)
                erasure.hold(lease_seconds=LEASE_SECONDS, attempts=0, events_seen=seen, events=F("events") + told)
            erasure.events_seen = seen
            return True
    return False


def _clear_events(rows: Any, address: str) -> int:
    """How many spoke of the address."""
    local = address.rpartition("@")[0]
    spoken = rows.alias(people=_TEXTS).filter(Q(people__icontains=local) | Q(words__icontains=address))
    hits = []
    for row in spoken.select_for_update(of=("self",)).order_by("pk"):
        others = [part for part in row.recipients if not is_of(part, address)]
        alone = bool(row.recipients) and not others
        cleared = [ERASED if is_of(part, address) else part for part in row.recipients]
        words = "" if alone else _without(row.words, address)
        if (cleared, words) != (row.recipients, row.words):
            row.recipients, row.words = cleared, words
            hits.append(row)
    DeliveryEvent.objects.bulk_update(hits, ["recipients", "words"])
    return len(hits)


# --- mail that has not left ---------------------------------------------------------------------------------------


def _mails(erasure: PersonalDataErasure, address: str) -> bool:
    """One of those that wait: it leaves without the person. False where each of them is with its provider now."""
    for pk in erasure.waiting:
        with transaction.atomic():
            work = OutgoingEmail.objects.select_for_update().filter(pk=pk).first()
            if work is not None and work.status in ACTIVE and not _is_ours(work):
                continue
            taken_out = work is not None and work.status in ACTIVE and _take_out(work, address)
            waiting = [other for other in erasure.waiting if other != pk]
            erasure.hold(lease_seconds=LEASE_SECONDS, attempts=0, waiting=waiting, mails=F("mails") + int(taken_out))
        erasure.waiting = waiting
        return True
    return False


def _is_ours(work: OutgoingEmail) -> bool:
    """Nobody sends it now and no provider has ever seen it: under one key a provider takes one content only."""
    return work.status == WorkStatus.QUEUED and work.called_at is None


def _take_out(work: OutgoingEmail, address: str) -> bool:
    kept = dict(letters.contents(work))
    given = dict(kept.get("given") or {})
    left = {name: _others(given.get(name) or (), address) for name in RECIPIENTS}
    if all(left[name] == list(given.get(name) or ()) for name in RECIPIENTS):
        return False
    if left["to"]:
        kept["given"] = {**given, **left}
        OutgoingEmail.objects.filter(pk=work.pk).update(mail=seal_for(work, "mail", kept))
        return True
    OutgoingEmail.objects.filter(pk=work.pk).update(
        status=WorkStatus.FAILED, finished_at=Now(), mail=None, error_code="erased", error_message=NOT_SENT
    )
    queued = EmailLogEntry.objects.filter(pk=work.pk, state=State.QUEUED)
    queued.update(state=State.FAILED, state_at=Now(), error=NOT_SENT, transaction=WRITING_TRANSACTION)
    return True


def _others(people: Collection[str], address: str) -> Sequence[str]:
    return [part for part in people if not is_of(part, address)]


# --- whom not to write to -----------------------------------------------------------------------------------------


def _suppressions(workspace_id: uuid.UUID, address: str, mark: str) -> int:
    """The address becomes its mark, which `suppressions.suppressed` knows."""
    rows = Suppression.objects.in_workspace(workspace_id)
    found = rows.select_for_update().filter(address=address).first()
    if found is None:
        return 0
    if rows.filter(address=mark).exists():
        return int(found.delete()[0])
    return rows.filter(pk=found.pk).update(address=mark, words="", entry_id=None)
