"""Narrowing the console to one workspace: who may, what is narrowed, and that the choice is checked each time."""

from __future__ import annotations

import pytest
from django.test import Client

from config.tests.consoles import console, console_of
from core.admin import CHOSEN
from core.ids import uuid7
from integrations.tests.factories import ConnectionFactory
from workspaces.models import AuditEvent, Role, User, Workspace
from workspaces.services import audit, members
from workspaces.tests.factories import PASSWORD, MembershipFactory, WorkspaceFactory
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db

CONNECTIONS = "/admin/integrations/connection/"
MEMBERS = "/admin/workspaces/membership/"


@pytest.fixture
def second(owner: Actor) -> Workspace:
    """Another workspace of the owner."""
    workspace: Workspace = WorkspaceFactory(name="Second")
    MembershipFactory(workspace=workspace, user=owner.user, role=Role.ADMIN)
    return workspace


def choose(client: Client, workspace: object, next: str = "") -> int:
    return client.post("/admin/workspace", {"workspace": str(workspace or ""), "next": next}).status_code


def shown(client: Client, address: str) -> set[object]:
    return {row.pk for row in client.get(address).context["cl"].queryset}


def test_choice_narrows_lists_rows_and_the_first_page_and_all_widens_them_again(
    owner: Actor, second: Workspace
) -> None:
    here = ConnectionFactory(workspace=owner.workspace, user=owner.user)
    there = ConnectionFactory(workspace=second, user=owner.user)
    client = console(owner)
    assert shown(client, CONNECTIONS) == {here.pk, there.pk}
    assert choose(client, second.pk) == 302
    assert shown(client, CONNECTIONS) == {there.pk}
    assert client.get(f"{CONNECTIONS}{here.pk}/change/").status_code == 302
    assert client.get(f"{CONNECTIONS}{there.pk}/change/").status_code == 200
    assert client.get("/admin/").context["tiles"][0].figure == "1"
    assert choose(client, None) == 302
    assert shown(client, CONNECTIONS) == {here.pk, there.pk}


def test_choice_is_offered_to_whoever_runs_several_only(owner: Actor, outsider: Actor, second: Workspace) -> None:
    offered = console(owner).get("/admin/").context["choice"].offered
    assert [workspace.name for workspace in offered] == ["Acme", "Second"]
    page = console(outsider).get("/admin/")
    assert page.context["choice"].offered == ()
    assert 'action="/admin/workspace"' not in page.content.decode()


@pytest.mark.parametrize("given", ["foreign", "missing", "malformed"])
def test_workspace_that_is_not_ones_own_cannot_be_chosen(owner: Actor, outsider: Actor, given: str) -> None:
    client = console(owner)
    workspace = {"foreign": outsider.workspace.pk, "missing": uuid7(), "malformed": "1; DROP"}[given]
    assert choose(client, workspace) == 404
    assert CHOSEN not in client.session


def test_choice_needs_a_post_and_its_token(owner: Actor, second: Workspace) -> None:
    assert console(owner).get("/admin/workspace").status_code == 405
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(owner.user, backend="django.contrib.auth.backends.ModelBackend")
    assert choose(strict, second.pk) == 403


def test_choice_is_worth_nothing_once_the_role_is_gone(owner: Actor, admin: Actor, outsider: Actor) -> None:
    joined = MembershipFactory(workspace=outsider.workspace, user=admin.user, role=Role.ADMIN)
    client = console(admin)
    choose(client, outsider.workspace.pk)
    assert shown(client, MEMBERS) == set(outsider.workspace.memberships.values_list("pk", flat=True))
    members.remove(by=outsider.user, membership=joined)
    assert shown(client, MEMBERS) == set(owner.workspace.memberships.values_list("pk", flat=True))


def test_operator_narrows_to_any_workspace_and_sees_its_trail_too(owner: Actor, outsider: Actor) -> None:
    for actor in (owner, outsider):
        audit.record(by=actor.user, workspace=actor.workspace, action="test.done", target=actor.workspace)
    client = console_of(User.objects.create_superuser("root@example.com", PASSWORD))
    trail = "/admin/workspaces/auditevent/"
    assert len(shown(client, trail)) == AuditEvent.objects.count()
    choose(client, owner.workspace.pk)
    own = AuditEvent.objects.filter(workspace=owner.workspace)
    assert shown(client, trail) == set(own.values_list("pk", flat=True))
    assert shown(client, MEMBERS) == {owner.membership.pk}
    assert client.get("/admin/").context["choice"].chosen == owner.workspace


@pytest.mark.parametrize(
    ("opened", "back"),
    [
        (CONNECTIONS, CONNECTIONS),
        ("/admin/setup", "/admin/setup"),
        (f"{MEMBERS}0198c0de-0000-7000-8000-000000000000/change/", "/admin/"),
        ("https://evil.example/admin/setup", "/admin/"),
        ("//evil.example/admin/setup", "/admin/"),
        ("/\\evil.example", "/admin/"),
        ("/api/docs", "/admin/"),
        ("", "/admin/"),
    ],
)
def test_choice_leads_back_to_a_list_and_never_elsewhere(
    owner: Actor, second: Workspace, opened: str, back: str
) -> None:
    response = console(owner).post("/admin/workspace", {"workspace": str(second.pk), "next": opened})
    assert response["Location"] == back
