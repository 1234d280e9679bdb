"""The consent flow and refreshes against somebody else's imitation of both vendors (emulate 0.11.2)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from django.db.models.functions import Now
from rest_framework.test import APIClient

from integrations.models import Connection
from integrations.services import tokens
from integrations.services.oauth_flow import redirect_uri
from integrations.tests import emulate
from integrations.tests.flows import JSON, ROOT
from workspaces.tests.fixtures import Actor

pytestmark = [
    pytest.mark.services,
    pytest.mark.skipif(emulate.program() is None, reason="needs `npm install -g emulate@0.11.2`, or EMULATE_BIN"),
]
VENDORS = ["google", "microsoft"]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    folder: Path = tmp_path_factory.mktemp("emulate")
    with emulate.running(folder, {vendor: redirect_uri(vendor) for vendor in VENDORS}) as bases:
        yield bases


@pytest.fixture
def vendors(servers: dict[str, str], settings: Any, engines: None, db: None) -> None:
    google, microsoft = servers["google"], servers["microsoft"]
    for vendor in VENDORS:
        setattr(settings, f"{vendor.upper()}_CLIENT_ID", "hub")
        setattr(settings, f"{vendor.upper()}_CLIENT_SECRET", "secret")
    settings.GOOGLE_AUTHORIZE_URL = f"{google}/o/oauth2/v2/auth"
    settings.GOOGLE_TOKEN_URL = f"{google}/oauth2/token"
    settings.GOOGLE_USERINFO_URL = f"{google}/oauth2/v2/userinfo"
    settings.GOOGLE_REVOKE_URL = f"{google}/oauth2/revoke"
    settings.MICROSOFT_AUTHORIZE_URL = f"{microsoft}/oauth2/v2.0/authorize"
    settings.MICROSOFT_TOKEN_URL = f"{microsoft}/oauth2/v2.0/token"
    settings.GRAPH_API_URL = microsoft
    settings.EGRESS_ALLOW_CIDRS = ["127.0.0.0/8"]


def _answer(actor: Actor, provider: str) -> dict[str, str]:
    started = actor.client.get(f"{ROOT}oauth/{provider}/authorize", HTTP_ACCEPT=JSON).json()
    return dict(parse_qsl(urlsplit(emulate.consent(started["authorizationUrl"])).query))


def _callback(provider: str, answer: dict[str, str]) -> Any:
    return APIClient().get(f"{ROOT}oauth/{provider}/callback", answer, HTTP_ACCEPT=JSON)


@pytest.mark.parametrize("provider", VENDORS)
def test_connect_refresh_and_disconnect(vendors: None, member: Actor, provider: str) -> None:
    response = _callback(provider, _answer(member, provider))
    assert response.status_code == 200, response.content
    connection = Connection.objects.get()
    assert connection.account_email == emulate.EMAIL
    first = connection.credentials
    Connection.objects.update(token_expires_at=Now() - timedelta(seconds=1))
    assert tokens.access_token(connection) != first["access_token"]
    rotated = Connection.objects.get().credentials["refresh_token"] != first["refresh_token"]
    assert rotated == (provider == "microsoft")
    assert member.client.delete(f"{ROOT}oauth/{provider}").status_code == 204


@pytest.mark.parametrize("provider", VENDORS)
def test_replay_is_refused(vendors: None, member: Actor, provider: str) -> None:
    answer = _answer(member, provider)
    assert _callback(provider, answer).status_code == 200
    assert _callback(provider, answer).json()["error"]["code"] == "state_invalid"


@pytest.mark.parametrize("provider", VENDORS)
def test_code_of_another_flow_is_refused_by_pkce(vendors: None, member: Actor, provider: str) -> None:
    stolen, answer = _answer(member, provider), _answer(member, provider)
    response = _callback(provider, {**answer, "code": stolen["code"]})
    assert response.status_code == 400
    assert not Connection.objects.exists()
