"""Requests nobody means well with, or that no client of ours would send: never a 500, never another's mail."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from core.ids import uuid7
from email_sync.models import Message
from email_sync.tests.conftest import Account
from email_sync.tests.contract import mail
from email_sync.tests.factories import MessageFactory, connect
from workspaces.tests.fixtures import Actor

SOME_ID = "01a1fe1c-3f5c-7739-a345-95de48916bdd"

pytestmark = pytest.mark.django_db

INBOX = "/api/v1/integrations/email/inbox"
QUERIES = [
    "'", "''", "\\", "a'b", "a:*", ":*", "!", "&", "|", "(", ")", "<->", "a <-> b", "!!a", "-", "--a", "-\"\"", '""',
    '"', "a:b:c", "from:", "from:'", "to:\\", "subject:\"a' | b\"", "is:", "in:", "in:nowhere", "has:", "before:",
    "after:x", "before:0000-00-00", "before:0001-01-01", "before:9999-12-31", "after:2026-W01-1", "after:-1", "%",
    "_", "\u202e", "\ufdfa" * 400, "💥", "é\u0301" * 200, "ß" * 500, "漢" * 500, "a" * 500, "a " * 32, "a " * 250,
    "-a " * 32, "-a " * 32, "*", "**", "a*", "\"a*\"", "'; DROP TABLE email_sync_message; --", "12e3abc", "0x1F",
    "²³", "ⅷ", "\u0000", "\t\n", "a\u00a0b", "-from:a -to:b -subject:c", "NOT", "and or not", "is:unread is:read",
    "١٢٣", "𝒜𝓑", "\u0e01\u0e33", "\ud83d",
]  # fmt: skip


def cursor(*values: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


CURSORS = [
    "x", "=", "🦊", "null", cursor(), cursor(1), cursor("a", "b"), cursor(None, None), cursor("2026-01-01", 5),
    cursor("2026-01-01T00:00:00", SOME_ID), cursor("0001-01-01T00:00:00+23:59", SOME_ID),
    cursor("9999-12-31T23:59:59.999999-23:59", SOME_ID), cursor("2026-01-01T00:00:00Z", "0" * 32),
    cursor("2026-01-01T00:00:00+00:00:01", SOME_ID), cursor(["a"], {"b": 1}), cursor("20260101", SOME_ID),
    cursor("2026-01-01T00:00:00Z", SOME_ID, 3), "A" * 1999, cursor("NaN", "infinity"), cursor(1e308, True),
]  # fmt: skip


@pytest.fixture
def full(account: Account, member: Actor) -> Actor:
    """A member with a mail in each of two mailboxes."""
    account.box.append(mail("here", body="12e3abc' \\ <-> ²³ 漢字 ก"), "inbox")
    account.sync()
    MessageFactory(connection=connect(member))
    return member


@pytest.mark.parametrize("q", QUERIES)
def test_search_for_anything_answers_or_says_what_is_wrong(full: Actor, q: str) -> None:
    for folder in ("inbox", "all", "trash"):
        answer = full.client.get(INBOX, {"q": q.encode("utf-8", "replace").decode(), "folder": folder})
        assert answer.status_code in (200, 400), answer.content
        assert answer.status_code == 200 or answer.json()["error"]["message"]


@pytest.mark.parametrize("text", CURSORS)
def test_forged_cursor_is_refused_or_only_asks_for_another_place(full: Actor, text: str) -> None:
    answer = full.client.get(INBOX, {"cursor": text})
    assert answer.status_code in (200, 400), answer.content
    assert answer.status_code == 400 or len(answer.json()["data"]) <= 2


@pytest.mark.parametrize(
    "query",
    [
        {"page": 1_000_000, "limit": 100},
        {"page": 1_000_000, "limit": 100, "q": "message"},
        {"page": 0},
        {"page": -1},
        {"page": 10**30},
        {"limit": 0},
        {"limit": 10**30},
        {"page": "1e3"},
        {"folder": "x"},
        {"connectionId": "x"},
        {"connectionId": str(uuid7())},
        {"unread": "maybe"},
        {"q": "x" * 501},
        {"cursor": "x" * 2001},
    ],
)
def test_paging_beyond_sense_is_empty_or_refused(full: Actor, query: dict[str, Any]) -> None:
    answer = full.client.get(INBOX, query)
    assert answer.status_code in (200, 400, 404), answer.content


def test_inbox_of_somebody_without_a_mailbox_is_empty(outsider: Actor) -> None:
    for query in ({}, {"q": "x"}, {"folder": "all", "unread": "true"}, {"page": 3}):
        answer = outsider.client.get(INBOX, query).json()
        assert (answer["data"], answer["pagination"]["total"], answer["pagination"]["nextCursor"]) == ([], 0, None)


def test_inbox_of_fifty_mailboxes_is_one_list_newest_first(member: Actor) -> None:
    for _ in range(50):
        connection = connect(member)
        MessageFactory.create_batch(3, connection=connection)
    seen: list[str] = []
    cursor_of_page = ""
    while True:
        page = member.client.get(INBOX, {"limit": 40, "cursor": cursor_of_page}).json()
        seen += [row["id"] for row in page["data"]]
        cursor_of_page = page["pagination"]["nextCursor"] or ""
        if not cursor_of_page:
            break
    wanted = Message.objects.order_by("-received_at", "-id").values_list("pk", flat=True)
    assert seen == [str(pk) for pk in wanted]
    assert page["pagination"]["total"] == 150


@pytest.mark.parametrize("path", ["read", "star", "archive"])
@pytest.mark.parametrize("body", [[], "x", 5, None, {"read": "maybe", "starred": {}, "archived": []}, {"other": 1}])
def test_flag_with_a_strange_body_is_refused_or_a_toggle(full: Actor, path: str, body: Any) -> None:
    message = Message.objects.first()
    assert message is not None
    answer = full.client.post(f"/api/v1/integrations/email/{message.pk}/{path}", body, format="json")
    assert answer.status_code in (200, 400), answer.content
