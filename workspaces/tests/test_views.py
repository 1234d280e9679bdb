"""Members, tokens and the audit trail over HTTP: shapes, roles, walls."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.test import APIClient

from core.ids import uuid7
from workspaces.models import ApiToken, AuditEvent, Membership, Role, User
from workspaces.services import members, tokens
from workspaces.tests.factories import MembershipFactory, UserFactory
from workspaces.tests.fixtures import Actor, client_for, make_actor

pytestmark = pytest.mark.django_db

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def code(response: Any) -> str:
    return str(response.json()["error"]["code"])


def body_without_request_id(response: Any) -> str:
    return re.sub(r'"requestId":"[^"]*"', "", response.content.decode().replace(" ", ""))


# Roles: verb by role, before anything is looked up

TABLE = [
    ("get", "/api/members", "OWNER ADMIN"),
    ("post", "/api/members", "OWNER ADMIN"),
    ("patch", "/api/members/{id}", "OWNER ADMIN"),
    ("delete", "/api/members/{id}", "OWNER ADMIN"),
    ("get", "/api/tokens", "OWNER ADMIN MEMBER"),
    ("post", "/api/tokens", "OWNER ADMIN MEMBER"),
    ("delete", "/api/tokens/{id}", "OWNER ADMIN MEMBER"),
    ("get", "/api/audit", "OWNER"),
]


@pytest.mark.parametrize(("verb", "path", "allowed"), TABLE)
@pytest.mark.parametrize("role", Role.values)
def test_route_by_role_is_refused_exactly_below_its_role(verb: str, path: str, allowed: str, role: str) -> None:
    response = getattr(make_actor(role=role).client, verb)(path.format(id=uuid7()), {}, format="json")
    assert (response.status_code == 403) is (role not in allowed.split())


@pytest.mark.parametrize(("verb", "path", "allowed"), TABLE)
def test_route_without_a_token_is_401_with_a_challenge(
    verb: str, path: str, allowed: str, anonymous: APIClient
) -> None:
    response = getattr(anonymous, verb)(path.format(id=uuid7()), {}, format="json")
    assert (response.status_code, code(response)) == (401, "token_missing")
    assert response["WWW-Authenticate"] == 'Bearer realm="api"'


def test_refused_tokens_have_their_codes(member: Actor) -> None:
    client = client_for(tokens.new_text()[1])
    assert code(client.get("/api/tokens")) == "token_invalid"
    ApiToken.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert code(member.client.get("/api/tokens")) == "token_expired"
    tokens.revoke(by=None, token=ApiToken.objects.get())
    assert code(member.client.get("/api/tokens")) == "token_revoked"


def test_session_of_the_console_does_not_open_the_api(owner: Actor, anonymous: APIClient) -> None:
    anonymous.force_login(owner.user, backend="django.contrib.auth.backends.ModelBackend")
    assert anonymous.get("/api/members").status_code == 401


# Members


def test_members_are_listed_with_exactly_their_documented_keys(owner: Actor, admin: Actor, outsider: Actor) -> None:
    answer = owner.client.get("/api/members").json()
    assert [item["id"] for item in answer["data"]] == [str(owner.membership.pk), str(admin.membership.pk)]
    assert set(answer["data"][0]) == {"id", "userId", "email", "name", "role", "createdAt"}
    assert answer["data"][0]["email"] == owner.user.email
    assert TIME.fullmatch(answer["data"][0]["createdAt"])
    assert answer["pagination"]["total"] == 2


def test_members_list_costs_the_same_for_many(owner: Actor) -> None:
    owner.client.get("/api/members")
    with CaptureQueriesContext(connection) as few:
        owner.client.get("/api/members")
    MembershipFactory.create_batch(20, workspace=owner.workspace)
    with CaptureQueriesContext(connection) as many:
        owner.client.get("/api/members")
    assert len(many) == len(few)


def test_members_pages_end_with_no_cursor(owner: Actor) -> None:
    MembershipFactory.create_batch(3, workspace=owner.workspace)
    first = owner.client.get("/api/members?limit=3").json()
    second = owner.client.get(f"/api/members?limit=3&cursor={first['pagination']['nextCursor']}").json()
    seen = [item["id"] for item in first["data"] + second["data"]]
    assert len(set(seen)) == len(seen) == 4
    assert second["pagination"]["nextCursor"] is None


def test_member_is_added_by_email(admin: Actor) -> None:
    response = admin.client.post("/api/members", {"email": "New@x.com", "name": "New", "role": "ADMIN"}, format="json")
    assert response.status_code == 201
    assert {key: response.json()[key] for key in ("email", "name", "role")} == {
        "email": "new@x.com",
        "name": "New",
        "role": "ADMIN",
    }
    assert Membership.objects.get(pk=response.json()["id"]).workspace == admin.workspace


def test_member_with_an_account_is_attached_and_the_answer_is_the_same_kind(admin: Actor) -> None:
    user = UserFactory(email="ann@x.com", name="Ann")
    response = admin.client.post("/api/members", {"email": "ANN@x.com", "name": "Other"}, format="json")
    assert (response.status_code, response.json()["name"]) == (201, "Ann")
    user.refresh_from_db()
    assert user.name == "Ann"


def test_member_twice_is_409(admin: Actor, member: Actor) -> None:
    response = admin.client.post("/api/members", {"email": member.user.email}, format="json")
    assert (response.status_code, code(response)) == (409, "already_member")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "email"),
        ({"email": "nobody"}, "email"),
        ({"email": None}, "email"),
        ({"email": "a@x.com\nb"}, "email"),
        ({"email": "a@x.com", "role": "KING"}, "role"),
        ({"email": "a@x.com", "name": "x" * 151}, "name"),
    ],
)
def test_member_with_bad_input_is_400_naming_the_field(admin: Actor, body: dict[str, Any], field: str) -> None:
    response = admin.client.post("/api/members", body, format="json")
    assert response.status_code == 400
    assert list(response.json()["error"]["fields"]) == [field]


@pytest.mark.parametrize(
    "name", ["password", "isStaff", "isSuperuser", "workspace", "workspaceId", "userId", "id", "isActive"]
)
def test_member_post_takes_no_other_property(admin: Actor, name: str) -> None:
    response = admin.client.post("/api/members", {"email": "new@x.com", name: "1"}, format="json")
    assert (response.status_code, list(response.json()["error"]["fields"])) == (400, [name])
    assert not User.objects.filter(email="new@x.com").exists()


@pytest.mark.parametrize("name", ["email", "name", "userId", "workspaceId", "createdAt", "isStaff"])
def test_member_patch_takes_no_other_property(owner: Actor, member: Actor, name: str) -> None:
    before = (User.objects.values().get(pk=member.user.pk), Membership.objects.values().get(pk=member.membership.pk))
    response = owner.client.patch(f"/api/members/{member.membership.pk}", {"role": "ADMIN", name: "x"}, format="json")
    assert response.status_code == 400
    after = (User.objects.values().get(pk=member.user.pk), Membership.objects.values().get(pk=member.membership.pk))
    assert after == before


def test_member_role_is_changed(owner: Actor, member: Actor) -> None:
    response = owner.client.patch(f"/api/members/{member.membership.pk}", {"role": "ADMIN"}, format="json")
    assert (response.status_code, response.json()["role"]) == (200, "ADMIN")
    assert member.client.get("/api/members").status_code == 200


def test_member_lowered_is_refused_from_the_next_request(owner: Actor, admin: Actor) -> None:
    assert admin.client.get("/api/members").status_code == 200
    owner.client.patch(f"/api/members/{admin.membership.pk}", {"role": "MEMBER"}, format="json")
    assert admin.client.get("/api/members").status_code == 403


def test_member_removed_is_out_at_once(owner: Actor, member: Actor) -> None:
    assert owner.client.delete(f"/api/members/{member.membership.pk}").status_code == 204
    assert member.client.get("/api/tokens").status_code == 401


def test_admin_makes_and_touches_no_owner(owner: Actor, admin: Actor) -> None:
    MembershipFactory(workspace=owner.workspace, role=Role.OWNER)
    path = f"/api/members/{owner.membership.pk}"
    new = {"email": "new@x.com", "role": "OWNER"}
    for response in (
        admin.client.post("/api/members", new, format="json"),
        admin.client.patch(path, {"role": "MEMBER"}, format="json"),
        admin.client.delete(path),
        admin.client.patch(f"/api/members/{admin.membership.pk}", {"role": "OWNER"}, format="json"),
    ):
        assert (response.status_code, code(response)) == (403, "permission_denied")


def test_last_owner_is_409(owner: Actor) -> None:
    path = f"/api/members/{owner.membership.pk}"
    for response in (owner.client.delete(path), owner.client.patch(path, {"role": "ADMIN"}, format="json")):
        assert (response.status_code, code(response)) == (409, "last_owner")


@pytest.mark.parametrize("verb", ["patch", "delete"])
def test_foreign_member_looks_exactly_like_a_missing_one(owner: Actor, outsider: Actor, verb: str) -> None:
    before = Membership.objects.values().get(pk=owner.membership.pk)
    answers = [
        getattr(outsider.client, verb)(f"/api/members/{wanted}", {"role": "MEMBER"}, format="json")
        for wanted in (owner.membership.pk, uuid7(), "not-an-id", "0" * 300)
    ]
    assert {answer.status_code for answer in answers} == {404}
    assert len({body_without_request_id(answer) for answer in answers}) == 1
    assert Membership.objects.values().get(pk=owner.membership.pk) == before


def test_owner_of_two_workspaces_sees_with_each_token_only_its_own(owner: Actor) -> None:
    other = make_actor(user=owner.user, role=Role.OWNER)
    assert owner.client.get("/api/members").json()["data"][0]["id"] == str(owner.membership.pk)
    assert other.client.get("/api/members").json()["data"][0]["id"] == str(other.membership.pk)
    assert other.client.delete(f"/api/members/{owner.membership.pk}").status_code == 404


# Tokens


def test_token_is_shown_once_and_works(member: Actor) -> None:
    response = member.client.post("/api/tokens", {"name": "CI"}, format="json")
    assert response.status_code == 201
    shown = response.json()
    assert set(shown) == {"id", "name", "fingerprint", "createdAt", "expiresAt", "lastUsedAt", "token"}
    assert client_for(shown["token"]).get("/api/tokens").status_code == 200
    listed = member.client.get("/api/tokens").json()["data"]
    assert set(listed[0]) == {"id", "name", "fingerprint", "createdAt", "expiresAt", "lastUsedAt"}
    assert shown["token"] not in str(listed)
    assert shown["fingerprint"] in str(listed)


def test_tokens_are_the_callers_own(owner: Actor, member: Actor) -> None:
    elsewhere = make_actor(user=member.user)
    listed = member.client.get("/api/tokens").json()["data"]
    assert [item["id"] for item in listed] == [str(member.membership.tokens.get().pk)]
    for foreign in (owner.membership.tokens.get(), elsewhere.membership.tokens.get()):
        assert member.client.delete(f"/api/tokens/{foreign.pk}").status_code == 404
        foreign.refresh_from_db()
        assert foreign.revoked_at is None


def test_foreign_token_looks_exactly_like_a_missing_one(owner: Actor, member: Actor) -> None:
    foreign = member.membership.tokens.get().pk
    answers = [owner.client.delete(f"/api/tokens/{wanted}") for wanted in (foreign, uuid7(), "x")]
    assert {answer.status_code for answer in answers} == {404}
    assert len({body_without_request_id(answer) for answer in answers}) == 1


def test_token_is_revoked_even_the_one_in_use(member: Actor) -> None:
    own = member.membership.tokens.get()
    assert member.client.delete(f"/api/tokens/{own.pk}").status_code == 204
    assert code(member.client.get("/api/tokens")) == "token_revoked"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "x", "expiresAt": "2020-01-01T00:00:00Z"}, "expiresAt"),
        ({"name": "x", "expiresAt": "tomorrow"}, "expiresAt"),
        ({"name": "x", "digest": "0" * 64}, "digest"),
        ({"name": "x", "membershipId": "1"}, "membershipId"),
        ({"name": "x", "role": "OWNER"}, "role"),
    ],
)
def test_token_with_bad_input_is_400_naming_the_field(member: Actor, body: dict[str, Any], field: str) -> None:
    response = member.client.post("/api/tokens", body, format="json")
    assert response.status_code == 400
    assert list(response.json()["error"]["fields"]) == [field]
    assert member.membership.tokens.count() == 1


def test_token_expires_when_it_was_told_to(member: Actor) -> None:
    until = (timezone.now() + timedelta(days=1)).isoformat()
    shown = member.client.post("/api/tokens", {"name": "CI", "expiresAt": until}, format="json").json()
    assert TIME.fullmatch(shown["expiresAt"])
    ApiToken.objects.filter(pk=shown["id"]).update(expires_at=timezone.now())
    assert code(client_for(shown["token"]).get("/api/tokens")) == "token_expired"


# Audit


def test_audit_shows_the_newest_first_with_exactly_its_documented_keys(owner: Actor) -> None:
    added = members.add(by=owner.user, workspace=owner.workspace, email="new@x.com")
    listed = owner.client.get("/api/audit").json()["data"]
    assert set(listed[0]) == {"id", "at", "actor", "action", "objectType", "objectId", "changes", "requestId"}
    assert (listed[0]["action"], listed[0]["objectId"]) == ("member.added", str(added.pk))
    assert listed[0]["actor"] == {"id": str(owner.user.pk), "email": owner.user.email}
    assert listed[-1]["actor"] is None


def test_audit_of_another_workspace_is_not_there(owner: Actor, outsider: Actor) -> None:
    members.add(by=owner.user, workspace=owner.workspace, email="new@x.com")
    assert "new@x.com" not in outsider.client.get("/api/audit").content.decode()


@pytest.mark.parametrize("verb", ["post", "put", "patch", "delete"])
def test_audit_has_no_verb_that_changes(owner: Actor, verb: str) -> None:
    before = AuditEvent.objects.count()
    assert getattr(owner.client, verb)("/api/audit", {}, format="json").status_code == 405
    assert AuditEvent.objects.count() == before


def test_audit_notes_the_request_that_did_it(owner: Actor) -> None:
    response = owner.client.post("/api/members", {"email": "new@x.com"}, format="json")
    assert (
        AuditEvent.objects.get(action="member.added", object_id=response.json()["id"]).request_id
        == (response["X-Request-Id"])
    )
