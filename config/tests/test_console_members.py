"""What a member finds in the console: their own accounts, and nothing of the workspace."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from config.console.site import MEMBERS_PAGES, ConsoleSite
from config.tests.consoles import console
from core.admin import ScopedAdmin
from core.ids import uuid7
from email_sync.models import Message
from integrations.models import Connection, SyncRun
from integrations.tests.factories import ConnectionFactory, SyncRunFactory
from workspaces.models import Role
from workspaces.services import members
from workspaces.tests.factories import PASSWORD, MembershipFactory
from workspaces.tests.fixtures import Actor, make_actor

pytestmark = pytest.mark.django_db

CONNECTIONS = "/admin/integrations/connection/"
RUNS = "/admin/integrations/syncrun/"
MAIL = "/admin/email_sync/message/"
OPEN_MODELS = {Connection, SyncRun, Message}


@pytest.fixture
def own(member: Actor) -> Connection:
    return ConnectionFactory(workspace=member.workspace, user=member.user)


@pytest.fixture
def anothers(owner: Actor) -> Connection:
    return ConnectionFactory(workspace=owner.workspace, user=owner.user, account_id="secret@hub.example")


def shown(client: Client, address: str) -> set[Any]:
    return {row.pk for row in client.get(address).context["cl"].queryset}


def test_member_signs_in_by_password_and_sees_their_own_accounts(
    member: Actor, own: Connection, anothers: Connection
) -> None:
    browser = Client()
    response = browser.post("/admin/login/?next=/admin/", {"username": member.user.email, "password": PASSWORD})
    assert response.status_code == 302
    page = browser.get("/admin/", follow=True)
    assert page.redirect_chain == [(CONNECTIONS, 302)]
    assert "secret@hub.example" not in page.content.decode()
    assert shown(browser, CONNECTIONS) == {own.pk}
    assert browser.get(f"{CONNECTIONS}{own.pk}/change/").status_code == 200


def test_member_sees_runs_of_their_own_accounts_only(member: Actor, own: Connection, anothers: Connection) -> None:
    mine, other = SyncRunFactory(connection=own), SyncRunFactory(connection=anothers)
    client = console(member)
    assert shown(client, RUNS) == {mine.pk}
    answers = [client.get(f"{RUNS}{pk}/change/") for pk in (other.pk, uuid7())]
    assert [(answer.status_code, answer["Location"]) for answer in answers] == [(302, "/admin/")] * 2


def test_member_pauses_their_own_account_and_no_other(member: Actor, own: Connection, anothers: Connection) -> None:
    client = console(member)
    for connection, status in ((own, 302), (anothers, 404)):
        address = reverse("admin:integrations_connection_pause", args=[connection.pk])
        assert client.post(address, {"_form_submitted": "on"}).status_code == status
        connection.refresh_from_db()
    assert (own.paused, anothers.paused) == (True, False)


def test_member_who_runs_another_workspace_sees_that_and_their_own(owner: Actor, own: Connection) -> None:
    colleague = make_actor(role=Role.OWNER)
    MembershipFactory(workspace=owner.workspace, user=colleague.user, role=Role.MEMBER)
    there = ConnectionFactory(workspace=colleague.workspace)
    mine = ConnectionFactory(workspace=owner.workspace, user=colleague.user)
    client = console(colleague)
    assert shown(client, CONNECTIONS) == {there.pk, mine.pk}
    client.post("/admin/workspace", {"workspace": str(colleague.workspace.pk)})
    assert shown(client, CONNECTIONS) == {there.pk}


def test_account_is_closed_to_its_user_once_they_have_left(owner: Actor, member: Actor, own: Connection) -> None:
    second = MembershipFactory(user=member.user)
    client = console(member)
    assert shown(client, CONNECTIONS) == {own.pk}
    members.remove(by=owner.user, membership=member.membership)
    assert second.role == Role.MEMBER
    assert shown(client, CONNECTIONS) == set()
    assert client.get(f"{CONNECTIONS}{own.pk}/change/").status_code == 302


def test_menu_of_a_member_has_their_own_pages_only(member: Actor, own: Connection) -> None:
    groups = console(member).get(CONNECTIONS).context["sidebar_navigation"]
    assert [item["link"] for group in groups for item in group["items"]] == [CONNECTIONS, RUNS, MAIL]


def test_overview_of_an_app_and_the_search_name_their_own_pages_only(member: Actor, own: Connection) -> None:
    client = console(member)
    assert client.get("/admin/workspaces/").status_code == 404
    listed = client.get("/admin/integrations/").context["app_list"]
    assert [model["model"] for app in listed for model in app["models"]] == [Connection, SyncRun]
    assert "Members" not in client.get("/admin/search/", {"s": "member"}).content.decode()


def site_pages(entries: list[URLPattern | URLResolver]) -> dict[str, list[str]]:
    """Name → parameters of every address of the console."""
    found: dict[str, list[str]] = {}
    for entry in entries:
        if isinstance(entry, URLResolver):
            found |= site_pages(entry.url_patterns)
        elif entry.name:
            found[entry.name] = [*entry.pattern.converters, *getattr(entry.pattern.regex, "groupindex", {})]
    return found


PAGES = site_pages([entry for entry in get_resolver().url_patterns if getattr(entry, "app_name", "") == "admin"])
OPEN_TO_ALL = {"login", "sign_in", "signed_in", "logout", "jsi18n"}
"""Before anybody is known; and the words of the date pickers."""
OPEN = {"index", "app_list", "search", "password_change", "password_change_done"}
KNOWN = {"app_label": "integrations", "provider": "google", "content_type_id": 1, "format": "csv"}


@pytest.mark.parametrize("name", sorted(set(PAGES) - OPEN_TO_ALL))
@pytest.mark.parametrize("method", ["get", "post"])
def test_every_other_page_of_the_console_is_closed_to_members(
    member: Actor, own: Connection, name: str, method: str
) -> None:
    address = reverse(f"admin:{name}", kwargs={key: KNOWN.get(key, uuid7()) for key in PAGES[name]})
    status = getattr(console(member), method)(address).status_code
    if name in OPEN or name.startswith(("integrations_connection_", "integrations_syncrun_", "email_sync_message_")):
        assert status < 500
    else:
        assert status == 403


def test_pages_for_members_are_these() -> None:
    """A page that says whose its rows are is a decision about who sees what: it is written down here too."""
    assert {model for model, page in admin.site._registry.items() if getattr(page, "owner_path", "")} == OPEN_MODELS


def test_page_that_does_not_say_whose_its_rows_are_is_closed(rf: Any, member: Actor) -> None:
    site = ConsoleSite()
    assert {name for name in MEMBERS_PAGES if not callable(getattr(site, name))} == set()
    assert not site._is_for_members(lambda request: None)
    assert not site._is_for_members(ScopedAdmin(SyncRun, site).changelist_view)
