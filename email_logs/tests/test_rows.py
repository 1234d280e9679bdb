"""Rows of a log: the document's columns, filters, places in the list, totals, history."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from core.api.pagination import encode_cursor
from core.ids import uuid7
from email_logs.models import DeliveryEvent, EmailLogDay, EmailLogEntry
from email_logs.services import reading
from email_logs.states import State
from email_logs.tests.logs import API, FIRST, entries, entry, rows, subjects, table_of
from email_logs.tests.test_tables import COLUMNS
from workspaces.models import Workspace
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db


def test_row_has_the_documents_columns_and_the_true_state_beside_them(member: Actor, workspace: Workspace) -> None:
    table = table_of(workspace)
    made = entry(
        table, cc="c@example.com, d@example.com", bcc="b@example.com", template_id="t-1", attachments=2,
        state=State.BOUNCED, error="550 No such user",
    )  # fmt: skip
    [row] = rows(member, table)["data"]
    assert [name for name, _ in COLUMNS] == [name for name in row if name in dict(COLUMNS)]
    assert {name: row[name] for name, _ in COLUMNS} == {
        "Sent At": "2026-03-01T00:00:00.000Z", "To": "person0@example.com", "From": "noreply@acme.example",
        "Subject": "Letter 0", "Status": "failed", "Provider": "email-provider", "Message ID": "id-0",
        "CC": "c@example.com, d@example.com", "BCC": "b@example.com", "Template ID": "t-1", "Source": "Workflow Email",
        "Error": "550 No such user", "Attachments": 2,
    }  # fmt: skip
    assert (row["id"], row["state"], row["withheld"]) == (str(made.pk), "bounced", [])
    assert row == member.client.get(f"{API}/{table.pk}/rows/{made.pk}").json()


@pytest.mark.parametrize("state", [State.QUEUED, State.UNKNOWN])
def test_status_is_null_while_neither_word_is_true(member: Actor, workspace: Workspace, state: State) -> None:
    table = table_of(workspace)
    entry(table, state=state)
    [row] = rows(member, table)["data"]
    assert (row["Status"], row["state"]) == (None, state.value)


def test_history_is_made_of_the_entrys_times_and_of_what_the_provider_told(member: Actor, workspace: Workspace) -> None:
    table = table_of(workspace)
    made = entry(table, state=State.BOUNCED, sent_at=timezone.now() + timedelta(seconds=1))
    for kind, seconds in (("bounced", 30), ("deferred", 20)):
        DeliveryEvent.objects.create(
            workspace=workspace, table=table, entry_id=made.pk, event_key=kind, kind=kind, words=f"{kind}!",
            recipients=["person0@example.com"], at=made.sent_at + timedelta(seconds=seconds),
        )  # fmt: skip
    [row] = rows(member, table)["data"]
    assert [step["what"] for step in row["history"]] == ["queued", "accepted", "deferred", "bounced"]
    assert row["history"][3]["recipients"] == ["person0@example.com"]
    assert row["history"][3]["words"] == "bounced!"


def test_history_of_a_refused_mail_says_why(member: Actor, workspace: Workspace) -> None:
    table = table_of(workspace)
    entry(table, state=State.FAILED, error="Unknown template", state_at=timezone.now() + timedelta(seconds=1))
    [row] = rows(member, table)["data"]
    assert [(step["what"], step["words"]) for step in row["history"]] == [
        ("queued", ""),
        ("failed", "Unknown template"),
    ]


def test_pages_and_cursors_meet_every_row_once_in_either_order(member: Actor, workspace: Workspace) -> None:
    table = table_of(workspace)
    made = entries(table, 7)
    EmailLogEntry.objects.filter(pk__in=[row.pk for row in made[2:5]]).update(sent_at=made[2].sent_at)
    for sort in ("-sentAt", "sentAt"):
        every = subjects(member, table, sort=sort)
        by_page = [subjects(member, table, sort=sort, limit=3, page=page) for page in (1, 2, 3)]
        assert [len(page) for page in by_page] == [3, 3, 1]
        walked, cursor = [], ""
        for _ in range(3):
            answer = rows(member, table, sort=sort, limit=3, cursor=cursor)
            walked += [row["Subject"] for row in answer["data"]]
            cursor = answer["pagination"]["nextCursor"]
        assert cursor is None
        assert walked == [subject for page in by_page for subject in page] == every
    assert subjects(member, table)[0] == "Letter 6"
    assert subjects(member, table, sort="sentAt")[0] == "Letter 0"


def test_filters_narrow(member: Actor, workspace: Workspace) -> None:
    table = table_of(workspace)
    for number, state in enumerate(State):
        entry(table, number, state=state, source="Form Send" if number % 2 else "")
    order = [state.value for state in State]
    for status, states in (("delivered", ["complained", "delivered", "deferred", "accepted"]), ("failed", None)):
        found = [row["state"] for row in rows(member, table, status=status)["data"]]
        assert found == (states or ["bounced", "failed"])
    for state in order:
        assert [row["state"] for row in rows(member, table, state=state)["data"]] == [state]
    assert rows(member, table, status="failed", state="delivered")["data"] == []
    assert [row["state"] for row in rows(member, table, status="failed", state="bounced")["data"]] == ["bounced"]
    assert {row["Source"] for row in rows(member, table, source="Form Send")["data"]} == {"Form Send"}
    assert len(rows(member, table, source="Form Send")["data"]) == 4
    assert len(rows(member, table, provider="email-provider")["data"]) == 8
    assert rows(member, table, provider="email-provider-alt")["data"] == []


def test_dates_are_half_open_days_or_moments(member: Actor, workspace: Workspace) -> None:
    table = table_of(workspace)
    for number in (-1, 0, 1439, 1440):
        entry(table, number)
    day = {"from": "2026-03-01", "to": "2026-03-02"}
    assert subjects(member, table, **day) == ["Letter 1439", "Letter 0"]
    assert subjects(member, table, **{"from": "2026-03-01T23:59:00Z"}) == ["Letter 1440", "Letter 1439"]
    assert subjects(member, table, to="2026-03-01T02:00:00+02:00") == ["Letter -1"]
    assert rows(member, table, **day)["pagination"]["total"] == 2


@pytest.mark.parametrize(
    ("query", "field", "word"),
    [
        ({"status": "sent"}, "status", "sent"),
        ({"state": "gone"}, "state", "gone"),
        ({"source": "Elsewhere"}, "source", "Elsewhere"),
        ({"sort": "subject"}, "sort", "-sentAt"),
        ({"from": "March"}, "from", "2026-03-31"),
        ({"to": "2026-03-01T10:00:00"}, "to", "offset"),
        ({"from": "2026-03-02", "to": "2026-03-02"}, "to", "later"),
        ({"q": "-only"}, "q", "word"),
        ({"q": "x" * 501}, "q", "500"),
        ({"q": "a " * 33}, "q", "32"),
        ({"page": 0}, "page", ""),
        ({"cursor": "nonsense"}, "cursor", "ours"),
        ({"cursor": encode_cursor(["2026-03-01T00:00:00", str(uuid7())])}, "cursor", "ours"),
    ],
)
def test_bad_query_is_400_naming_the_field(
    member: Actor, workspace: Workspace, query: dict[str, Any], field: str, word: str
) -> None:
    answer = member.client.get(f"{API}/{table_of(workspace).pk}/rows", query)
    assert answer.status_code == 400
    assert word in answer.json()["error"]["fields"][field][0]


def test_rows_of_another_table_are_not_shown(member: Actor, workspace: Workspace) -> None:
    table, other = table_of(workspace), table_of(workspace, "EMAIL_PROVIDER_ALT")
    made = entry(other)
    assert rows(member, table)["data"] == rows(member, table, q="letter")["data"] == []
    assert member.client.get(f"{API}/{table.pk}/rows/{made.pk}").status_code == 404


def test_a_few_rows_are_counted(member: Actor, workspace: Workspace) -> None:
    table = table_of(workspace)
    entries(table, 5)
    page = rows(member, table, limit=2)["pagination"]
    assert (page["total"], page["totalIsExact"], page["totalPages"]) == (5, True, 3)
    assert rows(member, table, status="failed")["pagination"]["total"] == 0


def test_many_rows_are_taken_from_the_counts_by_day(
    member: Actor, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "COUNTED", 3)
    table = table_of(workspace)
    entries(table, 5)
    page = rows(member, table, limit=2)["pagination"]
    assert (page["total"], page["totalIsExact"]) == (3, False), "nobody has counted the days yet"
    for day, state, count in ((0, "delivered", 40), (0, "bounced", 2), (1, "delivered", 7), (-1, "delivered", 1000)):
        EmailLogDay.objects.create(table=table, day=(FIRST + timedelta(days=day)).date(), state=state, count=count)
    page = rows(member, table, limit=2)["pagination"]
    assert (page["total"], page["totalIsExact"]) == (49, False), "not what retention has removed"
    assert rows(member, table, to="2026-03-02")["pagination"]["total"] == 42
    assert rows(member, table, page=3, limit=2)["pagination"]["total"] == 49


@pytest.mark.parametrize("query", [{}, {"status": "failed"}, {"page": 2}, {"from": "2026-01-01"}])
def test_page_costs_so_many_queries_however_many_rows_it_has(
    member: Actor, workspace: Workspace, django_assert_num_queries: Any, query: dict[str, Any]
) -> None:
    """Token, table, places, the two of the total, rows, events."""
    table = table_of(workspace)
    entries(table, 6, state=State.FAILED)
    member.client.get(API)
    for limit in (1, 3):
        with django_assert_num_queries(7):
            assert len(rows(member, table, limit=limit, **query)["data"]) == limit
