"""A connection that fails and recovers: one event per incident, whoever notices it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db.models.functions import Now

from core.errors import ProviderAuthError, ProviderRejected
from integrations.models import Connection, Event, SyncRun
from integrations.services import incidents, sync_runs
from integrations.tests.engines import EmailEngine
from integrations.tests.factories import ConnectionFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def attempt(monkeypatch: pytest.MonkeyPatch) -> Callable[[Connection, Exception | None], None]:
    """One run to its end, as the schedule would start it."""

    def run_once(connection: Connection, error: Exception | None) -> None:
        class Engine(EmailEngine):
            def run(self, run: SyncRun, *, deadline: float) -> bool:
                if error is not None:
                    raise error
                return False

        monkeypatch.setitem(sync_runs.engines()._loaded, "email", Engine)
        connection.refresh_from_db()
        run = SyncRun.objects.create(connection=connection, type="email", next_attempt_at=Now())
        sync_runs.execute(run.pk)

    return run_once


def types() -> list[str]:
    return list(Event.objects.order_by("id").values_list("type", flat=True))


def test_failing_syncs_are_told_on_the_first_of_a_series_and_when_they_are_over(attempt: Any) -> None:
    connection = ConnectionFactory()
    for error in (ProviderRejected("No"), ProviderRejected("No"), None, None, ProviderRejected("No")):
        attempt(connection, error)
    assert types() == ["sync.failed", "connection.recovered", "sync.failed"]
    first = Event.objects.order_by("id")[0]
    assert first.payload == {"provider": "imap", "syncType": "email", "code": "provider_rejected"}
    assert (first.connection_id, first.user_id) == (connection.pk, connection.user_id)


def test_refused_credential_is_told_once_however_many_notice(attempt: Any) -> None:
    connection = ConnectionFactory()
    attempt(connection, ProviderAuthError("Password changed"))
    stale = Connection.objects.get(pk=connection.pk)
    stale.needs_reauth = False  # read before the other noticed
    incidents.grant_refused(stale, code="needs_reauth", message="The provider no longer accepts this connection.")
    assert types() == ["connection.needs_reauth"]
    connection.refresh_from_db()
    assert (connection.status, connection.last_error_message) == ("needs_reauth", "Password changed")


def test_success_of_one_sync_does_not_clear_what_another_found_meanwhile() -> None:
    """The run read its connection before the other one's credential was refused."""
    wrong = {
        "last_error_code": "provider_unavailable",
        "last_error_message": "Away.",
        "last_error_at": "2026-01-01T00:00Z",
    }
    read_before = ConnectionFactory(**wrong)
    read_before.refresh_from_db()
    other = Connection.objects.get(pk=read_before.pk)
    incidents.grant_refused(other, code="needs_reauth", message="Revoked.")
    incidents.works_again(read_before)
    other.refresh_from_db()
    assert (other.status, other.last_error_message) == ("needs_reauth", "Revoked.")
