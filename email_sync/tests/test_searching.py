"""The walk of a search over a mailbox's months and years: it finds what is there, in order, and reads no more."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection as database
from django.db.models import Q

from email_sync import periods
from email_sync.models import FOLDERS, Message, MessageSearch
from email_sync.search import document, parse_query
from email_sync.services import indexing, searching
from email_sync.services.searching import newest_hits
from email_sync.tests.factories import MessageFactory, ThreadFactory, connect
from integrations.models import Connection
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db

ODD_TIMES = (
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC),
    datetime(1970, 1, 1, tzinfo=UTC),
    datetime(2019, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    datetime(2020, 1, 1, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
)


def put(connection: Connection, moment: datetime, body: str, **columns: Any) -> Message:
    message = MessageFactory(connection=connection, received_at=moment, **columns)
    indexing.write(connection.pk, [(message.pk, moment, document("", "", "", body))])
    return message


def found(connection: Connection, q: str, *, folder: str = "inbox", count: int = 1_000) -> list[uuid.UUID]:
    hits = newest_hits(connection.pk, parse_query(q), FOLDERS[folder], Q(), count)
    return [hit.message_id for hit in hits]


def newest_first(messages: Iterable[Message]) -> list[uuid.UUID]:
    return [m.pk for m in sorted(messages, key=lambda m: (m.received_at, m.pk), reverse=True)]


@pytest.fixture
def mailbox(member: Actor) -> Connection:
    return connect(member)


def test_newest_hits_of_every_time_come_newest_first(mailbox: Connection) -> None:
    chance, start = random.Random(7), datetime(2018, 1, 1, tzinfo=UTC)
    times = [*ODD_TIMES, *(start + timedelta(days=chance.random() * 3_000) for _ in range(60))]
    kept = [put(mailbox, moment, "apple pear" if number % 3 else "apple") for number, moment in enumerate(times)]
    assert found(mailbox, "apple") == newest_first(kept)
    assert found(mailbox, "apple", count=7) == newest_first(kept)[:7]
    pears = [m for number, m in enumerate(kept) if number % 3]
    assert found(mailbox, '"apple pear"') == found(mailbox, "pe*") == newest_first(pears)
    assert found(mailbox, "-pear") == found(mailbox, "app* -pear") == newest_first(set(kept) - set(pears))
    assert found(mailbox, "plum") == found(mailbox, "plu*") == []


def test_newest_hits_with_the_start_of_a_word_go_beyond_the_newest(
    mailbox: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "RECENT", 3)
    start = datetime(2024, 1, 1, tzinfo=UTC)
    kept = [put(mailbox, start + timedelta(days=90 * number), "pear") for number in range(8)]
    assert found(mailbox, "pe*") == newest_first(kept)


def test_newest_hits_are_of_the_folder_and_the_mailbox_asked_for(mailbox: Connection, member: Actor) -> None:
    moment = datetime(2025, 5, 5, tzinfo=UTC)
    put(connect(member), moment, "apple")
    put(mailbox, moment, "apple", in_inbox=False, removed_at=moment)
    trashed = put(mailbox, moment, "apple", in_inbox=False, in_trash=True)
    assert found(mailbox, "apple") == found(mailbox, "apple", folder="all") == []
    assert found(mailbox, "apple", folder="trash") == [trashed.pk]


def test_newest_hits_of_two_mailboxes_with_the_same_keys_stay_apart(mailbox: Connection, member: Actor) -> None:
    moment = datetime(2025, 5, 5, tzinfo=UTC)
    stranger = put(connect(member), moment, "apple")
    MessageSearch.objects.filter(message=stranger).update(periods=periods.keys(mailbox.pk, moment))
    own = put(mailbox, moment, "apple")
    assert found(mailbox, "apple") == [own.pk]


# --- what it costs ------------------------------------------------------------------------------------------------

MONTHS, A_MONTH = 60, 60
FILL_MESSAGES = """
    INSERT INTO email_sync_message (
        id, connection_id, thread_id, remote_id, stream, content_key, folder_ids, in_inbox, in_sent, in_archive,
        in_drafts, in_trash, in_spam, is_read, is_starred, message_id, subject, from_name, from_email, recipients,
        snippet, sent_at, received_at, size, has_attachments, defect, removed_cause, updated_at)
    SELECT gen_random_uuid(), %s, %s, n::text, 'inbox', '', '{}', true, false, false, false, false, false, false, false,
           '', '', '', '', '{}', '', NULL, timestamptz '2020-01-15 00:00Z' + n / %s * interval '1 month'
           + n %% %s * interval '1 minute', 0, false, '', '', now()
    FROM generate_series(0, %s) AS n
"""


@pytest.fixture
def five_years(mailbox: Connection) -> Connection:
    """Messages of sixty months that all hold "common" and "bob"; every hundredth one "seldom", and that one is from
    bob; nothing holds "never"."""
    thread = ThreadFactory(connection=mailbox)
    with database.cursor() as cursor:
        cursor.execute(FILL_MESSAGES, [mailbox.pk, thread.pk, A_MONTH, A_MONTH, MONTHS * A_MONTH - 1])
    common, seldom = document("", "eve", "", "common often bob"), document("", "bob", "", "common often seldom")
    messages = Message.objects.values_list("pk", "received_at", "remote_id")
    indexing.write(
        mailbox.pk, ((pk, moment, common if int(number) % 100 else seldom) for pk, moment, number in messages)
    )
    with database.cursor() as cursor:
        cursor.execute("ANALYZE email_sync_message, email_sync_messagesearch")
    return mailbox


def most_rows(plan: dict[str, Any]) -> float:
    """The most rows any node of a plan brings."""
    return max([plan["Actual Rows"] * plan["Actual Loops"], *map(most_rows, plan.get("Plans", ()))])


def read_by(connection: Connection, q: str, *, count: int) -> float:
    """The most rows that any node of any statement of a search brings."""
    plans = []

    def explain(execute: Any, sql: str, values: Any, many: bool, context: Any) -> Any:
        with database.connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", values)
            plans.append(cursor.fetchone()[0])
        return execute(sql, values, many, context)

    with database.execute_wrapper(explain):
        found(connection, q, count=count)
    assert plans
    return max(most_rows(plan if isinstance(plan, dict) else plan[0]["Plan"]) for plan in plans)


def test_newest_hits_read_a_month_or_the_hits_and_never_the_mailbox(five_years: Connection) -> None:
    for q in ("common", "common often", '"common often"', "common -seldom", "comm*", "-seldom"):
        assert len(found(five_years, q, count=50)) == 50, q
        assert read_by(five_years, q, count=50) <= 2 * A_MONTH, q
    of_bob = ("from:bob", "from:common", '"common often" from:bob', 'from:"bob common"', "from:bob -from:eve")
    for q in ("seldom", "never", "common never", '"never common"', *of_bob):
        assert read_by(five_years, q, count=51) <= MONTHS * A_MONTH / 100 + 20, q
