"""Microsoft's OAuth endpoints, OIDC userinfo and Graph's /me."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.process import Simulator
from simulator.tests.factories import CALLBACK, authorize_url, callback_of, connect, send, trade


@pytest.fixture
def simulator(simulator: Simulator) -> Simulator:
    simulator.create_account("microsoft", "kim@hub.example", name="Kim Larsen")
    return simulator


def refused(simulator: Simulator, **changes: str) -> tuple[int, str, int]:
    answer = trade(simulator, "microsoft", **changes)
    body: dict[str, Any] = answer.json
    assert body["error_description"].startswith(f"AADSTS{body['error_codes'][0]}: ")
    assert {"trace_id", "correlation_id", "timestamp"} <= set(body)
    return answer.status, body["error"], body["error_codes"][0]


def code_for(simulator: Simulator, **changes: str) -> str:
    return callback_of(simulator.authorize(authorize_url(simulator, "microsoft", **changes), "kim@hub.example"))["code"]


def test_authorize_page_has_no_tick_boxes(simulator: Simulator) -> None:
    url = authorize_url(simulator, "microsoft", scope="openid User.Read Mail.Read Mail.Send")
    page = send(simulator, "GET", url.removeprefix(simulator.base_url)).body.decode()
    assert "kim@hub.example" in page
    assert "checkbox" not in page


def test_authorize_cancelled_sends_access_denied_back(simulator: Simulator) -> None:
    back = callback_of(simulator.authorize(authorize_url(simulator, "microsoft"), "deny"))
    assert back["error"] == "access_denied"
    assert back["error_description"].startswith("AADSTS65004")


def test_authorize_unknown_scope_goes_back_as_invalid_scope(simulator: Simulator) -> None:
    url = authorize_url(simulator, "microsoft", scope="openid https://other.example/Mail.Read")
    assert callback_of(simulator.authorize(url, "kim@hub.example"))["error"] == "invalid_scope"


@pytest.mark.parametrize("tenant", ["common", "consumers", "9188040d-6c67-4c5b-b112-36a304b66dad", "contoso.example"])
def test_authorize_every_kind_of_tenant_works(simulator: Simulator, tenant: str) -> None:
    url = authorize_url(simulator, "microsoft").replace("/common/", f"/{tenant}/")
    assert "code" in callback_of(simulator.authorize(url, "kim@hub.example"))


def test_token_without_offline_access_has_no_refresh_token(simulator: Simulator) -> None:
    assert "refresh_token" not in connect(simulator, "microsoft", "kim@hub.example", scope="openid User.Read")


def test_token_scope_leaves_offline_access_out_and_follows_the_style(simulator: Simulator) -> None:
    assert connect(simulator, "microsoft", "kim@hub.example")["scope"] == "openid email User.Read"
    simulator.settings(microsoft_scope_style="uri")
    tokens = connect(simulator, "microsoft", "kim@hub.example")
    assert tokens["scope"] == "openid email https://graph.microsoft.com/User.Read"


def test_token_code_is_single_use(simulator: Simulator) -> None:
    code = code_for(simulator)
    assert trade(simulator, "microsoft", code=code).status == 200
    assert refused(simulator, code=code) == (400, "invalid_grant", 54005)


def test_token_old_code_is_refused(simulator: Simulator) -> None:
    code = code_for(simulator)
    simulator.advance(601)
    assert refused(simulator, code=code) == (400, "invalid_grant", 70008)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"client_secret": "wrong"}, (401, "invalid_client", 7000215)),
        ({"client_secret": ""}, (401, "invalid_client", 7000218)),
        ({"client_id": "wrong"}, (400, "unauthorized_client", 700016)),
        ({"code_verifier": "w" * 64}, (400, "invalid_grant", 501481)),
        ({"redirect_uri": CALLBACK + "/x"}, (400, "invalid_grant", 500112)),
        ({"code": "nonsense"}, (400, "invalid_grant", 70000)),
        ({"scope": "Calendars.Read"}, (400, "invalid_grant", 65001)),
        ({"grant_type": "password"}, (400, "unsupported_grant_type", 70003)),
    ],
)
def test_token_wrong_exchange_is_refused_with_its_number(
    simulator: Simulator, change: dict[str, str], expected: tuple[int, str, int]
) -> None:
    assert refused(simulator, **({"code": code_for(simulator)} | change)) == expected


def test_token_refresh_rotates_and_the_old_one_stays_valid(simulator: Simulator) -> None:
    old = connect(simulator, "microsoft", "kim@hub.example")["refresh_token"]
    new = trade(simulator, "microsoft", refresh_token=old).json["refresh_token"]
    assert new != old
    assert trade(simulator, "microsoft", refresh_token=old).status == 200


def test_token_strict_rotation_kills_the_family_on_reuse(simulator: Simulator) -> None:
    simulator.settings(microsoft_rotation="strict")
    old = connect(simulator, "microsoft", "kim@hub.example")["refresh_token"]
    fresh = trade(simulator, "microsoft", refresh_token=old).json
    assert refused(simulator, refresh_token=old) == (400, "invalid_grant", 50173)
    assert refused(simulator, refresh_token=fresh["refresh_token"]) == (400, "invalid_grant", 50173)
    assert send(simulator, "GET", "/v1.0/me", token=fresh["access_token"]).status == 401
    assert "refresh_token" in connect(simulator, "microsoft", "kim@hub.example")


def test_token_refresh_can_narrow_but_not_widen(simulator: Simulator) -> None:
    token = connect(simulator, "microsoft", "kim@hub.example")["refresh_token"]
    assert trade(simulator, "microsoft", refresh_token=token, scope="User.Read").json["scope"] == "User.Read"
    assert refused(simulator, refresh_token=token, scope="Mail.Send") == (400, "invalid_grant", 65001)


def test_token_unused_for_ninety_days_expires(simulator: Simulator) -> None:
    token = connect(simulator, "microsoft", "kim@hub.example")["refresh_token"]
    simulator.advance(90 * 86_400 + 1)
    assert refused(simulator, refresh_token=token) == (400, "invalid_grant", 700082)


def test_token_after_revocation_is_refused(simulator: Simulator) -> None:
    token = connect(simulator, "microsoft", "kim@hub.example")["refresh_token"]
    simulator.revoke(vendor="microsoft")
    assert refused(simulator, refresh_token=token) == (400, "invalid_grant", 50173)


def test_me_tells_who_it_is(simulator: Simulator) -> None:
    token = connect(simulator, "microsoft", "kim@hub.example")["access_token"]
    me = send(simulator, "GET", "/v1.0/me", token=token).json
    assert (me["mail"], me["userPrincipalName"]) == ("kim@hub.example", "kim@hub.example")
    assert (me["givenName"], me["surname"]) == ("Kim", "Larsen")
    assert len(me["id"]) == 36
    info = send(simulator, "GET", "/oidc/userinfo", token=token).json
    assert info == {"sub": me["id"], "email": "kim@hub.example"}


def test_me_refusals_have_graphs_envelope(simulator: Simulator) -> None:
    unknown = send(simulator, "GET", "/v1.0/me", token="EwBunknown")
    assert unknown.status == 401
    assert unknown.json["error"]["code"] == "InvalidAuthenticationToken"
    assert unknown.json["error"]["innerError"]["request-id"]
    token = connect(simulator, "microsoft", "kim@hub.example", scope="openid Mail.Read")["access_token"]
    assert send(simulator, "GET", "/v1.0/me", token=token).status == 403


def test_tokens_of_one_vendor_do_not_open_the_other(simulator: Simulator) -> None:
    token = connect(simulator, "microsoft", "kim@hub.example")["access_token"]
    assert send(simulator, "GET", "/gmail/v1/users/me/profile", token=token).status == 401
