"""Who may change whom, and that a workspace keeps an owner."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection

from core.errors import Conflict, InvalidInput, NotFound, PermissionRefused
from workspaces.models import ApiToken, AuditEvent, Membership, Role, User, Workspace
from workspaces.services import members
from workspaces.tests.factories import MembershipFactory, UserFactory
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db


def role_of(actor: Actor) -> str:
    return Membership.objects.get(pk=actor.membership.pk).role


# Adding


def test_add_unknown_address_makes_an_account_without_a_password(admin: Actor) -> None:
    added = members.add(by=admin.user, workspace=admin.workspace, email="New@Example.com", name="New")
    assert (added.user.email, added.user.name, added.role) == ("new@example.com", "New", Role.MEMBER)
    assert not added.user.has_usable_password()


def test_add_existing_account_leaves_it_as_it_is(admin: Actor) -> None:
    user = UserFactory(email="ann@example.com", name="Ann")
    before = User.objects.values().get(pk=user.pk)
    added = members.add(by=admin.user, workspace=admin.workspace, email="ANN@example.com", name="Changed")
    assert added.user == user
    assert User.objects.values().get(pk=user.pk) == before


def test_add_member_twice_is_a_conflict_and_keeps_the_role(admin: Actor, member: Actor) -> None:
    with pytest.raises(Conflict) as caught:
        members.add(by=admin.user, workspace=admin.workspace, email=member.user.email, role=Role.ADMIN)
    assert caught.value.code == "already_member"
    assert role_of(member) == Role.MEMBER


@pytest.mark.parametrize("email", ["", "no-at", "a@b@c", "a b@example.com", "a@example.com\r\nBcc: x@example.com"])
def test_add_malformed_address_is_refused(admin: Actor, email: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        members.add(by=admin.user, workspace=admin.workspace, email=email)
    assert list(caught.value.fields) == ["email"]


# The ceiling


def test_admin_makes_no_owner(admin: Actor, member: Actor) -> None:
    with pytest.raises(PermissionRefused):
        members.add(by=admin.user, workspace=admin.workspace, email="new@example.com", role=Role.OWNER)
    with pytest.raises(PermissionRefused):
        members.change_role(by=admin.user, membership=member.membership, role=Role.OWNER)
    with pytest.raises(PermissionRefused):
        members.change_role(by=admin.user, membership=admin.membership, role=Role.OWNER)
    assert not User.objects.filter(email="new@example.com").exists()


def test_admin_touches_no_owner(owner: Actor, admin: Actor) -> None:
    MembershipFactory(workspace=owner.workspace, role=Role.OWNER)
    with pytest.raises(PermissionRefused):
        members.change_role(by=admin.user, membership=owner.membership, role=Role.MEMBER)
    with pytest.raises(PermissionRefused):
        members.remove(by=admin.user, membership=owner.membership)
    assert role_of(owner) == Role.OWNER


def test_admin_makes_and_removes_admins(admin: Actor, member: Actor) -> None:
    members.change_role(by=admin.user, membership=member.membership, role=Role.ADMIN)
    assert role_of(member) == Role.ADMIN
    members.remove(by=admin.user, membership=member.membership)
    assert not Membership.objects.filter(pk=member.membership.pk).exists()


def test_member_and_outsider_touch_nobody(member: Actor, admin: Actor, outsider: Actor) -> None:
    for by in (member.user, outsider.user):
        with pytest.raises(PermissionRefused):
            members.remove(by=by, membership=admin.membership)
        with pytest.raises(PermissionRefused):
            members.add(by=by, workspace=admin.workspace, email="new@example.com")


def test_owner_and_superuser_make_owners(owner: Actor, member: Actor, admin: Actor) -> None:
    members.change_role(by=owner.user, membership=member.membership, role=Role.OWNER)
    root = User.objects.create_superuser("root@example.com")
    members.change_role(by=root, membership=admin.membership, role=Role.OWNER)
    assert (role_of(member), role_of(admin)) == (Role.OWNER, Role.OWNER)


# The last owner


def test_last_owner_neither_leaves_nor_steps_down(owner: Actor) -> None:
    for attempt in (
        lambda: members.remove(by=owner.user, membership=owner.membership),
        lambda: members.change_role(by=owner.user, membership=owner.membership, role=Role.ADMIN),
    ):
        with pytest.raises(Conflict) as caught:
            attempt()
        assert caught.value.code == "last_owner"
    assert role_of(owner) == Role.OWNER


def test_owner_leaves_where_there_is_another(owner: Actor) -> None:
    MembershipFactory(workspace=owner.workspace, role=Role.OWNER)
    members.remove(by=owner.user, membership=owner.membership)
    assert not Membership.objects.filter(pk=owner.membership.pk).exists()


def test_inactive_owner_does_not_count_as_one(owner: Actor) -> None:
    MembershipFactory(workspace=owner.workspace, role=Role.OWNER, user=UserFactory(is_active=False))
    with pytest.raises(Conflict):
        members.remove(by=owner.user, membership=owner.membership)


@pytest.mark.django_db(transaction=True)
def test_two_owners_who_leave_at_the_same_moment_leave_one(owner: Actor) -> None:
    other = MembershipFactory(workspace=owner.workspace, role=Role.OWNER)
    barrier = threading.Barrier(2)

    def leave(membership: Membership) -> str:
        try:
            barrier.wait(20)
            members.remove(by=membership.user, membership=membership)
        except Conflict as error:
            return error.code
        finally:
            connection.close()
        return "left"

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(leave, [owner.membership, other])) == ["last_owner", "left"]
    assert Membership.objects.in_workspace(owner.workspace).owners().count() == 1


# What follows


def test_remove_ends_the_members_tokens(owner: Actor, member: Actor) -> None:
    members.remove(by=owner.user, membership=member.membership)
    assert not ApiToken.objects.filter(membership_id=member.membership.pk).exists()


def test_remove_of_somebody_who_went_meanwhile_is_not_found(owner: Actor, member: Actor) -> None:
    members.remove(by=owner.user, membership=member.membership)
    with pytest.raises(NotFound):
        members.remove(by=owner.user, membership=member.membership)


def test_change_role_to_the_same_leaves_no_trail(owner: Actor, member: Actor) -> None:
    before = AuditEvent.objects.count()
    members.change_role(by=owner.user, membership=member.membership, role=Role.MEMBER)
    assert AuditEvent.objects.count() == before


def test_every_change_leaves_a_trail(owner: Actor) -> None:
    events = AuditEvent.objects.exclude(action__startswith="token")
    added = members.add(by=owner.user, workspace=owner.workspace, email="new@example.com")
    members.change_role(by=owner.user, membership=added, role=Role.ADMIN)
    members.remove(by=owner.user, membership=added)
    assert list(events.order_by("at").values_list("action", "changes", "actor_email")) == [
        ("member.added", {"email": "new@example.com", "role": "MEMBER"}, owner.user.email),
        ("member.role_changed", {"email": "new@example.com", "role": ["MEMBER", "ADMIN"]}, owner.user.email),
        ("member.removed", {"email": "new@example.com", "role": "ADMIN"}, owner.user.email),
    ]


# Workspaces


def test_create_workspace_makes_an_owner_who_signs_in() -> None:
    owner = members.create_workspace(by=None, name=" Acme ", owner_email="Ann@x.com", owner_password="s3cure-enough")
    assert (owner.workspace.name, owner.role, owner.user.email) == ("Acme", Role.OWNER, "ann@x.com")
    assert User.objects.get(pk=owner.user_id).check_password("s3cure-enough")


def test_create_workspace_with_a_password_for_an_existing_account_changes_nothing() -> None:
    user = UserFactory(email="ann@x.com")
    with pytest.raises(Conflict):
        members.create_workspace(by=None, name="Acme", owner_email="ann@x.com", owner_password="another")
    assert User.objects.get(pk=user.pk).password == user.password
    assert not Workspace.objects.exists()


@pytest.mark.parametrize("name", ["", "   ", "x" * 256])
def test_create_workspace_with_a_bad_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput):
        members.create_workspace(by=None, name=name, owner_email="ann@x.com")


def test_fixture_actors_differ(owner: Actor, admin: Actor, member: Actor, outsider: Actor) -> None:
    people: list[Any] = [owner, admin, member, outsider]
    assert len({actor.user.pk for actor in people}) == 4
    assert outsider.workspace != owner.workspace == admin.workspace == member.workspace
