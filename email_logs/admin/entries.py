"""The console's pages of a log's entries: found as the API finds them, one log at a time, with what became of each."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.template.loader import render_to_string
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import RangeDateFilter
from unfold.decorators import display
from unfold.views import ChangeList

from core.admin import sees_all
from core.api.pagination import MAX_PAGE, PageQuery
from core.errors import HubError
from email_logs.admin.asked import filters_of
from email_logs.admin.looks import COLOURS, name_of
from email_logs.admin.tables import export_links
from email_logs.columns import STATUSES
from email_logs.files import FORMATS
from email_logs.models import EmailLogEntry, EmailLogTable
from email_logs.services import exporting, exports, history, reading
from email_logs.services.reading import RowsQuery
from email_logs.services.visibility import sight
from email_logs.sources import SOURCES
from email_logs.states import State, status_word
from integrations.models import Connection, Visibility
from workspaces.admin.looks import ReadOnlyAdmin, by

LOG = "log"
PER_PAGE = 50
WITHHELD = "Shown to its sender only."


class Asked(admin.SimpleListFilter):
    """A filter that `EntryList` reads: no look-up of Django's runs over a big log."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset


class LogFilter(Asked):
    """Which log. One is always shown."""

    title, parameter_name = "log", LOG

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(str(table.pk), name_of(table)) for table in model_admin.logs(request)]

    def choices(self, changelist: Any) -> Iterator[Any]:
        shown = changelist.log
        for key, title in self.lookup_choices:
            query = changelist.get_query_string({LOG: key}, ["p"])
            yield {"selected": shown is not None and key == str(shown.pk), "query_string": query, "display": title}


class StatusFilter(Asked):
    title, parameter_name = "status", "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(word, word.capitalize()) for word in STATUSES]


class StateFilter(Asked):
    title, parameter_name = "true state", "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(state.value, str(state.label)) for state in State]


class SourceFilter(Asked):
    title, parameter_name = "source", "source"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(source, source) for source in SOURCES]


