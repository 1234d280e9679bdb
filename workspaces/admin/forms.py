"""Pages of the console that ask for something: a form of its own whose input goes to a service.

Django's add and change forms save a model; ours call what the API calls. What the service refuses is said beside the
field it names and nothing typed is lost, except secrets: those never come back in a page. A form that arrives twice (a
second click, a page reloaded) does what it says once.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, NamedTuple

from django import forms
from django.contrib.admin.options import ModelAdmin
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, QueryDict
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from core.errors import HubError
from workspaces.models import Workspace

TEMPLATE = "workspaces/form_page.html"
ONCE_SECONDS = 24 * 3600
SENT_ALREADY = "This was sent already: look at what became of it. Send it again only where it is to happen once more."


class Section(NamedTuple):
    """Fields of a page under one heading; "" for none."""

    title: str
    fields: list[forms.BoundField]


class PageForm(forms.Form):
    """A form on a page of its own. With `workspaces` of more than one it asks for which."""

    once = forms.UUIDField(required=False, initial=uuid.uuid4, widget=forms.HiddenInput)
    """Names the page it was filled in."""

    def __init__(self, *args: Any, workspaces: QuerySet[Workspace] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._only: Workspace | None = None
        if workspaces is not None:
            rows = list(workspaces[:2])
            self._only = rows[0] if len(rows) == 1 else None
            if self._only is None:
                self.fields["workspace"] = forms.ModelChoiceField(workspaces, widget=UnfoldAdminSelectWidget)

    def clean(self) -> dict[str, Any]:
        """Nothing is wrong, and it was not sent before."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        once = cleaned.get("once")
        if once and not self.errors and not cache.add(f"console.once.{once}", True, ONCE_SECONDS):
            self.anew()
            raise ValidationError(SENT_ALREADY)
        return cleaned

    @property
    def workspace(self) -> Workspace:
        """The one chosen, or the only one there is."""
        chosen: Workspace = self._only or self.cleaned_data["workspace"]
        return chosen

    def sections(self) -> list[Section]:
        """How the page shows its fields."""
        return [Section("", list(self))]

    def tell(self, error: HubError, names: Mapping[str, str] | None = None) -> None:
        """Say what a service refused beside the fields it names; `names` are those it calls otherwise."""
        self.anew()
        if not error.fields:
            self.add_error(None, error.message)
        for name, words in error.fields.items():
            field = self._field_for((names or {}).get(name, name))
            self.add_error(field, [word if field else f"{name}: {word}" for word in words])

    def anew(self) -> None:
        """The page that is shown now may be sent, whatever became of the one before."""
        data = QueryDict(mutable=True)
        data.update(self.data)
        data["once"] = str(uuid.uuid4())
        self.data = data

    def _field_for(self, name: str) -> str | None:
        """The field of this dotted name, or of the list or object it is a part of."""
        while name and name not in self.fields:
            name = name.rpartition(".")[0]
        return name or None


class Moment(forms.DateTimeInput):
    """A date and a time as the browser asks for them, in UTC."""

    input_type = "datetime-local"

    def __init__(self) -> None:
        look = UnfoldAdminTextInputWidget().attrs["class"]
        super().__init__(attrs={"class": look}, format="%Y-%m-%dT%H:%M")


def shown_once(
    page: ModelAdmin[Any], request: HttpRequest, *, title: str, secrets: Mapping[str, str], facts: Mapping[str, str],
    back: str,
) -> TemplateResponse:  # fmt: skip
    """The answer to a form that made secrets: label → text of each, kept by no browser, and what to know of them."""
    shown = {
        **page.admin_site.each_context(request), "opts": page.model._meta, "title": title, "back": back,
        "secrets": list(secrets.items()), "facts": list(facts.items()),
    }  # fmt: skip
    response = TemplateResponse(request, "workspaces/shown_once.html", shown)
    response.headers["Cache-Control"] = "no-store"
    return response


def form_page(
    page: ModelAdmin[Any], request: HttpRequest, form: PageForm, *, title: str, submit: str = "Save", **context: Any
) -> TemplateResponse:
    """The page. `about` (what it does), `back` (where Cancel leads) and `template` may be given; 400 where the form was
    sent and is wrong."""
    opts = page.model._meta
    template = context.pop("template", TEMPLATE)
    back = context.pop("back", "") or reverse(f"{page.admin_site.name}:{opts.app_label}_{opts.model_name}_changelist")
    shown = {
        **page.admin_site.each_context(request),
        "opts": opts,
        "title": title,
        "form": form,
        "submit_words": submit,
        "back": back,
        **context,
    }
    return TemplateResponse(request, template, shown, status=400 if form.is_bound and form.errors else 200)
