"""The words of a message as PostgreSQL keeps them, and that a search finds them again."""

from __future__ import annotations

import pytest
from django.db import connection as database

from email_sync import search
from email_sync.services.indexing import LAST_PLACE, vector
from email_sync.tests.conftest import Account
from email_sync.tests.contract import mail
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db

BY_POSTGRES = """
    SELECT setweight(to_tsvector('simple', %s), 'A') || setweight(to_tsvector('simple', %s), 'B')
        || setweight(to_tsvector('simple', %s), 'C') || setweight(to_tsvector('simple', %s), 'D'), %s::tsvector
"""


def both(*texts: str) -> tuple[str, str]:
    """The vector as PostgreSQL makes it of the texts, and as it reads ours."""
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
