"""Consent flows from the first redirect to the saved connection, against the simulator."""

from __future__ import annotations

import base64
from hashlib import sha256
from typing import Any

import pytest
from rest_framework.test import APIClient

from core.crypto import Sealed
from integrations.models import Connection, OAuthState, SyncRun, SyncState
from integrations.tests.conftest import ADA, BOB
from integrations.tests.flows import HTML, JSON, ROOT, Hub, query_of
from workspaces.models import AuditEvent
from workspaces.tests.fixtures import Actor, make_actor

MODIFY = "https://www.googleapis.com/auth/gmail.modify"
CALENDAR_LIST = "https://www.googleapis.com/auth/calendar.calendarlist.readonly"


def test_authorize_asks_google_for_offline_access_with_pkce(hub: Hub, member: Actor) -> None:
    asked = query_of(hub.authorize(member))
    assert asked["response_type"] == "code"
    assert asked["access_type"] == "offline"
    assert asked["prompt"] == "consent"
    assert asked["code_challenge_method"] == "S256"
    assert set(asked["scope"].split()) == {"openid", "email", "profile", MODIFY}
    assert asked["redirect_uri"] == f"http://127.0.0.1:8000{ROOT}oauth/google/callback"
    assert "include_granted_scopes" not in asked


def test_authorize_keeps_the_verifier_of_its_challenge_and_only_a_digest_of_the_state(hub: Hub, member: Actor) -> None:
    asked = query_of(hub.authorize(member))
    row = OAuthState.objects.get()
    verifier = row.session["google-oauth2_code_verifier"]
    challenge = base64.urlsafe_b64encode(sha256(verifier.encode()).digest()).decode().rstrip("=")
    assert challenge == asked["code_challenge"]
    assert row.state_digest == sha256(asked["state"].encode()).hexdigest()
    sealed = OAuthState.objects.values_list("session", flat=True).get()
    assert isinstance(sealed, Sealed)
    assert verifier.encode() not in sealed.blob


def test_authorize_in_a_browser_redirects_with_a_cookie_for_the_callback_alone(hub: Hub, member: Actor) -> None:
    response = hub.authorize_in_browser(member)
    [cookie] = response.cookies.values()
    assert response.status_code == 302
    assert cookie["httponly"] is True
    assert cookie["samesite"] == "Lax"
    assert cookie["path"] == f"{ROOT}oauth/google/callback"
    assert cookie["secure"] == ""


def test_authorize_behind_https_marks_the_cookie_secure(hub: Hub, member: Actor, settings: Any) -> None:
    settings.PUBLIC_URL = "https://hub.example.org"
    [cookie] = hub.authorize_in_browser(member).cookies.values()
    assert cookie["secure"] is True


def test_authorize_when_not_configured_is_a_conflict_naming_the_variables(
    hub: Hub, member: Actor, settings: Any
) -> None:
    settings.GOOGLE_CLIENT_SECRET = ""
    response = member.client.get(f"{ROOT}oauth/google/authorize", HTTP_ACCEPT=JSON)
    assert response.status_code == 409
    assert response.json()["error"]["code"] == "not_configured"
    assert "GOOGLE_CLIENT_SECRET" in response.json()["error"]["message"]


@pytest.mark.parametrize(("provider", "status"), [("yahoo", 404), ("imap", 422)])
def test_authorize_with_a_provider_without_consent_is_refused(
    hub: Hub, member: Actor, provider: str, status: int
) -> None:
    assert member.client.get(f"{ROOT}oauth/{provider}/authorize").status_code == status


def test_authorize_with_an_unknown_capability_is_refused(hub: Hub, member: Actor) -> None:
    response = member.client.get(f"{ROOT}oauth/google/authorize", {"scopes": "email,fax"})
    assert response.status_code == 400
    assert list(response.json()["error"]["fields"]) == ["scopes"]


