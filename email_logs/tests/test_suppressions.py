"""Whom a workspace does not write to: the list, by hand and asked by a send."""

from __future__ import annotations

from typing import Any

import pytest

from email_logs.models import Suppression
from email_logs.services import suppressions
from workspaces.models import AuditEvent
from workspaces.tests.fixtures import Actor, make_actor

pytestmark = pytest.mark.django_db

API = "/api/suppressions"


def add(actor: Actor, address: str = "Ada@Hub.Example", **more: Any) -> Any:
    return actor.client.post(API, {"address": address, **more}, format="json")


def test_admin_adds_one_and_a_send_is_told(admin: Actor) -> None:
    answer = add(admin, note="Asked by telephone.")
    assert answer.status_code == 201, answer.content
    shown = answer.json()
    assert (shown["address"], shown["reason"], shown["note"]) == ("ada@hub.example", "manual", "Asked by telephone.")
    asked = ["ADA@hub.example", "bob@hub.example", "ada+x@hub.example"]
    assert suppressions.suppressed(admin.workspace.pk, asked) == {"ADA@hub.example": "manual"}


def test_address_is_compared_with_its_domain_in_ascii(admin: Actor) -> None:
    add(admin, "ada@büro.example")
    assert suppressions.suppressed(admin.workspace.pk, ["ada@xn--bro-hoa.example"])


def test_removing_one_lets_mail_go_again_and_is_in_the_trail(admin: Actor) -> None:
    shown = add(admin).json()
    assert admin.client.delete(f"{API}/{shown['id']}").status_code == 204
    assert not suppressions.suppressed(admin.workspace.pk, ["ada@hub.example"])
    trail = AuditEvent.objects.filter(action__startswith="suppression.").order_by("id")
    assert [row.action for row in trail] == ["suppression.added", "suppression.removed"]
    assert {row.actor_email for row in trail} == {admin.user.email}
    assert "ada@" not in str([row.changes for row in trail])


def test_adding_one_twice_is_409_and_one(admin: Actor) -> None:
    add(admin)
    answer = add(admin, "ada@HUB.example")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "already_suppressed")
    assert Suppression.objects.count() == 1


@pytest.mark.parametrize("address", ["", "ada", "ada@hub.example\r\nBcc: eve@hub.example", "a@b, c@d", None])
def test_what_is_no_address_is_400_with_its_field(admin: Actor, address: object) -> None:
    answer = admin.client.post(API, {"address": address}, format="json")
    assert (answer.status_code, list(answer.json()["error"]["fields"])) == (400, ["address"])


def test_member_reads_and_does_not_write(admin: Actor, member: Actor) -> None:
    shown = add(admin).json()
    assert [row["id"] for row in member.client.get(API).json()["data"]] == [shown["id"]]
    assert add(member, "bob@hub.example").status_code == 403
    assert member.client.delete(f"{API}/{shown['id']}").status_code == 403


def test_another_workspaces_is_not_there(admin: Actor) -> None:
    shown = add(admin).json()
    stranger = make_actor(role="OWNER")
    assert stranger.client.get(API).json()["data"] == []
    assert stranger.client.delete(f"{API}/{shown['id']}").status_code == 404
    assert not suppressions.suppressed(stranger.workspace.pk, ["ada@hub.example"])


def test_list_is_newest_first_filtered_and_paged_in_a_fixed_number_of_statements(
    admin: Actor, django_assert_max_num_queries: Any
) -> None:
    for number in range(5):
        add(admin, f"p{number}@hub.example")
    Suppression.objects.filter(address="p2@hub.example").update(reason="complained")

    def addresses(**query: Any) -> list[str]:
        with django_assert_max_num_queries(4):
            answer = admin.client.get(API, query)
        assert answer.status_code == 200, answer.content
        return [row["address"].partition("@")[0] for row in answer.json()["data"]]

    assert addresses(limit=2) == ["p4", "p3"]
    assert addresses(limit=2, page=2) == ["p2", "p1"]
    assert addresses(reason="complained") == ["p2"]
    assert addresses(address="P1@hub.example") == ["p1"]
    assert addresses(q="P3@") == ["p3"]
    assert admin.client.get(API, {"reason": "none"}).status_code == 400
