"""Set rules of connections, and what the database itself does not allow."""

from __future__ import annotations

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from core.errors import NotFound
from integrations.models import Connection
from integrations.tests.factories import ConnectionFactory
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db


def test_syncing_leaves_out_what_a_schedule_must_not_touch() -> None:
    wanted = ConnectionFactory()
    ConnectionFactory(paused=True)
    ConnectionFactory(needs_reauth=True)
    ConnectionFactory(credentials=None, disconnected_at=timezone.now())
    assert list(Connection.objects.syncing()) == [wanted]


def test_syncing_leaves_out_those_whose_user_left(member: Actor) -> None:
    ConnectionFactory(user=member.user, workspace=member.workspace)
    assert Connection.objects.syncing().count() == 1
    member.membership.delete()
    assert not Connection.objects.syncing().exists()


def test_syncing_leaves_out_those_of_an_inactive_user(member: Actor) -> None:
    ConnectionFactory(user=member.user, workspace=member.workspace)
    type(member.user).objects.filter(pk=member.user.pk).update(is_active=False)
    assert not Connection.objects.syncing().exists()


@pytest.mark.parametrize("name", ["", "nonsense", None, 7, "018f0000-0000-7000-8000-000000000000"])
def test_find_says_the_same_of_whatever_is_not_there(name: object) -> None:
    with pytest.raises(NotFound) as caught:
        Connection.objects.find(name)
    assert caught.value.message == NotFound.default_message


def test_a_disconnected_connection_cannot_keep_a_secret() -> None:
    connection = ConnectionFactory()
    with pytest.raises(IntegrityError), transaction.atomic():
        Connection.objects.filter(pk=connection.pk).update(disconnected_at=timezone.now())


def test_an_account_is_connected_once_per_user_and_workspace(member: Actor) -> None:
    first = ConnectionFactory(user=member.user, workspace=member.workspace)
    with pytest.raises(IntegrityError), transaction.atomic():
        ConnectionFactory(user=member.user, workspace=member.workspace, account_id=first.account_id)
    ConnectionFactory(account_id=first.account_id)