def test_authorize_without_a_token_is_refused(hub: Hub) -> None:
    assert APIClient().get(f"{ROOT}oauth/google/authorize").status_code == 401


def test_callback_of_a_client_saves_a_sealed_connection_and_queues_its_first_run(hub: Hub, member: Actor) -> None:
    connection = hub.connect(member, ADA)
    assert (connection.user, connection.workspace) == (member.user, member.workspace)
    assert connection.account_email == ADA
    assert connection.display_name == "Ada Lovelace"
    assert MODIFY in connection.scopes
    assert {"access_token", "refresh_token"} <= connection.credentials.keys()
    assert connection.token_expires_at is not None
    assert connection.status == "active"
    assert SyncState.objects.get(connection=connection).type == "email"
    run = SyncRun.objects.get(connection=connection)
    assert (run.type, run.trigger, run.status) == ("email", "connect", "queued")
    assert not OAuthState.objects.exists()


def test_callback_leaves_no_readable_token_in_the_database(hub: Hub, member: Actor) -> None:
    connection = hub.connect(member, ADA)
    sealed = Connection.objects.values_list("credentials", flat=True).get()
    assert isinstance(sealed, Sealed)
    for secret in (connection.credentials["access_token"], connection.credentials["refresh_token"]):
        assert secret.encode() not in sealed.blob
    assert not AuditEvent.objects.filter(changes__icontains=connection.credentials["refresh_token"]).exists()


def test_callback_in_the_browser_that_began_shows_workspace_and_account(hub: Hub, member: Actor) -> None:
    answer = hub.consent(hub.authorize_in_browser(member)["Location"], ADA)
    response = hub.callback(answer, client=member.client, accept=HTML)
    page = response.content.decode()
    assert response.status_code == 200
    assert ADA in page
    assert member.workspace.name in page
    assert "default-src 'none'" in response["Content-Security-Policy"]
    assert [cookie["max-age"] for cookie in response.cookies.values()] == [0]


def test_callback_with_return_to_redirects_there(hub: Hub, member: Actor) -> None:
    started = hub.authorize_in_browser(member, returnTo="/settings?tab=mail")
    response = hub.callback(hub.consent(started["Location"], ADA), client=member.client, accept=HTML)
    assert response.status_code == 302
    assert response["Location"] == "/settings?tab=mail"


def test_callback_of_microsoft_connects_without_capabilities_while_nothing_syncs_it(hub: Hub, member: Actor) -> None:
    connection = hub.connect(member, ADA, "microsoft")
    assert connection.credentials["refresh_token"]
    assert not SyncRun.objects.exists()
    [row] = member.client.get(f"{ROOT}connections").json()["data"]
    assert row["provider"] == "microsoft"
    assert row["capabilities"] == []


def test_callback_with_scopes_in_long_form_counts_them_as_granted(
    hub: Hub, member: Actor, settings: Any, with_calendar: None
) -> None:
    hub.simulator.settings(microsoft_scope_style="uri")
    connection = hub.connect(member, ADA, "microsoft")
    assert any(scope.startswith("https://graph.microsoft.com/") for scope in connection.scopes)
    status = member.client.get(f"{ROOT}connections/{connection.pk}/status").json()
    assert status["missingScopes"] == []


