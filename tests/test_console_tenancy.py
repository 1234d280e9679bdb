"""The console shows and changes nothing of another workspace: every page, action and address of the site.

The addresses come from the site itself, so a new one without a row in `MODELS` or `PAGES` fails by its name. Each is
asked and sent to by everybody: those who run the workspace get what is declared, a member and nobody are led to the
sign-in, and whoever runs another workspace learns no more from a foreign id than from an unknown one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import pytest
from django.contrib import admin
from django.http import HttpResponseBase
from django.test import Client
from django.urls import URLPattern, URLResolver, reverse

from core.ids import uuid7
from email_sync.models import Attachment
from tests.world import People, World, fingerprint, tried
from workspaces.models import AuditEvent, Role
from workspaces.tests.fixtures import Actor

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("people", "configured", "mailboxes_stay")]

CONSOLE = frozenset({Role.OWNER, Role.ADMIN})
OWNERS = frozenset({Role.OWNER})
NOBODY: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Model:
    """The pages that every registered model has."""

    row: str
    """Of a `World`: one that these pages are about."""
    roles: frozenset[str] = CONSOLE
    adds: bool = False
    changes: bool = False
    personal: bool = False
    """Its rows are their user's alone; everybody has a list of their own."""


@dataclass(frozen=True)
class Page:
    """A page of its own, about a row of the workspace: what a role that may gets."""

    get: int = 200
    post: int = 302
    roles: frozenset[str] = CONSOLE
    recorded: bool = False
    """Looking is written into the trail."""
    own: bool = False
    """For any member, about themselves."""
    personal: bool = False
    """About a row that is its user's alone: nobody else gets it, whatever their role."""


ACTION = Page()
"""A dialog that is shown by GET and does what it says by POST."""

MODELS = {
    "workspaces.User": Model("user", roles=NOBODY, adds=True, changes=True),  # superusers only
    "workspaces.Workspace": Model("workspace", changes=True),
    "workspaces.Membership": Model("membership", adds=True),
    "workspaces.ApiToken": Model("token", adds=True),
    "workspaces.AuditEvent": Model("audit_event", roles=OWNERS),
    "entities.AddressMatch": Model("match", adds=True),
    "entities.DomainMatch": Model("domain_match", adds=True),
    "integrations.Connection": Model("connection"),
    "integrations.SyncRun": Model("run"),
    "integrations.Integration": Model("integration", adds=True),
    "integrations.Delivery": Model("delivery"),
    "integrations.Event": Model("happening"),
    "email_sync.Message": Model("message", personal=True),
    "calendar_sync.Calendar": Model("calendar"),
    "calendar_sync.CalendarEvent": Model("unreadable_event"),
    "email_logs.EmailLogTable": Model("log_table"),
    "email_logs.EmailLogEntry": Model("log_entry"),
    "email_logs.OutgoingEmail": Model("outgoing"),
    "email_logs.Suppression": Model("suppression"),
    "email_logs.EmailLogMirror": Model("mirror"),
    "documents.Document": Model("document"),
    "documents.DocumentCopy": Model("copy"),
}
"""Every model that has pages."""

