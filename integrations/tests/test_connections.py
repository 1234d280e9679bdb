"""Connections over the API: lists, status, changes, sync now; and that they are nobody else's."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from core.work import WorkStatus
from integrations import serializers
from integrations.models import Connection, CoverageCheck, SyncCursor, SyncRun, SyncState
from integrations.tests.factories import ConnectionFactory, SyncRunFactory, SyncStateFactory
from integrations.tests.flows import ROOT
from workspaces.models import AuditEvent
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.usefixtures("engines")


def _of(actor: Actor, **columns: Any) -> Connection:
    return ConnectionFactory(user=actor.user, workspace=actor.workspace, **columns)


def _url(connection: Connection, verb: str = "") -> str:
    return f"{ROOT}connections/{connection.pk}{verb}"


# Lists and status


def test_connections_shows_the_callers_own_page_by_page(member: Actor, owner: Actor) -> None:
    mine = [_of(member) for _ in range(3)]
    _of(owner)
    page = member.client.get(f"{ROOT}connections", {"page": 2, "limit": 2}).json()
    assert [row["id"] for row in page["data"]] == [str(mine[2].pk)]
    assert page["pagination"] == {
        "page": 2,
        "limit": 2,
        "total": 3,
        "totalIsExact": True,
        "totalPages": 2,
        "nextCursor": None,
    }


def test_connections_leaves_out_disconnected_ones_unless_asked(member: Actor) -> None:
    _of(member, credentials=None, disconnected_at=timezone.now())
    assert member.client.get(f"{ROOT}connections").json()["data"] == []
    [row] = member.client.get(f"{ROOT}connections", {"includeDisconnected": "true"}).json()["data"]
    assert row["status"] == "disconnected"


def test_connections_costs_the_same_for_one_and_for_many(member: Actor, django_assert_num_queries: Any) -> None:
    for _ in range(20):
        _of(member)
    member.client.get(f"{ROOT}connections")
    with django_assert_num_queries(3):  # token, count, page
        member.client.get(f"{ROOT}connections", {"limit": 20})


def test_connections_shows_no_credential(member: Actor) -> None:
    _of(member, credentials={"imapPassword": "vanishing-point"})
    assert "vanishing-point" not in member.client.get(f"{ROOT}connections").content.decode()


@pytest.mark.parametrize(
    ("columns", "status"),
    [
        ({}, "active"),
        ({"paused": True}, "paused"),
        ({"last_error_code": "provider_unavailable"}, "error"),
        ({"paused": True, "last_error_code": "provider_unavailable"}, "paused"),
        ({"paused": True, "needs_reauth": True}, "needs_reauth"),
    ],
)
def test_connection_status_names_the_worst_first(member: Actor, columns: dict[str, Any], status: str) -> None:
    connection = _of(member, **columns)
    assert member.client.get(_url(connection, "/status")).json()["status"] == status


def test_connection_status_tells_progress_coverage_and_the_providers_words(member: Actor) -> None:
    connection = _of(member)
    connection.note_error(code="provider_rejected", message="Mailbox is over quota.")
    SyncStateFactory(connection=connection, coverage_remote=100, coverage_stored=99, coverage_missing=1)
    begun = timezone.now() - timedelta(seconds=50)
    SyncRunFactory(connection=connection, status=WorkStatus.RUNNING, started_at=begun, done=50, total=100)
    answer = member.client.get(_url(connection, "/status")).json()
    assert answer["lastError"]["message"] == "Mailbox is over quota."
    assert answer["email"]["status"] == "syncing"
    assert answer["email"]["progress"]["done"] == 50
    assert 49 <= answer["email"]["progress"]["etaSeconds"] <= 60
    coverage: dict[str, Any] = {
        "remote": 100,
        "stored": 99,
        "missing": 1,
        "checkedAt": None,
        "nextCheckAt": None,
        "checks": [],
    }
    coverage["incomplete"] = 0
    assert answer["email"]["coverage"] == coverage
    assert answer["email"]["lastRun"]["status"] == "running"
    assert answer["email"]["nextSyncAt"]
    assert answer["calendar"]["status"] == "unavailable"


@pytest.mark.parametrize(
    ("run", "status"),
    [(None, "idle"), ("queued", "queued"), ("running", "syncing"), ("done", "idle"), ("failed", "failed")],
)
def test_connection_status_of_a_sync_follows_its_last_run(member: Actor, run: str | None, status: str) -> None:
    connection = _of(member)
    SyncRunFactory(connection=connection, status=WorkStatus.FAILED)
    SyncRun.objects.update(created_at=Now() - timedelta(days=1))
    if run is None:
        SyncRun.objects.all().delete()
    else:
        SyncRunFactory(connection=connection, status=run)
    assert member.client.get(_url(connection, "/status")).json()["email"]["status"] == status


@pytest.mark.parametrize("columns", [{"paused": True}, {"sync_email": False}, {"needs_reauth": True}])
def test_connection_status_of_a_sync_that_does_not_run_is_off(member: Actor, columns: dict[str, bool]) -> None:
    connection = _of(member, **columns)
    SyncStateFactory(connection=connection)
    answer = member.client.get(_url(connection, "/status")).json()["email"]
    assert (answer["status"], answer["nextSyncAt"]) == ("off", None)


def test_connection_status_costs_eight_queries_whatever_the_history(
    member: Actor, django_assert_num_queries: Any
) -> None:
    connection = _of(member)
    for _ in range(5):
        SyncRunFactory(connection=connection, status=WorkStatus.DONE)
    member.client.get(_url(connection, "/status"))
    with django_assert_num_queries(8):  # token, connection, states, last runs, cursors, checks, push, incomplete
        member.client.get(_url(connection, "/status"))


def test_shapes_of_the_schema_are_what_is_answered(member: Actor) -> None:
    connection = _of(member)
    connection.note_error(code="x", message="y")
    SyncStateFactory(connection=connection)
    SyncRunFactory(connection=connection, status=WorkStatus.FAILED, error_code="x")
    CoverageCheck.objects.create(connection=connection, type="email", ended_at=timezone.now())
    connection.cursors.create(type="email", stream="archive", last_error="Permission denied.")
    answer = serializers.connection_status(connection)
    assert set(answer) == set(serializers.ConnectionStatusShape().fields)
    assert set(answer["email"]["coverage"]["checks"][0]) == set(serializers.CoverageCheckShape().fields)
    assert set(answer["email"]["coverage"]) == set(serializers.CoverageShape().fields)
    assert set(answer["email"]["folders"][0]) == set(serializers.TroubleShape().fields)
    assert set(answer["email"]) == set(serializers.SyncStandingShape().fields)
    assert set(answer["email"]["lastRun"]) == set(serializers.RunDetailShape().fields)
    assert set(answer["lastError"]) == set(serializers.LastErrorShape().fields)
    providers = member.client.get(f"{ROOT}oauth/providers").json()["providers"]
    assert set(providers[0]) == set(serializers.ProviderShape().fields)
    assert set(providers[2]["fields"][0]) == set(serializers.FieldShape().fields)


# Sync now


def test_sync_queues_a_run_and_gives_it_back_while_it_is_under_way(member: Actor) -> None:
    connection = _of(member)
    answers = [member.client.post(_url(connection, "/sync"), {"type": "email"}) for _ in range(2)]
    [run] = SyncRun.objects.all()
    expected = {"id": str(run.pk), "connectionId": str(connection.pk), "type": "email", "status": "queued"}
    assert [answer.status_code for answer in answers] == [202, 202]
    assert [answer.json() for answer in answers] == [{"runs": [expected]}] * 2


@pytest.mark.parametrize("body", [{}, {"type": "all"}])
def test_sync_of_all_takes_what_the_provider_has(member: Actor, body: dict[str, str]) -> None:
    [run] = member.client.post(_url(_of(member), "/sync"), body).json()["runs"]
    assert run["type"] == "email"


def test_sync_of_all_leaves_out_what_is_switched_off(member: Actor) -> None:
    answer = member.client.post(_url(_of(member, sync_email=False), "/sync"), {"type": "all"})
    assert (answer.status_code, answer.json()) == (202, {"runs": []})


@pytest.mark.parametrize(
    ("columns", "body", "status", "code"),
    [
        ({}, {"type": "calendar"}, 422, "unsupported_operation"),
        ({"provider": "microsoft"}, {"type": "email"}, 422, "unsupported_operation"),
        ({}, {"type": "fax"}, 400, "validation_error"),
        ({}, {"type": None}, 400, "validation_error"),
        ({}, {"typ": "email"}, 400, "validation_error"),
        ({"paused": True}, {"type": "email"}, 409, "paused"),
        ({"needs_reauth": True}, {"type": "email"}, 409, "needs_reauth"),
        ({"credentials": None, "disconnected_at": "2026-01-01T00:00Z"}, {"type": "all"}, 409, "disconnected"),
    ],
)
def test_sync_that_cannot_be_is_refused(
    member: Actor, columns: dict[str, Any], body: dict[str, Any], status: int, code: str
) -> None:
    response = member.client.post(_url(_of(member, **columns), "/sync"), body)
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    assert not SyncRun.objects.exists()


def test_status_shows_a_removal_that_was_held_back(member: Actor) -> None:
    connection = _of(member)
    reason = "900 of 1000 would go."
    SyncCursor.objects.create(connection=connection, type="email", stream="inbox", held_reason=reason)
    SyncCursor.objects.create(connection=connection, type="email", stream="sent")
    answer = member.client.get(_url(connection, "/status")).json()
    assert answer["email"]["heldRemovals"] == [f"inbox: {reason}"]
    assert answer["calendar"]["heldRemovals"] == []


def test_sync_that_accepts_removals_says_so_to_the_run_and_in_the_trail(member: Actor) -> None:
    connection = _of(member)
    member.client.post(_url(connection, "/sync"), {"type": "email"})
    member.client.post(_url(connection, "/sync"), {"type": "email", "acceptRemovals": True})
    assert SyncRun.objects.get().trigger == "accept"
    event = AuditEvent.objects.get(action="connection.removal_accepted")
    assert event.actor == member.user


# Changes


def test_patch_changes_what_is_named_and_leaves_a_trace(member: Actor) -> None:
    connection = _of(member)
    answer = member.client.patch(_url(connection), {"visibility": "metadata"}).json()
    assert (answer["visibility"], answer["paused"]) == ("metadata", False)
    event = AuditEvent.objects.get(action="connection.changed")
    assert (event.actor, event.changes) == (member.user, {"visibility": "metadata"})
    assert not SyncRun.objects.exists()


def test_patch_to_pause_ends_what_is_under_way_and_its_worker(member: Actor) -> None:
    connection = _of(member)
    run = SyncRunFactory(connection=connection, status=WorkStatus.RUNNING, fence=3)
    assert member.client.patch(_url(connection), {"paused": True}).json()["status"] == "paused"
    run.refresh_from_db()
    assert (run.status, run.fence) == ("failed", 4)


def test_patch_to_go_on_syncs_at_once(member: Actor) -> None:
    connection = _of(member, paused=True)
    answer = member.client.patch(_url(connection), {"paused": False}).json()
    assert (answer["status"], answer["email"]["status"]) == ("active", "queued")


def test_patch_to_switch_a_sync_off_ends_it(member: Actor) -> None:
    connection = _of(member)
    run = SyncRunFactory(connection=connection)
    assert member.client.patch(_url(connection), {"syncEmail": False}).json()["email"]["status"] == "off"
    run.refresh_from_db()
    assert run.status == "failed"


def test_patch_with_what_it_is_already_changes_nothing(member: Actor) -> None:
    assert member.client.patch(_url(_of(member)), {"paused": False}).status_code == 200
    assert not AuditEvent.objects.filter(action="connection.changed").exists()


@pytest.mark.parametrize(
    "body",
    [
        {"visibility": "public"},
        {"paused": "perhaps"},
        {"paused": None},
        {"status": "active"},
        {"needsReauth": False},
        {"workspace": "x"},
        {"scopes": []},
        [],
    ],
)
def test_patch_with_anything_else_is_refused(member: Actor, body: Any) -> None:
    assert member.client.patch(_url(_of(member)), body, format="json").status_code == 400


# Whose


@pytest.mark.parametrize(
    ("method", "verb", "body"),
    [
        ("get", "/status", None),
        ("post", "/sync", {"type": "all"}),
        ("post", "/refresh", {}),
        ("patch", "", {"paused": True}),
    ],
)
def test_anothers_connection_answers_like_a_missing_one(
    member: Actor, owner: Actor, outsider: Actor, method: str, verb: str, body: Any
) -> None:
    connection = _of(member)
    missing = Connection(pk="018f0000-0000-7000-8000-000000000000")
    answers = [
        getattr(actor.client, method)(_url(target, verb), body)
        for actor in (owner, outsider)
        for target in (connection, missing)
    ]
    answers.append(getattr(owner.client, method)(f"{ROOT}connections/nonsense{verb}", body))
    bodies = [{**answer.json()["error"], "requestId": ""} for answer in answers]
    assert {answer.status_code for answer in answers} == {404}
    assert all(shown == bodies[0] for shown in bodies)
    assert not Connection.objects.get(pk=connection.pk).paused


def test_a_state_of_a_sync_is_one_per_type(member: Actor) -> None:
    connection = _of(member)
    for _ in range(2):
        member.client.post(_url(connection, "/sync"), {"type": "email"})
    assert SyncState.objects.filter(connection=connection).count() == 1
