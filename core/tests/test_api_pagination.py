"""Lists: pages, limits, cursors that walk on, and cursors that are not ours."""

from __future__ import annotations

import base64
import contextlib
import json
from typing import Any

import pytest
from django.contrib.contenttypes.models import ContentType
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from core.api.pagination import Page, PageQuery, decode_cursor, encode_cursor, paged, paginate
from core.errors import InvalidInput

pytestmark = pytest.mark.urls("core.tests.api_urls")


def get(client: Client, query: str = "", until: int = 260) -> Any:
    return client.get(f"/api/numbers/{until}?{query}")


def test_list_without_parameters_is_the_first_25(client: Client) -> None:
    body = get(client).json()
    assert body["data"] == [str(n) for n in range(25)]
    assert body["pagination"].pop("nextCursor")
    assert body["pagination"] == {"page": 1, "limit": 25, "total": 260, "totalIsExact": True, "totalPages": 11}


def test_list_last_page_has_no_cursor(client: Client) -> None:
    body = get(client, "page=3&limit=100").json()
    assert body["data"] == [str(n) for n in range(200, 260)]
    assert body["pagination"]["nextCursor"] is None


def test_list_page_beyond_the_end_is_empty(client: Client) -> None:
    body = get(client, "page=1000000").json()
    assert body["data"] == []
    assert body["pagination"]["total"] == 260


def test_list_of_nothing_has_no_pages(client: Client) -> None:
    body = get(client, until=0).json()
    assert body == {
        "data": [],
        "pagination": {"page": 1, "limit": 25, "total": 0, "totalIsExact": True, "totalPages": 0, "nextCursor": None},
    }


def test_list_larger_limit_counts_as_100(client: Client) -> None:
    body = get(client, "limit=1000").json()
    assert len(body["data"]) == 100
    assert body["pagination"]["limit"] == 100


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("page=0", "page"),
        ("page=-1", "page"),
        ("page=x", "page"),
        ("page=1.5", "page"),
        ("page=1000001", "page"),
        ("page=" + "9" * 2000, "page"),
        ("limit=0", "limit"),
        ("limit=-5", "limit"),
        ("limit=ten", "limit"),
        ("limit=nan", "limit"),
        ("cursor=garbage!", "cursor"),
        ("cursor=e30", "cursor"),
        ("cursor=" + "a" * 3000, "cursor"),
    ],
)
def test_list_malformed_parameter_is_named(client: Client, query: str, field: str) -> None:
    response = get(client, query)
    assert response.status_code == 400
    assert set(response.json()["error"]["fields"]) == {field}


def test_list_walked_by_cursor_gives_every_row_once(client: Client) -> None:
    found: list[str] = []
    query = "limit=33"
    while True:
        body = get(client, query).json()
        found += body["data"]
        if body["pagination"]["nextCursor"] is None:
            break
        query = f"limit=33&cursor={body['pagination']['nextCursor']}"
    assert found == [str(n) for n in range(260)]
    assert body["pagination"]["page"] is None


@pytest.mark.parametrize("values", [[0], [-1], ["1"], [1.0], [True], [None], [1, 2], [10**9]])
def test_list_cursor_of_another_list_is_refused(client: Client, values: list[Any]) -> None:
    assert get(client, f"cursor={encode_cursor(values)}").status_code == 400


@given(
    st.lists(
        st.one_of(st.none(), st.booleans(), st.integers(-(2**63) + 1, 2**63 - 1), st.text("aé🌍 -:.", min_size=1)),
        min_size=1,
    )
)
def test_cursor_round_trip(values: list[Any]) -> None:
    assert decode_cursor(encode_cursor(values)) == values


def forged(value: Any) -> str:
    return (
        base64.urlsafe_b64encode(value if isinstance(value, bytes) else json.dumps(value).encode()).decode().rstrip("=")
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "=",
        "not base64",
        "ÿ",
        forged(b""),
        forged(b"\xff\xfe"),
        forged(b"[1"),
        forged(b"[NaN]"),
        forged(b"[Infinity]"),
        forged(b"[1e999]"),
        forged({}),
        forged([]),
        forged("text"),
        forged(5),
        forged(None),
        forged([[1]]),
        forged([{"a": 1}]),
        forged([10**30]),
        forged(b"[" + b"9" * 900 + b"]"),
        forged(["a\x00b"]),
        forged(["\ud800"]),
        forged(b"[" * 1400),
        "A" * 4000,
    ],
)
def test_decode_cursor_garbage_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        decode_cursor(text)
    assert "cursor" in caught.value.fields


@given(st.text(max_size=60))
def test_decode_cursor_never_fails_otherwise(text: str) -> None:
    with contextlib.suppress(InvalidInput):
        assert isinstance(decode_cursor(text), list)


def test_paged_service_page_carries_its_cursor_and_doubt() -> None:
    body = paged(Page(rows=[1, 2], total=1000, next_cursor="next", total_is_exact=False), None, 2, lambda row: row * 10)
    assert body == {
        "data": [10, 20],
        "pagination": {
            "page": None,
            "limit": 2,
            "total": 1000,
            "totalIsExact": False,
            "totalPages": 500,
            "nextCursor": "next",
        },
    }


@pytest.mark.django_db
def test_paginate_query_set_reads_one_page(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(2):
        page = paginate(ContentType.objects.order_by("pk"), PageQuery(page=2, limit=2))
    assert [row.pk for row in page.rows] == list(ContentType.objects.order_by("pk").values_list("pk", flat=True)[2:4])
    assert page.total == ContentType.objects.count()
