"""What providers post to us of calendars: proved or dropped, never believed, cheap, and coalesced (reference S13)."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest
from django.db.models.functions import Now
from rest_framework.test import APIClient

from calendar_sync.models import CalendarChannel
from calendar_sync.tests.doorbells import ADA, CLEO, GOOGLE, LONG, MICROSOFT
from calendar_sync.tests.factories import connect, make_calendar
from integrations import tasks
from integrations.models import Connection, SyncRun, SyncState
from integrations.models.push import PushStatus
from integrations.services.doorbells import digest
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db

SECRET = "s" * 43
CHANNEL, RESOURCE = "7f105c7d-2dc5-4530-97cd-4e7ae6534c07", "o3hgv1538sdjfh"
SUBSCRIPTION = "0b1f2a3c-2dc5-4530-97cd-4e7ae6534c07"


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks.execute_run, "delay", lambda run_id: None)


def account(actor: Actor, provider: str, email: str, secret: str = SECRET, **columns: Any) -> Connection:
    """A connected account whose doorbell is set up, not due for a long time."""
    connection = connect(actor, email, options={})
    Connection.objects.filter(pk=connection.pk).update(provider=provider)
    SyncState.objects.filter(connection=connection).update(next_sync_at=LONG)
    CalendarChannel.objects.create(
        connection=connection, status=PushStatus.ACTIVE, next_attempt_at=LONG, expires_at=LONG,
        secret_digest=digest(secret), **columns,
    )  # fmt: skip
    return connection


@pytest.fixture
def google(member: Actor) -> Connection:
    return account(member, "google", ADA, via="channel", remote_id=f"{CHANNEL} {RESOURCE}")


@pytest.fixture
def microsoft(member: Actor) -> Connection:
    return account(member, "microsoft", CLEO, via="subscription", remote_id=SUBSCRIPTION)


def ring(path: str = GOOGLE, **changes: str | None) -> Any:
    """Google's message; `changes` to its headers, None leaves one out."""
    headers = {
        "x-goog-channel-id": CHANNEL,
        "x-goog-channel-token": SECRET,
        "x-goog-resource-id": RESOURCE,
        "x-goog-resource-state": "exists",
        "x-goog-message-number": "10",
    }
    given = headers | {f"x-goog-{name.replace('_', '-')}": value for name, value in changes.items()}
    sent = {name: value for name, value in given.items() if value is not None}
    return APIClient().post(path, b"", content_type="application/json; utf-8", headers=sent)


def notify(*elements: dict[str, Any], path: str = MICROSOFT, **fields: Any) -> Any:
    element = {"subscriptionId": SUBSCRIPTION, "clientState": SECRET, "changeType": "created"} | fields
    return APIClient().post(path, {"value": list(elements) or [element]})


def runs() -> list[Any]:
    return list(SyncRun.objects.values_list("connection_id", "type", "trigger"))


# --- Google -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["exists", "not_exists"])
def test_message_with_the_token_begins_a_run_of_the_calendars(google: Connection, state: str) -> None:
    answer = ring(resource_state=state)
    assert (answer.status_code, answer.content) == (204, b"")
    assert runs() == [(google.pk, "calendar", "push")]
    assert CalendarChannel.objects.get().last_notified_at is not None


def test_message_that_the_channel_stands_is_no_change(google: Connection) -> None:
    assert ring(resource_state="sync", message_number="1").status_code == 204
    assert runs() == []
    assert CalendarChannel.objects.get().last_notified_at is None


@pytest.mark.parametrize(
    "changes",
    [
        {"channel_token": "t" * 43},
        {"channel_token": ""},
        {"channel_token": None},
        {"channel_token": SECRET.upper()},
        {"channel_token": "s" * 5000},
        {"channel_id": "another"},
        {"channel_id": None},
        {"channel_id": "x" * 5000},
        {"resource_id": "another"},
        {"resource_id": None},
        {"resource_state": None},
        {"resource_state": "somethingNew"},
        {"channel_id": f"{CHANNEL} {RESOURCE}", "resource_id": None},
    ],
    ids=str,
)
def test_message_that_proves_nothing_is_answered_like_every_other(
    google: Connection, changes: dict[str, str | None]
) -> None:
    good = ring(resource_state="sync")
    answer = ring(**changes)
    assert (answer.status_code, answer.content) == (good.status_code, good.content) == (204, b"")
    assert runs() == []
    assert CalendarChannel.objects.get().last_notified_at is None


def test_token_of_another_channel_proves_nothing(google: Connection, outsider: Actor) -> None:
    other = account(outsider, "google", "eve@contract.test", "o" * 43, via="channel", remote_id=f"other {RESOURCE}")
    assert ring(channel_token="o" * 43).status_code == 204
    assert ring(channel_id="other").status_code == 204
    assert runs() == []
    assert ring(channel_id="other", channel_token="o" * 43).status_code == 204
    assert runs() == [(other.pk, "calendar", "push")]


