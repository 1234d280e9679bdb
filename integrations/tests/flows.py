"""A user's way through a consent flow, over the API and the simulator's consent page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from rest_framework.test import APIClient

from integrations.models import Connection
from simulator.process import Simulator
from workspaces.tests.fixtures import Actor

ROOT = "/api/v1/integrations/"
HTML = "text/html,application/xhtml+xml,*/*;q=0.8"
JSON = "application/json"


@dataclass
class Hub:
    """Drives both ends. `callback` parameters are as the provider sent them unless a test bends them."""

    simulator: Simulator

    def authorize(self, actor: Actor, provider: str = "google", **query: str) -> str:
        """The consent URL of a flow begun by a client of the API."""
        response = actor.client.get(f"{ROOT}oauth/{provider}/authorize", query, HTTP_ACCEPT=JSON)
        assert response.status_code == 200, response.content
        return str(response.json()["authorizationUrl"])

    def authorize_in_browser(self, actor: Actor, provider: str = "google", **query: str) -> Any:
        """The redirect to the consent screen; its cookie is in `actor.client`."""
        return actor.client.get(f"{ROOT}oauth/{provider}/authorize", query, HTTP_ACCEPT=HTML)

    def consent(self, url: str, email: str, *, scopes: Sequence[str] | None = None) -> dict[str, str]:
        """What the provider sends back after the user said yes."""
        location = self.simulator.authorize(url, email, scopes=scopes)
        return dict(parse_qsl(urlsplit(location).query))

    def callback(self, answer: dict[str, str], provider: str = "google", client: Any = None, accept: str = JSON) -> Any:
        """The user's browser comes back."""
        return (client or APIClient()).get(f"{ROOT}oauth/{provider}/callback", answer, HTTP_ACCEPT=accept)

    def connect(
        self, actor: Actor, email: str, provider: str = "google", *, granted: Sequence[str] | None = None, **query: str
    ) -> Connection:
        """The whole flow."""
        answer = self.consent(self.authorize(actor, provider, **query), email, scopes=granted)
        response = self.callback(answer, provider)
        assert response.status_code == 200, response.content
        return Connection.objects.get(pk=response.json()["id"])

    def token_requests(self, vendor: str = "google") -> int:
        """How often a token endpoint was asked: the simulator's ledger."""
        return len(self.simulator.ledger(operation=f"{vendor}.oauth.token"))


def query_of(url: str) -> dict[str, str]:
    """The parameters of a URL."""
    return dict(parse_qsl(urlsplit(url).query))
