"""Access tokens: one refresh per expiry, nothing lost, nothing called dead that lives (reference R5, R6)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection as database
from django.db import transaction
from django.db.models.functions import Now

from core.errors import (
    Conflict,
    NeedsReauth,
    ProviderAuthError,
    ProviderError,
    ProviderRateLimited,
    ProviderUnavailable,
    UnsupportedOperation,
)
from integrations.models import Connection
from integrations.services import tokens
from integrations.tests.conftest import ADA, BOB
from integrations.tests.factories import ConnectionFactory
from integrations.tests.flows import ROOT, Hub
from integrations.token_endpoint import TokenAnswer
from workspaces.models import AuditEvent
from workspaces.tests.fixtures import Actor

CALLERS = 50


def _expire(connection: Connection) -> None:
    Connection.objects.filter(pk=connection.pk).update(token_expires_at=Now() - timedelta(seconds=1))


def _stored(connection: Connection) -> dict[str, Any]:
    return dict(Connection.objects.get(pk=connection.pk).credentials)


def test_access_token_that_is_fresh_is_given_without_a_request(hub: Hub, member: Actor) -> None:
    connection = hub.connect(member, ADA)
    assert tokens.access_token(connection) == connection.credentials["access_token"]
    assert hub.token_requests() == 1


def test_access_token_five_minutes_before_its_end_is_refreshed(hub: Hub, member: Actor) -> None:
    connection = hub.connect(member, ADA)
    Connection.objects.update(token_expires_at=Now() + timedelta(seconds=299))
    assert tokens.access_token(connection) != connection.credentials["access_token"]
    assert hub.token_requests() == 2


def test_access_token_of_a_short_life_is_not_refreshed_on_every_call(hub: Hub, member: Actor) -> None:
    hub.simulator.settings(google_access_token_seconds=120)
    connection = hub.connect(member, ADA)
    assert tokens.access_token(connection) == connection.credentials["access_token"]


def test_refresh_without_a_new_refresh_token_keeps_the_old_one(hub: Hub, member: Actor) -> None:
    connection = hub.connect(member, ADA)
    _expire(connection)
    fresh = tokens.access_token(connection)
    assert _stored(connection)["access_token"] == fresh
    assert _stored(connection)["refresh_token"] == connection.credentials["refresh_token"]
    assert Connection.objects.get().token_expires_at > connection.token_expires_at - timedelta(minutes=1)


def test_refresh_with_a_rotated_refresh_token_stores_it_before_it_is_used(hub: Hub, member: Actor) -> None:
    hub.simulator.settings(microsoft_rotation="strict")
    connection = hub.connect(member, ADA, "microsoft")
    seen = {connection.credentials["refresh_token"]}
    for _ in range(3):
        _expire(connection)
        tokens.access_token(connection)
        seen.add(_stored(connection)["refresh_token"])
    assert len(seen) == 4


def test_refresh_by_force_with_the_refused_token_happens_once(hub: Hub, member: Actor) -> None:
    connection = hub.connect(member, ADA)
    refused = connection.credentials["access_token"]
    fresh = tokens.access_token(connection, force=True, stale=refused)
    assert fresh != refused
    assert tokens.access_token(connection, force=True, stale=refused) == fresh
    assert hub.token_requests() == 2


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("rotation", ["strict", "lenient"])
def test_access_token_asked_by_fifty_at_expiry_is_refreshed_once(hub: Hub, member: Actor, rotation: str) -> None:
    hub.simulator.settings(microsoft_rotation=rotation)
    connection = hub.connect(member, ADA, "microsoft")
    for _ in range(10):
        _expire(connection)
        before = hub.token_requests("microsoft")
        assert len(set(_together(lambda: tokens.access_token(connection)))) == 1
        assert hub.token_requests("microsoft") == before + 1
    assert not Connection.objects.get().needs_reauth


@pytest.mark.django_db(transaction=True)
def test_access_token_refused_for_fifty_at_once_is_refreshed_once(hub: Hub, member: Actor) -> None:
    hub.simulator.settings(microsoft_rotation="strict")
    connection = hub.connect(member, ADA, "microsoft")
    refused = connection.credentials["access_token"]
    answers = _together(lambda: tokens.access_token(connection, force=True, stale=refused))
    assert len(set(answers)) == 1
    assert hub.token_requests("microsoft") == 2


def _together(work: Callable[[], str]) -> list[str]:
    """The work in CALLERS threads that begin together, each with its own database connection."""
    gate = threading.Barrier(CALLERS)

    def one(_: int) -> str:
        try:
            gate.wait()
            return work()
        finally:
            database.close()

    with ThreadPoolExecutor(CALLERS) as pool:
        return list(pool.map(one, range(CALLERS)))


def test_refresh_of_a_revoked_grant_needs_its_user_and_is_told_once(hub: Hub, member: Actor) -> None:
    connection = hub.connect(member, ADA)
    hub.simulator.revoke(vendor="google", email=ADA)
    _expire(connection)
    for _ in range(3):
        with pytest.raises(NeedsReauth):
            tokens.access_token(connection)
    row = Connection.objects.get()
    assert row.status == "needs_reauth"
    assert "expired or revoked" in row.last_error_message
    assert AuditEvent.objects.filter(action="connection.needs_reauth").count() == 1
    assert hub.token_requests() == 2


def test_refresh_of_a_dead_grant_over_the_api_is_a_conflict(hub: Hub, member: Actor) -> None:
    connection = hub.connect(member, ADA)
    hub.simulator.revoke(vendor="google", email=ADA)
    response = member.client.post(f"{ROOT}connections/{connection.pk}/refresh")
    assert (response.status_code, response.json()["error"]["code"]) == (409, "needs_reauth")
    [row] = member.client.get(f"{ROOT}connections").json()["data"]
    assert row["status"] == "needs_reauth"


def test_refresh_over_the_api_gives_a_new_token_and_the_status(hub: Hub, member: Actor) -> None:
    connection = hub.connect(member, ADA)
    response = member.client.post(f"{ROOT}connections/{connection.pk}/refresh")
    assert response.status_code == 200
    assert response.json()["tokenExpiresAt"]
    assert connection.credentials["access_token"] not in response.content.decode()
    assert _stored(connection)["access_token"] != connection.credentials["access_token"]


def test_refresh_by_its_user_mends_a_grant_that_was_called_dead(hub: Hub, member: Actor) -> None:
    connection = hub.connect(member, ADA)
    connection.note_error(code="needs_reauth", message="401 twice", needs_reauth=True)
    assert member.client.post(f"{ROOT}connections/{connection.pk}/refresh").json()["status"] == "active"
    assert Connection.objects.get().last_error_code == ""
    assert [event.type for event in connection.events.all()] == ["connection.recovered"]


@pytest.mark.parametrize("vendor", ["google", "microsoft"])
def test_refresh_with_the_hubs_secret_refused_leaves_the_connection_alone(
    hub: Hub, member: Actor, settings: Any, vendor: str
) -> None:
    connection = hub.connect(member, ADA, vendor)
    setattr(settings, f"{vendor.upper()}_CLIENT_SECRET", "wrong")
    _expire(connection)
    with pytest.raises(ProviderError) as caught:
        tokens.access_token(connection)
    assert caught.value.code == "client_rejected"
    assert not Connection.objects.get().needs_reauth
    assert Connection.objects.get().refresh_lease_until is None


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"kind": "status", "status": 503}, ProviderUnavailable),
        ({"kind": "status", "status": 500}, ProviderUnavailable),
        ({"kind": "status", "status": 429, "headers": {"Retry-After": "7"}}, ProviderRateLimited),
        ({"kind": "status", "status": 400, "body": {"error": "temporarily_unavailable"}}, ProviderUnavailable),
        ({"kind": "status", "status": 400, "body": {"error": "something_new"}}, ProviderError),
        ({"kind": "status", "status": 403, "body": "<html>proxy</html>"}, ProviderError),
        ({"kind": "garbage"}, ProviderUnavailable),
        ({"kind": "close"}, ProviderUnavailable),
        ({"kind": "truncate"}, ProviderUnavailable),
    ],
)
def test_refresh_while_the_provider_is_broken_keeps_the_grant_and_frees_the_lease(
    hub: Hub, member: Actor, fault: dict[str, Any], error: type[Exception]
) -> None:
    connection = hub.connect(member, ADA)
    _expire(connection)
    rule = hub.simulator.fault(**{"operation": "google.oauth.token", **fault})
    with pytest.raises(error):
        tokens.access_token(connection)
    assert not Connection.objects.get().needs_reauth
    hub.simulator.remove_fault(rule)
    assert tokens.access_token(connection)


class Scripted:
    """A provider whose refresh is a function of the test."""

    def __init__(self, refresh: Callable[[str], TokenAnswer]) -> None:
        self.refresh = refresh


@pytest.mark.django_db(transaction=True)
def test_refresh_that_lost_the_race_uses_what_the_winner_stored(
    hub: Hub, member: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = hub.connect(member, ADA)
    _expire(connection)

    def loses(refresh_token: str, claims: str = "") -> TokenAnswer:
        row = Connection.objects.get()
        tokens.store_first(row, TokenAnswer("of-the-winner", "rotated", 3600.0))
        row.save()
        raise ProviderAuthError("invalid_grant")

    monkeypatch.setattr(tokens, "oauth_provider", lambda key: Scripted(loses))
    assert tokens.access_token(connection) == "of-the-winner"
    assert not Connection.objects.get().needs_reauth


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("races", [20, pytest.param(200, marks=pytest.mark.chaos)])
def test_lost_races_end_with_a_good_token_and_no_dead_grant(
    hub: Hub, member: Actor, monkeypatch: pytest.MonkeyPatch, races: int
) -> None:
    """The grant is rotated elsewhere at every point of a refresh: before it is asked for, and while it is (R6)."""
    connection = hub.connect(member, ADA)
    numbers = iter(range(1, 1_000))

    def rotate() -> str:
        row = Connection.objects.get()
        tokens.store_first(row, TokenAnswer(token := f"good-{next(numbers)}", f"rotated-{token}", 3600.0))
        row.save()
        return token

    def loses(refresh_token: str, claims: str = "") -> TokenAnswer:
        current.append(rotate())
        raise ProviderAuthError("invalid_grant")

    monkeypatch.setattr(tokens, "oauth_provider", lambda key: Scripted(loses))
    take = tokens._take_lease

    def late(row: Connection) -> tokens.Lease | None:
        """The row was read, and is another by now."""
        if before:
            current.append(rotate())
        return take(row)

    monkeypatch.setattr(tokens, "_take_lease", late)
    for round in range(races):
        current: list[str] = []
        before = round % 2 == 0
        _expire(connection)
        assert tokens.access_token(connection, wait=lambda _: None) == current[-1]
    assert not Connection.objects.get().needs_reauth


@pytest.mark.django_db(transaction=True)
def test_refresh_whose_answer_came_after_a_disconnect_stores_nothing(
    hub: Hub, member: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = hub.connect(member, ADA)
    _expire(connection)

    def late(refresh_token: str, claims: str = "") -> TokenAnswer:
        assert member.client.delete(f"{ROOT}oauth/google").status_code == 204
        return TokenAnswer("late", "later", 3600.0)

    monkeypatch.setattr(tokens, "oauth_provider", lambda key: Scripted(late))
    with pytest.raises(Conflict):
        tokens.access_token(connection)
    assert Connection.objects.get().credentials is None


class Killed(BaseException):
    """What `kill -9` looks like from inside: nothing of ours runs any more."""


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("rotation", "survives"), [("lenient", True), ("strict", False)])
def test_refresh_killed_between_answer_and_commit_ends_fine_or_cleanly_dead(
    hub: Hub, member: Actor, monkeypatch: pytest.MonkeyPatch, rotation: str, survives: bool
) -> None:
    hub.simulator.settings(microsoft_rotation=rotation)
    connection = hub.connect(member, ADA, "microsoft")
    _expire(connection)

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(tokens, "_store", die)
        with pytest.raises(Killed):
            tokens.access_token(connection)
    Connection.objects.update(refresh_lease_until=Now() - timedelta(seconds=1))
    if survives:
        assert tokens.access_token(connection) == _stored(connection)["access_token"]
        return
    for _ in range(3):
        with pytest.raises(NeedsReauth):
            tokens.access_token(connection)
    assert AuditEvent.objects.filter(action="connection.needs_reauth").count() == 1
    assert hub.token_requests("microsoft") == 3


def test_access_token_while_another_worker_holds_the_lease_waits_and_takes_its_result(hub: Hub, member: Actor) -> None:
    connection = hub.connect(member, ADA)
    Connection.objects.update(
        token_expires_at=Now() - timedelta(seconds=1), refresh_lease_until=Now() + timedelta(seconds=30)
    )
    waited: list[float] = []

    def other_worker_finishes(seconds: float) -> None:
        waited.append(seconds)
        row = Connection.objects.get()
        tokens.store_first(row, TokenAnswer("from-elsewhere", "", 3600.0))
        row.save()

    assert tokens.access_token(connection, wait=other_worker_finishes) == "from-elsewhere"
    assert waited == [tokens.POLL_SECONDS]
    assert hub.token_requests() == 1


def test_access_token_while_another_worker_never_finishes_gives_up(
    hub: Hub, member: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = hub.connect(member, ADA)
    _expire(connection)
    Connection.objects.update(refresh_lease_until=Now() + timedelta(seconds=30))
    monkeypatch.setattr(tokens, "WAIT_SECONDS", -1.0)
    with pytest.raises(ProviderUnavailable):
        tokens.access_token(connection)


@pytest.mark.django_db(transaction=True)
def test_access_token_inside_a_transaction_is_a_programming_error(hub: Hub, member: Actor) -> None:
    connection = hub.connect(member, ADA)
    _expire(connection)
    with pytest.raises(RuntimeError), transaction.atomic():
        tokens.access_token(connection)


def test_access_token_of_a_disconnected_account_is_a_conflict(hub: Hub, member: Actor) -> None:
    connection = hub.connect(member, ADA)
    member.client.delete(f"{ROOT}oauth/google")
    with pytest.raises(Conflict):
        tokens.access_token(connection)


def test_access_token_of_a_password_account_is_unsupported(db: None) -> None:
    with pytest.raises(UnsupportedOperation):
        tokens.access_token(ConnectionFactory())


def test_refresh_of_a_password_account_over_the_api_is_unsupported(member: Actor, engines: None) -> None:
    connection = ConnectionFactory(user=member.user, workspace=member.workspace)
    response = member.client.post(f"{ROOT}connections/{connection.pk}/refresh")
    assert (response.status_code, response.json()["error"]["code"]) == (422, "unsupported_operation")


def test_access_token_without_a_refresh_token_needs_its_user_at_the_end(hub: Hub, member: Actor) -> None:
    connection = hub.connect(member, ADA)
    connection.credentials = {"access_token": "only"}
    connection.save()
    assert tokens.access_token(connection) == "only"
    _expire(connection)
    with pytest.raises(NeedsReauth):
        tokens.access_token(connection)


def test_touch_idle_refreshes_what_nobody_used_for_days_and_nothing_else(hub: Hub, member: Actor) -> None:
    idle, busy = hub.connect(member, ADA), hub.connect(member, BOB)
    Connection.objects.filter(pk=idle.pk).update(token_expires_at=Now() - timedelta(days=tokens.IDLE_DAYS, hours=1))
    assert tokens.touch_idle() == 1
    assert _stored(idle)["access_token"] != idle.credentials["access_token"]
    assert _stored(busy)["access_token"] == busy.credentials["access_token"]


def test_touch_idle_goes_on_past_a_dead_grant(hub: Hub, member: Actor) -> None:
    for email in (ADA, BOB):
        hub.connect(member, email)
    hub.simulator.revoke(vendor="google", email=ADA)
    Connection.objects.update(token_expires_at=Now() - timedelta(days=30))
    assert tokens.touch_idle() == 1
    assert Connection.objects.filter(needs_reauth=True).count() == 1


@pytest.mark.parametrize(
    ("stored", "answer", "expected"),
    [
        (None, TokenAnswer("a"), {"access_token": "a", "expires_in": None}),
        (
            {"refresh_token": "old", "x": 1},
            TokenAnswer("a", "", 9.0),
            {"refresh_token": "old", "x": 1, "access_token": "a", "expires_in": 9.0},
        ),
        (
            {"refresh_token": "old"},
            TokenAnswer("a", "new", 9.0),
            {"refresh_token": "new", "access_token": "a", "expires_in": 9.0},
        ),
    ],
)
def test_merged_never_erases(stored: Any, answer: TokenAnswer, expected: dict[str, Any]) -> None:
    assert tokens.merged(stored, answer) == expected
