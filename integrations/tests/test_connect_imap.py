"""POST connections/imap: the form, what the log-in check says, and that nothing is saved before it passed."""

from __future__ import annotations

from typing import Any

import pytest

from core.crypto import Sealed
from integrations.models import Connection, SyncRun
from integrations.tests import checks
from integrations.tests.flows import ROOT
from workspaces.models import AuditEvent
from workspaces.tests.fixtures import Actor

URL = f"{ROOT}connections/imap"


@pytest.fixture(autouse=True)
def _check_passes(engines: None, settings: Any) -> None:
    settings.CONNECTION_CHECKS = {"imap": "integrations.tests.checks.passes"}
    checks.seen.clear()


def _form(**changes: Any) -> dict[str, Any]:
    form: dict[str, Any] = {
        "email": "ada@example.org",
        "imap": {"host": "imap.example.org", "port": 993, "security": "tls", "username": "ada", "password": "Pa ss"},
        "smtp": {"host": "smtp.example.org", "port": 465, "security": "tls", "username": "ada", "password": "other"},
    }
    return form | changes


def test_connect_imap_saves_the_account_sealed_and_queues_its_first_run(member: Actor) -> None:
    response = member.client.post(URL, _form())
    connection = Connection.objects.get()
    assert response.status_code == 201, response.content
    assert response.json()["id"] == str(connection.pk)
    assert response.json()["capabilities"] == ["email"]
    assert response.json()["email"]["status"] == "queued"
    assert connection.credentials == {"imapPassword": "Pa ss", "smtpPassword": "other"}
    assert connection.options["imap"] == {
        "host": "imap.example.org",
        "port": 993,
        "security": "tls",
        "username": "ada",
    }
    sealed = Connection.objects.values_list("credentials", flat=True).get()
    assert isinstance(sealed, Sealed)
    assert b"Pa ss" not in sealed.blob
    assert SyncRun.objects.get().trigger == "connect"


def test_connect_imap_shows_no_password_anywhere(member: Actor) -> None:
    response = member.client.post(URL, _form(imap=_form()["imap"] | {"password": "vanishing-point"}))
    audit = str(list(AuditEvent.objects.values_list("changes", flat=True)))
    assert "vanishing-point" not in response.content.decode()
    assert "vanishing-point" not in audit
    assert "imap.example.org" in audit


def test_connect_imap_fills_in_what_usually_follows(member: Actor) -> None:
    form = {
        "email": "ada@example.org",
        "imap": {"host": "IMAP.Example.org.", "password": "p"},
        "smtp": {"host": "smtp.example.org", "security": "starttls"},
    }
    assert member.client.post(URL, form).status_code == 201
    [seen] = checks.seen
    assert seen["settings"] == {
        "imap": {"host": "imap.example.org", "port": 993, "security": "tls", "username": "ada@example.org"},
        "smtp": {"host": "smtp.example.org", "port": 587, "security": "starttls", "username": "ada@example.org"},
    }
    assert seen["secrets"] == {"imapPassword": "p", "smtpPassword": "p"}


@pytest.mark.parametrize(
    ("check", "code"),
    [
        ("refuses", "credentials_rejected"),
        ("unreachable", "connection_failed"),
        ("odd", "connection_failed"),
        ("private", "address_not_allowed"),
    ],
)
def test_connect_imap_that_cannot_log_in_is_refused_and_saves_nothing(
    member: Actor, settings: Any, check: str, code: str
) -> None:
    settings.CONNECTION_CHECKS = {"imap": f"integrations.tests.checks.{check}"}
    response = member.client.post(URL, _form())
    assert (response.status_code, response.json()["error"]["code"]) == (422, code)
    assert not Connection.objects.exists()
    assert not AuditEvent.objects.filter(action__startswith="connection").exists()