def test_callback_with_a_scope_unticked_connects_and_says_what_is_missing(
    hub: Hub, member: Actor, with_calendar: None
) -> None:
    connection = hub.connect(member, ADA, granted=[CALENDAR_LIST])
    status = member.client.get(f"{ROOT}connections/{connection.pk}/status").json()
    assert status["capabilities"] == []
    assert MODIFY in status["missingScopes"]
    assert CALENDAR_LIST not in status["missingScopes"]
    assert status["email"]["status"] == "unavailable"
    assert not SyncRun.objects.exists()
    assert not SyncState.objects.exists()
    refused = member.client.post(f"{ROOT}connections/{connection.pk}/sync", {"type": "email"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "missing_scope")


def test_callback_after_consenting_again_starts_what_was_missing(hub: Hub, member: Actor, with_calendar: None) -> None:
    connection = hub.connect(member, ADA, granted=[CALENDAR_LIST])
    again = hub.connect(member, ADA, connectionId=str(connection.pk))
    assert again.pk == connection.pk
    assert set(SyncRun.objects.values_list("type", flat=True)) == {"email", "calendar"}


def test_authorize_for_one_capability_asks_only_for_its_scopes(hub: Hub, member: Actor, with_calendar: None) -> None:
    asked = query_of(hub.authorize(member, scopes="email"))
    assert MODIFY in asked["scope"].split()
    assert not [scope for scope in asked["scope"].split() if "calendar" in scope]


def test_callback_of_the_same_account_keeps_the_row_and_mends_it(hub: Hub, member: Actor) -> None:
    first = hub.connect(member, ADA)
    first.note_error(code="needs_reauth", message="dead", needs_reauth=True)
    again = hub.connect(member, ADA)
    assert again.pk == first.pk
    assert (again.needs_reauth, again.last_error_code, again.last_error_message) == (False, "", "")
    assert again.credentials["refresh_token"] != first.credentials["refresh_token"]
    assert SyncRun.objects.count() == 1


def test_callback_after_a_disconnect_revives_the_same_row(hub: Hub, member: Actor) -> None:
    first = hub.connect(member, ADA)
    assert member.client.delete(f"{ROOT}oauth/google").status_code == 204
    again = hub.connect(member, ADA)
    assert again.pk == first.pk
    assert again.disconnected_at is None


def test_callback_of_another_account_makes_a_second_connection(hub: Hub, member: Actor) -> None:
    assert hub.connect(member, ADA).pk != hub.connect(member, BOB).pk
    assert member.client.get(f"{ROOT}connections").json()["pagination"]["total"] == 2


def test_callback_of_the_same_account_by_a_colleague_is_the_colleagues_own(
    hub: Hub, member: Actor, owner: Actor
) -> None:
    mine, theirs = hub.connect(member, ADA), hub.connect(owner, ADA)
    assert mine.pk != theirs.pk
    assert theirs.user == owner.user


def test_callback_keeps_the_account_when_its_address_changed(hub: Hub, member: Actor) -> None:
    first = hub.connect(member, ADA)
    Connection.objects.filter(pk=first.pk).update(account_email="old@hub.example")
    again = hub.connect(member, ADA)
    assert (again.pk, again.account_email) == (first.pk, ADA)


def test_providers_lists_what_is_configured_connected_and_really_synced(hub: Hub, member: Actor, settings: Any) -> None:
    settings.MICROSOFT_CLIENT_ID = ""
    hub.connect(member, ADA)
    rows = {row["provider"]: row for row in member.client.get(f"{ROOT}oauth/providers").json()["providers"]}
    assert list(rows) == ["google", "microsoft", "imap"]
    assert rows["google"]["connected"]
    assert rows["google"]["capabilities"] == ["email"]
    assert MODIFY in rows["google"]["scopes"]
    assert (rows["microsoft"]["configured"], rows["microsoft"]["capabilities"]) == (False, [])
    assert rows["imap"]["configured"]
    assert "imap.host" in [field["name"] for field in rows["imap"]["fields"]]


def test_providers_of_a_colleague_are_not_connected(hub: Hub, member: Actor, owner: Actor) -> None:
    hub.connect(member, ADA)
    [google, *_] = owner.client.get(f"{ROOT}oauth/providers").json()["providers"]
    assert not google["connected"]


def test_connection_of_one_workspace_is_not_seen_in_another_of_the_same_user(hub: Hub, member: Actor) -> None:
    elsewhere = make_actor(user=member.user)
    hub.connect(member, ADA)
    assert elsewhere.client.get(f"{ROOT}connections").json()["data"] == []
