"""The inbox over HTTP: shapes, filters, paging, counts."""

from __future__ import annotations

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from email_sync.tests import mail_api
from email_sync.tests.conftest import Account
from email_sync.tests.contract import ident, mail
from email_sync.tests.factories import MessageFactory, connect
from email_sync.tests.mail_api import PREFIX, fields, get
from email_sync.tests.memory import Mailbox, Memory
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db

filled = mail_api.filled


# --- lists --------------------------------------------------------------------------------------------------------


def test_inbox_answers_the_documented_shape(filled: Account, member: Actor) -> None:
    answer = get(member, "inbox", limit=1)
    [email] = answer["data"]
    assert email["messageId"] == ident("m29")
    assert email["from"] == {"name": "Ada", "email": "ada@contract.test"}
    assert email["to"] == [{"name": "Bob", "email": "bob@contract.test"}]
    assert (email["folder"], email["folders"], email["isArchived"]) == ("inbox", ["inbox"], False)
    assert email["snippet"].startswith("Figures of week 29")
    assert email["receivedAt"].endswith("Z")
    assert set(email) >= {"id", "connectionId", "threadId", "subject", "cc", "bcc", "sentAt", "isRead", "isStarred",
                          "hasAttachments", "entities", "pendingChanges"}  # fmt: skip
    assert answer["pagination"]["total"] == 30
    assert answer["pagination"]["totalPages"] == 30


def test_inbox_pages_by_number_and_by_cursor_show_the_same_rows(filled: Account, member: Actor) -> None:
    numbered = [row["id"] for page in (1, 2, 3) for row in get(member, "inbox", page=page, limit=12)["data"]]
    walked, cursor = [], ""
    while True:
        answer = get(member, "inbox", limit=12, **({"cursor": cursor} if cursor else {}))
        walked += [row["id"] for row in answer["data"]]
        cursor = answer["pagination"]["nextCursor"]
        if cursor is None:
            break
    assert walked == numbered
    assert len(set(walked)) == 30


def test_inbox_over_two_mailboxes_is_one_list_newest_first(filled: Account, member: Actor) -> None:
    second = Account(connect(member, "second@contract.test"), Mailbox())
    Memory.mailboxes["second@contract.test"] = second.box
    for number in range(20):
        second.box.append(mail(f"other{number}"), "inbox")
    second.sync()
    rows = [row for page in (1, 2) for row in get(member, "inbox", page=page, limit=40)["data"]]
    assert len(rows) == 50
    assert [row["receivedAt"] for row in rows] == sorted((row["receivedAt"] for row in rows), reverse=True)
    one = get(member, "inbox", connectionId=str(second.connection.pk), limit=100)
    assert {row["connectionId"] for row in one["data"]} == {str(second.connection.pk)}
    assert one["pagination"]["total"] == 20


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ({"folder": "sent"}, 2),
        ({"folder": "all"}, 32),
        ({"folder": "trash"}, 0),
        ({"unread": "true"}, 30),
        ({"unread": "false"}, 30),
        ({"q": "report"}, 30),
        ({"q": '"week 7"'}, 1),
        ({"q": "figures -27"}, 29),
        ({"q": "from:ada in:sent"}, 2),
        ({"q": "subject:29"}, 1),
        ({"q": "nosuchword"}, 0),
        ({"q": "is:starred"}, 0),
        ({"q": "has:attachment"}, 0),
        ({"q": "before:2020-01-01"}, 0),
    ],
)
def test_inbox_filters(filled: Account, member: Actor, query: dict[str, str], wanted: int) -> None:
    answer = get(member, "inbox", limit=100, **query)
    assert len(answer["data"]) == wanted
    assert answer["pagination"]["total"] == wanted


@pytest.fixture
def one_of_each(account: Account) -> Account:
    """A mail in each folder, named after it; the one in the archive is read and starred, the one in sent has a file."""
    for folder in ("inbox", "archive", "drafts", "trash", "spam"):
        to_itself = mail(folder, subject=folder).replace(b"bob@contract.test", f"{folder}@example.com".encode())
        account.box.append(to_itself, folder)
    account.box.append(WITH_FILE, "sent", read=True)
    archived = account.box.find(ident("archive")).remote_id
    account.box.flag(archived, read=True, starred=True)
    account.sync()
    return account


