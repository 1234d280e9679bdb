"""The console's pages of exports that are made in the background: asked for, watched, fetched, deleted."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_GET

from core.errors import HubError
from core.work import ACTIVE, WorkStatus
from email_logs import tasks
from email_logs.admin.asked import filters_of
from email_logs.admin.looks import WORK_COLOURS, name_of
from email_logs.files import FORMATS
from email_logs.models import EmailLogExport, EmailLogTable
from email_logs.services import exports
from email_logs.services.reading import Filters
from workspaces.admin.forms import PageForm, form_page
from workspaces.admin.looks import ReadOnlyAdmin, by
from workspaces.scoping import fetch

BUSY_SECONDS, QUIET_SECONDS = 2, 60
"""Between two looks at how far they are."""
ABOUT = (
    "More than {small:,} mails are made into a file in the background: watch it come on the next page, and fetch it "
    "there. It goes a day later. Narrowed by: {narrowed}."
)


class Exporting(ReadOnlyAdmin):
    """The part of the admin of logs that is about their files."""

    def exporting_urls(self) -> list[URLPattern]:
        wrap, name = self.admin_site.admin_view, "email_logs_emaillogtable"
        one = "<uuid:object_id>/exports/<uuid:log_export_id>"
        return [
            path("<uuid:object_id>/exports", wrap(self.exports_view), name=f"{name}_exports"),
            path("<uuid:object_id>/exports/live", wrap(self.exports_live_view), name=f"{name}_exports_live"),
            path("<uuid:object_id>/exports/new/<str:format>", wrap(self.begin_view), name=f"{name}_begin_export"),
            path(f"{one}/file", wrap(self.file_view), name=f"{name}_export_file"),
            path(f"{one}/remove", wrap(self.remove_export_view), name=f"{name}_remove_export"),
        ]

    @method_decorator(require_GET)
    def exports_view(self, request: HttpRequest, object_id: uuid.UUID) -> HttpResponse:
        """All of a log."""
        table: EmailLogTable = self.object_for_action(request, object_id)
        context = {
            **self.admin_site.each_context(request), "opts": self.model._meta, "title": f"{name_of(table)}: exports",
            "live": self._at("exports_live", table), **self._listed(table),
        }  # fmt: skip
        return TemplateResponse(request, "email_logs/exports.html", context)

    @method_decorator(require_GET)
    def exports_live_view(self, request: HttpRequest, object_id: uuid.UUID) -> HttpResponse:
        """The part of that page which keeps itself fresh."""
        table: EmailLogTable = self.object_for_action(request, object_id)
        return TemplateResponse(request, "email_logs/exports_live.html", self._listed(table))

    def begin_view(self, request: HttpRequest, object_id: uuid.UUID, format: str) -> HttpResponse:
        """Asked first; sent, it begins."""
        table: EmailLogTable = self.object_for_action(request, object_id)
        if format not in FORMATS:
            raise Http404
        asked, form = filters_of(request), PageForm(request.POST if request.method == "POST" else None)
        if form.is_valid():
            try:
                given: dict[str, Any] = {"filters": asked, "oldest_first": False, "format": format}
                export, begins = exports.start(table=table, by=by(request), **given)
                tasks.ring_export(export.pk)
            except HubError as error:
                form.add_error(None, error.message)
            else:
                said = "The export has begun." if begins else "One of yours is under way: another one begins after it."
                messages.success(request, said)
                return HttpResponseRedirect(self._at("exports", table))
        about = ABOUT.format(small=exports.SMALL, narrowed=_narrowed(asked))
        return form_page(
            self, request, form, title=f"{name_of(table)}: export as {format.upper()}", submit="Export", about=about,
            back=self._at("exports", table),
        )  # fmt: skip

    @method_decorator(require_GET)
    def file_view(self, request: HttpRequest, object_id: uuid.UUID, log_export_id: uuid.UUID) -> Any:
        """What was made."""
        export = self._export(request, object_id, log_export_id)
        try:
            made = exports.fetched(export=export, by=by(request))
        except HubError as error:
            messages.error(request, error.message)
            return HttpResponseRedirect(self._at("exports", export.table))
        return StreamingHttpResponse(made.chunks, content_type=made.content_type, headers=made.headers)

    def remove_export_view(self, request: HttpRequest, object_id: uuid.UUID, log_export_id: uuid.UUID) -> HttpResponse:
        """Asked first."""
        export = self._export(request, object_id, log_export_id)
        back = self._at("exports", export.table)
        if request.method == "POST":
            exports.remove(export=export, by=by(request))
            messages.success(request, "The export is deleted.")
            return HttpResponseRedirect(back)
        about = "It ends where it is under way, and its file goes. The log stays as it is."
        return form_page(
            self, request, PageForm(), title=f"Delete the export of {export.created_by.email}", submit="Delete",
            about=about, back=back,
        )  # fmt: skip

    def _export(self, request: HttpRequest, object_id: uuid.UUID, log_export_id: uuid.UUID) -> EmailLogExport:
        table: EmailLogTable = self.object_for_action(request, object_id)
        try:
            return fetch(exports.of(table), pk=log_export_id)
        except HubError as error:
            raise Http404 from error

    def _at(self, page: str, table: EmailLogTable, *more: object) -> str:
        return reverse(f"{self.admin_site.name}:email_logs_emaillogtable_{page}", args=(table.pk, *more))

    def _listed(self, table: EmailLogTable) -> dict[str, Any]:
        """No more are kept than one page shows."""
        rows = list(exports.of(table)[: exports.MOST_KEPT])
        shown = [
            {
                "row": row,
                "state": WorkStatus(row.status).label,
                "colour": WORK_COLOURS[WorkStatus(row.status)],
                "share": min(100, 100 * row.done // row.total) if row.total and row.status in ACTIVE else None,
                "narrowed": _narrowed(Filters.of(row.filters)),
                "file": self._at("export_file", table, row.pk) if row.status == WorkStatus.DONE else "",
                "remove": self._at("remove_export", table, row.pk),
            }
            for row in rows
        ]
        busy = any(row.status in ACTIVE for row in rows)
        return {"exports": shown, "table": table, "refresh_seconds": BUSY_SECONDS if busy else QUIET_SECONDS}


def _narrowed(filters: Filters) -> str:
    """In words."""
    words = [getattr(filters, name) for name in ("status", "state", "source", "provider") if getattr(filters, name)]
    words += [f"from {filters.since:%Y-%m-%d %H:%M}"] if filters.since else []
    words += [f"before {filters.until:%Y-%m-%d %H:%M}"] if filters.until else []
    words += [f"“{filters.q}”"] if filters.q else []
    return ", ".join(words) or "nothing"
