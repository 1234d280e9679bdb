"""Where a browser may be sent after a consent flow: the known spellings of an open redirect."""

from __future__ import annotations

from typing import Any

import pytest

from core.errors import InvalidInput
from integrations.services import return_to
from integrations.tests.flows import JSON, ROOT, Hub
from workspaces.tests.fixtures import Actor

ELSEWHERE = [
    "https://evil.example",
    "http://evil.example/",
    "HTTPS://EVIL.EXAMPLE",
    "//evil.example",
    "///evil.example",
    "////evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "\\/evil.example",
    "/\t/evil.example",
    "/\n/evil.example",
    "/\r\n/evil.example",
    "\t//evil.example",
    " //evil.example",
    "/ /evil.example",
    "https:evil.example",
    "https:/evil.example",
    "https:\\\\evil.example",
    "evil.example",
    "evil.example/path",
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "data:text/html,x",
    "vbscript:x",
    "https://app.example.org@evil.example/",
    "https://app.example.org.evil.example/",
    "https://app.example.org\\@evil.example/",
    "https://app.example.org:444/",
    "http://app.example.org/",
    "https://evil.example/https://app.example.org",
    "https://app.example.orgevil.example",
    "ftp://app.example.org/",
    "/path\x00",
    "/path\r\nSet-Cookie: a=b",
    "/é//evil.example",
    "https://app.example.org/\\evil",
    "?next=//evil.example",
    "#x",
    "./evil",
    "/" + "a" * 2000,
]


@pytest.fixture
def allowed(settings: Any) -> None:
    settings.CORS_ALLOWED_ORIGINS = ["https://app.example.org", "http://localhost:5173"]


@pytest.mark.parametrize("value", ELSEWHERE)
def test_checked_with_a_way_to_another_site_refuses(allowed: None, value: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        return_to.checked(value)
    assert list(caught.value.fields) == ["returnTo"]


@pytest.mark.parametrize(
    "value",
    [
        "",
        "/",
        "/settings",
        "/settings?tab=mail&next=%2F%2Fx#top",
        "/a//b",
        "https://app.example.org",
        "https://app.example.org/mail?x=1",
        "https://APP.example.org:443/mail",
        "http://localhost:5173/connected",
    ],
)
def test_checked_with_a_path_or_an_allowed_page_gives_it_back(allowed: None, value: str) -> None:
    assert return_to.checked(value) == value


def test_authorize_with_a_way_to_another_site_is_refused(hub: Hub, member: Actor) -> None:
    response = member.client.get(f"{ROOT}oauth/google/authorize", {"returnTo": "//evil.example"}, HTTP_ACCEPT=JSON)
    assert (response.status_code, list(response.json()["error"]["fields"])) == (400, ["returnTo"])
