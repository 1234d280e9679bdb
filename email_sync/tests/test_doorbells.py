"""Setting up, renewing and ending what providers ring, against the simulator; what fails is told and tried again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from email_sync import tasks
from email_sync.models import PushChannel
from email_sync.providers import MAIL_PROVIDERS
from email_sync.services import doorbells, push_standing
from email_sync.tests.doorbells import CLEO, configure, google_mailbox, microsoft_mailbox
from integrations.models import Connection, SyncRun
from integrations.services import disconnecting
from integrations.services.doorbells import digest
from simulator.process import Simulator, running
from simulator.tests.doorbell import Doorbell, doorbell
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def process() -> Iterator[Simulator]:
    with running() as simulator:
        yield simulator


@pytest.fixture(scope="module")
def echoing() -> Iterator[Doorbell]:
    """Stands for our own web server at the handshake."""
    with doorbell() as bell:
        yield bell


@pytest.fixture
def simulator(process: Simulator, echoing: Doorbell, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Simulator:
    process.reset()
    echoing.echo = True
    configure(settings, process, echoing.url.removesuffix("/hook"))
    monkeypatch.setitem(MAIL_PROVIDERS.paths, "microsoft", "email_sync.providers.graph.Graph")
    return process


@pytest.fixture
def google(simulator: Simulator, member: Actor) -> Connection:
    return google_mailbox(simulator, member)


@pytest.fixture
def microsoft(simulator: Simulator, member: Actor) -> Connection:
    return microsoft_mailbox(simulator, member)


def channel(connection: Connection) -> PushChannel:
    return PushChannel.objects.get(connection=connection)


def set_up(connection: Connection) -> PushChannel:
    doorbells.ensure(connection.pk)
    return channel(connection)


def a_day_later(connection: Connection) -> None:
    PushChannel.objects.filter(connection=connection).update(next_attempt_at=Now())


def test_ensure_at_google_watches_and_looks_once(google: Connection, simulator: Simulator) -> None:
    assert doorbells.due() == [google.pk]
    runs = doorbells.ensure(google.pk)
    row = channel(google)
    assert (row.status, row.via, row.remote_id) == ("active", "pubsub", google.account_email)
    assert timedelta(days=6) < row.expires_at - timezone.now() <= timedelta(days=7)
    assert [run.connection_id for run in runs] == [google.pk]
    assert len(simulator.subscriptions()) == 1
    assert doorbells.due() == []


def test_ensure_at_microsoft_subscribes_with_a_secret_that_is_not_stored(
    microsoft: Connection, simulator: Simulator
) -> None:
    row = set_up(microsoft)
    [made] = simulator.subscriptions()
    assert (row.status, row.via, row.remote_id) == ("active", "subscription", made["id"])
    assert made["lifecycleNotificationUrl"].endswith("/email/push/microsoft/lifecycle")
    assert row.secret_digest == digest(made["clientState"])
    assert len(made["clientState"]) >= 43


@pytest.mark.parametrize("mailbox", ["google", "microsoft"])
def test_ensure_before_the_end_prolongs_what_is_there(
    mailbox: str, request: pytest.FixtureRequest, simulator: Simulator
) -> None:
    connection = request.getfixturevalue(mailbox)
    first = set_up(connection)
    simulator.advance(3600)
    SyncRun.objects.all().delete()
    a_day_later(connection)
    assert doorbells.ensure(connection.pk) == []
    again = channel(connection)
    assert again.expires_at >= first.expires_at
    assert again.remote_id == first.remote_id
    assert len(simulator.subscriptions()) == 1


def test_subscription_at_an_address_that_was_ours_is_made_anew_at_once(
    microsoft: Connection, simulator: Simulator, settings: Any
) -> None:
    first = set_up(microsoft)
    SyncRun.objects.all().delete()
    settings.PUBLIC_URL = settings.PUBLIC_URL.replace("127.0.0.1", "localhost")
    assert doorbells.due() == [microsoft.pk]
    assert [run.connection_id for run in doorbells.ensure(microsoft.pk)] == [microsoft.pk]
    [made] = simulator.subscriptions()
    for name in ("notificationUrl", "lifecycleNotificationUrl"):
        assert made[name].startswith(f"{settings.PUBLIC_URL}/api/")
    assert channel(microsoft).remote_id == made["id"] != first.remote_id
    assert doorbells.due() == []


def test_subscription_that_cannot_move_rings_at_the_old_address_and_waits_for_its_turn(
    microsoft: Connection, simulator: Simulator, echoing: Doorbell, settings: Any
) -> None:
    first = set_up(microsoft)
    settings.PUBLIC_URL = settings.PUBLIC_URL.replace("127.0.0.1", "localhost")
    echoing.echo = False
    assert doorbells.due() == [microsoft.pk]
    row = set_up(microsoft)
    assert (row.status, row.remote_id, row.failures) == ("active", first.remote_id, 1)
    assert [one["id"] for one in simulator.subscriptions()] == [first.remote_id]
    assert doorbells.due() == []


def test_watch_that_holds_no_address_of_ours_is_left_alone_when_that_changes(
    google: Connection, simulator: Simulator, settings: Any
) -> None:
    set_up(google)
    settings.PUBLIC_URL = settings.PUBLIC_URL.replace("127.0.0.1", "localhost")
    assert doorbells.due() == []
    simulator.clear_ledger()
    SyncRun.objects.all().delete()
    a_day_later(google)
    assert doorbells.ensure(google.pk) == []
    assert [entry["operation"] for entry in simulator.ledger(vendor="google")] == ["gmail.users.watch"]


def test_ensure_of_a_subscription_that_is_gone_makes_another_and_looks(
    microsoft: Connection, simulator: Simulator
) -> None:
    first = set_up(microsoft)
    simulator.lifecycle(CLEO, "subscriptionRemoved")
    SyncRun.objects.all().delete()
    a_day_later(microsoft)
    assert [run.connection_id for run in doorbells.ensure(microsoft.pk)] == [microsoft.pk]
    [made] = simulator.subscriptions()
    assert channel(microsoft).remote_id == made["id"] != first.remote_id


def test_ensure_refused_is_told_in_the_providers_words_and_tried_later(
    microsoft: Connection, echoing: Doorbell
) -> None:
    echoing.echo = False
    row = set_up(microsoft)
    standing = push_standing.of(microsoft)
    assert standing.status == "failed"
    assert "validation request failed" in standing.message
    assert row.next_attempt_at > timezone.now() + timedelta(seconds=20)
    echoing.echo = True
    a_day_later(microsoft)
    assert set_up(microsoft).status == "active"
    assert push_standing.of(microsoft).message == ""


def test_ensure_that_cannot_renew_keeps_what_lives(google: Connection, simulator: Simulator) -> None:
    set_up(google)
    simulator.fault("status", operation="gmail.users.watch", status=503)
    a_day_later(google)
    row = set_up(google)
    simulator.clear_faults()
    assert (row.status, row.failures) == ("active", 1)
    assert row.message
    PushChannel.objects.update(expires_at=Now())
    assert push_standing.of(google).status == "off"


def test_ensure_by_two_workers_sets_up_one(microsoft: Connection, simulator: Simulator) -> None:
    doorbells.BELLS.claim(PushChannel.objects.create(connection=microsoft))
    doorbells.ensure(microsoft.pk)
    assert simulator.subscriptions() == []


def test_ensure_with_an_expired_token_refreshes_it_or_says_why(google: Connection, simulator: Simulator) -> None:
    simulator.expire_tokens()
    row = set_up(google)
    assert row.status == "failed"
    assert doorbells.due() == []


@pytest.mark.parametrize("columns", [{"paused": True}, {"sync_email": False}, {"needs_reauth": True}])
def test_due_passes_over_what_does_not_sync(google: Connection, columns: dict[str, Any]) -> None:
    Connection.objects.filter(pk=google.pk).update(**columns)
    assert doorbells.due() == []
    assert doorbells.ensure(google.pk) == []
    assert PushChannel.objects.count() == 0


def test_due_without_a_topic_or_a_service_account_names_no_google(google: Connection, settings: Any) -> None:
    for name in ("pubsubTopic", "pushServiceAccount"):
        own = settings.MAIL_PROVIDER_SETTINGS["google"]
        settings.MAIL_PROVIDER_SETTINGS = {"google": {**own, name: ""}}
        assert doorbells.due() == []
        standing = push_standing.of(google)
        assert (standing.status, standing.via) == ("off", "pubsub")
        assert "GMAIL_PU" in standing.message


@pytest.mark.parametrize(
    ("public_url", "api", "possible"),
    [
        ("https://hub.example.org", "https://graph.microsoft.com", True),
        ("http://hub.example.org", "https://graph.microsoft.com", False),
        ("http://127.0.0.1:8000", "https://graph.microsoft.com", False),
        ("http://127.0.0.1:8000", "http://127.0.0.1:9100", True),
        ("http://localhost:8000", "http://localhost:9100", True),
        ("http://127.0.0.1.example.org", "http://127.0.0.1:9100", False),
    ],
)
def test_microsoft_calls_https_only_and_a_stand_in_this_machine(
    public_url: str, api: str, possible: bool, settings: Any
) -> None:
    settings.PUBLIC_URL = public_url
    settings.MAIL_PROVIDER_SETTINGS = {"microsoft": {"graphApiUrl": api}}
    assert (doorbells.BELLS.missing("microsoft") == "") is possible


@pytest.mark.parametrize("mailbox", ["google", "microsoft"])
def test_disconnect_ends_it_at_the_provider(
    mailbox: str, request: pytest.FixtureRequest, simulator: Simulator, member: Actor
) -> None:
    connection = request.getfixturevalue(mailbox)
    set_up(connection)
    disconnecting.disconnect(connection, purge=False, by=member.user)
    assert simulator.subscriptions() == []
    assert PushChannel.objects.count() == 0


def test_disconnect_leaves_a_watch_that_a_colleague_shares(
    google: Connection, simulator: Simulator, member: Actor, admin: Actor
) -> None:
    set_up(google)
    Connection.objects.create(
        workspace=admin.workspace, user=admin.user, provider="google", account_id=google.account_id,
        account_email=google.account_email, credentials={"access_token": "x"},
    )  # fmt: skip
    disconnecting.disconnect(google, purge=False, by=member.user)
    assert len(simulator.subscriptions()) == 1


def test_disconnect_does_not_depend_on_the_provider(microsoft: Connection, simulator: Simulator, member: Actor) -> None:
    set_up(microsoft)
    simulator.fault("status", path="/subscriptions/", status=500)
    disconnecting.disconnect(microsoft, purge=False, by=member.user)
    simulator.clear_faults()
    microsoft.refresh_from_db()
    assert microsoft.credentials is None
    assert PushChannel.objects.count() == 0


def test_status_tells_how_push_stands(google: Connection, member: Actor) -> None:
    path = f"/api/v1/integrations/connections/{google.pk}/status"
    assert member.client.get(path).json()["email"]["push"] == {
        "status": "off", "via": "pubsub", "expiresAt": None, "lastNotifiedAt": None, "message": "",
    }  # fmt: skip
    set_up(google)
    push = member.client.get(path).json()["email"]["push"]
    assert push["status"] == "active"
    assert push["expiresAt"].endswith("Z")
    assert member.client.get(path).json()["calendar"]["push"]["status"] == "off"


def test_tick_rings_what_is_due_once_per_period(google: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    rung: list[str] = []
    monkeypatch.setattr(tasks.set_up_doorbell, "delay", rung.append)
    monkeypatch.setattr("workspaces.services.periodic.take_slot", lambda **_: True)
    tasks.tick()
    assert rung == [str(google.pk)]