def test_messages_of_several_calendars_make_one_run(google: Connection) -> None:
    CalendarChannel.objects.create(
        connection=google, calendar=make_calendar(google), via="channel", remote_id=f"second {RESOURCE}",
        secret_digest=digest(SECRET), status=PushStatus.ACTIVE,
    )  # fmt: skip
    ring()
    ring(channel_id="second")
    assert runs() == [(google.pk, "calendar", "push")]


def test_google_has_no_lifecycle_address_and_a_server_without_push_has_none() -> None:
    assert ring(f"{GOOGLE}/lifecycle").status_code == 404
    assert ring(GOOGLE.replace("google", "imap")).status_code == 404
    assert ring(GOOGLE.replace("google", "nobody")).status_code == 404


# --- Graph --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [MICROSOFT, f"{MICROSOFT}/lifecycle"])
def test_validation_token_is_echoed_as_plain_text(path: str) -> None:
    token = "Validation: Testing 1+1=2 & <b>\u00e9</b> Request-Id: 9"
    answer = APIClient().post(f"{path}?{urlencode({'validationToken': token})}", b"", content_type="text/plain")
    assert (answer.status_code, answer.content.decode()) == (200, token)
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"


def test_notification_with_the_secret_begins_a_run_of_the_calendars(microsoft: Connection) -> None:
    answer = notify()
    assert (answer.status_code, answer.content) == (202, b"")
    assert runs() == [(microsoft.pk, "calendar", "push")]


@pytest.mark.parametrize(
    "fields", [{"clientState": "t" * 43}, {"clientState": None}, {"subscriptionId": "another"}], ids=str
)
def test_notification_that_proves_nothing_is_taken_and_dropped(microsoft: Connection, fields: dict[str, Any]) -> None:
    assert notify(**fields).status_code == 202
    assert runs() == []


def lifecycle(event: str, **fields: Any) -> int:
    return int(notify(path=f"{MICROSOFT}/lifecycle", lifecycleEvent=event, **fields).status_code)


def test_lifecycle_missed_is_a_look(microsoft: Connection) -> None:
    assert lifecycle("missed") == 202
    assert runs() == [(microsoft.pk, "calendar", "push")]


def test_lifecycle_reauthorization_required_renews_soon(microsoft: Connection) -> None:
    assert lifecycle("reauthorizationRequired") == 202
    assert CalendarChannel.objects.filter(next_attempt_at__lte=Now(), status="active", remote_id=SUBSCRIPTION).exists()


def test_lifecycle_subscription_removed_makes_another_soon_and_looks(microsoft: Connection) -> None:
    assert lifecycle("subscriptionRemoved") == 202
    assert CalendarChannel.objects.filter(next_attempt_at__lte=Now(), status="off", remote_id="").exists()
    assert runs() == [(microsoft.pk, "calendar", "push")]


def test_lifecycle_with_a_wrong_secret_changes_nothing(microsoft: Connection) -> None:
    before = CalendarChannel.objects.values().get()
    assert lifecycle("subscriptionRemoved", clientState="wrong") == 202
    assert CalendarChannel.objects.values().get() == before


# --- both ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [{"paused": True}, {"needs_reauth": True}, {"sync_calendar": False}], ids=str)
def test_ring_of_an_account_that_does_not_sync_is_taken(google: Connection, columns: dict[str, Any]) -> None:
    Connection.objects.filter(pk=google.pk).update(**columns)
    assert ring().status_code == 204
    assert runs() == []


def test_ring_while_a_run_works_has_it_looked_once_more(google: Connection) -> None:
    run = SyncRun.objects.create(connection=google, type="calendar", trigger="schedule")
    held = SyncRun.objects.claim(run.pk, lease_seconds=60)
    assert held is not None
    ring()
    assert len(runs()) == 1
    assert SyncState.objects.filter(connection=google, type="calendar", next_sync_at__lte=Now()).exists()


@pytest.mark.parametrize("vendor", ["google", "microsoft"])
def test_flood_makes_one_run_and_costs_a_few_queries_each(
    vendor: str, request: pytest.FixtureRequest, django_assert_max_num_queries: Any
) -> None:
    connection = request.getfixturevalue(vendor)
    once = {"google": ring, "microsoft": notify}[vendor]
    for _ in range(50):
        assert once().status_code in (202, 204)
    assert runs() == [(connection.pk, "calendar", "push")]
    with django_assert_max_num_queries(7):
        once()


def test_flood_of_forgeries_costs_one_query_each_and_over_the_rate_is_429(
    google: Connection, settings: Any, django_assert_max_num_queries: Any
) -> None:
    with django_assert_max_num_queries(3):
        ring(channel_token="wrong")
    settings.THROTTLE_ADDRESS_PER_MINUTE = 5
    statuses = [
        APIClient().post(GOOGLE, b"", content_type="application/json", REMOTE_ADDR="192.0.2.77").status_code
        for _ in range(20)
    ]
    assert statuses.count(429) >= 10


def test_secrets_never_reach_the_log(google: Connection, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    ring()
    ring(channel_token="another-secret")
    assert not any(secret in caplog.text for secret in (SECRET, "another-secret"))
