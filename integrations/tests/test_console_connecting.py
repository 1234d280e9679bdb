"""Connecting a mailbox from the console: servers looked up, the form, the consent, again, and how far it is."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from core.ids import uuid7
from core.work import WorkStatus
from integrations.models import Connection, Purge, SyncRun
from integrations.oauth.known_servers import KnownServers, MailServer
from integrations.services import server_discovery
from integrations.services.server_discovery import Discovered
from integrations.tests import checks
from integrations.tests.factories import ConnectionFactory, SyncRunFactory
from workspaces.models import Role
from workspaces.tests.factories import MembershipFactory, WorkspaceFactory
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.usefixtures("engines")
SUBMITTED = {"_form_submitted": "on"}
FORM = {
    "email": "ada@example.org",
    "imap.host": "imap.example.org", "imap.port": "993", "imap.security": "tls", "imap.username": "ada",
    "imap.password": "vanishing-point",
    "smtp.host": "smtp.example.org", "smtp.port": "", "smtp.security": "starttls", "smtp.username": "",
    "smtp.password": "", "caldav.url": "", "caldav.username": "", "caldav.password": "",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _check_passes(settings: Any) -> None:
    settings.CONNECTION_CHECKS = {"imap": "integrations.tests.checks.passes"}
    checks.seen.clear()


def console(actor: Actor) -> Client:
    client = Client()
    client.force_login(actor.user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def page(name: str, *args: object) -> str:
    return reverse(f"admin:integrations_connection_{name}", args=args)


def finds(monkeypatch: pytest.MonkeyPatch, servers: KnownServers, source: str) -> None:
    monkeypatch.setattr(server_discovery, "discover", lambda email: Discovered(str(email), servers, str(email), source))


def test_list_leads_to_the_address_and_that_to_a_filled_form(owner: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    finds(monkeypatch, KnownServers(MailServer("imap.found.example", 993, "tls"), help="Mind the gap."), "srv")
    client = console(owner)
    assert page("log_in") in client.get(page("changelist")).content.decode()
    first = client.get(page("log_in")).content.decode()
    assert 'name="email"' in first
    assert 'name="imap.host"' not in first
    html = client.get(page("log_in"), {"email": "ada@found.example"}).content.decode()
    assert 'value="imap.found.example"' in html
    assert "own records name these servers" in html
    assert "Mind the gap." in html


def test_address_of_a_provider_with_consent_says_so(owner: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    finds(monkeypatch, KnownServers(sign_in="google"), "known")
    html = console(owner).get(page("log_in"), {"email": "ada@gmail.com"}).content.decode()
    assert "a mailbox of Google" in html


def test_address_that_is_none_is_said_beside_it(owner: Actor) -> None:
    answer = console(owner).get(page("log_in"), {"email": "ada"})
    assert answer.status_code == 400
    assert "valid" in answer.content.decode()


def test_form_connects_an_account_of_the_callers_own(owner: Actor) -> None:
    answer = console(owner).post(f"{page('log_in')}?email=ada@example.org", FORM)
    connection = Connection.objects.get()
    assert answer.status_code == 302, answer.content.decode()[-3000:]
    assert answer.headers["Location"] == page("change", connection.pk)
    assert (connection.user, connection.workspace) == (owner.user, owner.workspace)
    assert connection.options["smtp"] == {
        "host": "smtp.example.org", "port": 587, "security": "starttls", "username": "ada",
    }  # fmt: skip
    assert connection.credentials == {"imapPassword": "vanishing-point", "smtpPassword": "vanishing-point"}
    assert "caldav" not in connection.options
    assert SyncRun.objects.get().trigger == "connect"


def test_log_in_that_is_refused_is_said_saves_nothing_and_keeps_what_was_typed(owner: Actor, settings: Any) -> None:
    settings.CONNECTION_CHECKS = {"imap": "integrations.tests.checks.refuses"}
    answer = console(owner).post(page("log_in"), FORM)
    html = answer.content.decode()
    assert answer.status_code == 400
    assert "refused the log-in: Invalid credentials." in html
    assert 'value="imap.example.org"' in html
    assert "vanishing-point" not in html
    assert not Connection.objects.exists()


@pytest.mark.parametrize(("field", "value"), [("imap.host", ""), ("smtp.host", "a b"), ("imap.port", "99999")])
def test_field_that_is_wrong_is_marked(owner: Actor, field: str, value: str) -> None:
    answer = console(owner).post(page("log_in"), FORM | {field: value})
    assert answer.status_code == 400
    assert answer.context["form"].errors.keys() == {field}
    assert checks.seen == []


def test_workspace_is_asked_for_where_there_are_several_and_only_the_callers_are_taken(
    owner: Actor, outsider: Actor
) -> None:
    other = WorkspaceFactory()
    MembershipFactory(user=owner.user, workspace=other, role=Role.MEMBER)
    client = console(owner)
    assert client.post(page("log_in"), FORM).status_code == 400
    assert client.post(page("log_in"), FORM | {"workspace": str(outsider.workspace.pk)}).status_code == 400
    assert not Connection.objects.exists()
    assert client.post(page("log_in"), FORM | {"workspace": str(other.pk)}).status_code == 302
    assert Connection.objects.get().workspace == other


def test_own_account_logs_in_again_with_its_servers_filled_in(owner: Actor) -> None:
    client = console(owner)
    client.post(page("log_in"), FORM)
    connection = Connection.objects.get()
    led = client.post(page("reconnect", connection.pk))
    html = client.get(led.headers["Location"]).content.decode()
    assert 'value="smtp.example.org"' in html
    assert "vanishing-point" not in html
    client.post(led.headers["Location"], FORM | {"imap.password": "new"})
    connection.refresh_from_db()
    assert connection.credentials["imapPassword"] == "new"
    assert Connection.objects.count() == 1


@pytest.mark.usefixtures("simulator")
def test_own_account_is_led_to_consent_again(owner: Actor) -> None:
    connection = ConnectionFactory(user=owner.user, workspace=owner.workspace, provider="google", needs_reauth=True)
    client = console(owner)
    assert "Reconnect" in client.get(page("change", connection.pk)).content.decode()
    answer = client.post(page("reconnect", connection.pk))
    assert answer.status_code == 302
    assert "login_hint=" in answer.headers["Location"]


def test_nobody_reconnects_anothers_account(owner: Actor, member: Actor, outsider: Actor) -> None:
    theirs = ConnectionFactory(user=member.user, workspace=member.workspace, provider="imap", needs_reauth=True)
    client = console(owner)
    assert "Reconnect" not in client.get(page("change", theirs.pk)).content.decode()
    assert client.post(page("reconnect", theirs.pk)).status_code == 404
    assert client.get(page("log_in"), {"connection": theirs.pk}).status_code == 404
    assert client.get(page("log_in"), {"connection": uuid7()}).status_code == 404
    assert console(outsider).get(page("progress", theirs.pk)).status_code == 404


def test_progress_says_how_far_each_sync_is_and_looks_often_while_one_works(owner: Actor) -> None:
    connection = ConnectionFactory(user=owner.user, workspace=owner.workspace)
    client = console(owner)
    assert 'data-refresh-seconds="15"' in client.get(page("progress", connection.pk)).content.decode()
    begun = timezone.now() - timedelta(minutes=10)
    SyncRunFactory(connection=connection, status=WorkStatus.RUNNING, started_at=begun, done=1200, total=5000)
    html = client.get(page("progress", connection.pk)).content.decode()
    assert 'data-refresh-seconds="2"' in html
    assert '<progress max="100" value="24"' in html
    assert "32 min left" in html
    assert "<html" not in html
    assert page("progress", connection.pk) in client.get(page("change", connection.pk)).content.decode()
    assert client.post(page("progress", connection.pk)).status_code == 405


@pytest.mark.parametrize("purge", [True, False])
def test_disconnect_deletes_what_was_synced_only_where_it_was_asked_for(owner: Actor, purge: bool) -> None:
    connection = ConnectionFactory(user=owner.user, workspace=owner.workspace)
    sent = SUBMITTED | ({"purge": "on"} if purge else {})
    assert console(owner).post(page("disconnect", connection.pk), sent).status_code == 302
    assert Purge.objects.filter(connection_id=connection.pk).exists() is purge
