"""How long what is kept of mail is kept: entries as long as the operator says, events nobody knows a mail of a month,
the work behind a mail that is settled a day.

Called by the tick; what one call does not get done the next one does. Promised: days leave whole and after they were
counted; a mail that is on its way stays; each transaction holds its locks for milliseconds.
"""

from __future__ import annotations

import time
import uuid
from datetime import UTC, date, datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from core.ids import oldest_kept
from core.work import ACTIVE, WorkStatus
from email_logs.models import DayCount, DeliveryEvent, EmailLogEntry, EmailLogTable, OutgoingEmail
from email_logs.services import days, outgoing

CHUNK = 1000
SLICE_SECONDS = 20.0
KEEP_UNKNOWN_DAYS = 30
"""Events of mails nobody knows: another system sends through the same account, or the answer never came."""


def forget_old(*, seconds: float = SLICE_SECONDS) -> int:
    """Remove what is over its time; how many rows of any kind."""
    deadline = time.monotonic() + seconds
    done = _forget_unknown(deadline) + _forget_settled(deadline)
    if settings.EMAIL_LOG_KEEP_DAYS > 0:
        before = datetime.now(UTC).date() - timedelta(days=settings.EMAIL_LOG_KEEP_DAYS)
        for table_id in EmailLogTable.objects.order_by("pk").values_list("pk", flat=True):
            done += _forget_entries(table_id, before, deadline)
    return done


def _forget_unknown(deadline: float) -> int:
    rows = DeliveryEvent.objects.filter(entry_id=None, id__lt=oldest_kept(KEEP_UNKNOWN_DAYS)).order_by("id")
    done = 0
    while time.monotonic() < deadline and (ids := list(rows.values_list("pk", flat=True)[:CHUNK])):
        done += DeliveryEvent.objects.filter(pk__in=ids, entry_id=None).delete()[0]
    return done


def _forget_settled(deadline: float) -> int:
    """The key of its request means nothing any more (`sending`), and its entry says what became of it."""
    ended = OutgoingEmail.objects.filter(status__in=(WorkStatus.DONE, WorkStatus.FAILED))
    rows = ended.filter(finished_at__lt=Now() - outgoing.KEEP).order_by("finished_at")
    done = 0
    while time.monotonic() < deadline and (ids := list(rows.values_list("pk", flat=True)[:CHUNK])):
        done += ended.filter(pk__in=ids).delete()[0]
    return done


def _forget_entries(table_id: uuid.UUID, before: date, deadline: float) -> int:
    """Entries of the days before, oldest first, with their events."""
    begin = datetime(before.year, before.month, before.day, tzinfo=UTC)
    rows = EmailLogEntry.objects.filter(table_id=table_id, sent_at__lt=begin).order_by("sent_at", "id")
    rows = rows.exclude(pk__in=OutgoingEmail.objects.filter(status__in=ACTIVE, table_id=table_id).values("pk"))
    done, closed = 0, DayCount.objects.filter(table_id=table_id, final_before__gte=before).exists()
    while time.monotonic() < deadline and (ids := list(rows.values_list("pk", flat=True)[:CHUNK])):
        if not closed:
            days.close(table_id=table_id, before=before)
            closed = True
        with transaction.atomic():
            DeliveryEvent.objects.filter(entry_id__in=ids).delete()
            done += EmailLogEntry.objects.filter(pk__in=ids).delete()[0]
    return done
