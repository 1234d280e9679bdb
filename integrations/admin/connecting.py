"""The console's pages that connect an account: through the provider's consent, or by a log-in whose servers are looked
up. Whoever connects, connects an account of their own, in a workspace they are a member of."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from django import forms
from django.contrib import messages
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_POST
from unfold.widgets import UnfoldAdminEmailInputWidget

from core.errors import HubError
from integrations import browser_answers
from integrations.admin.forms import DeclaredForm, Part
from integrations.models import Connection
from integrations.oauth import CONNECTION_PROVIDERS
from integrations.oauth.imap import Imap
from integrations.services import connections, oauth_flow, server_discovery
from integrations.services.server_discovery import Discovered
from integrations.tasks import ring
from workspaces.admin.forms import PageForm, form_page
from workspaces.admin.looks import ReadOnlyAdmin, by
from workspaces.models import Workspace

CORRECT = "Correct what is marked below. Passwords have to be typed again."
TITLES = {"": "Account", "imap": "Receiving", "smtp": "Sending", "caldav": "Calendars"}
LOG_IN, START = "Connect by log-in", "Connect a mailbox"
FOUND = {
    "known": "These are the servers this provider names. Check them, then give the password.",
    "srv": "The domain's own records name these servers. Check that you know them before you give a password.",
    "autoconfig": "The domain's own page names these servers. Check that you know them before you give a password.",
    "mx": "The domain's mail is kept there. Check the servers, then give the password.",
    "": "No servers were found for this address: its provider's help pages name them.",
}


class AddressForm(PageForm):
    """Whose servers are looked for."""

    email = forms.EmailField(label="E-mail address", max_length=254, widget=UnfoldAdminEmailInputWidget)


class LogInForm(DeclaredForm):
    """The declared fields of an account that is connected by a log-in."""

    def body(self) -> dict[str, Any]:
        """As `connections.connect_imap` takes it: an object per server, none for calendars where nothing was given."""
        body: dict[str, Any] = {"imap": {}, "smtp": {}}
        for name, value in self.given().items():
            server, _, field = name.partition(".")
            if field:
                body.setdefault(server, {})[field] = value
            else:
                body[server] = value
        return body


class Connecting(ReadOnlyAdmin):
    """The part of the admin of connections that connects."""

    def connecting_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        return [
            path(
                "connect/<str:provider>/<uuid:workspace_id>", wrap(self.connect), name="integrations_connection_connect"
            ),
            path("log-in/", wrap(self.log_in_view), name="integrations_connection_log_in"),
            path("<uuid:object_id>/reconnect", wrap(self.reconnect), name="integrations_connection_reconnect"),
        ]

    def ways(self, request: HttpRequest) -> dict[str, Any]:
        """What can be connected from a page: consent per provider that is set up here, and the log-in."""
        providers = [CONNECTION_PROVIDERS.get(key) for key in CONNECTION_PROVIDERS]
        return {
            "connectable": [provider for provider in providers if provider.oauth and provider.configured()],
            "connect_to": list(_workspaces(request)),
        }

    # By consent

    @method_decorator(require_POST)
    def connect(self, request: HttpRequest, provider: str, workspace_id: uuid.UUID) -> HttpResponse:
        """Begin a consent flow for the caller; the cookie binds it to this browser."""
        return self._consent(request, provider, get_object_or_404(_workspaces(request), pk=workspace_id))

    @method_decorator(require_POST)
    def reconnect(self, request: HttpRequest, object_id: object) -> HttpResponse:
        """Again, for an account of the caller's own: by consent, or to its log-in."""
        connection: Connection = self.object_for_action(request, object_id)
        if connection.user_id != by(request).pk:
            raise Http404
        if not CONNECTION_PROVIDERS.get(connection.provider).oauth:
            return HttpResponseRedirect(f"{self._address('log_in')}?connection={connection.pk}")
        workspace = get_object_or_404(_workspaces(request), pk=connection.workspace_id)
        return self._consent(request, connection.provider, workspace, connection)

    def _consent(
        self, request: HttpRequest, provider: str, workspace: Workspace, again: Connection | None = None
    ) -> HttpResponse:
        back = self._address("change", again.pk) if again else self._address("changelist")
        try:
            started = oauth_flow.begin(
                user=by(request), workspace=workspace, provider=provider, browser=True, back_to=back,
                connection_id=str(again.pk) if again else "",
            )  # fmt: skip
        except HubError as error:
            messages.error(request, error.message)
            return HttpResponseRedirect(back)
        return browser_answers.to_consent(started)

    # By a log-in

    def log_in_view(self, request: HttpRequest) -> HttpResponse:
        """The address first; then the form, with the servers that were found for it or are known of the account."""
        if not _workspaces(request).exists():
            raise Http404
        again = self._own(request, request.GET.get("connection", ""))
        if again is None and request.method != "POST" and not request.GET.get("email"):
            return self._ask_address(request, AddressForm())
        if again is not None:
            about, values = "Give the password again; the servers are those of the account.", _values_of(again)
        else:
            try:
                about, values = _proposal(request)
            except HubError as error:
                asked = AddressForm(request.GET)
                asked.is_valid()
                asked.tell(error)
                return self._ask_address(request, asked)
        parts = _parts(values)
        sent = request.POST if request.method == "POST" else None
        form = LogInForm(parts, sent, workspaces=None if again else _workspaces(request))
        if form.is_valid():
            try:
                return self._log_in(request, form, again.workspace if again else form.workspace)
            except HubError as error:
                form.tell(error)
        back = self._address("log_in")
        return form_page(self, request, form, title=LOG_IN, submit="Log in and connect", about=about, back=back)

    def _log_in(self, request: HttpRequest, form: LogInForm, workspace: Workspace) -> HttpResponse:
        body = form.body()
        connection, created, runs = connections.connect_imap(
            user=by(request), workspace=workspace, by=by(request), email=body.get("email"),
            imap=body["imap"], smtp=body["smtp"], caldav=body.get("caldav"),
        )  # fmt: skip
        ring(runs)
        words = "is connected; its mail is being fetched" if created else "is connected again"
        messages.success(request, f"{connection.account_email} {words}.")
        return HttpResponseRedirect(self._address("change", connection.pk))

    def _ask_address(self, request: HttpRequest, form: AddressForm) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            **self.ways(request),
            "opts": self.model._meta,
            "title": START,
            "form": form,
            "back": self._address("changelist"),
        }
        status = 400 if form.is_bound and form.errors else 200
        return TemplateResponse(request, "integrations/console/connect.html", context, status=status)

    def _own(self, request: HttpRequest, connection_id: str) -> Connection | None:
        """The account to log in to again; Http404 where it is not the caller's own or not connected by a log-in."""
        if not connection_id:
            return None
        connection: Connection = self.object_for_action(request, connection_id)
        if connection.user_id != by(request).pk or connection.provider != Imap.key:
            raise Http404
        return connection

    def _address(self, name: str, *arguments: object) -> str:
        return reverse(f"{self.admin_site.name}:integrations_connection_{name}", args=arguments)


