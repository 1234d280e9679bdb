"""Surroundings of the tests that look at the whole product."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest
from django.db import transaction

from calendar_sync.models import Calendar
from calendar_sync.providers import CALENDAR_PROVIDERS
from calendar_sync.tests import memory as calendars
from email_sync.providers import MAIL_PROVIDERS
from email_sync.services import following
from email_sync.tests.memory import Memory
from tests import migrated
from tests.world import People, make_people


@pytest.fixture(autouse=True)
def _nobody_waits(settings: Any) -> None:
    """The matrix asks hundreds of times with one token, which lives as long as its module: its rate is not what is
    looked at here (a process that a test starts reads its own settings)."""
    settings.THROTTLE_TOKEN_PER_MINUTE = settings.THROTTLE_WORKSPACE_PER_MINUTE = 0
    settings.THROTTLE_ADDRESS_PER_MINUTE = 0


@pytest.fixture(scope="module")
def database_url() -> Iterator[str]:
    """A database of our own on the real server."""
    server = os.environ.get("TEST_DATABASE_URL")
    if not server:
        pytest.fail("There is no PostgreSQL at DATABASE_URL.")
    url = migrated.create(server)
    yield url
    migrated.drop(server, url)


@pytest.fixture(scope="module")
def redis_url() -> str:
    """The real Redis, as broker and cache."""
    url = os.environ.get("TEST_REDIS_URL")
    if not url:
        pytest.fail("There is no Redis at REDIS_URL.")
    return url


@pytest.fixture(scope="module")
def people(django_db_setup: None, django_db_blocker: Any) -> Iterator[People]:
    """Made once, in a transaction around those of the tests: there are hundreds, and each is rolled back."""
    with django_db_blocker.unblock(), transaction.atomic(), pytest.MonkeyPatch.context() as patch:
        patch.setitem(MAIL_PROVIDERS._loaded, Memory.key, Memory)
        patch.setattr(Memory, "mailboxes", {})
        for where in ("models", "authentication"):  # a token's use is not noted anew, however long the module runs
            patch.setattr(f"workspaces.{where}.LAST_USED_EVERY", timedelta(days=1))
        yield make_people()
        transaction.set_rollback(True)


@pytest.fixture
def mailboxes_stay(people: People) -> Iterator[None]:
    """What a test does at the provider is undone as its rows are."""
    before = copy.deepcopy(Memory.mailboxes)
    boxes: dict[str, calendars.Box] = {}
    for calendar in Calendar.objects.select_related("connection"):
        boxes.setdefault(calendar.connection.account_email, calendars.Box()).add_calendar(calendar.remote_id)
    kept = patch.dict(CALENDAR_PROVIDERS._loaded, {calendars.Memory.key: calendars.Memory})
    with kept, patch.object(calendars.Memory, "boxes", boxes):
        yield
    Memory.mailboxes.clear()
    Memory.mailboxes.update(before)


@pytest.fixture
def configured(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Accounts can be connected; a stream says what it has to say and ends."""
    monkeypatch.setattr(following, "LIFE_SECONDS", 0.05)
    monkeypatch.setattr(following, "TICK_SECONDS", 0.01)
    settings.CONNECTION_CHECKS = {"imap": "integrations.tests.checks.passes"}
    settings.GOOGLE_CLIENT_ID, settings.GOOGLE_CLIENT_SECRET = "client", "secret"
