"""Calls from other origins: only those that are named, never with the browser's credentials."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

OURS = "https://crm.mine.test"


@pytest.fixture(autouse=True)
def _allowed(settings: Any) -> None:
    settings.CORS_ALLOWED_ORIGINS = [OURS]


def test_preflight_from_an_allowed_origin_is_answered(client: Client) -> None:
    answer = client.options(
        "/api/v1/integrations/connections",
        headers={"Origin": OURS, "Access-Control-Request-Method": "POST"},
    )
    assert answer.status_code == 204
    assert answer["Access-Control-Allow-Origin"] == OURS
    assert "Authorization" in answer["Access-Control-Allow-Headers"]
    assert "Access-Control-Allow-Credentials" not in answer


def test_answer_to_an_allowed_origin_may_be_read(client: Client) -> None:
    answer = client.get("/api/v1/integrations/connections", headers={"Origin": OURS})
    assert answer.status_code == 401
    assert answer["Access-Control-Allow-Origin"] == OURS
    assert "Origin" in answer["Vary"]


@pytest.mark.parametrize("origin", ["https://evil.test", "null", OURS + ".evil.test", ""])
def test_answer_to_another_origin_may_not(client: Client, origin: str) -> None:
    answer = client.get("/api/v1/integrations/connections", headers={"Origin": origin})
    assert "Access-Control-Allow-Origin" not in answer


def test_console_is_never_opened_to_other_origins(client: Client) -> None:
    assert "Access-Control-Allow-Origin" not in client.get("/admin/login/", headers={"Origin": OURS})
