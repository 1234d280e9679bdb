"""The words of a message as PostgreSQL keeps them, and that a search finds them again."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib import import_module
from types import SimpleNamespace
from typing import cast

import pytest
from django.db import connection as database
from django.db import transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import ProviderUnavailable
from email_sync import binary, periods, search
from email_sync.models import Message, MessageSearch, Unindexed
from email_sync.parsing.message import parse
from email_sync.services import indexing
from email_sync.services.indexing import index_waiting
from email_sync.services.restoring import withhold
from email_sync.tests.conftest import Account
from email_sync.tests.contract import mail
from email_sync.tests.factories import MessageFactory
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db

TEXTS = (
    ("", "", "", ""),
    ("Lunch at one", "Ada <ada@example.com>", "bob@example.com", "Lunch? Lunch at 1, or at two. Ça va, Łukasz?"),
    ("会議 資料", "Søren", "", "отчёт, встреча — and it's 3.14 \U00020000 \uffdc"),
)
STORED = "SELECT words::text, strip(to_tsvector('simple', text))::text, text FROM email_sync_messagesearch"


def stored(account: Account, texts: tuple[str, str, str, str]) -> tuple[str, str, str]:
    """The words of a message that says this as PostgreSQL has them, those it finds in the text itself, and the text."""
    message = MessageFactory(connection=account.connection)
    indexing.write(account.connection.pk, [(message.pk, message.received_at, search.document(*texts))])
    with database.cursor() as cursor:
        cursor.execute(f"{STORED} WHERE message_id = %s", [message.pk])
        return cast("tuple[str, str, str]", cursor.fetchone())


@pytest.mark.parametrize("texts", TEXTS)
def test_words_are_what_postgres_would_make_of_the_text(account: Account, texts: tuple[str, str, str, str]) -> None:
    words, found, text = stored(account, texts)
    own = [word for word in words.split() if not word.startswith(("'A", "'B", "'C"))]
    assert " ".join(own) == found
    assert [line.split() for line in text.split("\n")] == [search.fold(given).split() for given in texts]


@given(st.lists(st.text(max_size=30), min_size=4, max_size=4))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_words_come_in_the_order_in_which_postgres_keeps_them(account: Account, texts: list[str]) -> None:
    given = search.document(*[text.replace("\x00", "") for text in texts])
    sent = binary.of_words(given.words)
    with database.cursor() as cursor:
        cursor.execute("SELECT tsvectorsend(array_to_tsvector(%s))", [given.words])
        assert bytes(cursor.fetchone()[0]) == sent


def test_words_of_each_field_are_there_once_more(account: Account) -> None:
    words, *_ = stored(account, ("Lunch lunch", "Ada <ada@x.test>", "bob", "Lunch with Ada"))
    assert words == "'Alunch' 'Bada' 'Btest' 'Bx' 'Cbob' 'ada' 'bob' 'lunch' 'test' 'with' 'x'"


def test_moment_of_any_time_is_stored_as_the_message_has_it(account: Account) -> None:
    for moment in (datetime.min, datetime(1999, 12, 31, 23, 59, 59, 999999), datetime.max):
        message = MessageFactory(connection=account.connection, received_at=moment.replace(tzinfo=UTC))
        indexing.write(account.connection.pk, [(message.pk, message.received_at, search.document("", "", "", ""))])
        kept = MessageSearch.objects.get(pk=message.pk)
        assert kept.received_at == message.received_at
        assert kept.periods == periods.keys(account.connection.pk, message.received_at)


# --- rows of before -------------------------------------------------------------------------------------------------

BEFORE = """
    SET CONSTRAINTS ALL IMMEDIATE;
    ALTER TABLE email_sync_messagesearch ADD document tsvector;
    UPDATE email_sync_messagesearch SET words = '', text = '', document =
        setweight(to_tsvector('simple', split_part(text, E'\n', 1)), 'A')
        || setweight(to_tsvector('simple', split_part(text, E'\n', 2)), 'B')
        || setweight(to_tsvector('simple', split_part(text, E'\n', 3)), 'C')
        || to_tsvector('simple', split_part(text, E'\n', 4))
        || array_to_tsvector(ARRAY(SELECT lexeme FROM unnest(words) WHERE lexeme ~ '^[A-C]'));
