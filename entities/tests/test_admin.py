"""The console's address book: what stands for whom, how sure that is, and deciding it."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from core.ids import uuid7
from entities.models import SYNCED, AddressMatch, DomainMatch
from entities.services import matches
from workspaces.models import AuditEvent
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db
SUBMITTED = {"_form_submitted": "on"}


def console(actor: Actor) -> Client:
    client = Client()
    client.force_login(actor.user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def page(name: str, *args: object, model: str = "addressmatch") -> str:
    return reverse(f"admin:entities_{model}_{name}", args=args)


def match(actor: Actor, address: str, entity_id: str = "1", *, synced: bool = False) -> AddressMatch:
    row, _ = matches.match_address(
        workspace=actor.workspace, address=address, entity_type="contact", entity_id=entity_id, by=actor.user
    )
    if synced:
        AddressMatch.objects.filter(pk=row.pk).update(source=SYNCED, source_id=uuid7(), created_by=None)
        row.refresh_from_db()
    return row


def test_list_says_where_a_match_comes_from_and_how_sure_it_is(owner: Actor) -> None:
    match(owner, "ada@x.example")
    match(owner, "bob@x.example", synced=True)
    match(owner, "cleo@x.example", "7", synced=True)
    match(owner, "Cleo+news@x.example", "8", synced=True)
    response = console(owner).get(page("changelist"))
    rows = {row.address: row for row in response.context["cl"].result_list}
    shown = response.context["cl"].model_admin
    assert {address: shown.confidence_words(row) for address, row in rows.items()} == {
        "ada@x.example": "Certain", "bob@x.example": "Likely", "cleo@x.example": "To decide",
        "Cleo+news@x.example": "To decide",
    }  # fmt: skip
    html = response.content.decode()
    assert f"By hand, {owner.user.email}" in html
    assert "From the CRM" in html


def test_list_is_counted_no_further_than_a_bound(owner: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.admin.COUNTED", 3)
    for number in range(3):
        match(owner, f"person{number}@x.example")
    assert "3 address matches" in " ".join(console(owner).get(page("changelist")).content.decode().split())
    for number in range(3, 6):
        match(owner, f"person{number}@x.example")
    client = console(owner)
    with CaptureQueriesContext(database) as captured:
        html = client.get(page("changelist")).content.decode()
    assert "3 or more address matches" in " ".join(html.split())
    asked = [query["sql"] for query in captured if "entities_addressmatch" in query["sql"]]
    counts = [sql for sql in asked if "COUNT(" in sql]
    assert counts
    assert all("LIMIT 4" in sql for sql in counts)
    assert client.get(page("changelist"), {"_facets": "True"}).context["cl"].add_facets is False


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"source": "manual"}, {"ada@x.example"}),
        ({"source": "sync"}, {"cleo@x.example", "Cleo+news@x.example"}),
        ({"confidence": "asked"}, {"cleo@x.example", "Cleo+news@x.example"}),
        ({"q": "ada"}, {"ada@x.example"}),
    ],
)
def test_list_is_narrowed(owner: Actor, query: dict[str, str], found: set[str]) -> None:
    match(owner, "ada@x.example")
    match(owner, "cleo@x.example", "7", synced=True)
    match(owner, "Cleo+news@x.example", "8", synced=True)
    assert {row.address for row in console(owner).get(page("changelist"), query).context["cl"].result_list} == found


def test_list_costs_the_same_for_one_and_for_many(owner: Actor) -> None:
    client = console(owner)

    def queries() -> int:
        with CaptureQueriesContext(database) as captured:
            client.get(page("changelist"))
        return len(captured)

    match(owner, "first@x.example")
    queries()
    for_one = queries()
    for number in range(10):
        match(owner, f"number{number}@x.example")
    assert queries() == for_one


def test_same_address_in_another_workspace_is_no_ambiguity(owner: Actor, outsider: Actor) -> None:
    match(owner, "ada@x.example")
    match(outsider, "ada@x.example", "9")
    [row] = console(owner).get(page("changelist")).context["cl"].result_list
    assert not row.shared


@pytest.mark.parametrize("asked_from", ["addressmatch", "domainmatch"])
def test_address_and_domain_are_linked_from_either_list(owner: Actor, asked_from: str) -> None:
    client = console(owner)
    given = {"entity_type": "contact", "entity_id": "42"}
    made = client.post(page("add", model=asked_from), {**given, "what": "Ada@X.example"})
    assert made.headers["Location"] == page("changelist")
    made = client.post(page("add", model=asked_from), {**given, "what": "company.example"})
    assert made.headers["Location"] == page("changelist", model="domainmatch")
    assert AddressMatch.objects.get().address_key == "ada@x.example"
    assert DomainMatch.objects.get().domain == "company.example"
    assert AuditEvent.objects.filter(action="match.created", actor=owner.user).count() == 2


@pytest.mark.parametrize(
    ("given", "field", "words"),
    [
        ({"what": "gmail.com"}, "what", "Anybody can have an address at gmail.com"),
        ({"what": "nonsense"}, "what", "is not a domain"),
        ({"what": "a b@"}, "what", "is not an email address"),
        ({"entity_id": "4 2"}, "entity_id", "no white space"),
        ({"entity_type": "1st"}, "entity_type", "a letter first"),
    ],
)
def test_match_that_cannot_be_says_why_beside_its_field(
    owner: Actor, given: dict[str, str], field: str, words: str
) -> None:
    sent = {"what": "ada@x.example", "entity_type": "contact", "entity_id": "42", **given}
    response = console(owner).post(page("add"), sent)
    assert response.status_code == 400
    assert words in " ".join(response.context["form"].errors[field])
    assert not AddressMatch.objects.exists()
    assert not DomainMatch.objects.exists()


def test_one_is_kept_the_others_of_its_type_are_undone(owner: Actor) -> None:
    kept = match(owner, "cleo@x.example", "7", synced=True)
    match(owner, "cleo+a@x.example", "8", synced=True)
    match(owner, "cleo+b@x.example", "9")
    company, _ = matches.match_address(
        workspace=owner.workspace, address="cleo@x.example", entity_type="company", entity_id="1", by=owner.user
    )
    other = match(owner, "dora@x.example")
    response = console(owner).post(page("keep", kept.pk), SUBMITTED, follow=True)
    assert "2 others undone" in " ".join(str(message) for message in response.context["messages"])
    assert set(AddressMatch.objects.values_list("pk", flat=True)) == {kept.pk, company.pk, other.pk}
    kept.refresh_from_db()
    assert (kept.source, kept.created_by) == ("", owner.user)  # no sync takes it away any more
    assert AuditEvent.objects.filter(action="match.removed").count() == 2


def test_match_is_undone(owner: Actor) -> None:
    row = match(owner, "ada@x.example")
    client = console(owner)
    client.get(page("undo", row.pk))
    assert AddressMatch.objects.exists()
    assert client.post(page("undo", row.pk), SUBMITTED).headers["Location"] == page("changelist")
    assert not AddressMatch.objects.exists()
    assert AuditEvent.objects.get(action="match.removed").actor == owner.user


def test_page_of_a_match_counts_what_it_links_as_far_as_the_caller_sees(owner: Actor, settings: Any) -> None:
    row = match(owner, "ada@x.example")
    settings.MATCH_COUNTERS = {"emails": f"{__name__}.counts_five"}
    assert "5 or more emails" in console(owner).get(page("change", row.pk)).content.decode()


def counts_five(*, user: Any, workspace: Any, matches: Any) -> Any:
    from entities.services.matches import Matched

    return {row.pk: Matched(5, exact=False) for row in matches}


@pytest.mark.parametrize("name", ["keep", "undo"])
def test_match_of_another_workspace_is_not_there(owner: Actor, outsider: Actor, name: str) -> None:
    row = match(outsider, "ada@x.example")
    match(outsider, "ada@x.example", "2")
    assert console(owner).post(page(name, row.pk), SUBMITTED).status_code == 404
    assert AddressMatch.objects.count() == 2
