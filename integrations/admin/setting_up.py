"""The console's pages that set an integration up: choose a type, fill its form, change it, give a new secret."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from unfold.widgets import UnfoldBooleanSwitchWidget

from core.admin import ScopedAdmin
from core.errors import HubError, InvalidInput
from integrations.admin.forms import DeclaredForm, NamedForm, Part
from integrations.models import Integration
from integrations.providers import INTEGRATION_PROVIDERS
from integrations.providers.base import EMAIL, EVENTS_FIELD, IntegrationProvider
from integrations.services import integrations
from integrations.services.integrations import given_secrets, provider_of
from workspaces.admin.forms import form_page, shown_once
from workspaces.admin.looks import by, workspaces_of

CONFIG, CREDENTIALS = "config", "credentials"
SETTINGS, SECRETS, EVENTS_TITLE = "Settings", "Credentials", "What it is told of"
SITE = "setAsSiteEmailProvider"


def secret_names(row: Integration) -> list[str]:
    """Labels of the secrets that are there."""
    there, kind = given_secrets(row), provider_of(row)
    return [field.label for field in (*kind.credential_fields, *kind.config_fields) if _hidden(field) in there]


def _hidden(field: Any) -> str:
    return field.name if field.write_only or field.secret else ""


class SettingUp(ScopedAdmin):
    """The part of the admin of integrations that asks for settings."""

    def setting_up_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        return [
            path("<uuid:object_id>/settings", wrap(self.settings_view), name="integrations_integration_settings"),
            path("<uuid:object_id>/rotate", wrap(self.rotate_view), name="integrations_integration_rotate"),
        ]

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The types as cards; with `?type=` the form of one."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        key = request.GET.get("type", "")
        if key not in INTEGRATION_PROVIDERS:
            return self._types(request)
        kind = INTEGRATION_PROVIDERS.get(key)
        parts, initial = _parts(kind, {}, {}, makes=True), {"name": kind.name}
        form = NamedForm(parts, *_sent(request), initial=initial, workspaces=workspaces_of(request))
        if EMAIL in kind.capabilities:
            form.fields[SITE] = forms.BooleanField(
                label="Make it the site email provider", required=False, widget=UnfoldBooleanSwitchWidget,
                help_text="The workspace's own mail leaves through it.",
            )  # fmt: skip
        if form.is_valid():
            try:
                made = integrations.create(
                    workspace=form.workspace,
                    by=by(request),
                    name=form.cleaned_data["name"],
                    type=key,
                    config=form.given(CONFIG),
                    credentials=form.given(CREDENTIALS),
                    site_email_provider=bool(form.cleaned_data.get(SITE)),
                )
            except HubError as error:
                form.tell(error)
            else:
                messages.success(request, f"{made.name} is set up. Test it now to see whether it works.")
                return self._onward(request, made, form)
        return form_page(
            self, request, form, title=f"Add {kind.name}", submit="Add", about=kind.description,
            back=reverse(f"{self.admin_site.name}:integrations_integration_add"),
        )  # fmt: skip

    def _types(self, request: HttpRequest) -> HttpResponse:
        kinds = [INTEGRATION_PROVIDERS.get(key) for key in INTEGRATION_PROVIDERS]
        context = {
            **self.admin_site.each_context(request),
            "opts": self.model._meta,
            "title": "Add an integration",
            "kinds": [
                {
                    "key": kind.key,
                    "name": kind.name,
                    "description": kind.description,
                    "can": [action.label for action in kind.actions],
                }
                for kind in kinds
            ],
        }
        return TemplateResponse(request, "integrations/console/types.html", context)

    def settings_view(self, request: HttpRequest, object_id: object) -> HttpResponse:
        """Change what it is called and how it is set up."""
        row: Integration = self.object_for_action(request, object_id)
        kind = provider_of(row)
        initial = {"name": row.name}
        form = NamedForm(_parts(kind, row.config, _kept(row)), *_sent(request), initial=initial)
        if form.is_valid():
            given: dict[str, Any] = {"name": form.cleaned_data["name"], "config": form.given(CONFIG)}
            given["new_credentials"] = form.given(CREDENTIALS)
            if self._changed(request, row, form, given):
                return HttpResponseRedirect(self._page_of(row))
        about = "Where the address changes that credentials are sent to, give them again: they do not follow by itself."
        leads = any(field.destination for field in kind.config_fields)
        return form_page(
            self, request, form, title=f"{row.name}: settings", about=about if leads else "", back=self._page_of(row)
        )

    def rotate_view(self, request: HttpRequest, object_id: object) -> HttpResponse:
        """New credentials in place of those that are there."""
        row: Integration = self.object_for_action(request, object_id)
        kind = provider_of(row)
        hidden, kept = [field for field in kind.config_fields if field.secret], _kept(row)
        secrets = Part("", kind.credential_fields, CREDENTIALS, {}, kept, makes=False)
        parts = [Part("", hidden, CONFIG, {}, kept), secrets]
        form = DeclaredForm(parts, *_sent(request))
        if form.is_valid():
            given = {"config": form.given(CONFIG), "new_credentials": form.given(CREDENTIALS)}
            if not any(given.values()):
                form.tell(InvalidInput("Give a new secret: what is left empty stays as it is."))
            elif self._changed(request, row, form, given):
                return self._onward(request, row, form)
        about = "The new secret counts at once, and the old one no more."
        if kind.rotates:
            about = "The new secret counts at once; the old one goes on signing beside it for 24 hours."
        return form_page(
            self, request, form, title=f"{row.name}: new secret", submit="Rotate", about=about, back=self._page_of(row)
        )

    def _changed(self, request: HttpRequest, row: Integration, form: DeclaredForm, given: dict[str, Any]) -> bool:
        try:
            integrations.change(integration=row, by=by(request), given=given)
        except HubError as error:
            form.tell(error)
            return False
        messages.success(request, f"{row.name} is changed. Test it now to see whether it works.")
        return True

    def _onward(self, request: HttpRequest, row: Integration, form: DeclaredForm) -> HttpResponse:
        """To its page; by way of the secrets that were made, which are shown here and nowhere else."""
        if not form.made:
            return HttpResponseRedirect(self._page_of(row))
        facts = {"Of": row.name, "Later shown as": row.fingerprint or "nothing"}
        title = f"{row.name}: {', '.join(form.made).lower()}"
        return shown_once(self, request, title=title, secrets=form.made, facts=facts, back=self._page_of(row))

    def _page_of(self, row: Integration) -> str:
        return reverse(f"{self.admin_site.name}:integrations_integration_change", args=(row.pk,))


def _sent(request: HttpRequest) -> tuple[Any, Any]:
    return (request.POST, request.FILES) if request.method == "POST" else (None, None)


def _parts(
    kind: type[IntegrationProvider], values: dict[str, Any], kept: dict[str, str], *, makes: bool | None = None
) -> list[Part]:
    events = [field for field in kind.all_config_fields() if field is EVENTS_FIELD]
    return [
        Part(SETTINGS, kind.config_fields, CONFIG, values, kept),
        Part(SECRETS, kind.credential_fields, CREDENTIALS, {}, kept, makes),
        Part(EVENTS_TITLE, events, CONFIG, values),
    ]


def _kept(row: Integration) -> dict[str, str]:
    """Secrets that are there → what may be shown of them."""
    return {name: str(row.masks.get(name, "")) for name in given_secrets(row)}