"""


def test_migration_gives_stored_mail_the_same_words_and_text(account: Account) -> None:
    for texts in TEXTS:
        stored(account, texts)
    whole = dict(MessageSearch.objects.values_list("pk", "words"))
    said = dict(MessageSearch.objects.values_list("pk", "text"))
    with database.cursor() as cursor:
        cursor.execute(BEFORE)
    migration = import_module("email_sync.migrations.0023_fill_search_text")
    migration.TOGETHER = 2
    for _ in range(2):
        migration.fill(None, SimpleNamespace(connection=database))
        assert dict(MessageSearch.objects.values_list("pk", "words")) == whole
        assert dict(MessageSearch.objects.values_list("pk", "text")) == said


@pytest.mark.parametrize("word", ["12e3abc", "7e8c7b8", "Ꭰbc", "1Z999AA10123456784"])
def test_search_finds_a_word_that_postgres_would_take_apart(account: Account, member: Actor, word: str) -> None:
    account.box.append(mail("plain"), "inbox")
    account.box.append(
        mail("tracked").replace(b"\r\n\r\n", f"\r\n\r\nYour parcel {word} left.\r\n".encode(), 1), "inbox"
    )
    account.sync()
    answer = member.client.get("/api/v1/integrations/email/inbox", {"q": f'"parcel {word}"'})
    assert [email["messageId"] for email in answer.json()["data"]] == ["tracked@contract.test"]


# --- the second stage ---------------------------------------------------------------------------------------------


def answer(member: Actor, q: str) -> tuple[int, bool]:
    found = member.client.get("/api/v1/integrations/email/inbox", {"q": q, "folder": "all", "limit": 100}).json()
    return len(found["data"]), found["searchComplete"]


@pytest.fixture
def half_way(account: Account) -> Account:
    """A first sync that was interrupted: some mail is shown and waits for its search rows."""
    copies = b"Cc: Carol <carol@contract.test>\r\nBcc: Dan <dan@contract.test>\r\nTo:"
    for number in range(80):
        raw = mail(f"m{number}", body=f"Figures of week {number}")
        account.box.append(raw.replace(b"To:", copies, 1), "inbox")
    while not Unindexed.objects.exists():
        account.slice(0)
    return account


def test_search_while_a_first_sync_goes_on_says_that_it_is_not_complete(half_way: Account, member: Actor) -> None:
    assert Message.objects.count() == 80
    found, complete = answer(member, "figures")
    assert found < 80
    assert not complete
    assert answer(member, "") == (80, True)
    half_way.sync()
    assert answer(member, "figures") == (80, True)
    assert not Unindexed.objects.exists()


def test_index_waiting_writes_what_the_writer_would_have_written(half_way: Account) -> None:
    half_way.sync()
    for message in Message.objects.select_related("body", "search"):
        parsed = parse(half_way.box.messages[message.remote_id].raw)
        ours = indexing.document(parsed)
        with database.cursor() as cursor:
            cursor.execute("SELECT array_to_tsvector(%s)::text", [ours.words])
            assert (*cursor.fetchone(), ours.text) == (message.search.words, message.search.text)
        assert message.search.received_at == message.received_at


def test_index_waiting_after_the_text_was_withheld_finds_its_outside_only(half_way: Account, member: Actor) -> None:
    with transaction.atomic():
        withhold(list(Message.objects.values_list("pk", flat=True)))
    index_waiting(half_way.connection.pk, hold=lambda: None, out_of_time=lambda: False)
    assert answer(member, "figures") == (0, True)
    assert answer(member, "from:ada")[0] == 80


def test_deletion_of_a_message_lets_go_of_what_waits_before_its_search_row(half_way: Account) -> None:
    with CaptureQueriesContext(database) as asked:
        Message.objects.all().delete()
    first = [next(i for i, q in enumerate(asked) if f'DELETE FROM "{table}"' in q["sql"]) for table in IN_ORDER]
    assert first == sorted(first)


IN_ORDER = ("email_sync_unindexed", "email_sync_messagebody", "email_sync_messagesearch", "email_sync_message")


def away(call: str) -> None:
    raise ProviderUnavailable("Away.")


def test_index_waiting_goes_on_where_the_provider_is_away(half_way: Account, member: Actor) -> None:
    half_way.box.before_call = away
    half_way.sync()
    assert answer(member, "figures") == (80, True)