class SentFilter(RangeDateFilter):
    """Days, which `EntryList` reads."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset


class Counted(Paginator):
    """Pages of a list whose length is known otherwise, perhaps about."""

    def __init__(self, total: int) -> None:
        super().__init__((), PER_PAGE)
        self.count = total


class EntryList(ChangeList):
    """A page of one log, found by `reading`: the cost follows the page, and nothing private is in it."""

    log: EmailLogTable | None = None
    total_is_exact = True

    def get_results(self, request: HttpRequest) -> None:
        self.log = self.model_admin.log_of(request)
        if self.page_num < 1:
            raise IncorrectLookupParameters
        rows: list[reading.Row] = []
        total = 0
        if self.log is not None:
            query = RowsQuery(filters_of(request), paging=PageQuery(min(self.page_num, MAX_PAGE), PER_PAGE))
            try:
                page = reading.listed(table=self.log, user=by(request), query=query)
                rows, total, self.total_is_exact = list(page.rows), page.total, page.total_is_exact
                seen = (self.page_num - 1) * PER_PAGE + len(rows) if rows else 0
                total = max(total, seen + int(page.next_cursor is not None))  # an estimate may be too low
            except HubError as error:
                words = [word for said in error.fields.values() for word in said]
                messages.error(request, " ".join(words) or error.message)
        if self.page_num > 1 and not rows:
            raise IncorrectLookupParameters  # beyond the end: Django leads back to the first page
        self.result_list = [self._shown(row) for row in rows]
        self.result_count = self.full_result_count = total
        self.show_full_result_count = self.can_show_all = False
        self.show_admin_actions = False
        self.paginator = Counted(total)
        self.multi_page = self.paginator.num_pages > 1

    def _shown(self, row: reading.Row) -> EmailLogEntry:
        if self.log is not None:
            row.entry.table = self.log
        row.entry.whole = row.whole  # type: ignore[attr-defined]  # what the columns go by
        return row.entry


@admin.register(EmailLogEntry)
class EmailLogEntryAdmin(ReadOnlyAdmin):
    """One log at a time, newest first."""

    list_display = (
        "sent", "to", "subject", "shown_state", "said", "source", "sender", "provider", "message_id", "cc", "shown_bcc",
        "template_id", "shown_attachments",
    )  # fmt: skip
    """The 13 columns of the document, with what is looked for most first, and the true state in place of its word."""
    list_display_links = ("sent",)
    list_filter = (LogFilter, StatusFilter, StateFilter, SourceFilter, ("sent_at", SentFilter))
    list_filter_submit = True
    list_horizontal_scrollbar_top = True
    list_per_page = PER_PAGE
    search_fields = ("to",)  # its being there makes the field; `reading` finds
    search_help_text = "Words of To, Subject and Message ID; -word leaves out, word* goes on."
    list_before_template = "email_logs/entries_head.html"
    ordering = ("-sent_at", "-id")
    sortable_by = ()
    fieldsets = (
        (None, {"fields": ("timeline",)}),
        ("Mail", {"fields": ("log", "sent_at", "sender", "to", "cc", "shown_bcc", "subject")}),
        ("Delivery", {"fields": ("status_word", "shown_state_words", "state_at", "shown_error", "message_id")}),
        ("Origin", {"fields": ("source", "template_id", "shown_attachments", "id")}),
    )
    readonly_fields = (
        "timeline", "log", "shown_bcc", "status_word", "shown_state_words", "shown_error", "shown_attachments", "id",
    )  # fmt: skip

    # What is there at all

    def logs(self, request: HttpRequest) -> QuerySet[EmailLogTable]:
        """Those of the caller's workspaces."""
        rows = EmailLogTable.objects.select_related("integration", "workspace").order_by("created_at", "id")
        return rows if sees_all(request) else rows.filter(workspace__in=self.workspace_ids(request))

    def log_of(self, request: HttpRequest) -> EmailLogTable | None:
        """The one asked for, else the first."""
        try:
            wanted = uuid.UUID(request.GET.get(LOG, ""))
        except ValueError:
            return self.logs(request).first()
        return self.logs(request).filter(pk=wanted).first()

    def get_queryset(self, request: HttpRequest) -> QuerySet[EmailLogEntry]:
        """Mail of the workspace's providers, and of users' mailboxes what they show."""
        shown = Q(visibility__in=(Visibility.METADATA, Visibility.FULL)) | Q(user=by(request))
        mailboxes = Connection.objects.filter(shown, purging_at__isnull=True).values("pk")
        rows: QuerySet[EmailLogEntry] = super().get_queryset(request).select_related("table__integration")
        return rows.filter(Q(table__integration__isnull=False) | Q(connection_id__in=mailboxes))

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[EntryList]:
        return EntryList

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """With the log's name and its files above the list."""
        log = self.log_of(request)
        query = request.GET.copy()
        for name in (LOG, "p", "o", "e"):
            query.pop(name, None)
        context = {
            "log": log,
            "log_name": log and name_of(log),
            "export_links": log and export_links(self.admin_site.name, log, query.urlencode()),
        }
        return super().changelist_view(request, {**context, **(extra_context or {})})

    def get_urls(self) -> list[URLPattern]:
        export = self.admin_site.admin_view(self.export)
        return [
            path("export/<uuid:table_id>/<str:format>", export, name="email_logs_emaillogentry_export"),
            *super().get_urls(),
        ]

    def export(self, request: HttpRequest, table_id: uuid.UUID, format: str) -> Any:
        """The rows the list shows, all of them, as a file: at once where they are few, else asked about first."""
        log = self.logs(request).filter(pk=table_id).first()
        if log is None or format not in FORMATS:
            raise Http404
        asked = filters_of(request)
        try:
            if not exports.is_small(table=log, by=by(request), filters=asked):
                address = reverse(
                    f"{self.admin_site.name}:email_logs_emaillogtable_begin_export", args=(log.pk, format)
                )
                return HttpResponseRedirect(f"{address}?{request.GET.urlencode()}")
            made = exporting.export(table=log, by=by(request), filters=asked, oldest_first=False, format=format)
        except HubError as error:
            messages.error(request, error.message)
            address = reverse(f"{self.admin_site.name}:email_logs_emaillogentry_changelist")
            return HttpResponseRedirect(f"{address}?{LOG}={log.pk}")
        return StreamingHttpResponse(made.chunks, content_type=made.content_type, headers=made.headers)

    # What is shown

    @display(description="sent at")
    def sent(self, entry: EmailLogEntry) -> SafeString:
        return format_html('<span class="whitespace-nowrap">{}</span>', f"{entry.sent_at:%Y-%m-%d %H:%M:%S}")

    @display(description="state", label=COLOURS)
    def shown_state(self, entry: EmailLogEntry) -> tuple[str, str]:
        return State(entry.state), str(State(entry.state).label)

    @display(description="true state")
    def shown_state_words(self, entry: EmailLogEntry) -> str:
        return str(State(entry.state).label)

    @display(description="status")
    def status_word(self, entry: EmailLogEntry) -> str:
        return status_word(entry.state) or "–"

    @display(description="error")
    def said(self, entry: EmailLogEntry) -> str:
        words = self.shown_error(entry)
        return words if len(words) < 80 else f"{words[:79]}…"

    @display(description="provider")
    def provider(self, entry: EmailLogEntry) -> str:
        return entry.table.provider

    @display(description="log")
    def log(self, entry: EmailLogEntry) -> str:
        return name_of(entry.table)

    @display(description="BCC")
    def shown_bcc(self, entry: EmailLogEntry) -> str:
        return (entry.bcc or "–") if entry.whole else WITHHELD  # type: ignore[attr-defined]  # see `get_object`

    @display(description="error")
    def shown_error(self, entry: EmailLogEntry) -> str:
        return (entry.error or "–") if entry.whole else WITHHELD  # type: ignore[attr-defined]

    @display(description="attachments")
    def shown_attachments(self, entry: EmailLogEntry) -> str:
        return str(entry.attachments) if entry.whole else WITHHELD  # type: ignore[attr-defined]

    @display(description="what became of it")
    def timeline(self, entry: EmailLogEntry) -> SafeString:
        events = history.events_of([entry]).get(entry.pk, ())
        steps = history.steps(entry, events, whole=entry.whole)  # type: ignore[attr-defined]
        shown = [{"step": step, "colour": COLOURS.get(step.what, "info")} for step in steps]  # type: ignore[call-overload]
        return render_to_string("email_logs/timeline.html", {"steps": shown})

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> EmailLogEntry | None:
        """With whether the caller sees it whole."""
        entry: EmailLogEntry | None = super().get_object(request, object_id, from_field)
        if entry is not None:
            entry.whole = sight(table=entry.table, user=by(request)).is_whole(entry.connection_id)  # type: ignore[attr-defined]
        return entry
