"""The actors of every test: owner, admin and member of one workspace, and the owner of another one.

The root conftest loads this module (`pytest_plugins`). Each actor has `user`, `workspace`, `membership`, `token` (its
text) and `client`, a DRF client that sends it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from rest_framework.test import APIClient

from workspaces.models import Membership, Role, User, Workspace
from workspaces.services import tokens
from workspaces.tests.factories import MembershipFactory, WorkspaceFactory


@dataclass(frozen=True)
class Actor:
    """Somebody in a workspace, with a client that speaks for them."""

    membership: Membership
    token: str = field(repr=False)
    client: APIClient

    @property
    def user(self) -> User:
        return self.membership.user

    @property
    def workspace(self) -> Workspace:
        return self.membership.workspace

    @property
    def role(self) -> str:
        return self.membership.role


def make_actor(*, workspace: Workspace | None = None, role: str = Role.MEMBER, user: User | None = None) -> Actor:
    """A new actor; in a new workspace and as a new user unless given."""
    given = {name: value for name, value in (("workspace", workspace), ("user", user)) if value is not None}
    membership = MembershipFactory(role=role, **given)
    text = tokens.issue(by=None, membership=membership, name="Test").text
    return Actor(membership=membership, token=text, client=client_for(text))


def client_for(token: str) -> APIClient:
    """A client that sends this token and nothing else."""
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    return client


@pytest.fixture
def workspace(db: None) -> Workspace:
    """The workspace of owner, admin and member."""
    return WorkspaceFactory(name="Acme")


@pytest.fixture
def owner(workspace: Workspace) -> Actor:
    return make_actor(workspace=workspace, role=Role.OWNER)


@pytest.fixture
def admin(workspace: Workspace) -> Actor:
    return make_actor(workspace=workspace, role=Role.ADMIN)


@pytest.fixture
def member(workspace: Workspace) -> Actor:
    return make_actor(workspace=workspace, role=Role.MEMBER)


@pytest.fixture
def outsider(db: None) -> Actor:
    """The OWNER of another workspace: every right there, none here."""
    return make_actor(role=Role.OWNER)


@pytest.fixture
def anonymous() -> APIClient:
    """Nobody."""
    return APIClient()