PAGES = {
    "auth_user_password_change": Page(403, 403, NOBODY),
    "workspaces_workspace_add_member": ACTION,
    "workspaces_membership_change_role": ACTION,
    "workspaces_membership_remove": ACTION,
    "workspaces_apitoken_revoke": ACTION,
    "entities_addressmatch_keep": ACTION,
    "entities_addressmatch_undo": ACTION,
    "entities_domainmatch_keep": ACTION,
    "entities_domainmatch_undo": ACTION,
    "overview": Page(post=405),
    "setup": Page(post=405),
    "setup_provider": Page(post=405),
    "checks": Page(post=405),
    "choose_workspace": Page(get=405),
    "email_sync_message_letter": Page(personal=True),
    "email_sync_message_file": Page(personal=True),
    "integrations_connection_connect": Page(get=405, own=True),
    "integrations_connection_log_in": Page(post=400, own=True),  # the servers are not given
    "integrations_connection_reconnect": Page(personal=True),
    "integrations_connection_progress": Page(post=405),
    "integrations_connection_refresh": ACTION,
    "integrations_connection_sync_now": ACTION,
    "integrations_connection_pause": ACTION,
    "integrations_connection_resume": ACTION,
    "integrations_connection_disconnect": ACTION,
    "integrations_integration_settings": Page(),
    "integrations_integration_rotate": Page(post=400),  # nothing new is given
    "integrations_integration_use": Page(404, 404),  # a webhook has no actions
    "integrations_integration_work": Page(post=200),
    "integrations_integration_templates": Page(422, 422),  # nor templates
    "integrations_integration_test": ACTION,
    "integrations_integration_enable": ACTION,
    "integrations_integration_disable": ACTION,
    "integrations_integration_make_site": ACTION,
    "integrations_integration_replay_failed": ACTION,
    "integrations_integration_remove": ACTION,
    "integrations_delivery_replay": ACTION,
    "email_logs_emaillogentry_export": Page(post=200, recorded=True),
    "email_logs_emaillogtable_exports": Page(post=405),
    "email_logs_emaillogtable_exports_live": Page(post=405),
    "email_logs_emaillogtable_begin_export": Page(),
    "email_logs_emaillogtable_export_file": Page(post=405, recorded=True),
    "email_logs_emaillogtable_remove_export": Page(),
    "email_logs_emaillogmirror_mirror_now": ACTION,
    "email_logs_suppression_suppress": Page(get=405),
    "email_logs_suppression_remove": ACTION,
    "documents_document_archive": ACTION,
    "documents_document_remove": ACTION,
    "documents_documentcopy_live": Page(post=405),
}
"""Every address a model admin adds to those of Django."""

SITE = {
    "index", "login", "logout", "password_change", "password_change_done", "autocomplete", "jsi18n", "view_on_site",
    "search", "app_list", "sign_in", "signed_in",
}  # fmt: skip
"""The site's own addresses: `test_search_and_jumps_reach_no_other_workspace`."""
OWN_ROWS = ("integrations.Connection", "integrations.SyncRun", "email_sync.Message")
"""Models whose list has a member's own rows."""
REFUSED = (302, 403, 404, 405)
EVERY_MODEL_HAS = ("changelist", "add", "history", "delete", "change")

SUBMITTED = {
    "_form_submitted": "on", "post": "yes", "role": "MEMBER", "email": "new@example.org", "name": "renamed",
    "config.url": "https://198.45.48.1/", "since": "2026-01-01T00:00", "address": "x@y.example",
}  # fmt: skip


# --- the addresses ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Address:
    """A named address of the site."""

    name: str
    parameters: tuple[str, ...]
    label: str = ""
    """The model of a page that every model has."""
    kind: str = ""
    """Which of them it is."""

    @property
    def page(self) -> Page:
        """What is expected of it."""
        if not self.label:
            return PAGES[self.name]
        model = MODELS[self.label]
        allowed = {"add": model.adds, "delete": False, "change": model.changes}.get(self.kind, True)
        if model.personal:
            return Page(200, 0, own=True) if self.kind == "changelist" else Page(personal=True)
        return Page(200, 0, model.roles) if allowed or self.kind == "change" else Page(403, 403, model.roles)


def _named(entries: list[Any]) -> Iterator[URLPattern]:
    for entry in entries:
        if isinstance(entry, URLResolver):
            yield from _named(entry.url_patterns)
        elif entry.name:
            yield entry


def _addresses() -> list[Address]:
    standard = {
        f"{model._meta.app_label}_{model._meta.model_name}_{kind}": (model._meta.label, kind)
        for model in admin.site._registry
        for kind in EVERY_MODEL_HAS
    }
    return [
        Address(entry.name, tuple(entry.pattern.converters), *standard.get(entry.name, ()))
        for entry in _named(admin.site.get_urls())
        if entry.name not in SITE
    ]


