"""The console's pages that use an integration: its actions with their answers, its work, its templates."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.http import content_disposition_header

from core.admin import ScopedAdmin
from core.errors import HubError, NotFound
from core.work import ACTIVE
from integrations import tasks
from integrations.admin.forms import DeclaredForm, Part
from integrations.models import Integration
from integrations.providers.base import TEMPLATES
from integrations.services import integration_actions, templates
from integrations.services.integrations import provider_of
from workspaces.admin.forms import form_page
from workspaces.admin.looks import by

PER_PAGE = 25
ROWS_SHOWN = 200
"""Of a list in an answer."""
CONTENT = ("content", "contentBase64")
"""Where an answer holds a file, beside its name and type."""


class Using(ScopedAdmin):
    """The part of the admin of integrations that asks vendors for something."""

    def using_urls(self) -> list[URLPattern]:
        wrap, name = self.admin_site.admin_view, "integrations_integration"
        return [
            path("<uuid:object_id>/use/<str:action>", wrap(self.use_view), name=f"{name}_use"),
            path("<uuid:object_id>/work", wrap(self.work_view), name=f"{name}_work"),
            path("<uuid:object_id>/templates", wrap(self.templates_view), name=f"{name}_templates"),
        ]

    def buttons(self, row: Integration) -> list[dict[str, str]]:
        """What this type can do, as links."""
        kind = provider_of(row)

        def address(page: str, *more: str) -> str:
            return reverse(f"{self.admin_site.name}:integrations_integration_{page}", args=(row.pk, *more))

        found = [{"words": "Settings", "icon": "tune", "url": address("settings")}]
        if kind.credential_fields or any(field.secret for field in kind.config_fields):
            found.append({"words": "Rotate secret", "icon": "key", "url": address("rotate")})
        if TEMPLATES in kind.capabilities:
            found.append({"words": "Templates", "icon": "description", "url": address("templates")})
        for action in kind.actions:
            if TEMPLATES not in kind.capabilities or action.name != templates.ACTION:
                found.append({"words": action.label, "icon": "bolt", "url": address("use", action.name)})
        return found

    def use_view(self, request: HttpRequest, object_id: object, action: str) -> HttpResponse:
        """The form of an action; sent, its answer above it, or the file it answered."""
        row: Integration = self.object_for_action(request, object_id)
        try:
            declared = provider_of(row).action(action)
        except NotFound as error:
            raise Http404 from error
        sent = (request.POST, request.FILES) if request.method == "POST" else (None, None)
        form = DeclaredForm([Part("", declared.fields)], *sent)
        context: dict[str, Any] = {}
        if form.is_valid():
            try:
                done = integration_actions.perform(integration=row, action=action, given=form.given(), by=by(request))
                tasks.ring_action(action, done.work)
            except HubError as error:
                form.tell(error)
            else:
                if done.work is not None:
                    messages.success(request, f"{declared.label}: it is under way.")
                    return HttpResponseRedirect(request.get_full_path())
                if (file := file_in(done.result)) is not None:
                    return file
                context["answer"] = shown(done.result)
                form.anew()
        if declared.queued:
            context["works"] = works_of(self.admin_site.name, row)
        back = reverse(f"{self.admin_site.name}:integrations_integration_change", args=(row.pk,))
        return form_page(
            self, request, form, title=f"{row.name}: {declared.label}", submit=declared.label, about=declared.help,
            back=back, template="integrations/console/use.html", **context,
        )  # fmt: skip

    def work_view(self, request: HttpRequest, object_id: object) -> HttpResponse:
        """How far its work is: a piece of a page that renews itself while there is some."""
        row: Integration = self.object_for_action(request, object_id)
        return render(request, "integrations/console/work.html", works_of(self.admin_site.name, row))

    def templates_view(self, request: HttpRequest, object_id: object) -> HttpResponse:
        """The vendor's templates, found by name, a page at a time. Asked anew each time."""
        row: Integration = self.object_for_action(request, object_id)
        words = request.GET.get("q", "").strip()
        context: dict[str, Any] = {
            **self.admin_site.each_context(request), "opts": self.model._meta, "title": f"{row.name}: templates",
            "row": row, "words": words,
        }  # fmt: skip
        status = 200
        try:
            listed = templates.of(row)
            found = [one for one in listed if words.casefold() in str(one["name"]).casefold() or words == one["id"]]
            context |= {"page": Paginator(found, PER_PAGE).get_page(request.GET.get("p")), "all": len(listed)}
        except HubError as error:
            context["problem"], status = error.message, error.status
        return TemplateResponse(request, "integrations/console/templates.html", context, status=status)


def works_of(site: str, row: Integration) -> dict[str, Any]:
    """What a page needs to show of an integration's work in the background."""
    found: list[dict[str, Any]] = []
    for action in provider_of(row).actions:
        work = integration_actions.work_of(integration=row, action=action.name) if action.queued else None
        if work is not None:
            done, total = int(getattr(work, "done", 0)), int(getattr(work, "total", 0))
            share = min(100, 100 * done // total) if total else 0
            found.append({"title": action.label, "work": work, "done": done, "total": total, "share": share})
    url = reverse(f"{site}:integrations_integration_work", args=(row.pk,))
    return {"works": found, "renew": url if any(one["work"].status in ACTIVE for one in found) else ""}


def file_in(result: Mapping[str, Any]) -> HttpResponse | None:
    """The file that an answer holds, as a download; None where it holds none."""
    content = next((result[name] for name in CONTENT if isinstance(result.get(name), str)), None)
    if content is None or "fileName" not in result:
        return None
    try:
        data = base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError):
        return None
    response = HttpResponse(data, content_type="application/octet-stream")
    name = str(result["fileName"]) or "file"
    response.headers["Content-Disposition"] = content_disposition_header(True, name) or "attachment"
    return response


def shown(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """An answer as a page shows it: lists of objects as tables, what is small as words, the rest as JSON."""
    found: list[dict[str, Any]] = []
    for name, value in result.items():
        if isinstance(value, list) and value and all(isinstance(one, Mapping) for one in value):
            columns = list(dict.fromkeys(key for one in value[:ROWS_SHOWN] for key in one))
            rows = [[_cell(one.get(column)) for column in columns] for one in value[:ROWS_SHOWN]]
            found.append({"name": name, "columns": columns, "rows": rows, "more": max(0, len(value) - ROWS_SHOWN)})
        else:
            found.append({"name": name, "cell": _cell(value)})
    return found


def _cell(value: Any) -> dict[str, str]:
    """In words; what has parts is folded up."""
    if value is None or value in ("", [], {}):
        return {"words": "–"}
    if isinstance(value, bool):
        return {"words": "yes" if value else "no"}
    if isinstance(value, list) and not any(isinstance(one, (Mapping, list)) for one in value):
        return {"words": ", ".join(map(str, value))}
    if isinstance(value, (Mapping, list)):
        inside = json.dumps(value, indent=2, ensure_ascii=False)
        return {"words": f"{len(value)} {'part' if len(value) == 1 else 'parts'}", "inside": inside}
    return {"words": str(value)}
