"""Disconnecting: the credential goes, the work stops, the provider is told (reference reliability S5)."""

from __future__ import annotations

import pytest

from core.errors import LeaseLost
from core.work import WorkStatus
from integrations.models import Connection, SyncRun, SyncState
from integrations.services import disconnecting
from integrations.tests.conftest import ADA, BOB
from integrations.tests.flows import ROOT, Hub
from workspaces.models import AuditEvent
from workspaces.tests.fixtures import Actor

GOOGLE = f"{ROOT}oauth/google"


def _revocations(hub: Hub) -> int:
    return len(hub.simulator.ledger(operation="google.oauth.revoke"))


def test_disconnect_revokes_forgets_the_tokens_and_ends_the_runs(hub: Hub, member: Actor) -> None:
    connection = hub.connect(member, ADA)
    assert member.client.delete(GOOGLE).status_code == 204
    row = Connection.objects.get()
    assert row.credentials is None
    assert row.disconnected_at is not None
    assert row.refresh_fence > connection.refresh_fence
    assert [grant["revoked"] for grant in hub.simulator.grants()] == [True]
    assert SyncRun.objects.get().status == WorkStatus.FAILED
    assert AuditEvent.objects.filter(action="connection.disconnected").count() == 1
    assert member.client.get(f"{ROOT}connections").json()["data"] == []


def test_disconnect_stops_a_worker_at_its_next_write(hub: Hub, member: Actor) -> None:
    hub.connect(member, ADA)
    run = SyncRun.objects.claim(SyncRun.objects.get().pk, lease_seconds=60)
    member.client.delete(GOOGLE)
    with pytest.raises(LeaseLost):
        run.hold(lease_seconds=60)


def test_disconnect_without_an_id_takes_all_of_the_provider(hub: Hub, member: Actor) -> None:
    hub.connect(member, ADA)
    hub.connect(member, BOB)
    microsoft = hub.connect(member, ADA, "microsoft")
    member.client.delete(GOOGLE)
    assert Connection.objects.connected().get().pk == microsoft.pk


def test_disconnect_with_an_id_takes_that_one(hub: Hub, member: Actor) -> None:
    ada, bob = hub.connect(member, ADA), hub.connect(member, BOB)
    assert member.client.delete(f"{GOOGLE}?connectionId={ada.pk}").status_code == 204
    assert Connection.objects.connected().get().pk == bob.pk


def test_disconnect_of_one_keeps_the_grant_another_connection_lives_on(hub: Hub, member: Actor, owner: Actor) -> None:
    """A revocation at Google ends the whole grant of the account, which the colleague's connection shares."""
    hub.connect(member, ADA)
    theirs = hub.connect(owner, ADA)
    member.client.delete(GOOGLE)
    assert _revocations(hub) == 0
    assert owner.client.post(f"{ROOT}connections/{theirs.pk}/refresh").status_code == 200
    owner.client.delete(GOOGLE)
    assert _revocations(hub) == 1


def test_disconnect_while_the_provider_is_away_forgets_anyway_and_tells(hub: Hub, member: Actor) -> None:
    hub.connect(member, ADA)
    hub.simulator.fault("status", operation="google.oauth.revoke", status=503)
    assert member.client.delete(GOOGLE).status_code == 204
    assert Connection.objects.get().credentials is None
    assert _revocations(hub) == disconnecting.REVOKE_ATTEMPTS
    assert "503" in AuditEvent.objects.get(action="connection.revoke_failed").changes["reason"]


def test_disconnect_tries_the_revocation_twice(hub: Hub, member: Actor) -> None:
    hub.connect(member, ADA)
    hub.simulator.fault("status", operation="google.oauth.revoke", status=503, count=1)
    member.client.delete(GOOGLE)
    assert [grant["revoked"] for grant in hub.simulator.grants()] == [True]
    assert not AuditEvent.objects.filter(action="connection.revoke_failed").exists()


def test_disconnect_of_a_grant_that_was_dead_already_is_no_failure(hub: Hub, member: Actor) -> None:
    hub.connect(member, ADA)
    hub.simulator.revoke(vendor="google", email=ADA)
    assert member.client.delete(GOOGLE).status_code == 204
    assert _revocations(hub) == 1
    assert not AuditEvent.objects.filter(action="connection.revoke_failed").exists()


