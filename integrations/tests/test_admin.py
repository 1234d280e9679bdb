"""The console's pages of connections: what an owner sees and may do, and what nobody sees."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from core.ids import uuid7
from core.work import WorkStatus
from integrations.admin import progress_words
from integrations.models import Connection, SyncRun
from integrations.tests.conftest import ADA
from integrations.tests.factories import ConnectionFactory, SyncRunFactory, SyncStateFactory
from integrations.tests.flows import HTML, Hub
from workspaces.models import AuditEvent
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.usefixtures("engines")
SUBMITTED = {"_form_submitted": "on"}
ACTIONS = ["sync_now", "pause", "resume", "disconnect"]


def _console(actor: Actor) -> Client:
    client = Client()
    client.force_login(actor.user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def _page(model: str, page: str, *args: object) -> str:
    return reverse(f"admin:integrations_{model}_{page}", args=args)


def _of(actor: Actor, **columns: Any) -> Connection:
    return ConnectionFactory(user=actor.user, workspace=actor.workspace, **columns)


def test_list_shows_the_members_accounts_with_status_error_and_progress(owner: Actor, member: Actor) -> None:
    connection = _of(member, account_email="ada@mail.example")
    connection.note_error(code="provider_rejected", message="Mailbox is over quota.")
    begun = timezone.now() - timedelta(minutes=10)
    SyncRunFactory(connection=connection, status=WorkStatus.RUNNING, started_at=begun, done=1200, total=5000)
    html = _console(owner).get(_page("connection", "changelist")).content.decode()
    for words in ("ada@mail.example", "Error", "Mailbox is over quota.", "1,200 of 5,000 (24 %), about 32 min left"):
        assert words in html


def test_detail_shows_how_it_stands_and_no_secret(owner: Actor, member: Actor) -> None:
    connection = _of(member, credentials={"imapPassword": "vanishing-point"}, needs_reauth=True)
    SyncStateFactory(connection=connection, coverage_remote=100, coverage_stored=99, coverage_missing=1)
    html = _console(owner).get(_page("connection", "change", connection.pk)).content.decode()
    assert "Needs sign-in" in html
    assert "connect the account again" in html
    assert "99 stored of 100, 1 missing" in html
    assert "vanishing-point" not in html


def test_list_costs_the_same_for_one_and_for_many(owner: Actor, member: Actor) -> None:
    client = _console(owner)

    def queries() -> int:
        with CaptureQueriesContext(database) as captured:
            client.get(_page("connection", "changelist"))
        return len(captured)

    SyncRunFactory(connection=_of(member))
    queries()
    for_one = queries()
    for _ in range(10):
        SyncRunFactory(connection=_of(member))
    assert queries() == for_one


@pytest.mark.parametrize(
    ("columns", "offered"),
    [
        ({}, {"sync_now", "pause", "refresh", "disconnect"}),
        ({"paused": True}, {"resume", "refresh", "disconnect"}),
        ({"disconnected_at": timezone.now(), "credentials": None}, {"disconnect"}),
    ],
    ids=["active", "paused", "disconnected"],
)
def test_page_offers_what_makes_sense_now(owner: Actor, columns: dict[str, Any], offered: set[str]) -> None:
    connection = _of(owner, **columns)
    shown = _console(owner).get(_page("connection", "change", connection.pk)).context["actions_detail"]
    assert {action["path"].rstrip("/").rsplit("/", 1)[-1] for action in shown} == offered


@pytest.mark.parametrize("model", ["connection", "syncrun"])
def test_pages_of_another_workspace_look_like_missing_ones(owner: Actor, outsider: Actor, model: str) -> None:
    run = SyncRunFactory(connection=_of(outsider, account_email="secret@mail.example"))
    pk = run.pk if model == "syncrun" else run.connection.pk
    client = _console(owner)
    assert "secret@mail.example" not in client.get(_page(model, "changelist")).content.decode()
    assert "secret@mail.example" not in client.get(_page(model, "change", pk), follow=True).content.decode()


@pytest.mark.parametrize("action", ACTIONS)
def test_actions_reach_no_other_workspace(owner: Actor, outsider: Actor, action: str) -> None:
    connection = _of(outsider)
    client = _console(owner)
    for pk in (connection.pk, uuid7()):
        assert client.post(_page("connection", action, pk), SUBMITTED).status_code == 404
    connection.refresh_from_db()
    assert (connection.paused, connection.disconnected_at) == (False, None)
    assert not SyncRun.objects.exists()


@pytest.mark.parametrize("action", ACTIONS)
def test_actions_by_get_change_nothing(owner: Actor, member: Actor, action: str) -> None:
    connection = _of(member)
    _console(owner).get(_page("connection", action, connection.pk), SUBMITTED)
    connection.refresh_from_db()
    assert (connection.paused, connection.disconnected_at) == (False, None)
    assert not SyncRun.objects.exists()


def test_sync_now_queues_a_run(owner: Actor, member: Actor) -> None:
    connection = _of(member)
    assert _console(owner).post(_page("connection", "sync_now", connection.pk), SUBMITTED).status_code == 302
    assert SyncRun.objects.get().trigger == "user"


def test_sync_now_that_cannot_be_says_why(owner: Actor, member: Actor) -> None:
    connection = _of(member, needs_reauth=True)
    response = _console(owner).post(_page("connection", "sync_now", connection.pk), SUBMITTED, follow=True)
    assert "Connect the account again" in " ".join(str(message) for message in response.context["messages"])


def test_pause_and_resume_are_the_owners_in_the_trail(owner: Actor, member: Actor) -> None:
    connection = _of(member)
    client = _console(owner)
    client.post(_page("connection", "pause", connection.pk), SUBMITTED)
    assert Connection.objects.get().paused
    client.post(_page("connection", "resume", connection.pk), SUBMITTED)
    assert not Connection.objects.get().paused
    actors = AuditEvent.objects.filter(action="connection.changed").values_list("actor", flat=True)
    assert list(actors) == [owner.user.pk] * 2


def test_disconnect_by_the_owner_forgets_the_credential(owner: Actor, member: Actor) -> None:
    connection = _of(member)
    _console(owner).post(_page("connection", "disconnect", connection.pk), SUBMITTED)
    assert Connection.objects.get().credentials is None


@pytest.mark.parametrize("model", ["connection", "syncrun"])
def test_pages_cannot_add_change_or_delete(owner: Actor, member: Actor, model: str) -> None:
    run = SyncRunFactory(connection=_of(member))
    pk = run.pk if model == "syncrun" else run.connection.pk
    client = _console(owner)
    assert client.get(_page(model, "add")).status_code == 403
    assert client.post(_page(model, "delete", pk), {"post": "yes"}).status_code == 403
    client.post(_page(model, "change", pk), {"paused": "on", "status": "done", "account_email": "x@y.example"})
    assert not Connection.objects.filter(paused=True).exists()
    assert SyncRun.objects.get().status == WorkStatus.QUEUED


def test_runs_page_shows_history_and_words(owner: Actor, member: Actor) -> None:
    run = SyncRunFactory(
        connection=_of(member), status=WorkStatus.FAILED, error_code="provider_unavailable", error_message="Gone."
    )
    client = _console(owner)
    listed = client.get(f"{_page('syncrun', 'changelist')}?connection__id__exact={run.connection.pk}")
    assert listed.status_code == 200
    assert "Gone. (provider_unavailable)" in listed.content.decode()
    assert client.get(_page("syncrun", "change", run.pk)).status_code == 200


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({}, "email: queued, 0 done"),
        ({"status": WorkStatus.RUNNING, "done": 7}, "email: running, 7 done"),
        ({"done": 10, "total": 10}, "email: 10 of 10 (100 %)"),
    ],
)
def test_progress_words(columns: dict[str, Any], words: str) -> None:
    assert progress_words(SyncRun(type="email", **columns)) == words


# Connecting from the console


def _connect(client: Client, actor: Actor, provider: str = "google") -> Any:
    return client.post(_page("connection", "connect", provider, actor.workspace.pk))


def test_connect_in_the_console_ends_with_the_account_in_the_list(hub: Hub, owner: Actor) -> None:
    client = _console(owner)
    started = _connect(client, owner)
    done = hub.callback(hub.consent(started["Location"], ADA), client=client, accept=HTML)
    assert done["Location"] == _page("connection", "changelist")
    assert ADA in client.get(done["Location"]).content.decode()


def test_connect_in_the_console_is_bound_to_that_browser(hub: Hub, owner: Actor) -> None:
    started = _connect(_console(owner), owner)
    assert hub.callback(hub.consent(started["Location"], ADA), accept=HTML).status_code == 400
    assert not Connection.objects.exists()


def test_connect_buttons_are_there_for_what_is_set_up(hub: Hub, owner: Actor, settings: Any) -> None:
    settings.MICROSOFT_CLIENT_ID = ""
    html = _console(owner).get(_page("connection", "changelist")).content.decode()
    assert "Connect my Google account" in html
    assert "Connect my Microsoft account" not in html


def test_connect_in_the_console_without_settings_says_so(owner: Actor) -> None:
    client = _console(owner)
    response = client.get(_connect(client, owner)["Location"])
    assert "GOOGLE_CLIENT_ID" in " ".join(str(message) for message in response.context["messages"])


def test_connect_in_the_console_for_another_workspace_is_not_found(hub: Hub, owner: Actor, outsider: Actor) -> None:
    assert _connect(_console(owner), outsider).status_code == 404


def test_connect_in_the_console_by_get_is_refused(hub: Hub, owner: Actor) -> None:
    assert _console(owner).get(_page("connection", "connect", "google", owner.workspace.pk)).status_code == 405


def test_connect_in_the_console_without_a_csrf_token_is_refused(hub: Hub, owner: Actor) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(owner.user, backend="django.contrib.auth.backends.ModelBackend")
    assert _connect(strict, owner).status_code == 403
