"""The ways a consent flow must not end in a connection (reference reliability S4, threats 1-8)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now
from rest_framework.test import APIClient

from integrations.models import Connection, OAuthState
from integrations.oauth import CONNECTION_PROVIDERS
from integrations.tests.conftest import ADA, BOB
from integrations.tests.flows import HTML, JSON, ROOT, Hub
from workspaces.tests.fixtures import Actor, make_actor

Bend = Callable[[dict[str, str]], dict[str, str]]


def _refused(response: Any, code: str, status: int = 400) -> None:
    assert (response.status_code, response.json()["error"]["code"]) == (status, code), response.content
    assert not Connection.objects.exists()


@pytest.mark.parametrize(
    "bend",
    [
        pytest.param(lambda answer: {**answer, "state": ""}, id="state missing"),
        pytest.param(lambda answer: {**answer, "state": "x" * 32}, id="state forged"),
        pytest.param(lambda answer: {**answer, "state": answer["state"] + "\x00"}, id="state with NUL"),
        pytest.param(lambda answer: {**answer, "state": "é" * 32}, id="state not ASCII"),
        pytest.param(lambda answer: {**answer, "iss": "https://accounts.evil.example"}, id="another issuer"),
    ],
)
def test_callback_with_a_bent_answer_stores_nothing_and_asks_no_token(hub: Hub, member: Actor, bend: Bend) -> None:
    answer = hub.consent(hub.authorize(member), ADA)
    response = hub.callback(bend(answer))
    assert response.status_code == 400
    assert not Connection.objects.exists()
    assert hub.token_requests() == 0


def test_callback_with_the_right_issuer_is_taken(hub: Hub, member: Actor) -> None:
    answer = hub.consent(hub.authorize(member), ADA)
    assert hub.callback({**answer, "iss": hub.simulator.base_url}).status_code == 200


def test_callback_replayed_is_refused_without_another_token_request(hub: Hub, member: Actor) -> None:
    answer = hub.consent(hub.authorize(member), ADA)
    assert hub.callback(answer).status_code == 200
    replay = hub.callback(answer)
    assert (replay.status_code, replay.json()["error"]["code"]) == (400, "state_invalid")
    assert hub.token_requests() == 1


def test_callback_after_ten_minutes_is_refused(hub: Hub, member: Actor) -> None:
    answer = hub.consent(hub.authorize(member), ADA)
    OAuthState.objects.update(expires_at=Now() - timedelta(seconds=1))
    _refused(hub.callback(answer), "state_invalid")
    assert hub.token_requests() == 0


def test_callback_in_another_browser_is_refused(hub: Hub, member: Actor) -> None:
    answer = hub.consent(hub.authorize_in_browser(member)["Location"], ADA)
    _refused(hub.callback(answer, client=APIClient()), "state_invalid")
    assert hub.token_requests() == 0


def test_callback_with_the_cookie_of_another_flow_is_refused(hub: Hub, member: Actor) -> None:
    victim = APIClient()
    hub.authorize_in_browser(Actor(member.membership, member.token, _with_token(victim, member.token)))
    answer = hub.consent(hub.authorize_in_browser(member)["Location"], ADA)
    _refused(hub.callback(answer, client=victim), "state_invalid")


def _with_token(client: APIClient, token: str) -> APIClient:
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    return client


def test_two_flows_in_one_browser_both_finish(hub: Hub, member: Actor) -> None:
    first = hub.consent(hub.authorize_in_browser(member)["Location"], ADA)
    second = hub.consent(hub.authorize_in_browser(member)["Location"], BOB)
    for answer in (first, second):
        assert hub.callback(answer, client=member.client).status_code == 200
    assert Connection.objects.count() == 2


def test_callback_on_another_providers_path_is_refused(hub: Hub, member: Actor) -> None:
    answer = hub.consent(hub.authorize(member), ADA)
    _refused(hub.callback(answer, provider="microsoft"), "state_invalid")
    assert hub.token_requests() == hub.token_requests("microsoft") == 0


@pytest.mark.parametrize("provider", ["yahoo", "../google", "imap"])
def test_callback_of_a_provider_without_consent_is_refused(hub: Hub, provider: str) -> None:
    response = APIClient().get(f"{ROOT}oauth/{provider}/callback", {"state": "s", "code": "c"}, HTTP_ACCEPT=JSON)
    assert response.status_code in (404, 422)


def test_callback_after_the_user_refused_says_so(hub: Hub, member: Actor) -> None:
    answer = hub.consent(hub.authorize(member), "deny")
    _refused(hub.callback(answer), "access_denied")


def test_callback_after_the_user_refused_shows_a_page_in_a_browser(hub: Hub, member: Actor) -> None:
    answer = hub.consent(hub.authorize_in_browser(member)["Location"], "deny")
    response = hub.callback(answer, client=member.client, accept=HTML)
    page = response.content.decode()
    assert response.status_code == 400
    assert response["Content-Type"].startswith("text/html")
    assert "was not connected" in page
    assert "access_denied" in page
    assert "href" not in page  # nobody said where to go back to


def test_callback_after_the_user_refused_leads_back_to_where_the_flow_began(hub: Hub, member: Actor) -> None:
    answer = hub.consent(hub.authorize_in_browser(member, returnTo="/settings?tab=mail&x=1")["Location"], "deny")
    page = hub.callback(answer, client=member.client, accept=HTML).content.decode()
    assert '<a href="/settings?tab=mail&amp;x=1">' in page
    answer = hub.consent(hub.authorize(member, returnTo="/settings"), "deny")
    assert hub.callback(answer).json()["error"]["returnTo"] == "/settings"


def test_head_of_either_leg_of_a_flow_changes_nothing(hub: Hub, member: Actor) -> None:
    """Link previews and scanners ask with HEAD."""
    assert member.client.head(f"{ROOT}oauth/google/authorize").status_code == 405
    assert not OAuthState.objects.exists()
    answer = hub.consent(hub.authorize(member), ADA)
    assert APIClient().head(f"{ROOT}oauth/google/callback", answer).status_code == 405
    assert hub.callback(answer).status_code == 200


def test_callback_with_markup_in_the_error_shows_it_as_text(hub: Hub, member: Actor) -> None:
    answer = hub.consent(hub.authorize(member), "deny")
    bent = {**answer, "error": "x", "error_description": "<script>alert(1)</script>"}
    assert b"<script>" not in hub.callback(bent, accept=HTML).content


def test_callback_for_a_user_who_left_the_workspace_is_refused(hub: Hub, member: Actor) -> None:
    answer = hub.consent(hub.authorize(member), ADA)
    member.membership.delete()
    _refused(hub.callback(answer), "state_invalid")
    assert hub.token_requests() == 0


def test_callback_for_an_inactive_user_is_refused(hub: Hub, member: Actor) -> None:
    answer = hub.consent(hub.authorize(member), ADA)
    type(member.user).objects.filter(pk=member.user.pk).update(is_active=False)
    _refused(hub.callback(answer), "state_invalid")


def test_callback_with_a_code_of_another_flow_is_refused_by_its_challenge(hub: Hub, member: Actor) -> None:
    """PKCE: a stolen code does not fit the verifier of this flow."""
    stolen = hub.consent(hub.authorize(member), BOB)
    answer = hub.consent(hub.authorize(member), ADA)
    _refused(hub.callback({**answer, "code": stolen["code"]}), "authorization_code_rejected")


@pytest.mark.parametrize("code", ["", "wrong", "4/0A" + "x" * 2000])
def test_callback_with_a_worthless_code_is_refused(hub: Hub, member: Actor, code: str) -> None:
    answer = hub.consent(hub.authorize(member), ADA)
    response = hub.callback({**answer, "code": code})
    assert response.status_code in (400, 502)
    assert not Connection.objects.exists()


def test_callback_with_the_hubs_secret_refused_blames_the_server(hub: Hub, member: Actor, settings: Any) -> None:
    answer = hub.consent(hub.authorize(member), ADA)
    settings.GOOGLE_CLIENT_SECRET = "wrong"
    _refused(hub.callback(answer), "client_rejected", 502)


@pytest.mark.parametrize("kind", ["status", "garbage", "close"])
@pytest.mark.parametrize("operation", ["google.oauth.token", "google.oauth.userinfo"])
def test_callback_while_the_provider_is_broken_stores_nothing(
    hub: Hub, member: Actor, kind: str, operation: str
) -> None:
    answer = hub.consent(hub.authorize(member), ADA)
    hub.simulator.fault(kind, operation=operation)
    _refused(hub.callback(answer), "provider_unavailable", 502)


def test_callback_with_an_unverified_address_stores_nothing(hub: Hub, member: Actor) -> None:
    answer = hub.consent(hub.authorize(member), ADA)
    hub.simulator.fault("merge", operation="google.oauth.userinfo", body={"email_verified": False})
    assert hub.callback(answer).status_code == 502
    assert not Connection.objects.exists()


def test_callback_signed_in_as_another_account_than_the_one_to_renew_changes_nothing(hub: Hub, member: Actor) -> None:
    connection = hub.connect(member, ADA)
    before = Connection.objects.values().get()
    answer = hub.consent(hub.authorize(member, connectionId=str(connection.pk)), BOB)
    response = hub.callback(answer)
    assert (response.status_code, response.json()["error"]["code"]) == (409, "account_mismatch")
    assert Connection.objects.values().get() == before


def test_authorize_to_renew_hints_at_the_account(hub: Hub, member: Actor) -> None:
    connection = hub.connect(member, "ada@hub.example")
    Connection.objects.update(account_email="ada+crm@hub.example")
    assert "login_hint=ada%2Bcrm%40hub.example" in hub.authorize(member, connectionId=str(connection.pk))


def test_authorize_to_renew_a_colleagues_connection_is_not_found(hub: Hub, member: Actor, owner: Actor) -> None:
    connection = hub.connect(member, ADA)
    missing = "018f0000-0000-7000-8000-000000000000"
    answers = [
        owner.client.get(f"{ROOT}oauth/google/authorize", {"connectionId": name}, HTTP_ACCEPT=JSON)
        for name in (str(connection.pk), missing, "nonsense")
    ]
    assert [answer.status_code for answer in answers] == [404] * 3
    assert len({answer.json()["error"]["message"] for answer in answers}) == 1


def test_authorize_to_renew_on_another_providers_path_is_not_found(hub: Hub, member: Actor) -> None:
    connection = hub.connect(member, ADA)
    response = member.client.get(
        f"{ROOT}oauth/microsoft/authorize", {"connectionId": str(connection.pk)}, HTTP_ACCEPT=JSON
    )
    assert response.status_code == 404


def test_callback_saves_to_the_workspace_that_began_whoever_brings_it(hub: Hub, member: Actor) -> None:
    stranger = make_actor()
    answer = hub.consent(hub.authorize(member), ADA)
    assert hub.callback(answer, client=stranger.client).status_code == 200
    assert Connection.objects.get().workspace == member.workspace


def test_callback_takes_its_redirect_uri_from_the_settings_and_not_from_the_host_header(
    hub: Hub, member: Actor, settings: Any
) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    url = member.client.get(f"{ROOT}oauth/google/authorize", HTTP_ACCEPT=JSON, HTTP_HOST="evil.example").json()
    assert "evil.example" not in url["authorizationUrl"]


@pytest.mark.parametrize("parameter", ["shop", "token_url", "access_token_url", "redirect_uri", "user_id"])
def test_callback_parameters_never_name_a_token_host_or_a_user(hub: Hub, member: Actor, parameter: str) -> None:
    answer = hub.consent(hub.authorize(member), ADA)
    assert hub.callback({**answer, parameter: "http://127.0.0.1:1/steal"}).status_code == 200
    assert hub.token_requests() == 1
    assert Connection.objects.get().user == member.user


def test_microsofts_issuer_of_any_tenant_on_its_own_host_is_taken(settings: Any) -> None:
    microsoft: Any = CONNECTION_PROVIDERS.get("microsoft")
    settings.MICROSOFT_AUTHORIZE_URL = "https://login.microsoftonline.com/common/oauth2/v2.0/authorize"
    assert microsoft.sent_by("https://login.microsoftonline.com/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0")
    assert not microsoft.sent_by("https://login.microsoftonline.com.evil.example/v2.0")
