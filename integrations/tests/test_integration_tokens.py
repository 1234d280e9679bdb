"""Access tokens of integrations: one refresh however many ask, nothing lost, nothing called dead that lives."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection as database
from django.db import transaction
from django.db.models.functions import Now

from core.errors import (
    CredentialsRejected,
    NotFound,
    ProviderAuthError,
    ProviderError,
    ProviderRateLimited,
    ProviderUnavailable,
)
from integrations.models import Event, Health, Integration
from integrations.providers.base import IntegrationProvider
from integrations.providers.drive import Drive
from integrations.services import integration_tokens, integration_use, integrations
from integrations.services.integration_tokens import Shared
from integrations.tests.conftest import ADA
from integrations.token_endpoint import TokenAnswer
from simulator.process import Simulator
from simulator.tests.drive_api import DriveTruth
from workspaces.tests.fixtures import Actor

CALLERS = 50
ROUNDS = 10

Make = Callable[..., Integration]


@pytest.fixture
def truth(simulator: Simulator) -> DriveTruth:
    return DriveTruth(simulator, ADA)


@pytest.fixture
def stored(admin: Actor, truth: DriveTruth) -> Integration:
    """An integration with Drive, filled with living tokens."""
    tokens = truth.tokens()
    return integrations.create(
        workspace=admin.workspace,
        by=admin.user,
        name="Files",
        type="CLOUD_STORAGE",
        config={},
        credentials={"accessToken": tokens["access_token"], "refreshToken": tokens["refresh_token"]},
    )


def shared(row: Integration, kind: type[IntegrationProvider] = Drive, **more: Any) -> Shared:
    return Shared(row.pk, kind, **more)


def credentials(row: Integration) -> Mapping[str, Any]:
    opened: Mapping[str, Any] = Integration.objects.get(pk=row.pk).secrets["credentials"]
    return opened


def asked(simulator: Simulator) -> int:
    return len(simulator.ledger(operation="google.oauth.token"))


def ends(row: Integration, seconds: float) -> None:
    """The access token ends so soon, as far as is known here."""
    fresh = Integration.objects.annotate(now=Now()).get(pk=row.pk)
    moment = (fresh.now + timedelta(seconds=seconds)).isoformat()
    fresh.credentials = {**fresh.secrets, "token": {"endsAt": moment, "expiresIn": 3599}}
    fresh.save(update_fields=("credentials",))


class Scripted(Drive):
    """Drive, whose refresh is a function of the test."""

    script: Callable[[Mapping[str, Any]], TokenAnswer]

    @classmethod
    def refresh(cls, credentials: Mapping[str, Any]) -> TokenAnswer:
        return cls.script(credentials)


def scripted(script: Callable[[Mapping[str, Any]], TokenAnswer]) -> type[Scripted]:
    return type("ScriptedNow", (Scripted,), {"script": staticmethod(script)})


# When


def test_token_of_which_nothing_is_known_is_used_as_it_is(simulator: Simulator, stored: Integration) -> None:
    assert shared(stored).access_token() == credentials(stored)["accessToken"]
    assert asked(simulator) == 0


def test_token_that_was_refused_is_refreshed_once(simulator: Simulator, stored: Integration) -> None:
    refused = credentials(stored)["accessToken"]
    fresh = shared(stored).access_token(refused=refused)
    assert fresh != refused
    assert shared(stored).access_token(refused=refused) == fresh == shared(stored).access_token()
    assert asked(simulator) == 1


@pytest.mark.parametrize(("left", "refreshes"), [(301, 0), (299, 1), (-1, 1)])
def test_token_is_refreshed_five_minutes_before_its_end(
    simulator: Simulator, stored: Integration, left: int, refreshes: int
) -> None:
    ends(stored, left)
    shared(stored).access_token()
    assert asked(simulator) == refreshes


def test_token_of_a_short_life_is_not_refreshed_on_every_call(simulator: Simulator, stored: Integration) -> None:
    simulator.settings(google_access_token_seconds=120)
    fresh = shared(stored).access_token(refused=credentials(stored)["accessToken"])
    assert shared(stored).access_token() == fresh
    assert asked(simulator) == 1


# Once


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("rotates", [False, True], ids=["kept", "rotated"])
def test_token_asked_for_by_fifty_at_its_end_is_refreshed_once(
    simulator: Simulator, stored: Integration, rotates: bool
) -> None:
    simulator.settings(google_rotates_refresh_tokens=rotates)
    for _ in range(ROUNDS):
        ends(stored, -1)
        before = asked(simulator)
        assert len(set(_together(lambda: shared(stored).access_token()))) == 1
        assert asked(simulator) == before + 1


@pytest.mark.django_db(transaction=True)
def test_token_refused_for_fifty_at_once_is_refreshed_once(simulator: Simulator, stored: Integration) -> None:
    simulator.settings(google_rotates_refresh_tokens=True)
    for round_ in range(1, ROUNDS + 1):
        refused = credentials(stored)["accessToken"]
        assert len(set(_together(lambda refused=refused: shared(stored).access_token(refused=refused)))) == 1
        assert asked(simulator) == round_


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


# What is kept


def test_refresh_without_a_refresh_token_keeps_the_old_one(stored: Integration) -> None:
    before = credentials(stored)
    fresh = shared(stored).access_token(refused=before["accessToken"])
    assert credentials(stored) == {**before, "accessToken": fresh}


def test_refresh_that_rotates_stores_the_new_refresh_token_before_it_is_used(
    simulator: Simulator, stored: Integration
) -> None:
    simulator.settings(google_rotates_refresh_tokens=True)
    seen = {credentials(stored)["refreshToken"]}
    for _ in range(3):
        shared(stored).access_token(refused=credentials(stored)["accessToken"])
        seen.add(credentials(stored)["refreshToken"])
    assert len(seen) == 4


def test_refresh_changes_neither_fingerprint_nor_the_age_of_the_credentials(stored: Integration) -> None:
    before = Integration.objects.get(pk=stored.pk)
    shared(stored).access_token(refused=credentials(stored)["accessToken"])
    after = Integration.objects.get(pk=stored.pk)
    assert (after.fingerprint, after.credentials_changed_at) == (before.fingerprint, before.credentials_changed_at)
    assert after.updated_at == before.updated_at


@pytest.mark.django_db(transaction=True)
def test_refresh_whose_answer_came_after_new_credentials_stores_nothing(admin: Actor, stored: Integration) -> None:
    def late(given: Mapping[str, Any]) -> TokenAnswer:
        filled = {"accessToken": "of-the-owner", "refreshToken": "of-the-owner-too"}
        integrations.change(integration=stored, by=admin.user, given={"credentials": filled})
        return TokenAnswer("late", "later", 3600.0)

    assert shared(stored, scripted(late)).access_token(refused=credentials(stored)["accessToken"]) == "of-the-owner"
    assert credentials(stored)["refreshToken"] == "of-the-owner-too"


@pytest.mark.django_db(transaction=True)
def test_refresh_beside_another_change_keeps_both(admin: Actor, stored: Integration) -> None:
    def meanwhile(given: Mapping[str, Any]) -> TokenAnswer:
        integrations.change(
            integration=stored, by=admin.user, given={"name": "Renamed", "config": {"rootFolderId": "x"}}
        )
        return TokenAnswer("fresh", "", 3600.0)

    assert shared(stored, scripted(meanwhile)).access_token(refused=credentials(stored)["accessToken"]) == "fresh"
    row = Integration.objects.get(pk=stored.pk)
    assert (row.name, row.config, row.secrets["credentials"]["accessToken"]) == (
        "Renamed",
        {"rootFolderId": "x"},
        "fresh",
    )


@pytest.mark.django_db(transaction=True)
def test_refresh_of_an_integration_that_was_deleted_meanwhile_stores_nothing(admin: Actor, stored: Integration) -> None:
    def late(given: Mapping[str, Any]) -> TokenAnswer:
        integrations.remove(integration=stored, by=admin.user)
        return TokenAnswer("late", "later", 3600.0)

    with pytest.raises(NotFound):
        shared(stored, scripted(late)).access_token(refused=credentials(stored)["accessToken"])
    assert Integration.objects.get(pk=stored.pk).credentials is None


# Dead or not


def test_refresh_of_a_revoked_grant_asks_its_owner_to_connect_again_and_never_google_again(
    simulator: Simulator, admin: Actor, stored: Integration
) -> None:
    simulator.revoke(vendor="google", email=ADA)
    for _ in range(3):
        with pytest.raises(CredentialsRejected, match="Connect again") as caught:
            integration_use.perform(integration=stored, action="list_files", given={}, by=admin.user)
        assert caught.value.code == "needs_reconnect"
    assert asked(simulator) == 1
    row = Integration.objects.get(pk=stored.pk)
    assert row.health == Health.NEEDS_RECONNECT
    assert "Connect again" in row.health_message
    assert Event.objects.filter(type="integration.failing").count() == 1


def test_dead_grant_is_over_when_the_integration_is_filled_anew(
    simulator: Simulator, admin: Actor, stored: Integration, truth: DriveTruth
) -> None:
    simulator.revoke(vendor="google", email=ADA)
    assert not integration_use.test(integration=stored).ok
    tokens = truth.tokens()
    filled = {"accessToken": tokens["access_token"], "refreshToken": tokens["refresh_token"]}
    row = integrations.change(integration=stored, by=admin.user, given={"credentials": filled})
    assert integration_use.test(integration=row).ok
    assert Integration.objects.get(pk=stored.pk).health == Health.OK


@pytest.mark.django_db(transaction=True)
def test_refresh_that_lost_the_race_uses_what_the_winner_stored(admin: Actor, stored: Integration) -> None:
    def loses(given: Mapping[str, Any]) -> TokenAnswer:
        filled = {"accessToken": "of-the-winner", "refreshToken": "rotated"}
        integrations.change(integration=stored, by=admin.user, given={"credentials": filled})
        raise ProviderAuthError("invalid_grant")

    assert shared(stored, scripted(loses)).access_token(refused=credentials(stored)["accessToken"]) == "of-the-winner"
    assert "token" not in Integration.objects.get(pk=stored.pk).secrets


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"kind": "status", "status": 503}, ProviderUnavailable),
        ({"kind": "status", "status": 429, "headers": {"Retry-After": "7"}}, ProviderRateLimited),
        ({"kind": "status", "status": 401, "reason": "invalid_client"}, ProviderError),
        ({"kind": "garbage"}, ProviderUnavailable),
        ({"kind": "close"}, ProviderUnavailable),
        ({"kind": "truncate"}, ProviderUnavailable),
    ],
    ids=["503", "429", "client", "garbage", "close", "truncate"],
)
def test_refresh_while_google_is_broken_keeps_the_grant_and_frees_the_lease(
    simulator: Simulator, stored: Integration, fault: dict[str, Any], error: type[Exception]
) -> None:
    rule = simulator.fault(**{"operation": "google.oauth.token", **fault})
    refused = credentials(stored)["accessToken"]
    with pytest.raises(error) as caught:
        shared(stored).access_token(refused=refused)
    assert not isinstance(caught.value, CredentialsRejected)
    simulator.remove_fault(rule)
    assert shared(stored).access_token(refused=refused) != refused


# Waiting


def test_token_while_another_worker_refreshes_is_waited_for(simulator: Simulator, stored: Integration) -> None:
    refused = credentials(stored)["accessToken"]
    Integration.objects.update(refresh_lease_until=Now() + timedelta(seconds=30))
    waited: list[float] = []

    def other_worker_finishes(seconds: float) -> None:
        waited.append(seconds)
        row = Integration.objects.get(pk=stored.pk)
        row.credentials = {**row.secrets, "credentials": {**row.secrets["credentials"], "accessToken": "elsewhere"}}
        row.save(update_fields=("credentials",))

    assert shared(stored, wait=other_worker_finishes).access_token(refused=refused) == "elsewhere"
    assert len(waited) == 1
    assert asked(simulator) == 0


def test_token_while_another_worker_never_finishes_is_given_up(
    stored: Integration, monkeypatch: pytest.MonkeyPatch
) -> None:
    Integration.objects.update(refresh_lease_until=Now() + timedelta(seconds=30))
    monkeypatch.setattr(integration_tokens, "WAIT_SECONDS", -1.0)
    with pytest.raises(ProviderUnavailable, match="elsewhere"):
        shared(stored).access_token(refused=credentials(stored)["accessToken"])


def test_lease_of_a_worker_that_died_runs_out(simulator: Simulator, stored: Integration) -> None:
    Integration.objects.update(refresh_lease_until=Now() - timedelta(seconds=1))
    shared(stored).access_token(refused=credentials(stored)["accessToken"])
    assert asked(simulator) == 1


@pytest.mark.django_db(transaction=True)
def test_refresh_inside_a_transaction_is_a_programming_error(stored: Integration) -> None:
    ends(stored, -1)
    with pytest.raises(RuntimeError), transaction.atomic():
        shared(stored).access_token()


# In use


def test_action_with_a_token_that_ended_refreshes_and_goes_on(
    simulator: Simulator, admin: Actor, stored: Integration, truth: DriveTruth
) -> None:
    truth.put("a.txt")
    simulator.expire_tokens()
    listed = integration_use.perform(integration=stored, action="list_files", given={}, by=admin.user)
    assert [item["fileName"] for item in listed["files"]] == ["a.txt"]
    assert asked(simulator) == 1
    integration_use.perform(integration=stored, action="list_files", given={}, by=admin.user)
    assert asked(simulator) == 1


def test_action_whose_fresh_token_is_refused_too_refreshes_no_further(
    simulator: Simulator, admin: Actor, stored: Integration
) -> None:
    simulator.fault("status", operation="drive.files.list", status=401)
    with pytest.raises(CredentialsRejected) as caught:
        integration_use.perform(integration=stored, action="list_files", given={}, by=admin.user)
    assert caught.value.code == "credentials_rejected"
    assert asked(simulator) == 1


def test_upload_whose_token_ends_on_the_way_is_one_upload(
    simulator: Simulator, admin: Actor, stored: Integration, truth: DriveTruth
) -> None:
    simulator.fault("status", operation="drive.files.create", status=401, count=1)
    given = {"fileName": "a.txt", "contentBase64": "YWI="}
    integration_use.perform(integration=stored, action="upload", given=given, by=admin.user)
    assert truth.names() == ["a.txt"]
    assert asked(simulator) == 1
