"""The address book at the cost of a page: its order, its searches and its count walk an index, whatever lies beside."""

from __future__ import annotations

import uuid

import pytest
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from entities import matching
from entities.models import AddressMatch, DomainMatch
from entities.services import matches
from workspaces.models import Membership, Role
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db
ADDRESSES = "admin:entities_addressmatch_changelist"
DOMAINS = "admin:entities_domainmatch_changelist"
FILL = """
INSERT INTO entities_addressmatch
    (id, workspace_id, entity_type, entity_id, address, address_key, created_at, source, source_id)
SELECT gen_random_uuid(), %(workspace)s, 'contact', n::text, address, address, now(), 'sync', %(source)s
FROM (
    SELECT n, 'person' || n %% (%(size)s * 98 / 100) || '@x.example' AS address FROM generate_series(1, %(size)s) AS n
) AS made
"""
CASES = [
    {}, {"o": "0"}, {"o": "-0"}, {"q": "person12"}, {"q": "p"}, {"q": "person12@x.example"}, {"q": "nobody"},
    {"q": "contact 42"}, {"q": "person1", "o": "-0"}, {"source": "manual"}, {"confidence": "asked"},
    {"confidence": "asked", "q": "person1"}, {"source": "manual", "q": "person1", "o": "-0"},
]  # fmt: skip


