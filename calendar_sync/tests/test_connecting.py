"""Connecting calendars by CalDAV: `POST connections/imap` with `caldav`, checked against real servers before it is
saved."""

from __future__ import annotations

from typing import Any

import pytest

from calendar_sync.models import CalendarEvent
from calendar_sync.tests.servers import PASSWORD, USER, Server, free_port
from calendar_sync.tests.test_caldav import lunch
from integrations.models import Connection, SyncRun
from integrations.services import sync_runs
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db
URL = "/api/v1/integrations/connections/imap"


@pytest.fixture(autouse=True)
def _mail_log_in_works(settings: Any) -> None:
    """The IMAP and SMTP side is `email_sync`'s to test."""
    settings.CONNECTION_CHECKS = {"imap": "calendar_sync.tests.test_connecting.accept"}


def accept(**_: object) -> None:
    """Any log-in."""


def form(**caldav: str) -> dict[str, Any]:
    login = {"host": "mail.contract.test", "password": "mail password"}
    return {"email": USER, "imap": login, "smtp": login, "caldav": {"username": USER, "password": PASSWORD, **caldav}}


def test_connect_with_caldav_syncs_calendars_and_keeps_the_password_sealed(member: Actor, server: Server) -> None:
    server.put(server.make_calendar(), lunch())
    response = member.client.post(URL, form(url=server.url))
    assert response.status_code == 201, response.content
    assert response.json()["capabilities"] == ["email", "calendar"]
    connection = Connection.objects.get()
    assert connection.options["caldav"] == {"url": server.url, "username": USER}
    assert connection.credentials["caldavPassword"] == PASSWORD
    assert PASSWORD not in response.content.decode() + str(connection.options)
    run = SyncRun.objects.get(type="calendar")
    sync_runs.execute(run.pk)
    assert CalendarEvent.objects.get().title == "Lunch"
    status = member.client.get(f"/api/v1/integrations/connections/{connection.pk}/status").json()["calendar"]
    assert (status["status"], status["coverage"]["missing"]) == ("idle", 0)


def test_connect_without_caldav_has_no_calendar_sync(member: Actor) -> None:
    given = {key: value for key, value in form().items() if key != "caldav"}
    response = member.client.post(URL, given)
    assert response.json()["capabilities"] == ["email"]
    answer = member.client.post(f"/api/v1/integrations/connections/{response.json()['id']}/sync", {"type": "calendar"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "unsupported_operation")
    assert not SyncRun.objects.filter(type="calendar").exists()


def test_connect_with_a_wrong_password_saves_nothing(member: Actor, server: Server) -> None:
    response = member.client.post(URL, form(url=server.url, password="wrong"))
    if server.name == "xandikos":  # it asks for no password
        assert response.status_code == 201
        return
    error = response.json()["error"]
    assert (response.status_code, error["code"], list(error["fields"])) == (422, "credentials_rejected", ["caldav"])
    assert not Connection.objects.exists()


def test_connect_where_nobody_answers_saves_nothing(member: Actor, settings: Any) -> None:
    settings.EGRESS_ALLOW_CIDRS = ["127.0.0.0/8"]
    response = member.client.post(URL, form(url=f"http://127.0.0.1:{free_port()}/"))
    assert (response.status_code, response.json()["error"]["code"]) == (422, "connection_failed")
    assert not Connection.objects.exists()


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/", "https://169.254.169.254/", "https://[::1]/", "http://10.0.0.1/"]
)
def test_connect_to_a_private_address_is_refused(member: Actor, url: str) -> None:
    response = member.client.post(URL, form(url=url))
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (422, "address_not_allowed")
    assert "caldav.url" in error["fields"]
    assert not Connection.objects.exists()