WITH_FILE = b"""From: Ada <ada@contract.test>\r
To: Bob <bob@example.com>\r
Cc: "Grace Hopper" <grace@navy.example>\r
Subject: sent\r
Message-ID: <with-file@contract.test>\r
MIME-Version: 1.0\r
Content-Type: multipart/mixed; boundary=b\r
\r
--b\r
\r
Quarterly figures\r
--b\r
Content-Type: application/pdf\r
Content-Disposition: attachment; filename="figures.pdf"\r
\r
%PDF\r
--b--\r
"""


FOUND: list[tuple[dict[str, str], str]] = [
    ({}, "inbox"),
    ({"folder": "archive"}, "archive"),
    ({"folder": "drafts"}, "drafts"),
    ({"folder": "trash"}, "trash"),
    ({"folder": "spam"}, "spam"),
    ({"folder": "sent"}, "sent"),
    ({"folder": "starred"}, "archive"),
    ({"folder": "all"}, "archive drafts inbox sent"),
    ({"folder": "all", "unread": "true"}, "drafts inbox"),
    ({"folder": "all", "q": "is:unread"}, "drafts inbox"),
    ({"folder": "all", "q": "is:read"}, "archive sent"),
    ({"folder": "all", "q": "-is:read"}, "drafts inbox"),
    ({"folder": "all", "q": "is:starred"}, "archive"),
    ({"folder": "all", "q": "has:attachment"}, "sent"),
    ({"folder": "all", "q": "-has:attachment"}, "archive drafts inbox"),
    ({"folder": "all", "q": "to:drafts"}, "drafts"),
    ({"folder": "all", "q": "to:drafts@example.com"}, "drafts"),
    ({"folder": "all", "q": "cc:hopper"}, "sent"),
    ({"folder": "all", "q": 'cc:"grace hopper"'}, "sent"),
    ({"folder": "all", "q": "from:ada -subject:inbox -subject:archive"}, "drafts sent"),
    ({"folder": "all", "q": "after:2020-01-01 before:2099-12-31 quarterly"}, "sent"),
    ({"folder": "all", "q": "after:2099-01-01"}, ""),
    ({"folder": "all", "q": "quart*"}, "sent"),
    ({"q": "in:trash"}, "trash"),
    ({"q": "in:starred"}, "archive"),
    ({"q": "in:all has:attachment is:read"}, "sent"),
]
"""Query → the subjects it finds."""


def test_inbox_folders_and_operators_find_what_they_say(one_of_each: Account, member: Actor) -> None:
    for query, subjects in FOUND:
        for extra in ({}, {"connectionId": str(one_of_each.connection.pk)}):
            found = get(member, "inbox", limit=100, **query, **extra)
            assert " ".join(sorted(row["subject"] for row in found["data"])) == subjects, query
            assert found["pagination"]["total"] == len(found["data"]), query


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"folder": "nowhere"}, "folder"),
        ({"page": "0"}, "page"),
        ({"page": "x"}, "page"),
        ({"limit": "0"}, "limit"),
        ({"q": 'an "open quote'}, "q"),
        ({"q": "is:purple"}, "q"),
        ({"q": "from:"}, "q"),
        ({"q": "report subject: -27"}, "q"),
        ({"q": 'to:"..."'}, "q"),
        ({"q": "in:"}, "q"),
        ({"q": "after:"}, "q"),
        ({"q": "before:yesterday-ish"}, "q"),
        ({"cursor": "garbage"}, "cursor"),
        ({"unread": "perhaps"}, "unread"),
        ({"connectionId": "42"}, "connectionId"),
        ({"connectionId": ""}, "connectionId"),
    ],
)
def test_inbox_names_what_is_wrong(filled: Account, member: Actor, query: dict[str, str], field: str) -> None:
    assert field in fields(member.client.get(f"{PREFIX}/inbox", query))


def test_inbox_limit_of_a_thousand_is_clamped(filled: Account, member: Actor) -> None:
    assert get(member, "inbox", limit=1000)["pagination"]["limit"] == 100


def test_inbox_page_of_fifty_takes_at_most_five_queries(filled: Account, member: Actor) -> None:
    MessageFactory.create_batch(40, connection=filled.connection)
    get(member, "inbox", limit=50)
    with CaptureQueriesContext(
        database,
    ) as queries:
        get(member, "inbox", limit=50)
    assert len(queries) <= 5, [query["sql"] for query in queries]
    assert not any("COUNT(" in query["sql"].upper() for query in queries)


def test_counts_come_from_counters(filled: Account, member: Actor) -> None:
    counts = get(member, "folders/counts")
    assert counts["inbox"] == {"total": 30, "unread": 30}
    assert counts["sent"] == {"total": 2, "unread": 0}
    assert counts["trash"] == {"total": 0, "unread": 0}
