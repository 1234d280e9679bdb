"""Matches that follow a CRM: made, changed and undone with it, never over a person's, at a constant cost."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

import pytest
from django.db import IntegrityError

from entities.models import SYNCED, AddressMatch, DomainMatch
from entities.services import followed, matches
from workspaces.tests.fixtures import Actor

SOURCE = uuid.UUID(int=7)

pytestmark = pytest.mark.django_db


def follow(
    actor: Actor, names: dict[str, Iterable[str]], *, source: uuid.UUID = SOURCE, domains: bool = False
) -> followed.Followed:
    how: dict[str, Any] = {"workspace_id": actor.workspace.pk, "source_id": source, "names": names}
    if domains:
        return followed.follow_domains(entity_type="company", **how)
    return followed.follow_addresses(entity_type="contact", **how)


def addresses() -> set[tuple[str, str, str]]:
    return set(AddressMatch.objects.values_list("entity_id", "address_key", "source"))


def test_addresses_of_a_page_become_matches_under_their_key(owner: Actor) -> None:
    outcome = follow(owner, {"1": ["Ann+news@X.example", "ann@x.example", "b@x.example"], "2": ["no address"]})
    assert addresses() == {("1", "ann@x.example", SYNCED), ("1", "b@x.example", SYNCED)}
    assert (outcome.made, outcome.removed, outcome.skipped) == (2, 0, {"not_an_address": 1})


def test_page_again_changes_nothing(owner: Actor) -> None:
    names: dict[str, Iterable[str]] = {"1": ["a@x.example"], "2": ["a@x.example"]}
    follow(owner, names)
    before = set(AddressMatch.objects.values_list("pk", flat=True))
    outcome = follow(owner, names)
    assert (outcome.made, outcome.removed) == (0, 0)
    assert set(AddressMatch.objects.values_list("pk", flat=True)) == before


def test_address_that_changed_loses_its_match_and_one_that_is_gone_all(owner: Actor) -> None:
    follow(owner, {"1": ["old@x.example", "kept@x.example"], "2": ["gone@x.example"], "3": ["other@x.example"]})
    outcome = follow(owner, {"1": ["new@x.example", "kept@x.example"], "2": []})
    assert {entry[:2] for entry in addresses()} == {
        ("1", "new@x.example"),
        ("1", "kept@x.example"),
        ("3", "other@x.example"),
    }
    assert (outcome.made, outcome.removed) == (1, 2)


def test_match_of_a_person_is_neither_doubled_nor_taken_away(owner: Actor) -> None:
    entity = {"workspace": owner.workspace, "entity_type": "contact", "entity_id": "1", "by": owner.user}
    matches.match_address(address="mine@x.example", **entity)
    follow(owner, {"1": ["mine@x.example", "a@x.example"]})
    follow(owner, {"1": []})
    assert addresses() == {("1", "mine@x.example", "")}


def test_synced_match_that_a_person_asks_for_becomes_theirs(owner: Actor) -> None:
    follow(owner, {"1": ["a@x.example"]})
    follow(owner, {"9": ["x.example"]}, domains=True)
    entity = {"workspace": owner.workspace, "by": owner.user}
    match, created = matches.match_address(address="a@x.example", entity_type="contact", entity_id="1", **entity)
    matches.match_domain(domain="x.example", entity_type="company", entity_id="9", **entity)
    assert (created, match.source, match.created_by) == (False, "", owner.user)
    follow(owner, {"1": []})
    follow(owner, {"9": []}, domains=True)
    assert addresses() == {("1", "a@x.example", "")}
    assert DomainMatch.objects.get().source_id is None


def test_match_of_another_source_or_workspace_is_left_alone(owner: Actor, outsider: Actor) -> None:
    follow(owner, {"1": ["a@x.example"]})
    follow(outsider, {"1": ["b@x.example"]})
    follow(owner, {"1": []}, source=uuid.UUID(int=8))
    follow(owner, {"1": []}, source=uuid.UUID(int=9), domains=True)
    assert len(addresses()) == 2


def test_domains_where_anybody_has_an_address_are_skipped_and_counted(owner: Actor) -> None:
    outcome = follow(owner, {"1": ["Firm.example.", "gmail.com"], "2": ["outlook.com", "no domain"]}, domains=True)
    assert list(DomainMatch.objects.values_list("domain", flat=True)) == ["firm.example"]
    assert outcome.skipped == {"free_mail": 2, "not_a_domain": 1}


def test_forget_undoes_what_one_source_keeps(owner: Actor) -> None:
    follow(owner, {"1": ["a@x.example"]})
    follow(owner, {"1": ["x.example"]}, domains=True)
    follow(owner, {"2": ["b@x.example"]}, source=uuid.UUID(int=8))
    assert followed.forget(workspace_id=owner.workspace.pk, source_id=SOURCE) == 2
    assert {entry[0] for entry in addresses()} == {"2"}


@pytest.mark.parametrize("count", [1, 100])
def test_page_costs_four_queries_however_long(owner: Actor, count: int, django_assert_num_queries: Any) -> None:
    follow(owner, {str(number): [f"old{number}@x.example"] for number in range(count)})
    with django_assert_num_queries(4):
        follow(owner, {str(number): [f"new{number}@x.example"] for number in range(count)})


def test_source_without_an_integration_is_refused_by_the_database(owner: Actor) -> None:
    with pytest.raises(IntegrityError, match="addressmatch_source_is_known"):
        AddressMatch.objects.create(workspace=owner.workspace, address="a", address_key="a", source=SYNCED)