def console(actor: Actor) -> Client:
    client = Client()
    client.force_login(actor.user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def match(actor: Actor, address: str, entity_id: str = "1") -> AddressMatch:
    how = {"entity_type": "contact", "entity_id": entity_id, "by": actor.user}
    return matches.match_address(workspace=actor.workspace, address=address, **how)[0]


def fill(actor: Actor, size: int) -> None:
    with database.cursor() as cursor:
        values = {"workspace": actor.workspace.pk, "size": size, "source": uuid.UUID(int=7)}
        cursor.execute(FILL, values)
        cursor.execute("ANALYZE entities_addressmatch")


def shown(actor: Actor, address: str = ADDRESSES, **query: str) -> list[str]:
    rows = console(actor).get(reverse(address), query).context["cl"].result_list
    return [getattr(row, "address", None) or row.domain for row in rows]


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("query", CASES)
def test_page_reads_an_index_as_far_as_it_shows(
    owner: Actor, outsider: Actor, query: dict[str, str], several: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The count stops at 100 here, so whatever reads more than that and a page reads what is not asked for."""
    monkeypatch.setattr("core.admin.COUNTED", 100)
    if several:
        Membership.objects.create(workspace=outsider.workspace, user=owner.user, role=Role.ADMIN)
    fill(outsider, 4000)
    fill(owner, 4000)
    match(owner, "byhand@x.example")
    client = console(owner)
    with CaptureQueriesContext(database) as captured:
        assert client.get(reverse(ADDRESSES), query).status_code == 200
    asked = [found["sql"] for found in captured if 'FROM "entities_addressmatch"' in found["sql"]]
    assert len(asked) == 2  # the rows and how many there are
    for sql in asked:
        with database.cursor() as cursor:
            cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS) {sql}")
            plan = "\n".join(line for (line,) in cursor.fetchall())
            cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}")
            [[tree]] = cursor.fetchall()
        assert "Seq Scan on entities_addressmatch" not in plan, plan
        assert most(tree[0]["Plan"]) <= 200, plan


def most(plan: dict[str, object]) -> float:
    """The most rows of matches that a part of the plan read."""
    own = 0.0
    if plan.get("Relation Name") == "entities_addressmatch":
        removed = plan.get("Rows Removed by Filter", 0)
        own = (plan["Actual Rows"] + removed) * plan["Actual Loops"]  # type: ignore[operator]
    return max([own, *(most(below) for below in plan.get("Plans", ()))])  # type: ignore[attr-defined]


def test_page_asks_as_much_for_a_search_and_for_a_sort_as_for_the_first(owner: Actor) -> None:
    fill(owner, 300)
    client = console(owner)

    def queries(query: dict[str, str]) -> int:
        with CaptureQueriesContext(database) as captured:
            client.get(reverse(ADDRESSES), query)
        return len(captured)

    queries({})
    assert len({queries(query) for query in CASES}) == 1


def test_book_is_in_the_order_of_addresses_both_ways_and_other_columns_are_not_offered(owner: Actor) -> None:
    made = ["Bob@x.example", "ada@x.example", "a-da@x.example", "ab@x.example"]
    for number, address in enumerate(made):
        match(owner, address, str(9 - number))
    order = ["a-da@x.example", "ab@x.example", "ada@x.example", "Bob@x.example"]
    assert shown(owner) == shown(owner, o="0") == order
    assert shown(owner, o="-0") == order[::-1]
    assert shown(owner, o="3") == shown(owner, o="-5") == shown(owner, o="x") == order
    html = console(owner).get(reverse(ADDRESSES)).content.decode()
    assert "?o=" in html
    assert "o=1" not in html
    assert "o=5" not in html


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("ad", ["ada@x.example"]),
        ("ADA@x", ["ada@x.example"]),
        ("cleo+whatever", ["Cleo+news@x.example"]),
        ("cleo+", ["Cleo+news@x.example"]),
        ("d.ora@gmail.com", ["d.o.r.a@gmail.com"]),
        ("contact 7", ["Cleo+news@x.example"]),
        ("contact 8", []),
        ("x.example", []),  # no address begins so
        ("da@", []),
        ("%", []),
        ("ad_", []),
        ("one two three", []),
    ],
)
def test_search_is_by_how_an_address_begins_or_by_entity(owner: Actor, typed: str, found: list[str]) -> None:
    match(owner, "ada@x.example")
    match(owner, "Cleo+news@x.example", "7")
    match(owner, "d.o.r.a@gmail.com", "9")
    assert shown(owner, q=typed) == found


def test_domains_are_found_and_sorted_likewise(owner: Actor) -> None:
    for name in ("company.example", "another.example"):
        how = {"entity_type": "company", "entity_id": name, "by": owner.user}
        matches.match_domain(workspace=owner.workspace, domain=name, **how)
    assert shown(owner, DOMAINS, o="-0") == ["company.example", "another.example"]
    assert shown(owner, DOMAINS, q="Comp") == shown(owner, DOMAINS, q="company company.example") == ["company.example"]
    assert DomainMatch.objects.count() == 2


def test_page_says_what_is_searched(owner: Actor) -> None:
    match(owner, "ada@x.example")
    assert "How an address begins" in console(owner).get(reverse(ADDRESSES)).content.decode()
    assert "How a domain begins" in console(owner).get(reverse(DOMAINS)).content.decode()


@pytest.mark.parametrize("typed", ["ada", "ada@x.example", "contact 1", "secret"])
def test_search_never_finds_what_another_workspace_has(owner: Actor, outsider: Actor, typed: str) -> None:
    match(owner, "ada@x.example")
    match(outsider, "ada@x.example")
    match(outsider, "ada+2@x.example", "2")
    match(outsider, "secret@x.example", "1")
    rows = console(owner).get(reverse(ADDRESSES), {"q": typed}).context["cl"].result_list
    assert {row.workspace_id for row in rows} <= {owner.workspace.pk}
    assert len(rows) == (0 if typed == "secret" else 1)


@pytest.mark.parametrize(
    ("typed", "key"),
    [
        ("ada", "ada"), (" Ada@", "ada@"), ("ada@x.ex", "ada@x.ex"), ("ada+x", "ada@"), ("+x", "+x"),
        ("+x@e.example", "+x@e.example"), ("a.b@gmail.com", "ab@gmail.com"), ("a.b@x.example", "a.b@x.example"),
    ],
)  # fmt: skip
def test_beginning_of_what_was_typed_is_a_beginning_of_its_key(typed: str, key: str) -> None:
    assert matching.beginning(typed) == key
