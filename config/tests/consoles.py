"""What the tests of the console's frame share: browsers that are signed in, and a look at what they get."""

from __future__ import annotations

from django.test import Client

from workspaces.models import User
from workspaces.tests.fixtures import Actor


def console(actor: Actor) -> Client:
    """The actor's browser."""
    return console_of(actor.user)


def console_of(user: User) -> Client:
    """A browser in which this user has signed in."""
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client
