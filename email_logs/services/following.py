"""Following the entries of a table: every change is seen, also one that comes late, in an order nobody overtakes.

Used by the counts by day, the mirror and the erasure of personal data. As `integrations.services.events` does it: the
order is (transaction that wrote last, id), and only what is older than every transaction under way is read. An entry
that changes moves to the end, so a follower meets it again and misses nothing (ADR 25).
"""

from __future__ import annotations

import uuid
from typing import NamedTuple

from django.db import connection as database
from django.db.models import BooleanField, QuerySet
from django.db.models.expressions import RawSQL

from email_logs.models import EmailLogEntry, EmailLogTable
from email_logs.models.follower import NOWHERE
from integrations.models.event import WRITING_TRANSACTION
from integrations.services.events import NEXT_TO_COME, OLDEST_UNDER_WAY, now_in_sql

CHUNK = 5000
_TABLE = EmailLogEntry._meta.db_table
_AFTER = f'("{_TABLE}"."transaction", "{_TABLE}"."id") > (%s, %s)'


class Place(NamedTuple):
    """A place in the order of a table's changes."""

    transaction: int
    entry_id: uuid.UUID


START = Place(0, NOWHERE)


def after(place: Place, *, table_id: uuid.UUID) -> QuerySet[EmailLogEntry]:
    """What changed in the table after this place and can be read, in order."""
    later = RawSQL(_AFTER, (place.transaction, place.entry_id), BooleanField())  # noqa: S611 - constants of this module
    rows = EmailLogEntry.objects.filter(later, table_id=table_id, transaction__lt=now_in_sql(OLDEST_UNDER_WAY))
    return rows.order_by("transaction", "id")


def place_of(entry: EmailLogEntry) -> Place:
    """The place right after this entry."""
    return Place(entry.transaction, entry.pk)


# --- after a dump was restored ------------------------------------------------------------------------------------


def is_of_another_database(place: Place) -> bool:
    """Its transaction is yet to come here: a database restored from a dump counts anew. Whoever is there begins
    again."""
    with database.cursor() as cursor:
        cursor.execute(f"SELECT {NEXT_TO_COME} <= %s", [place.transaction])
        return bool(cursor.fetchone()[0])


def adopt_restored() -> int:
    """Entries whose transaction is yet to come are of the database a dump was made of, and nobody could read them. They
    take the number of the transaction that finds them; how many."""
    done = 0
    for table_id in EmailLogTable.objects.order_by("pk").values_list("pk", flat=True):
        foreign = EmailLogEntry.objects.filter(table_id=table_id, transaction__gte=now_in_sql(NEXT_TO_COME))
        # What a caller's transaction wrote, this one too, counts as yet to come until another one after it has ended.
        foreign = foreign.exclude(transaction=WRITING_TRANSACTION)
        while ids := list(foreign.order_by("transaction", "id").values_list("pk", flat=True)[:CHUNK]):
            done += EmailLogEntry.objects.filter(pk__in=ids).update(transaction=WRITING_TRANSACTION)
    return done