def _workspaces(request: HttpRequest) -> QuerySet[Workspace]:
    """Where the caller may connect an account: being a member is enough."""
    return Workspace.objects.filter(memberships__user=by(request)).order_by("name", "pk")


def _parts(values: Mapping[str, object]) -> list[Part]:
    """A heading per server. An address that is known is not asked for by its user name again."""
    fields: dict[str, list[Any]] = {title: [] for title in TITLES}
    for field in Imap.fields:
        fields[field.name.partition(".")[0] if "." in field.name else ""].append(field)
    return [Part(title, fields[key], "", values) for key, title in TITLES.items()]


def _proposal(request: HttpRequest) -> tuple[str, dict[str, object]]:
    """What to say above the form, and what to fill it with."""
    email = request.GET.get("email", "")
    if request.method == "POST":
        return CORRECT, {"email": email}
    found = server_discovery.discover(email)
    words = FOUND[found.source]
    if found.servers.sign_in:
        name = CONNECTION_PROVIDERS.get(found.servers.sign_in).name
        words = f"This is a mailbox of {name}: connect it with the {name} button, a password would be refused."
    return f"{words} {found.servers.help}".strip(), _values(found)


def _values(found: Discovered) -> dict[str, object]:
    values: dict[str, object] = {"email": found.email}
    for kind, server in (("imap", found.servers.imap), ("smtp", found.servers.smtp)):
        if server is not None:
            named = {"host": server.host, "port": server.port, "security": server.security, "username": found.username}
            values |= {f"{kind}.{name}": value for name, value in named.items()}
    if found.servers.caldav_url:
        values |= {"caldav.url": found.servers.caldav_url, "caldav.username": found.username}
    return values


def _values_of(connection: Connection) -> dict[str, object]:
    """What the account was connected with; there is no secret among its options."""
    values: dict[str, object] = {"email": connection.account_email}
    for server, named in connection.options.items():
        if isinstance(named, Mapping):
            values |= {f"{server}.{name}": value for name, value in named.items()}
    return values
