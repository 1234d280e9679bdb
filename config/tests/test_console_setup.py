"""The set-up pages: each step's true state, what a provider must be told, and what the doctor says to whom."""

from __future__ import annotations

from typing import Any

import pytest
from django.urls import reverse

from config.console import setup
from config.tests.consoles import console, console_of
from email_logs.tests.factories import email_provider
from integrations.models import Integration
from integrations.oauth import CONNECTION_PROVIDERS
from integrations.services import oauth_flow
from integrations.services.capabilities import of_provider
from integrations.tests.factories import ConnectionFactory
from workspaces.models import User
from workspaces.runtime.findings import error, ok
from workspaces.tests.factories import PASSWORD, MembershipFactory
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db


def steps(actor: Actor) -> list[bool]:
    [checklist] = console(actor).get("/admin/setup").context["checklists"]
    return [step.done for step in checklist.steps]


def test_steps_are_done_when_they_are_and_not_when_somebody_says_so(owner: Actor) -> None:
    assert steps(owner) == [False, False, False, False]
    connection = ConnectionFactory(workspace=owner.workspace, user=owner.user)
    assert steps(owner) == [True, False, False, False]
    provider = email_provider(owner, "EMAIL_PROVIDER", {"apiKey": "re_test_key"})
    Integration.objects.filter(pk=provider.pk).update(is_site_email_provider=False)
    assert steps(owner) == [True, True, False, False]
    Integration.objects.filter(pk=provider.pk).update(is_site_email_provider=True)
    MembershipFactory(workspace=owner.workspace)
    assert steps(owner) == [True, True, True, True]
    type(connection).objects.filter(pk=connection.pk).update(credentials=None, disconnected_at="2026-01-01T00:00Z")
    assert steps(owner) == [False, True, True, True]


def test_another_integration_is_no_email_provider(owner: Actor) -> None:
    Integration.objects.create(workspace=owner.workspace, name="Hook", type="WEBHOOK")
    assert steps(owner) == [False] * 4


def test_first_page_says_what_is_left_until_nothing_is(owner: Actor, outsider: Actor) -> None:
    page = console(owner).get("/admin/").content.decode()
    assert "0 of 4 steps" in page
    assert "Next: connect a mailbox." in page
    ConnectionFactory(workspace=owner.workspace, user=owner.user)
    MembershipFactory(workspace=owner.workspace)
    email_provider(owner, "EMAIL_PROVIDER", {"apiKey": "re_test_key"})
    Integration.objects.update(is_site_email_provider=True)
    assert "steps of the set-up" not in console(owner).get("/admin/").content.decode()


@pytest.mark.parametrize("key", list(CONNECTION_PROVIDERS))
def test_page_of_a_provider_shows_what_the_flow_really_sends(owner: Actor, key: str, settings: Any) -> None:
    provider = CONNECTION_PROVIDERS.get(key)
    for name in provider.required_settings:
        setattr(settings, name, "a-value-nobody-may-read")
    page = console(owner).get(reverse("admin:setup_provider", args=[key])).content.decode()
    assert "a-value-nobody-may-read" not in page
    assert all(name in page for name in provider.required_settings)
    assert (oauth_flow.redirect_uri(key) in page) == provider.oauth
    for capability in of_provider(key):
        assert all(scope in page for scope in provider.scopes.get(capability, ()))


def test_page_of_a_provider_says_what_is_missing(owner: Actor, settings: Any) -> None:
    settings.GOOGLE_CLIENT_ID, settings.GOOGLE_CLIENT_SECRET = "id", ""
    guide = setup.guide("google")
    assert not guide.configured
    assert guide.settings == (("GOOGLE_CLIENT_ID", True), ("GOOGLE_CLIENT_SECRET", False))


def test_page_of_a_provider_that_does_not_exist_is_missing(owner: Actor) -> None:
    assert console(owner).get("/admin/setup/yahoo").status_code == 404


def first() -> list[Any]:
    return [ok("one", "fine")]


def second() -> list[Any]:
    return [error("two", "It does not work.", "Mend it <now>.")]


def test_operator_gets_all_of_the_doctors_findings_the_worst_first(owner: Actor, settings: Any) -> None:
    settings.DOCTOR_CHECKS = (f"{__name__}.first", f"{__name__}.second")
    operator = console_of(User.objects.create_superuser("root@example.com", PASSWORD))
    page = operator.get("/admin/setup/checks")
    assert [finding.subject for finding in page.context["findings"]] == ["two", "one"]
    assert "Mend it &lt;now&gt;." in page.content.decode()


def test_owner_gets_what_tells_nothing_of_the_machine_or_of_others(owner: Actor, outsider: Actor) -> None:
    Integration.objects.create(
        workspace=outsider.workspace, name="Secret", type="WEBHOOK", failing_since="2026-01-01T00:00Z"
    )
    page = console(owner).get("/admin/setup/checks")
    subjects = {finding.subject for finding in page.context["findings"]}
    assert {"heartbeat", "PUBLIC_URL"} <= subjects
    assert not subjects & {"database", "VAULT_KEYS", "SECRET_KEY", "broker", "integrations"}
    assert "Secret" not in page.content.decode()


def test_owners_checks_are_the_doctors_own(settings: Any) -> None:
    assert set(setup.OWNERS_CHECKS) <= set(settings.DOCTOR_CHECKS)


@pytest.mark.parametrize("page", ["setup", "setup/google", "setup/checks", "overview"])
def test_set_up_is_closed_to_strangers_and_members(member: Actor, client: Any, page: str) -> None:
    response = client.get(f"/admin/{page}")
    assert (response.status_code, response["Location"].split("?")[0]) == (302, "/admin/login/")
    assert console(member).get(f"/admin/{page}").status_code == 403