def test_disconnect_at_microsoft_tells_that_the_grant_lives_on_there(hub: Hub, member: Actor) -> None:
    hub.connect(member, ADA, "microsoft")
    member.client.delete(f"{ROOT}oauth/microsoft")
    assert "no call" in AuditEvent.objects.get(action="connection.revoke_failed").changes["reason"]


def test_disconnect_again_is_fine_by_id_and_finds_nothing_without(hub: Hub, member: Actor) -> None:
    connection = hub.connect(member, ADA)
    member.client.delete(GOOGLE)
    assert member.client.delete(f"{GOOGLE}?connectionId={connection.pk}").status_code == 204
    assert member.client.delete(GOOGLE).status_code == 404
    assert AuditEvent.objects.filter(action="connection.disconnected").count() == 1


def test_disconnect_with_purge_removes_what_was_synced(hub: Hub, member: Actor, owner: Actor) -> None:
    hub.connect(member, ADA)
    other = hub.connect(owner, BOB)
    assert member.client.delete(f"{GOOGLE}?purge=true").status_code == 204
    assert Connection.objects.get().pk == other.pk
    assert set(SyncState.objects.values_list("connection", flat=True)) == {other.pk}
    assert AuditEvent.objects.filter(action="connection.purged").count() == 1


def test_disconnect_with_purge_after_a_disconnect_removes_the_rest(hub: Hub, member: Actor) -> None:
    hub.connect(member, ADA)
    member.client.delete(GOOGLE)
    assert member.client.delete(f"{GOOGLE}?purge=true").status_code == 204
    assert not Connection.objects.exists()
    assert _revocations(hub) == 1


def test_purge_of_several_accounts_without_a_word_names_them_and_does_nothing(hub: Hub, member: Actor) -> None:
    ada, bob = hub.connect(member, ADA), hub.connect(member, BOB)
    hub.connect(member, ADA, "microsoft")
    answer = member.client.delete(f"{GOOGLE}?purge=true")
    assert answer.status_code == 409
    error = answer.json()["error"]
    assert error["code"] == "several_connections"
    named = [{"id": str(row.pk), "accountEmail": row.account_email} for row in (ada, bob)]
    assert error["connections"] == named
    assert Connection.objects.connected().count() == 3
    assert _revocations(hub) == 0


def test_purge_counts_accounts_disconnected_before(hub: Hub, member: Actor) -> None:
    ada = hub.connect(member, ADA)
    member.client.delete(f"{GOOGLE}?connectionId={ada.pk}")
    hub.connect(member, BOB)
    assert member.client.delete(f"{GOOGLE}?purge=true").status_code == 409
    assert Connection.objects.count() == 2


@pytest.mark.parametrize("query", ["&all=true", "&connectionId={ada}"])
def test_purge_of_several_accounts_takes_those_that_are_named(hub: Hub, member: Actor, query: str) -> None:
    ada, bob = hub.connect(member, ADA), hub.connect(member, BOB)
    assert member.client.delete(f"{GOOGLE}?purge=true{query.format(ada=ada.pk)}").status_code == 204
    left = set() if "all" in query else {bob.pk}
    assert set(Connection.objects.values_list("pk", flat=True)) == left


def test_disconnect_of_a_colleagues_connection_is_not_found(hub: Hub, member: Actor, owner: Actor) -> None:
    connection = hub.connect(member, ADA)
    assert owner.client.delete(f"{GOOGLE}?connectionId={connection.pk}").status_code == 404
    assert owner.client.delete(GOOGLE).status_code == 404
    assert Connection.objects.connected().exists()


@pytest.mark.parametrize("query", ["?connectionId=nonsense", "?connectionId=018f0000-0000-7000-8000-000000000000"])
def test_disconnect_of_a_missing_connection_is_not_found(member: Actor, engines: None, query: str) -> None:
    assert member.client.delete(f"{GOOGLE}{query}").status_code == 404


def test_disconnect_from_an_unknown_provider_is_not_found(member: Actor) -> None:
    assert member.client.delete(f"{ROOT}oauth/yahoo").status_code == 404


def test_disconnect_with_the_id_of_another_providers_connection_is_not_found(hub: Hub, member: Actor) -> None:
    connection = hub.connect(member, ADA, "microsoft")
    assert member.client.delete(f"{GOOGLE}?connectionId={connection.pk}").status_code == 404
    assert Connection.objects.connected().exists()
