"""The first start happens once, however many processes start."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection

from core.errors import InvalidInput
from workspaces.models import AuditEvent, Membership, Role, User, Workspace
from workspaces.services import bootstrap, tokens
from workspaces.tests.factories import UserFactory


@pytest.mark.django_db
def test_first_start_makes_workspace_owner_and_token(settings: Any) -> None:
    settings.OWNER_EMAIL, settings.OWNER_PASSWORD = "", ""
    first = bootstrap.first_start()
    assert first is not None
    owner = Membership.objects.get()
    assert (owner.role, owner.workspace.name, owner.user.email) == (Role.OWNER, "My workspace", first.email)
    assert User.objects.get().check_password(first.password or "")
    assert tokens.matches(owner.tokens.get(), first.token)
    assert (owner.user.is_superuser, User.objects.get().is_staff) == (False, True)


@pytest.mark.django_db
def test_first_start_uses_what_the_operator_set_and_does_not_repeat_the_password(settings: Any) -> None:
    settings.OWNER_EMAIL, settings.OWNER_PASSWORD = "Boss@Example.com", "from the environment"
    first = bootstrap.first_start()
    assert first is not None
    assert (first.email, first.password) == ("boss@example.com", None)
    assert User.objects.get().check_password("from the environment")


@pytest.mark.django_db
@pytest.mark.parametrize("password", ["tiny1", "1234567890", "password123", "boss@example.com"])
def test_first_start_refuses_a_password_anybody_would_guess(settings: Any, password: str) -> None:
    settings.OWNER_EMAIL, settings.OWNER_PASSWORD = "boss@example.com", password
    with pytest.raises(InvalidInput) as caught:
        bootstrap.first_start()
    assert list(caught.value.fields) == ["password"]
    assert password not in str(caught.value.fields)
    assert not User.objects.exists()


@pytest.mark.django_db
def test_first_start_shows_its_secrets_only_when_asked(settings: Any) -> None:
    settings.OWNER_PASSWORD = ""
    first = bootstrap.first_start()
    assert first is not None
    assert first.password is not None
    assert first.password not in repr(first)
    assert first.token not in repr(first)
    assert first.token not in str(list(AuditEvent.objects.values()))


@pytest.mark.django_db
def test_first_start_with_a_user_there_does_nothing() -> None:
    UserFactory()
    assert bootstrap.first_start() is None
    assert not Workspace.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_first_start_of_four_processes_at_once_makes_one_owner() -> None:
    def start(_: int) -> bool:
        try:
            return bootstrap.first_start() is not None
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(start, range(4))) == [False, False, False, True]
    assert (User.objects.count(), Workspace.objects.count()) == (1, 1)
