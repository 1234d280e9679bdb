"""The console's pages of log tables: one per email provider, with its last days."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django.contrib import admin
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest
from django.urls import URLPattern, reverse
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from unfold.decorators import display

from email_logs.admin.exports import Exporting
from email_logs.admin.looks import bars, name_of
from email_logs.files import FORMATS
from email_logs.models import EmailLogDay, EmailLogTable
from email_logs.services import days
from email_logs.states import STATUS_WORDS
from workspaces.admin.looks import link

SHOWN_DAYS = 30


@admin.register(EmailLogTable)
class EmailLogTableAdmin(Exporting):
    """Logs, also of providers that are disabled or deleted."""

    list_display = ("shown_name", "provider", "lately", "failed", "created_at", "entries")
    list_display_links = ("shown_name",)
    list_select_related = ("integration", "workspace")
    search_fields = ("provider", "integration__name")
    ordering = ("created_at", "id")
    fields = ("shown_name", "provider", "workspace", "last_days", "about", "entries", "export", "created_at")
    readonly_fields = ("shown_name", "last_days", "about", "entries", "export")

    def get_urls(self) -> list[URLPattern]:
        return [*self.exporting_urls(), *super().get_urls()]

    def get_queryset(self, request: HttpRequest) -> QuerySet[EmailLogTable]:
        since = datetime.now(UTC).date() - timedelta(days=SHOWN_DAYS)
        counts = Prefetch("days", queryset=EmailLogDay.objects.filter(day__gt=since), to_attr="counts")
        rows: QuerySet[EmailLogTable] = super().get_queryset(request).prefetch_related(counts)
        return rows

    @display(description="log of", ordering="integration__name")
    def shown_name(self, table: EmailLogTable) -> str:
        return name_of(table)

    @display(description=f"mails in {SHOWN_DAYS} days")
    def lately(self, table: EmailLogTable) -> str:
        return f"{sum(cell.count for cell in _counts(table)):,}"

    @display(description="of them failed")
    def failed(self, table: EmailLogTable) -> str:
        return f"{sum(cell.count for cell in _counts(table) if cell.state in STATUS_WORDS['failed']):,}"

    @display(description="entries")
    def entries(self, table: EmailLogTable) -> SafeString:
        url = reverse(f"{self.admin_site.name}:email_logs_emaillogentry_changelist")
        return link(f"{url}?log={table.pk}", "Show")

    @display(description="by day")
    def last_days(self, table: EmailLogTable) -> SafeString:
        return bars(days.series(workspace=table.workspace_id, days=SHOWN_DAYS, table_id=table.pk).days)

    @display(description="about how many")
    def about(self, table: EmailLogTable) -> str:
        return f"{days.estimate([table.pk]):,}"

    @display(description="download all")
    def export(self, table: EmailLogTable) -> SafeString:
        return export_links(self.admin_site.name, table, "")


def _counts(table: EmailLogTable) -> list[EmailLogDay]:
    found: list[EmailLogDay] = table.counts  # type: ignore[attr-defined]  # prefetched above
    return found


def export_links(site: str, table: EmailLogTable, query: str) -> SafeString:
    """To the files of a log, narrowed as the list is."""
    kept = reverse(f"{site}:email_logs_emaillogtable_exports", args=(table.pk,))
    links = [(_file(site, table, format, query), format.upper()) for format in FORMATS] + [(kept, "Exports")]
    return format_html_join(" ", '<span class="mr-3">{}</span>', ((link(url, words),) for url, words in links))


def _file(site: str, table: EmailLogTable, format: str, query: str) -> str:
    url = reverse(f"{site}:email_logs_emaillogentry_export", args=(table.pk, format))
    return f"{url}?{query}" if query else url