ADDRESSES = _addresses()
KNOWN = [address for address in ADDRESSES if (address.label in MODELS if address.label else address.name in PAGES)]
LISTS = [address for address in KNOWN if address.kind == "changelist"]
NAMES = [address.name for address in KNOWN]


def test_every_address_has_a_declared_expectation() -> None:
    assert sorted({address.name for address in ADDRESSES} - set(NAMES)) == []


def test_no_expectation_is_left_of_an_address_that_is_gone() -> None:
    assert sorted(set(PAGES) - set(NAMES)) == []
    assert sorted(set(MODELS) - {model._meta.label for model in admin.site._registry}) == []
    assert {entry.name for entry in _named(admin.site.get_urls())} >= SITE


# --- asking -------------------------------------------------------------------------------------------------------


def _signed_in(actor: Actor) -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(actor.user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def _row(world: World, name: str) -> Any:
    """The row of a world; those that every actor has beside it too."""
    others = {"user": world.actor.user, "workspace": world.actor.workspace}
    if name == "audit_event":
        return AuditEvent.objects.filter(workspace=world.actor.workspace).first()
    return others.get(name) or getattr(world, name)


def _row_for(address: Address, world: World) -> Any:
    """What the page is about, found by the model that its name begins with."""
    named = {label.lower().replace(".", "_"): model.row for label, model in MODELS.items()}
    prefix = next((key for key in sorted(named, key=len, reverse=True) if address.name.startswith(f"{key}_")), "")
    return _row(world, named.get(prefix, "user"))


def _arguments(address: Address, world: World | None) -> dict[str, str]:
    """The parameters of a page about `world`'s row; unknown ids without a world."""
    unknown = str(uuid7())
    known = {
        "object_id": str(_row_for(address, world).pk) if world else unknown,
        "id": str(_row_for(address, world).pk) if world else unknown,
        "workspace_id": str(world.actor.workspace.pk) if world else unknown,
        "table_id": str(world.log_table.pk) if world else unknown,
        "log_export_id": str(world.log_export.pk) if world else unknown,
        "file_id": str(Attachment.objects.get(message=world.message).pk) if world else unknown,
        "provider": "google",
        "format": "csv",
        "action": "ping",
    }
    return {name: known[name] for name in address.parameters}


def _ask(client: Client, method: str, address: Address, world: World | None, query: Mapping[str, str]) -> Any:
    url = reverse(f"admin:{address.name}", kwargs=_arguments(address, world))
    response = getattr(client, method)(url, SUBMITTED if method == "post" else query)
    response.shown = (b"".join(response) if response.streaming else response.content).decode()
    return response  # read to its end: a file that is left half made would undo what comes after it


def _text(response: Any) -> str:
    """The page, as `_ask` read it."""
    shown: str = getattr(response, "shown", None) or response.content.decode()
    return shown


def _learned(response: HttpResponseBase, arguments: Mapping[str, str]) -> tuple[int, str, str]:
    """Status, where to, and the page without the id asked for and what changes with every answer."""
    text = _text(response) + response.cookies.output()
    text = re.sub(
        r'(csrf\w*["\']?(?: value=|:|=) ?["\']?)[\w-]+|sessionid=\w+|messages=[^;]+|expires=[^;]+', r"\1", text
    )
    text = re.sub(r'name="once" value="[\w-]+"', "", text)  # every page of a form has one of its own
    text = re.sub(r"\b\d+ (s|min)\b", "a while", text)  # a second may have passed between two answers
    location = response.headers.get("Location", "")
    for value in arguments.values():
        text, location = text.replace(value, "ID"), location.replace(value, "ID")
    return response.status_code, location, text


# --- the matrix ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", KNOWN, ids=NAMES)
def test_those_who_run_the_workspace_get_what_is_declared(people: People, address: Address) -> None:
    """Looked at, then sent: each about a colleague's row, and undone."""
    page, target = address.page, people.spare
    clients = {who: _signed_in(people.worlds[who].actor) for who in ("owner", "admin")}
    before = fingerprint()
    for who, method in product(clients, ("get", "post")):
        with tried():
            response = _ask(clients[who], method, address, target, {})
            assert response.status_code < 500, (who, method)
            if people.worlds[who].actor.role not in page.roles or page.personal:
                assert response.status_code in REFUSED, (who, method)
                assert target.mark not in _text(response), (who, method)
            else:
                status = page.get if method == "get" else page.post
                assert response.status_code == status or not status, (who, method, _text(response)[:2000])
            if (method == "get" and not page.recorded) or response.status_code >= 400:
                assert fingerprint() == before, (who, method)


@pytest.mark.parametrize("address", KNOWN, ids=NAMES)
def test_nobody_is_led_to_the_sign_in(people: People, address: Address) -> None:
    client, before = Client(raise_request_exception=False), fingerprint()
    for method in ("get", "post"):
        response = _ask(client, method, address, people.worlds["owner"], {})
        assert response.status_code == 302, method
        assert response.headers["Location"].startswith(f"{reverse('admin:login')}?next="), method
    assert fingerprint() == before


@pytest.mark.parametrize("address", KNOWN, ids=NAMES)
def test_member_gets_nothing_that_is_not_their_own(people: People, address: Address) -> None:
    """Not even of the workspace they are in."""
    client, world, before = _signed_in(people.spare.actor), people.worlds["owner"], fingerprint()
    for method in ("get", "post"):
        with tried():
            response = _ask(client, method, address, world, {})
            assert world.mark not in _text(response), method
            if address.page.own or (address.kind == "changelist" and address.label in OWN_ROWS):
                assert response.status_code < 500, method
                continue
            assert response.status_code in REFUSED, method
            assert fingerprint() == before, method


@pytest.mark.parametrize("address", KNOWN, ids=NAMES)
@pytest.mark.parametrize(("who", "whose"), [("outsider", "member"), ("elsewhere", "owner")])
def test_foreign_row_looks_like_an_unknown_one_and_stays_as_it_is(
    people: People, address: Address, who: str, whose: str
) -> None:
    """For somebody who has nothing here, and for a mere member who runs another workspace."""
    if who == "elsewhere" and address.page.own:
        return
    foreign, client = people.worlds[whose], _signed_in(people.worlds[who].actor)
    secret = {foreign.mark, foreign.actor.user.email, f"trail-{foreign.actor.workspace.pk}"}
    before = fingerprint()
    for method in ("get", "post"):
        makes = method == "post" and not address.parameters
        answers = []
        for world in (foreign, None):
            with tried():
                response = _ask(client, method, address, world, {"q": foreign.mark})
                assert response.status_code < 500, method
                answers.append(_learned(response, _arguments(address, world)))
                if makes:
                    after = fingerprint()
                    assert {table for table in before if before[table] != after[table]} <= _own_tables(address)
                elif response.status_code < 400:
                    assert fingerprint() == before, method
            shown = [word for word in secret if word in answers[-1][2]]
            # A search page repeats what was searched for.
            assert shown in ([], [foreign.mark] if method == "get" and not address.parameters else []), method
        assert answers[0] == answers[1] or (makes and address.name == TOKENS), method


TOKENS = "workspaces_apitoken_add"
"""What is sent twice makes two tokens, each with a text of its own."""


def _own_tables(address: Address) -> set[str]:
    """A form without an id that is sent by an owner makes rows of the owner's own, never of anybody else."""
    table = address.label.lower().replace(".", "_")
    return {table, "workspaces_auditevent", "django_admin_log"} | (
        {"workspaces_user"} if table == "workspaces_membership" else set()
    )


@pytest.mark.parametrize("label", [label for label, model in MODELS.items() if model.roles and not model.personal])
def test_page_of_a_row_is_called_by_no_id_and_has_no_form_within_a_form(people: People, label: str) -> None:
    """Its title says something that a person knows it by; a browser drops an inner form, and its button sends the outer
    one."""
    world, name = people.worlds["owner"], label.lower().replace(".", "_")
    client = _signed_in(world.actor)
    for kind in ("change", "history"):
        page = _text(client.get(reverse(f"admin:{name}_{kind}", args=(_row(world, MODELS[label].row).pk,))))
        called = re.findall(r"<title>.*?</title>|<h1.*?</h1>", page, re.DOTALL)
        assert not re.search(r"<form\b(?:(?!</form>).)*<form\b", page, re.DOTALL), kind
        words = re.sub(r"<[^>]*>", " ", " ".join(called))
        assert words.strip(), kind
        assert not re.search(r"[0-9a-f]{8}-?[0-9a-f]{4}-?7[0-9a-f]{3}-?[89ab]", words), (kind, words)


@pytest.mark.parametrize("address", LISTS, ids=[address.name for address in LISTS])
def test_list_shows_an_owner_their_own_and_filters_reach_no_further(people: People, address: Address) -> None:
    mine, foreign = people.worlds["outsider"], people.worlds["member"]
    client = _signed_in(mine.actor)
    url = reverse(f"admin:{address.name}")
    for query in (
        {}, {"connection__id__exact": str(foreign.connection.pk)}, {"all": ""}, {"p": "2"}, {"o": "1"}, {"e": "1"},
        {"workspace__id__exact": str(foreign.actor.workspace.pk)}, {"endpoint": str(foreign.integration.pk)},
        {"before": str(_row_for(address, foreign).pk)}, {"log": str(foreign.log_table.pk)},
    ):  # fmt: skip
        response = client.get(url, query, follow=True)
        assert response.status_code in (200, 400, 403), query
        text = _text(response)
        for value in query.values():
            text = text.replace(value, "") if len(value) > 20 else text
        assert str(_row_for(address, foreign).pk) not in text, query
        assert foreign.mark not in text, query
    if MODELS[address.label].roles:
        assert str(_row_for(address, mine).pk) in _text(client.get(url))


def test_search_and_jumps_reach_no_other_workspace(people: People) -> None:
    """The site's own addresses: the autocomplete of foreign keys, `view on site`, the index and unfold's search."""
    foreign = people.worlds["member"]
    client = _signed_in(people.worlds["outsider"].actor)
    asked = {"app_label": "integrations", "model_name": "connection", "field_name": "user", "term": "user"}
    for name, kwargs, query in (
        ("index", {}, {}),
        ("autocomplete", {}, asked),
        ("jsi18n", {}, {}),
        ("search", {}, {"s": foreign.mark}),
        ("app_list", {"app_label": "integrations"}, {}),
        ("view_on_site", {"content_type_id": 1, "object_id": foreign.connection.pk}, {}),
        ("password_change", {}, {}),
        ("password_change_done", {}, {}),
    ):
        response = client.get(reverse(f"admin:{name}", kwargs=kwargs), query)
        assert response.status_code < 500, name
        text = response.content.decode().replace(f"{foreign.mark}&quot;", "")
        assert foreign.actor.user.email not in text, name
        assert str(foreign.connection.pk) not in text, name


@pytest.mark.parametrize("address", LISTS, ids=[address.name for address in LISTS])
def test_bulk_actions_touch_no_row_of_another_workspace(people: People, address: Address) -> None:
    foreign = people.worlds["member"]
    client = _signed_in(people.worlds["outsider"].actor)
    page = next(page for model, page in admin.site._registry.items() if model._meta.label == address.label)
    before = fingerprint()
    url = reverse(f"admin:{address.name}")
    for action in ("delete_selected", *(str(getattr(a, "__name__", a)) for a in page.actions or ())):
        body = {"action": action, "_selected_action": str(_row_for(address, foreign).pk), "post": "yes"}
        assert client.post(url, body).status_code < 500
    assert fingerprint() == before
