"""Every page of the console and every answer beside it leaves with a policy; only the console's is relaxed."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import reverse

from config.tests.consoles import console_of
from core.api.middleware import API_POLICY, CONSOLE_POLICY, PAGE_POLICY
from workspaces.models import User
from workspaces.tests.factories import PASSWORD, MembershipFactory
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator(owner: Actor) -> Client:
    """A member of a workspace too: those who are none have no mail to look at."""
    user = User.objects.create_superuser("root@example.com", PASSWORD)
    MembershipFactory(user=user, workspace=owner.workspace)
    return console_of(user)


def lists() -> list[str]:
    return [f"{model._meta.app_label}_{model._meta.model_name}_changelist" for model in admin.site._registry]


@pytest.mark.parametrize("name", [*lists(), "index", "overview", "setup", "checks", "password_change", "jsi18n"])
def test_every_page_of_the_console_has_the_consoles_policy(operator: Client, name: str) -> None:
    response = operator.get(reverse(f"admin:{name}"))
    assert response.status_code == 200
    assert response["Content-Security-Policy"] == CONSOLE_POLICY
    assert response["X-Frame-Options"] == "DENY"


@pytest.mark.parametrize("address", ["/admin/login/", "/admin/nothing", "/admin/setup/nothing", "/admin/logout/"])
def test_pages_of_nobody_and_errors_have_it_too(address: str) -> None:
    assert Client().get(address)["Content-Security-Policy"] == CONSOLE_POLICY


def test_console_policy_allows_no_inline_script_and_no_other_origin() -> None:
    directives = dict(part.strip().split(" ", 1) for part in CONSOLE_POLICY.split(";"))
    assert directives["script-src"] == "'self' 'unsafe-eval'"
    assert directives["default-src"] == "'self'"
    assert "http" not in CONSOLE_POLICY
    assert "unsafe-inline" not in directives["script-src"]


@pytest.mark.parametrize(
    ("address", "policy"),
    [
        ("/api/members", API_POLICY),
        ("/api/nothing", API_POLICY),
        ("/api/schema", API_POLICY),
        ("/healthz", API_POLICY),
        ("/api/docs", PAGE_POLICY),
        ("/nothing", PAGE_POLICY),
    ],
)
def test_other_answers_have_the_strict_ones(owner: Actor, address: str, policy: str) -> None:
    response: Any = owner.client.get(address)
    assert response["Content-Security-Policy"] == policy
    assert "unsafe-eval" not in response["Content-Security-Policy"]
