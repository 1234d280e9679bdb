"""Lists of documents: filters, words, pages, counts, and what a page costs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from core.api.serializers import wire_time
from documents.services import reading
from documents.tests.factories import V1, make_document
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db


def names(actor: Actor, **query: Any) -> list[str]:
    answer = actor.client.get(V1, query)
    assert answer.status_code == 200, answer.content
    return [row["fileName"] for row in answer.json()["data"]]


@pytest.fixture
def shelf(owner: Actor, member: Actor, outsider: Actor) -> None:
    make_document(member, file_name="Vertrag Käthe 2026.pdf", content_type="application/pdf")
    make_document(owner, file_name="photo.png", content_type="image/png", entity_type="account", entity_id="7")
    make_document(member, file_name="old-contract.txt", status="archived")
    make_document(member, file_name="coming.txt", status="pending")
    make_document(member, file_name="bad.exe", status="rejected", reason="infected", reason_text="Eicar")
    make_document(outsider, file_name="Vertrag foreign.pdf")


@pytest.mark.usefixtures("shelf")
class TestFilters:
    """All at once, over the same rows."""

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ({}, ["bad.exe", "coming.txt", "old-contract.txt", "photo.png", "Vertrag Käthe 2026.pdf"]),
            ({"status": "ready"}, ["photo.png", "Vertrag Käthe 2026.pdf"]),
            ({"archived": "true"}, ["old-contract.txt"]),
            ({"archived": "false"}, ["bad.exe", "coming.txt", "photo.png", "Vertrag Käthe 2026.pdf"]),
            ({"contentType": "image/png"}, ["photo.png"]),
            ({"contentType": "Image/*"}, ["photo.png"]),
            ({"entityType": "account"}, ["photo.png"]),
            ({"entityType": "contact", "entityId": "42", "status": "ready"}, ["Vertrag Käthe 2026.pdf"]),
            ({"q": "kathe"}, ["Vertrag Käthe 2026.pdf"]),
            ({"q": "KÄTHE vertr"}, ["Vertrag Käthe 2026.pdf"]),
            ({"q": "contract"}, ["old-contract.txt"]),
            ({"q": "contract", "status": "ready"}, []),
            ({"q": "foreign"}, []),
            ({"q": "txt"}, ["coming.txt", "old-contract.txt"]),
        ],
    )
    def test_list_is_narrowed_newest_first(self, member: Actor, query: dict[str, str], found: list[str]) -> None:
        assert names(member, **query) == found

    def test_list_is_narrowed_by_uploader_and_date(self, owner: Actor, member: Actor) -> None:
        assert names(member, uploadedBy=str(owner.user.pk)) == ["photo.png"]
        now = timezone.now()
        assert names(member, **{"from": wire_time(now + timedelta(seconds=1))}) == []
        assert (
            len(names(member, **{"from": wire_time(now - timedelta(hours=1)), "to": wire_time(now + timedelta(1))}))
            == 5
        )

    @pytest.mark.parametrize(
        "query",
        [
            {"status": "lost"},
            {"q": "!!"},
            {"cursor": "x"},
            {"uploadedBy": "7"},
            {"contentType": "pdf"},
            {"archived": "7"},
        ],
    )
    def test_query_that_makes_no_sense_is_refused(self, member: Actor, query: dict[str, str]) -> None:
        answer = member.client.get(V1, query)
        assert answer.status_code == 400
        assert list(answer.json()["error"]["fields"]) == list(query)

    def test_entity_has_its_documents_and_their_counts(self, member: Actor) -> None:
        answer = member.client.get(f"{V1}/entity/contact/42").json()
        assert [row["fileName"] for row in answer["data"]][-1] == "Vertrag Käthe 2026.pdf"
        assert answer["counts"] == {"pending": 1, "checking": 0, "ready": 1, "archived": 1, "rejected": 1}
        assert answer["pagination"]["total"] == 4


@pytest.mark.parametrize("query", [{}, {"q": "hello"}, {"status": "ready"}], ids=str)
def test_cursor_walks_through_all_of_them_once(member: Actor, query: dict[str, str]) -> None:
    made = [str(make_document(member).pk) for _ in range(7)]
    seen, cursor = [], ""
    while True:
        answer = member.client.get(V1, {**query, "limit": 3, "cursor": cursor}).json()
        seen += [row["id"] for row in answer["data"]]
        cursor = answer["pagination"]["nextCursor"]
        if not cursor:
            break
    assert seen == made[::-1]


def test_pages_by_number_say_how_many_there_are(member: Actor) -> None:
    made = [str(make_document(member).pk) for _ in range(5)][::-1]
    answer = member.client.get(V1, {"limit": 2, "page": 2}).json()
    assert [row["id"] for row in answer["data"]] == made[2:4]
    assert {name: answer["pagination"][name] for name in ("page", "total", "totalPages", "totalIsExact")} == {
        "page": 2, "total": 5, "totalPages": 3, "totalIsExact": True,
    }  # fmt: skip


def test_rare_word_is_found_behind_many_newer_documents(member: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "RECENT", 3)
    make_document(member, file_name="needle.txt")
    for _ in range(6):
        make_document(member)
    assert names(member, q="needle") == ["needle.txt"]
    assert len(names(member, q="hello")) == 6


@pytest.mark.parametrize(("rare", "asks_the_index"), [(3, False), (12, True)], ids=["dense", "rare"])
def test_words_are_looked_for_further_on_where_they_are_dense_enough(
    member: Actor, monkeypatch: pytest.MonkeyPatch, rare: int, asks_the_index: bool
) -> None:
    """Else a page costs as much as there are documents with these words."""
    monkeypatch.setattr(reading, "RECENT", 3)
    monkeypatch.setattr(reading, "FURTHER", 9)
    made = [make_document(member, file_name="other.txt" if n % rare else "hello.txt") for n in range(24)]
    wanted = [str(row.pk) for row in made if row.file_name == "hello.txt"][::-1]
    with CaptureQueriesContext(connection) as queries:
        answer = member.client.get(V1, {"q": "hello", "limit": 2}).json()
    assert [row["id"] for row in answer["data"]] == wanted[:2]
    assert any("tsquery OFFSET 0" in query["sql"] for query in queries) is asks_the_index


@pytest.mark.parametrize(
    ("path", "query", "most"), [("", {}, 8), ("", {"q": "hello"}, 9), ("/entity/contact/42", {}, 9)]
)
def test_list_asks_as_often_for_many_as_for_one(member: Actor, path: str, query: dict[str, str], most: int) -> None:
    member.client.get(V1)  # the first use of a token is noted on it
    asked = []
    for many in (1, 10):
        for _ in range(many):
            make_document(member)
        with CaptureQueriesContext(connection) as queries:
            assert member.client.get(f"{V1}{path}", query).status_code == 200
        asked.append(len(queries))
    assert asked[0] == asked[1] <= most
