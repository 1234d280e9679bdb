"""Matches over HTTP: what they answer, what is refused, who may undo."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from core.ids import uuid7
from entities.models import AddressMatch, DomainMatch
from workspaces.models import AuditEvent
from workspaces.tests.fixtures import Actor, make_actor

pytestmark = pytest.mark.django_db

PATH = "/api/v1/integrations/email/match"
CONTACT = {"emailAddress": "contact@company.com", "entityType": "contact", "entityId": 42}


def post(actor: Actor, **body: Any) -> Any:
    return actor.client.post(PATH, body, format="json")


def refused(response: Any) -> set[str]:
    assert response.status_code == 400, response.content
    return set(response.json()["error"]["fields"])


def listed(actor: Actor, **query: Any) -> Any:
    response = actor.client.get(PATH, query)
    assert response.status_code == 200, response.content
    return response.json()


def test_match_of_an_address_answers_the_documented_shape(member: Actor) -> None:
    response = post(member, **CONTACT)
    assert response.status_code == 201
    match = response.json()
    assert (match["emailAddress"], match["entityType"], match["entityId"]) == ("contact@company.com", "contact", "42")
    assert (match["matchedEmails"], match["matchedEvents"], match["matchedIsExact"]) == (0, 0, True)
    assert match["createdBy"] == {"name": member.user.name, "email": member.user.email}
    assert match["createdAt"].endswith("Z")
    assert match["source"] == "manual"
    assert "domain" not in match


def test_match_again_in_another_spelling_is_the_same_row(member: Actor, owner: Actor) -> None:
    first = post(member, **CONTACT)
    for actor, address in ((member, "contact@company.com"), (owner, "Contact+news@Company.com")):
        again = post(actor, **{**CONTACT, "emailAddress": address, "entityId": "42"})
        assert again.status_code == 200
        assert again.json() == first.json()
    assert AddressMatch.objects.count() == 1


def test_match_of_one_address_with_two_entities_is_two_matches(member: Actor) -> None:
    post(member, **CONTACT)
    assert post(member, **{**CONTACT, "entityType": "account"}).status_code == 201
    assert post(member, **{**CONTACT, "entityId": 43}).status_code == 201
    assert listed(member)["pagination"]["total"] == 3


def test_match_of_a_domain_is_kept_in_its_compared_form(member: Actor) -> None:
    response = post(member, domain="Bücher.Example", entityType="account", entityId="acme-1")
    assert response.status_code == 201
    assert response.json()["domain"] == "xn--bcher-kva.example"
    assert "emailAddress" not in response.json()
    assert post(member, domain="xn--bcher-kva.example.", entityType="account", entityId="acme-1").status_code == 200
    assert DomainMatch.objects.count() == 1


@pytest.mark.parametrize("domain", ["gmail.com", "GoogleMail.com", "yahoo.co.uk", "Web.de"])
def test_match_of_a_free_mail_domain_is_refused_by_name(member: Actor, domain: str) -> None:
    response = post(member, domain=domain, entityType="account", entityId="1")
    assert refused(response) == {"domain"}
    assert "Anybody can have an address" in response.json()["error"]["fields"]["domain"][0]
    assert not DomainMatch.objects.exists()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"emailAddress": "nobody"}, "emailAddress"),
        ({"emailAddress": "Anna <anna@example.com>"}, "emailAddress"),
        ({"emailAddress": ""}, "emailAddress"),
        ({"emailAddress": None}, "emailAddress"),
        ({"emailAddress": ["a@b.example"]}, "emailAddress"),
        ({"domain": "company.com"}, "emailAddress"),
        ({"entityType": ""}, "entityType"),
        ({"entityType": "a/b"}, "entityType"),
        ({"entityType": "1contact"}, "entityType"),
        ({"entityType": 5}, "entityType"),
        ({"entityId": ""}, "entityId"),
        ({"entityId": "a b"}, "entityId"),
        ({"entityId": "a/b"}, "entityId"),
        ({"entityId": "a\n"}, "entityId"),
        ({"entityId": "x\x7f"}, "entityId"),
        ({"entityId": True}, "entityId"),
        ({"entityId": 4.5}, "entityId"),
        ({"entityId": {"a": 1}}, "entityId"),
        ({"entityId": "x" * 201}, "entityId"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_match_names_what_is_wrong(member: Actor, change: dict[str, Any], field: str) -> None:
    assert field in refused(post(member, **{**CONTACT, **change}))
    assert not AddressMatch.objects.exists()


def test_match_without_address_and_domain_is_refused(member: Actor) -> None:
    assert refused(post(member, entityType="contact", entityId="1")) == {"emailAddress"}
    for domain in ("company", "not a domain", "@company.com", "com."):
        assert refused(post(member, domain=domain, entityType="account", entityId="1")) == {"domain"}


def test_matches_of_both_kinds_are_one_list_newest_first(member: Actor, owner: Actor, outsider: Actor) -> None:
    post(outsider, **CONTACT)
    wanted = [post(member, **CONTACT).json()["id"]]
    wanted.insert(0, post(owner, domain="company.com", entityType="account", entityId="7").json()["id"])
    wanted.insert(0, post(member, **{**CONTACT, "emailAddress": "b@company.com"}).json()["id"])
    assert [row["id"] for row in listed(member)["data"]] == wanted
    walked, cursor = [], ""
    while cursor is not None:
        answer = listed(owner, limit=1, **({"cursor": cursor} if cursor else {}))
        walked += [row["id"] for row in answer["data"]]
        cursor = answer["pagination"]["nextCursor"]
    assert walked == wanted


def test_matches_can_be_filtered(member: Actor) -> None:
    post(member, **CONTACT)
    post(member, **{**CONTACT, "emailAddress": "b@other.example", "entityId": 43})
    post(member, domain="company.com", entityType="account", entityId="42")
    assert listed(member, entityType="contact")["pagination"]["total"] == 2
    assert listed(member, entityType="contact", entityId=42)["pagination"]["total"] == 1
    assert listed(member, entityId="42")["pagination"]["total"] == 2
    assert listed(member, q="COMPANY")["pagination"]["total"] == 2
    assert listed(member, q="%")["pagination"]["total"] == 0
    assert "entityType" in refused(member.client.get(PATH, {"entityType": "a b"}))


def test_matches_page_takes_the_same_queries_for_two_and_for_forty(member: Actor) -> None:
    def queries() -> int:
        with CaptureQueriesContext(database) as found:
            listed(member, limit=100)
        return len(found)

    for number in range(2):
        post(member, **{**CONTACT, "entityId": number})
    few = queries()
    for number in range(2, 40):
        post(member, **{**CONTACT, "entityId": number})
    assert queries() == few <= 9


@pytest.mark.parametrize(("who", "status"), [("member", 204), ("admin", 204), ("owner", 204), ("colleague", 403)])
def test_match_is_undone_by_its_maker_an_admin_or_an_owner(
    request: pytest.FixtureRequest, member: Actor, who: str, status: int
) -> None:
    colleague = make_actor(workspace=member.workspace)
    made = post(member, **CONTACT).json()
    actor = colleague if who == "colleague" else request.getfixturevalue(who)
    assert actor.client.delete(f"{PATH}/{made['id']}").status_code == status
    assert AddressMatch.objects.exists() is (status != 204)
    assert AuditEvent.objects.filter(action="match.removed").count() == (status == 204)


def test_match_of_another_workspace_answers_like_a_missing_one(member: Actor, outsider: Actor) -> None:
    made = post(member, **CONTACT).json()
    foreign, missing = (outsider.client.delete(f"{PATH}/{match}") for match in (made["id"], uuid7()))
    assert foreign.status_code == missing.status_code == 404
    assert outsider.client.delete(f"{PATH}/7").status_code == 404
    assert listed(outsider)["data"] == []
    assert AddressMatch.objects.exists()


def test_match_with_an_idempotency_key_is_made_once(member: Actor) -> None:
    answers = [member.client.post(PATH, CONTACT, headers={"Idempotency-Key": "k"}, format="json") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [201, 201, 201]
    assert answers[2].headers["Idempotency-Replayed"] == "true"
    assert AddressMatch.objects.count() == 1
