"""Rows of this app for tests."""

from __future__ import annotations

from typing import Any

import factory
from factory.django import DjangoModelFactory

from integrations.models import Connection, SyncRun, SyncState
from workspaces.tests.factories import MembershipFactory


class ConnectionFactory(DjangoModelFactory[Connection]):
    """A connected IMAP account of a new member unless `user` and `workspace` are given."""

    class Meta:
        model = Connection

    class Params:
        membership = factory.SubFactory(MembershipFactory)

    workspace = factory.SelfAttribute("membership.workspace")
    user = factory.SelfAttribute("membership.user")
    provider = "imap"
    account_id = factory.Sequence(lambda n: f"account{n}@mail.example")
    account_email = factory.SelfAttribute("account_id")
    credentials: Any = factory.LazyFunction(lambda: {"imapPassword": "pass", "smtpPassword": "pass"})


class SyncStateFactory(DjangoModelFactory[SyncState]):
    """Where the email sync of a new connection stands."""

    class Meta:
        model = SyncState

    connection = factory.SubFactory(ConnectionFactory)
    type = "email"


class SyncRunFactory(DjangoModelFactory[SyncRun]):
    """A queued email run of a new connection."""

    class Meta:
        model = SyncRun

    connection = factory.SubFactory(ConnectionFactory)
    type = "email"
