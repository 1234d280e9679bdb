"""The words of a message as PostgreSQL keeps them, and that a search finds them again."""

from __future__ import annotations

from importlib import import_module
from types import SimpleNamespace

import pytest
from django.db import connection as database
from django.db import transaction
from django.test.utils import CaptureQueriesContext

from core.errors import ProviderUnavailable
from email_sync import search
from email_sync.models import Message, MessageSearch, Unindexed
from email_sync.parsing.message import parse
from email_sync.services.indexing import LAST_PLACE, index_waiting, texts, vector
from email_sync.services.restoring import withhold
from email_sync.tests.conftest import Account
from email_sync.tests.contract import mail
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db

BY_POSTGRES = """
    SELECT setweight(to_tsvector('simple', %s), 'A') || setweight(to_tsvector('simple', %s), 'B')
        || setweight(to_tsvector('simple', %s), 'C') || setweight(to_tsvector('simple', %s), 'D'),
        ts_delete(given, ARRAY(SELECT lexeme FROM unnest(given) WHERE lexeme ~ '^[A-C]'))
    FROM (SELECT %s::tsvector AS given) AS ours
"""


def both(*texts: str) -> tuple[str, str]:
    """The vector as PostgreSQL makes it of the texts, and as it reads ours, without the marked words."""
    document = search.document(*texts)
    with database.cursor() as cursor:
        cursor.execute(BY_POSTGRES, [*document, vector(*document)])
        made, read = cursor.fetchone()
    return made, read


@pytest.mark.parametrize(
    "texts",
    [
        ("", "", "", ""),
        ("Lunch at one", "Ada <ada@example.com>", "bob@example.com", "Lunch? Lunch at 1, or at two. Ça va, Łukasz?"),
        ("会議 資料", "Søren", "", "отчёт, встреча — and it's 3.14"),
    ],
)
def test_vector_is_what_postgres_would_make_of_the_same_words(texts: tuple[str, str, str, str]) -> None:
    made, read = both(*texts)
    assert read == made


def test_vector_names_the_words_of_each_field_once_more() -> None:
    ours = vector(*search.document("Lunch lunch", "Ada <ada@x.test>", "bob", "Lunch with Ada"))
    with database.cursor() as cursor:
        cursor.execute("SELECT ARRAY(SELECT lexeme FROM unnest(%s::tsvector) WHERE lexeme ~ '^[A-C]')", [ours])
        assert set(cursor.fetchone()[0]) == {"Alunch", "Bada", "Bx", "Btest", "Cbob"}


def test_migration_gives_stored_mail_the_same_words(account: Account) -> None:
    for number in range(4):
        account.box.append(mail(f"m{number}", subject=f"Figures {number}"), "inbox")
    account.sync()
    whole = dict(MessageSearch.objects.values_list("pk", "document"))
    with database.cursor() as cursor:
        cursor.execute(
            "UPDATE email_sync_messagesearch SET document = "
            "ts_delete(document, ARRAY(SELECT lexeme FROM unnest(document) WHERE lexeme ~ '^[A-C]'))"
        )
    assert dict(MessageSearch.objects.values_list("pk", "document")) != whole
    migration = import_module("email_sync.migrations.0016_field_words")
    migration.TOGETHER = 3
    for _ in range(2):
        migration.mark(None, SimpleNamespace(connection=database))
        assert dict(MessageSearch.objects.values_list("pk", "document")) == whole


def test_vector_of_a_text_with_more_places_than_postgres_counts_keeps_every_word() -> None:
    words = [f"w{number}" for number in range(LAST_PLACE + 500)]
    with database.cursor() as cursor:
        cursor.execute("SELECT length(%s::tsvector)", [vector("", "", "", " ".join(words))])
        assert cursor.fetchone() == (len(words),)


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
        with database.cursor() as cursor:
            cursor.execute("SELECT %s::tsvector::text", [vector(*texts(parsed))])
            assert cursor.fetchone() == (message.search.document,)
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
