"""Bearer tokens at the door: one query, stable codes, and nothing told to strangers."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from workspaces.authentication import BearerAuthentication
from workspaces.models import ApiToken, Role, User
from workspaces.permissions import IsAdmin, IsMember, IsOwner
from workspaces.services import members, tokens
from workspaces.tests.fixtures import Actor, make_actor

pytestmark = pytest.mark.django_db


def request_with(header: str | None) -> Request:
    headers = {} if header is None else {"HTTP_AUTHORIZATION": header}
    return Request(APIRequestFactory().get("/", **headers))


def authenticate(token: str) -> tuple[User, ApiToken]:
    return BearerAuthentication().authenticate(request_with(f"Bearer {token}"))


def refusal(header: str | None) -> str:
    with pytest.raises(AuthenticationFailed) as caught:
        BearerAuthentication().authenticate(request_with(header))
    assert caught.value.status_code == 401
    return str(caught.value.get_codes())


def test_authenticate_gives_the_member_and_the_token_with_its_workspace(admin: Actor) -> None:
    user, token = authenticate(admin.token)
    assert user == admin.user
    assert (token.workspace, token.workspace_id, token.role) == (admin.workspace, admin.workspace.pk, Role.ADMIN)


def test_authenticate_takes_one_query(member: Actor) -> None:
    authenticate(member.token)  # notes the first use
    with CaptureQueriesContext(
        connection,
    ) as queries:
        user, token = authenticate(member.token)
        _ = (user.email, token.workspace.name, token.role)
    assert len(queries) == 1


def test_authenticate_takes_one_query_however_many_tokens_there_are(member: Actor) -> None:
    for number in range(20):
        tokens.issue(by=None, membership=member.membership, name=str(number))
    authenticate(member.token)
    with CaptureQueriesContext(connection) as queries:
        authenticate(member.token)
    assert len(queries) == 1


def test_authenticate_without_a_token_of_ours_asks_no_database(db: None) -> None:
    with CaptureQueriesContext(connection) as queries:
        assert refusal("Bearer something-else") == "token_invalid"
        assert refusal(None) == "token_missing"
    assert len(queries) == 0


def test_authenticate_notes_the_use_at_most_every_five_minutes(member: Actor) -> None:
    row = ApiToken.objects.get(membership=member.membership)
    authenticate(member.token)
    row.refresh_from_db()
    first = row.last_used_at
    assert first is not None
    authenticate(member.token)
    row.refresh_from_db()
    assert row.last_used_at == first
    ApiToken.objects.update(last_used_at=timezone.now() - timedelta(minutes=6))
    authenticate(member.token)
    row.refresh_from_db()
    assert row.last_used_at > first


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "token_missing"),
        ("", "token_missing"),
        ("Bearer", "token_missing"),
        ("Bearer    ", "token_missing"),
        ("Basic dXNlcjpwYXNz", "token_missing"),
        ("Bearer hub_", "token_invalid"),
        ("Bearer a b c", "token_invalid"),
        ("Bearer " + "x" * 5000, "token_invalid"),
    ],
)
def test_authenticate_malformed_header_has_its_code(db: None, header: str | None, code: str) -> None:
    assert refusal(header) == code


def test_authenticate_scheme_is_not_case_sensitive(member: Actor) -> None:
    user, _ = BearerAuthentication().authenticate(request_with(f"bearer {member.token}"))
    assert user == member.user


def test_authenticate_unknown_but_well_formed_token_is_invalid(db: None) -> None:
    assert refusal(f"Bearer {tokens.new_text()[1]}") == "token_invalid"


def test_authenticate_known_lookup_with_another_secret_tells_nothing_about_the_token(member: Actor) -> None:
    lookup = member.token.split("_")[1]
    _, other = tokens.new_text()
    body = f"hub_{lookup}_{other.split('_', 2)[2][:43]}"
    ApiToken.objects.update(revoked_at=timezone.now())
    assert refusal(f"Bearer {body}{tokens.checksum(body)}") == "token_invalid"


def test_authenticate_expired_token(member: Actor) -> None:
    ApiToken.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert refusal(f"Bearer {member.token}") == "token_expired"


def test_authenticate_expired_token_stays_expired_on_a_host_whose_clock_is_late(
    member: Actor, monkeypatch: Any
) -> None:
    ApiToken.objects.update(expires_at=timezone.now() - timedelta(minutes=10))
    monkeypatch.setattr(timezone, "now", lambda: timezone.datetime(2020, 1, 1, tzinfo=timezone.UTC))
    assert refusal(f"Bearer {member.token}") == "token_expired"


def test_authenticate_revoked_token(member: Actor) -> None:
    tokens.revoke(by=None, token=ApiToken.objects.get())
    assert refusal(f"Bearer {member.token}") == "token_revoked"


def test_authenticate_inactive_user(member: Actor) -> None:
    User.objects.filter(pk=member.user.pk).update(is_active=False)
    assert refusal(f"Bearer {member.token}") == "user_inactive"


def test_authenticate_removed_member_has_no_token_any_more(owner: Actor, member: Actor) -> None:
    members.remove(by=owner.user, membership=member.membership)
    assert refusal(f"Bearer {member.token}") == "token_invalid"


def test_authenticate_lowered_role_counts_from_the_next_request(owner: Actor, admin: Actor) -> None:
    members.change_role(by=owner.user, membership=admin.membership, role=Role.MEMBER)
    assert authenticate(admin.token)[1].role == Role.MEMBER


def test_authenticate_header_names_the_scheme() -> None:
    assert BearerAuthentication().authenticate_header(request_with(None)) == 'Bearer realm="api"'


# Permissions


@pytest.mark.parametrize(
    ("role", "expected"),
    [(Role.OWNER, (True, True, True)), (Role.ADMIN, (True, True, False)), (Role.MEMBER, (True, False, False))],
)
def test_permissions_by_role(db: None, role: str, expected: tuple[bool, bool, bool]) -> None:
    request = request_with(None)
    request.auth = authenticate(make_actor(role=role).token)[1]
    allowed = tuple(kind().has_permission(request, None) for kind in (IsMember, IsAdmin, IsOwner))
    assert allowed == expected


def test_permissions_without_a_token_are_refused() -> None:
    request = request_with(None)
    request.user, request.auth = None, None
    assert not IsMember().has_permission(request, None)
