"""Rows of calendars for tests."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from calendar_sync.models import Calendar
from calendar_sync.records import Recurrence, RemoteEvent, RemoteResource, Span
from calendar_sync.services import store
from core.ids import uuid7
from integrations.models import Connection, SyncState
from workspaces.tests.fixtures import Actor

NINE = datetime(2026, 1, 5, 9)


def connect(actor: Actor, email: str = "", **columns: Any) -> Connection:
    """An account with a calendar, as `connect_imap` would have left it."""
    address = email or f"{uuid7().hex}@contract.test"
    given = {
        "options": {"caldav": {"url": "https://dav.contract.test/", "username": address}},
        "credentials": {"imapPassword": "secret", "smtpPassword": "secret", "caldavPassword": "secret"},
        **columns,
    }
    connection = Connection.objects.create(
        workspace=actor.workspace, user=actor.user, provider="imap", account_id=address, account_email=address, **given
    )
    SyncState.objects.create(connection=connection, type="calendar")
    return connection


def make_calendar(connection: Connection, name: str = "Work", **columns: Any) -> Calendar:
    """An empty calendar of this account."""
    given = {"remote_id": f"/{uuid7().hex}/", "time_zone": "Europe/Berlin", **columns}
    return Calendar.objects.create(connection=connection, name=name, **given)


def remote(
    title: str = "Lunch", start: datetime = datetime(2026, 1, 5, 9), rule: str = "", **fields: Any
) -> RemoteEvent:
    """An hour in Berlin."""
    length = fields.pop("length", timedelta(hours=1))
    span = fields.pop("span", Span(start, length, fields.pop("zone", "Europe/Berlin")))
    rules = fields.pop("recurrence", Recurrence((rule,) if rule else ()))
    return RemoteEvent(fields.pop("uid", uuid7().hex), span, title, recurrence=rules, **fields)


def resource(*events: RemoteEvent, remote_id: str = "", etag: str = "1", **fields: Any) -> RemoteResource:
    """What a provider would answer."""
    return RemoteResource(remote_id or f"/{uuid7().hex}.ics", etag, events=events, **fields)


def write(calendar: Calendar, *events: RemoteEvent, **fields: Any) -> store.Written:
    """Store each of these as a resource of its own."""
    return store.write(calendar=calendar, resources=[resource(event, **fields) for event in events])
