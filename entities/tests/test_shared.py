"""Which matches somebody is to decide about: kept with them, whoever writes, and found at the cost of a page."""

from __future__ import annotations

import json
import threading
import time
import uuid

import pytest
from django.db import connection as database
from django.db import transaction

from entities.models import AddressMatch, DomainMatch, walked
from entities.services import followed, matches
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db
SOURCE = uuid.UUID(int=7)


def match(actor: Actor, address: str, entity_id: str, kind: str = "contact") -> AddressMatch:
    row, _ = matches.match_address(
        workspace=actor.workspace, address=address, entity_type=kind, entity_id=entity_id, by=actor.user
    )
    return row


def shared() -> set[tuple[str, str]]:
    return set(AddressMatch.objects.filter(shared=True).values_list("entity_type", "entity_id"))


def test_second_entity_of_a_type_makes_both_shared_and_the_last_one_left_is_not(owner: Actor) -> None:
    rows = [match(owner, "ada@x.example", "1")]
    assert shared() == set()
    rows += [match(owner, "Ada+news@x.example", entity_id) for entity_id in ("2", "3")]
    assert shared() == {("contact", "1"), ("contact", "2"), ("contact", "3")}
    matches.remove(match=rows[0], by=owner.user)
    assert shared() == {("contact", "2"), ("contact", "3")}
    matches.remove(match=rows[2], by=owner.user)
    assert shared() == set()


def test_one_that_is_decided_is_shared_no_longer(owner: Actor) -> None:
    kept, _, _ = (match(owner, "ada@x.example", entity_id) for entity_id in ("1", "2", "3"))
    matches.decide(match=kept, by=owner.user)
    assert shared() == set()


def test_entity_of_another_type_and_of_another_workspace_leave_nothing_to_decide(owner: Actor, outsider: Actor) -> None:
    match(owner, "ada@x.example", "1")
    match(owner, "ada@x.example", "1", kind="company")
    match(outsider, "ada@x.example", "2")
    assert shared() == set()


def test_page_of_a_crm_keeps_it_for_addresses_and_domains(owner: Actor) -> None:
    how = {"workspace_id": owner.workspace.pk, "source_id": SOURCE}
    followed.follow_addresses(entity_type="contact", names={"1": ["a@x.example"], "2": ["a@x.example"]}, **how)
    followed.follow_domains(entity_type="company", names={"1": ["x.example"], "2": ["x.example", "y.example"]}, **how)
    assert shared() == {("contact", "1"), ("contact", "2")}
    assert set(DomainMatch.objects.filter(shared=True).values_list("entity_id", "domain")) == {
        ("1", "x.example"), ("2", "x.example"),
    }  # fmt: skip
    followed.follow_addresses(entity_type="contact", names={"1": [], "2": ["a@x.example"]}, **how)
    assert shared() == set()
    followed.forget(**how)
    assert not DomainMatch.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_two_who_match_one_address_at_once_see_each_other(owner: Actor) -> None:
    def also() -> None:
        try:
            match(owner, "ada@x.example", "2")
        finally:
            database.close()

    other = threading.Thread(target=also)
    with transaction.atomic():
        match(owner, "ada@x.example", "1")
        other.start()
        _wait_until_somebody_waits()
    other.join(20)
    assert shared() == {("contact", "1"), ("contact", "2")}


def test_matches_made_in_a_table_nobody_has_analysed_look_at_their_own_address_alone_and_a_page_at_an_index(
    owner: Actor,
) -> None:
    with database.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO entities_addressmatch
                (id, workspace_id, entity_type, entity_id, address, address_key, created_at, source)
            SELECT gen_random_uuid(), %s, 'contact', n::text, address, address, now(), ''
            FROM (SELECT n, 'person' || n %% 4950 || '@x.example' AS address FROM generate_series(1, 5000) AS n) AS made
            """,
            [owner.workspace.pk],
        )
        cursor.execute(
            "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'entities_addressmatch'"
        )
        assert cursor.fetchone()[0] < 30_000  # a few for each; it was the whole table for each
        cursor.execute("ANALYZE entities_addressmatch")
    page = AddressMatch.objects.in_workspace(owner.workspace).filter(shared=True)
    page = page.order_by(*walked("address_key"))[:50]
    [plan] = json.loads(page.explain(format="json", analyze=True))
    assert "addressmatch_to_decide" in json.dumps(plan)
    assert "Seq Scan" not in json.dumps(plan)
    assert len(page) == 50
    assert AddressMatch.objects.filter(shared=True).count() == 100


def _wait_until_somebody_waits() -> None:
    give_up = time.monotonic() + 10
    while time.monotonic() < give_up:
        with database.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            if cursor.fetchone()[0]:
                return
    pytest.fail("nobody waits for who came first")
