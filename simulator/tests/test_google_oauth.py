"""Google's OAuth endpoints: consent, codes, tokens, revocation, userinfo."""

from __future__ import annotations

import pytest

from simulator.process import Simulator
from simulator.tests.factories import (
    CALLBACK,
    MODIFY,
    GmailApi,
    authorize_url,
    callback_of,
    connect,
    send,
    trade,
)

SEND = "https://www.googleapis.com/auth/gmail.send"
EMAIL = "https://www.googleapis.com/auth/userinfo.email"
PROFILE = "https://www.googleapis.com/auth/userinfo.profile"


@pytest.fixture
def simulator(simulator: Simulator) -> Simulator:
    simulator.create_account("google", "ada@hub.example", name="Ada Lovelace")
    return simulator


def code_for(simulator: Simulator, **changes: str) -> str:
    return callback_of(simulator.authorize(authorize_url(simulator, "google", **changes), "ada@hub.example"))["code"]


def error_of(simulator: Simulator, **changes: str) -> tuple[int, str, str]:
    answer = trade(simulator, "google", **changes)
    return answer.status, answer.json["error"], answer.json.get("error_description", "")


def test_authorize_consent_page_lists_accounts_and_scopes(simulator: Simulator) -> None:
    url = authorize_url(simulator, "google", scope=f"openid email {MODIFY} {SEND}")
    page = send(simulator, "GET", url.removeprefix(simulator.base_url))
    assert page.status == 200
    text = page.body.decode()
    assert "ada@hub.example" in text
    assert text.count('type="checkbox"') == 2


def test_authorize_posted_form_grants_only_the_ticked_scopes(simulator: Simulator) -> None:
    url = authorize_url(simulator, "google", scope=f"openid email {MODIFY} {SEND}").removeprefix(simulator.base_url)
    form = {"account": "ada@hub.example", "scope": SEND, "tick_boxes": "1", "action": "allow"}
    answer = send(simulator, "POST", url, form=form)
    assert answer.status == 302
    back = callback_of(answer.headers["location"])
    assert back["state"] == "state-1"
    assert back["scope"].split() == ["openid", EMAIL, SEND]
    assert trade(simulator, "google", code=back["code"]).json["scope"].split() == ["openid", EMAIL, SEND]


def test_authorize_cancelled_sends_access_denied_back(simulator: Simulator) -> None:
    url = authorize_url(simulator, "google").removeprefix(simulator.base_url)
    answer = send(simulator, "POST", url, form={"action": "deny"})
    assert callback_of(answer.headers["location"]) == {"error": "access_denied", "state": "state-1"}


def test_authorize_with_auto_consent_skips_the_page_once(simulator: Simulator) -> None:
    simulator.auto_consent("google", "ada@hub.example", scopes=[], once=True)
    url = authorize_url(simulator, "google", scope=f"openid {MODIFY} {SEND}").removeprefix(simulator.base_url)
    assert callback_of(send(simulator, "GET", url).headers["location"])["scope"] == "openid"
    assert send(simulator, "GET", url).status == 200


@pytest.mark.parametrize(
    ("change", "status", "error"),
    [
        ({"client_id": "unknown"}, 401, "invalid_client"),
        ({"redirect_uri": "javascript:alert(1)"}, 400, "redirect_uri_mismatch"),
        ({"scope": "openid nonsense"}, 400, "invalid_scope"),
        ({"response_type": "token"}, 400, "unsupported_response_type"),
        ({"code_challenge_method": "S512"}, 400, "invalid_request"),
    ],
)
def test_authorize_bad_request_shows_an_error_page(
    simulator: Simulator, change: dict[str, str], status: int, error: str
) -> None:
    page = send(simulator, "GET", authorize_url(simulator, "google", **change).removeprefix(simulator.base_url))
    assert page.status == status
    assert error in page.body.decode()


def test_authorize_unregistered_redirect_uri_is_refused(simulator: Simulator) -> None:
    env = simulator.env()
    simulator.create_client("google", env["GOOGLE_CLIENT_ID"], "secret", ["http://other.example/cb"])
    page = send(simulator, "GET", authorize_url(simulator, "google").removeprefix(simulator.base_url))
    assert page.status == 400
    assert b"redirect_uri_mismatch" in page.body


def test_authorize_prompt_none_without_session_is_interaction_required(simulator: Simulator) -> None:
    url = authorize_url(simulator, "google", prompt="none").removeprefix(simulator.base_url)
    assert callback_of(send(simulator, "GET", url).headers["location"])["error"] == "interaction_required"


def test_token_code_gives_long_scope_names_and_a_refresh_token(simulator: Simulator) -> None:
    tokens = connect(simulator, "google", "ada@hub.example")
    assert tokens["scope"].split() == ["openid", EMAIL, PROFILE, MODIFY]
    assert tokens["expires_in"] == 3599
    assert tokens["token_type"] == "Bearer"
    assert tokens["refresh_token"]


def test_token_second_consent_has_no_refresh_token_unless_prompted(simulator: Simulator) -> None:
    connect(simulator, "google", "ada@hub.example")
    assert "refresh_token" not in connect(simulator, "google", "ada@hub.example")
    assert "refresh_token" in connect(simulator, "google", "ada@hub.example", prompt="consent")


def test_token_without_offline_access_has_no_refresh_token(simulator: Simulator) -> None:
    assert "refresh_token" not in connect(simulator, "google", "ada@hub.example", access_type="online")


def test_token_included_granted_scopes_cover_older_grants(simulator: Simulator) -> None:
    connect(simulator, "google", "ada@hub.example", scope=f"openid {SEND}")
    narrow = connect(simulator, "google", "ada@hub.example", scope=f"openid {MODIFY}")
    wide = connect(simulator, "google", "ada@hub.example", scope=f"openid {MODIFY}", include_granted_scopes="true")
    assert SEND not in narrow["scope"].split()
    assert SEND in wide["scope"].split()


