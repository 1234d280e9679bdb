"""What the connection providers declare, and what a vendor's refusals mean."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from core import http
from core.errors import (
    HubError,
    InvalidInput,
    ProviderAuthError,
    ProviderError,
    ProviderRateLimited,
    ProviderUnavailable,
)
from integrations.oauth import CONNECTION_PROVIDERS
from integrations.oauth.base import Begun
from integrations.oauth.google import GoogleBackend
from integrations.oauth.microsoft import MicrosoftBackend
from integrations.token_endpoint import TokenAnswer, read_tokens

GOOGLE, MICROSOFT = GoogleBackend.refusals, MicrosoftBackend.refusals


def test_registry_loads_every_provider() -> None:
    assert CONNECTION_PROVIDERS.broken() == []


@pytest.mark.parametrize(
    ("refusals", "words", "stage", "error", "code"),
    [
        (GOOGLE, {"error": "invalid_grant"}, "refresh", ProviderAuthError, "needs_reauth"),
        (
            GOOGLE,
            {"error": "invalid_grant", "error_subtype": "invalid_rapt"},
            "refresh",
            ProviderAuthError,
            "needs_reauth",
        ),
        (GOOGLE, {"error": "invalid_grant"}, "token_exchange", InvalidInput, "authorization_code_rejected"),
        (GOOGLE, {"error": "invalid_client"}, "refresh", ProviderError, "client_rejected"),
        (GOOGLE, {"error": "deleted_client"}, "refresh", ProviderError, "client_rejected"),
        (GOOGLE, {"error": "unauthorized_client"}, "refresh", ProviderError, "client_rejected"),
        (GOOGLE, {"error": "redirect_uri_mismatch"}, "token_exchange", ProviderError, "client_rejected"),
        (GOOGLE, {"error": "server_error"}, "refresh", ProviderUnavailable, "provider_unavailable"),
        (GOOGLE, {"error": "brand_new"}, "refresh", ProviderError, "provider_error"),
        (GOOGLE, {"error": "interaction_required"}, "refresh", ProviderError, "provider_error"),
        (GOOGLE, {"error": "access_denied"}, "callback", InvalidInput, "access_denied"),
        (GOOGLE, {"error": "admin_policy_enforced"}, "callback", InvalidInput, "access_denied"),
        (GOOGLE, {"error": "invalid_scope"}, "callback", InvalidInput, "authorization_failed"),
        (MICROSOFT, {"error": "invalid_grant", "error_codes": [700082]}, "refresh", ProviderAuthError, "needs_reauth"),
        (MICROSOFT, {"error": "invalid_grant", "error_codes": [50173]}, "refresh", ProviderAuthError, "needs_reauth"),
        (MICROSOFT, {"error": "interaction_required"}, "refresh", ProviderAuthError, "needs_reauth"),
        (MICROSOFT, {"error": "invalid_client", "error_codes": [7000222]}, "refresh", ProviderError, "client_rejected"),
        (MICROSOFT, {"error": "invalid_grant", "error_codes": [700016]}, "refresh", ProviderError, "client_rejected"),
        (
            MICROSOFT,
            {"error": "invalid_request", "error_codes": [90033]},
            "refresh",
            ProviderUnavailable,
            "provider_unavailable",
        ),
    ],
)
def test_refusal_is_judged_by_its_code_and_where_it_was_said(
    refusals: Any, words: dict[str, Any], stage: str, error: type[HubError], code: str
) -> None:
    made = refusals.error(words, stage=stage)
    assert type(made) is error
    assert made.code == code


def test_refusal_quotes_the_vendor_without_secrets_or_line_breaks() -> None:
    words = {"error": "invalid_grant", "error_description": "Bad\r\nrefresh_token=1//0abcdefghijklmnopqrstuvw now"}
    message = GOOGLE.error(words, stage="refresh").message
    assert "1//0abc" not in message
    assert "\n" not in message
    assert "invalid_grant" in message


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (401, b'{"error":"invalid_client"}', ProviderError),
        (400, b'{"error":"invalid_grant"}', ProviderAuthError),
        (400, b"nonsense", ProviderError),
        (400, b'{"error":{"code":400}}', ProviderError),
        (503, b'{"error":"invalid_grant"}', ProviderUnavailable),
        (429, b'{"error":"invalid_grant"}', ProviderRateLimited),
    ],
)
def test_refusal_of_a_refresh_is_dead_only_in_the_vendors_own_words(
    status: int, body: bytes, error: type[Exception]
) -> None:
    headers = httpx.Headers({"content-type": "application/json"})
    response = http.Response(status, headers, body, "https://oauth2.example/token", idempotent=True)
    with pytest.raises(error) as caught:
        GOOGLE.raise_for(response, stage="refresh")
    assert isinstance(caught.value, ProviderAuthError) == (error is ProviderAuthError)


@pytest.mark.parametrize(
    ("provider", "granted", "missing"),
    [
        ("google", ["https://www.googleapis.com/auth/gmail.modify"], []),
        (
            "google",
            ["https://www.googleapis.com/auth/gmail.readonly"],
            ["https://www.googleapis.com/auth/gmail.modify"],
        ),
        ("microsoft", ["https://graph.microsoft.com/Mail.ReadWrite", "mail.send"], []),
        ("microsoft", ["Mail.ReadWrite"], ["Mail.Send"]),
        ("imap", [], []),
    ],
)
def test_missing_scopes_compares_what_was_granted_whatever_its_spelling(
    provider: str, granted: list[str], missing: list[str]
) -> None:
    assert CONNECTION_PROVIDERS.get(provider).missing_scopes(granted, "email") == missing


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"access_token": "a"}, TokenAnswer("a")),
        (
            {"access_token": "a", "refresh_token": "r", "expires_in": "3600", "scope": "x  y"},
            TokenAnswer("a", "r", 3600.0, ("x", "y")),
        ),
        ({"access_token": "a", "refresh_token": None, "expires_in": "soon", "scope": ""}, TokenAnswer("a")),
        ({"access_token": "a", "refresh_token": {"x": 1}, "expires_in": -5, "scope": ["x"]}, TokenAnswer("a")),
        ({"access_token": "a", "expires_in": 1e300}, TokenAnswer("a")),
    ],
)
def test_read_tokens_takes_what_is_of_its_type(answer: dict[str, Any], expected: TokenAnswer) -> None:
    assert read_tokens(answer) == expected


def test_secrets_do_not_show_in_a_repr() -> None:
    shown = repr(TokenAnswer("ya29.x", "1//y")) + repr(Begun("https://x", "statevalue", {"verifier": "v"}))
    assert not any(secret in shown for secret in ("ya29.x", "1//y", "statevalue", "verifier"))
