"""Rows of this app for tests of every app."""

from __future__ import annotations

from typing import Any

import factory
from factory.django import DjangoModelFactory

from workspaces.models import Membership, Role, User, Workspace

PASSWORD = "correct horse battery"


class UserFactory(DjangoModelFactory[User]):
    """Signs in with PASSWORD."""

    class Meta:
        model = User

    email = factory.Sequence(lambda n: f"user{n}@example.com")
    name = factory.Sequence(lambda n: f"User {n}")

    @classmethod
    def _create(cls, model_class: type[User], *args: Any, **kwargs: Any) -> User:
        password = kwargs.pop("password", PASSWORD)
        return model_class.objects.create_user(*args, password=password, **kwargs)


class WorkspaceFactory(DjangoModelFactory[Workspace]):
    """A workspace without members."""

    class Meta:
        model = Workspace

    name = factory.Sequence(lambda n: f"Workspace {n}")


class MembershipFactory(DjangoModelFactory[Membership]):
    """A new user in a new workspace unless given."""

    class Meta:
        model = Membership

    workspace = factory.SubFactory(WorkspaceFactory)
    user = factory.SubFactory(UserFactory)
    role = Role.MEMBER