def test_token_code_is_single_use(simulator: Simulator) -> None:
    code = code_for(simulator)
    assert trade(simulator, "google", code=code).status == 200
    assert error_of(simulator, code=code) == (400, "invalid_grant", "Bad Request")


def test_token_code_older_than_ten_minutes_is_refused(simulator: Simulator) -> None:
    code = code_for(simulator)
    simulator.advance(601)
    assert error_of(simulator, code=code)[:2] == (400, "invalid_grant")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"code_verifier": ""}, (400, "invalid_grant", "Missing code verifier.")),
        ({"code_verifier": "w" * 64}, (400, "invalid_grant", "Invalid code verifier.")),
        ({"redirect_uri": CALLBACK + "/other"}, (400, "redirect_uri_mismatch", "Bad Request")),
        ({"client_secret": "wrong"}, (401, "invalid_client", "The provided client secret is invalid.")),
        ({"client_id": "wrong"}, (401, "invalid_client", "The OAuth client was not found.")),
        ({"grant_type": "password"}, (400, "unsupported_grant_type", "Invalid grant_type: password")),
        ({"grant_type": ""}, (400, "invalid_request", "Missing required parameter: grant_type")),
    ],
)
def test_token_wrong_exchange_is_refused_in_googles_words(
    simulator: Simulator, change: dict[str, str], expected: tuple[int, str, str]
) -> None:
    assert error_of(simulator, **({"code": code_for(simulator)} | change)) == expected


def test_token_verifier_without_challenge_is_refused(simulator: Simulator) -> None:
    code = code_for(simulator, code_challenge="", code_challenge_method="")
    assert error_of(simulator, code=code)[1] == "invalid_grant"
    assert trade(simulator, "google", code=code, code_verifier="").status == 200


def test_token_refresh_brings_a_new_access_token_and_no_refresh_token(simulator: Simulator) -> None:
    tokens = connect(simulator, "google", "ada@hub.example")
    fresh = trade(simulator, "google", refresh_token=tokens["refresh_token"]).json
    assert fresh["access_token"] != tokens["access_token"]
    assert "refresh_token" not in fresh
    assert fresh["scope"] == tokens["scope"]


def test_token_dead_refresh_token_is_invalid_grant(simulator: Simulator) -> None:
    tokens = connect(simulator, "google", "ada@hub.example")
    assert simulator.revoke(email="ada@hub.example") == 1
    expected = (400, "invalid_grant", "Token has been expired or revoked.")
    assert error_of(simulator, refresh_token=tokens["refresh_token"]) == expected
    assert error_of(simulator, refresh_token="1//unknown") == (400, "invalid_grant", "Bad Request")


def test_token_testing_project_refresh_token_dies_after_its_days(simulator: Simulator) -> None:
    simulator.settings(google_refresh_token_seconds=604_800)
    tokens = connect(simulator, "google", "ada@hub.example")
    simulator.advance(604_801)
    assert error_of(simulator, refresh_token=tokens["refresh_token"])[1] == "invalid_grant"


def test_token_hundred_and_first_refresh_token_drops_the_oldest(simulator: Simulator) -> None:
    first = connect(simulator, "google", "ada@hub.example")["refresh_token"]
    for _ in range(100):
        connect(simulator, "google", "ada@hub.example", prompt="consent")
    assert error_of(simulator, refresh_token=first)[1] == "invalid_grant"


def test_revoke_any_token_ends_the_whole_grant(simulator: Simulator) -> None:
    tokens = connect(simulator, "google", "ada@hub.example")
    assert send(simulator, "POST", "/revoke", form={"token": tokens["access_token"]}).status == 200
    assert error_of(simulator, refresh_token=tokens["refresh_token"])[1] == "invalid_grant"
    again = send(simulator, "POST", "/revoke", form={"token": tokens["access_token"]})
    assert (again.status, again.json["error"]) == (400, "invalid_token")


def test_revoke_then_connect_again_gives_a_refresh_token(simulator: Simulator) -> None:
    connect(simulator, "google", "ada@hub.example")
    simulator.revoke(email="ada@hub.example")
    assert "refresh_token" in connect(simulator, "google", "ada@hub.example")


def test_userinfo_tells_who_it_is(simulator: Simulator) -> None:
    tokens = connect(simulator, "google", "ada@hub.example")
    info = send(simulator, "GET", "/v1/userinfo", token=tokens["access_token"]).json
    assert info["email"] == "ada@hub.example"
    assert info["email_verified"] is True
    assert info["name"] == "Ada Lovelace"
    assert info["sub"].isdigit()
    assert send(simulator, "GET", "/v1/userinfo", token="ya29.unknown").status == 401


def test_access_token_expires_by_clock_and_by_command(ada_again: GmailApi) -> None:
    assert ada_again.call("GET", "/profile").status == 200
    ada_again.simulator.advance(3600)
    assert ada_again.call("GET", "/profile").reason == "authError"


@pytest.fixture
def ada_again(simulator: Simulator) -> GmailApi:
    tokens = connect(simulator, "google", "ada@hub.example")
    return GmailApi(simulator, "ada@hub.example", tokens["access_token"], tokens)


def test_expire_tokens_ends_access_but_not_refresh(ada_again: GmailApi) -> None:
    assert ada_again.simulator.expire_tokens(email="ada@hub.example") == 1
    assert ada_again.call("GET", "/profile").status == 401
    assert trade(ada_again.simulator, "google", refresh_token=ada_again.tokens["refresh_token"]).status == 200