@pytest.mark.parametrize(
    ("form", "fields"),
    [
        ({}, {"email", "imap", "smtp"}),
        (_form(email="no address"), {"email"}),
        (_form(email=7), {"email"}),
        (_form(imap=None), {"imap"}),
        (_form(imap="imap.example.org"), {"imap"}),
        (_form(imap={}), {"imap.host", "imap.password"}),
        (_form(imap={"host": "x", "password": "p", "port": "993"}), {"imap.port"}),
        (_form(imap={"host": "x", "password": "p", "port": True}), {"imap.port"}),
        (_form(imap={"host": "x", "password": "p", "port": 0}), {"imap.port"}),
        (_form(imap={"host": "x", "password": "p", "port": 65536}), {"imap.port"}),
        (_form(imap={"host": "x", "password": "p", "security": "ssl"}), {"imap.security"}),
        (_form(imap={"host": "x", "password": "p", "security": ["tls"]}), {"imap.security"}),
        (_form(imap={"host": "https://x/", "password": "p"}), {"imap.host"}),
        (_form(imap={"host": "x\r\nA1 LOGOUT", "password": "p"}), {"imap.host"}),
        (_form(imap={"host": "x", "username": "a\r\nb", "password": "p"}), {"imap.username"}),
        (_form(imap={"host": "x", "password": "p\r\nA2 DELETE INBOX"}), {"imap.password"}),
        (_form(imap={"host": "x", "password": {"a": 1}}), {"imap.password"}),
        (_form(imap={"host": "x", "password": "p", "pasword": "q"}), {"imap.pasword"}),
        (_form(smtp={"port": 25}), {"smtp.host"}),
        (_form(smtp=[]), {"smtp"}),
        (_form(workspace="other"), {"workspace"}),
    ],
)
def test_connect_imap_with_a_bad_form_names_the_fields(member: Actor, form: Any, fields: set[str]) -> None:
    response = member.client.post(URL, form)
    assert response.status_code == 400, response.content
    assert set(response.json()["error"]["fields"]) == fields
    assert not checks.seen
    assert not Connection.objects.exists()


@pytest.mark.parametrize("body", [[], "x", 1, None])
def test_connect_imap_with_a_body_that_is_no_object_is_refused(member: Actor, body: Any) -> None:
    assert member.client.post(URL, body, format="json").status_code == 400


@pytest.mark.parametrize(
    ("caldav", "field"),
    [("x", "caldav"), ({}, "caldav.url"), ({"url": "ftp://x.example"}, "caldav.url"), ({"path": "/"}, "caldav.path")],
)
def test_connect_imap_with_a_malformed_caldav_names_the_field(member: Actor, caldav: Any, field: str) -> None:
    response = member.client.post(URL, _form(caldav=caldav))
    assert response.status_code == 400
    assert field in response.json()["error"]["fields"]
    assert not checks.seen


def test_connect_imap_again_renews_the_same_row(member: Actor) -> None:
    first = member.client.post(URL, _form()).json()["id"]
    Connection.objects.get().note_error(code="needs_reauth", message="Password changed.", needs_reauth=True)
    form = _form(imap=_form()["imap"] | {"password": "new", "username": "ADA", "host": "Imap.Example.Org"})
    response = member.client.post(URL, form)
    connection = Connection.objects.get()
    assert response.status_code == 200
    assert (response.json()["id"], response.json()["status"]) == (first, "active")
    assert connection.credentials["imapPassword"] == "new"
    assert [event.type for event in connection.events.all()] == ["connection.recovered"]
    assert SyncRun.objects.count() == 1


def test_connect_imap_of_another_log_in_is_another_connection(member: Actor) -> None:
    member.client.post(URL, _form())
    member.client.post(URL, _form(imap=_form()["imap"] | {"username": "bob"}))
    assert Connection.objects.count() == 2


def test_connect_imap_after_a_disconnect_revives_the_row(member: Actor) -> None:
    first = member.client.post(URL, _form()).json()["id"]
    assert member.client.delete(f"{ROOT}oauth/imap").status_code == 204
    assert Connection.objects.get().credentials is None
    assert member.client.post(URL, _form()).json()["id"] == first


def test_connect_imap_with_an_idempotency_key_is_done_once(member: Actor) -> None:
    answers = [member.client.post(URL, _form(), HTTP_IDEMPOTENCY_KEY="k1") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[1]["Idempotency-Replayed"] == "true"
    assert len(checks.seen) == 1


def test_connect_imap_without_a_token_is_refused(anonymous: Any) -> None:
    assert anonymous.post(URL, _form()).status_code == 401
