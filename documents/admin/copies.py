"""The console's pages of copies: a document on its way to a file store, or a file of that on its way to being one."""

from __future__ import annotations

import uuid

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.defaultfilters import filesizeformat
from django.template.loader import render_to_string
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_GET
from unfold.decorators import display

from core.admin import SEARCHED
from core.work import ACTIVE, WorkStatus
from documents.models import DocumentCopy
from documents.services.copying import REMEMBERED, comes_here
from workspaces.admin.looks import ReadOnlyAdmin, RecentFilter

COLOURS = {
    WorkStatus.QUEUED: "info",
    WorkStatus.RUNNING: "info",
    WorkStatus.DONE: "success",
    WorkStatus.FAILED: "danger",
}
BUSY_SECONDS, QUIET_SECONDS = 2, 60
"""Between two looks at how far it is."""


class ActionFilter(RecentFilter):
    title, parameter_name, column = "action", "action", "action"


@admin.register(DocumentCopy)
class DocumentCopyAdmin(ReadOnlyAdmin):
    """Newest first; kept for a month after their end."""

    workspace_path = "integration__workspace"
    list_display = ("created_at", "way", "named", "integration", "state", "progress", "reason", "started_by")
    list_display_links = ("created_at", "way")
    list_filter = ("status", ActionFilter)
    list_select_related = ("integration", "document", "started_by")
    search_fields = ("document__file_name", "integration__name", "error_code")
    search_help_text = f"File, integration or error, among the newest {SEARCHED:,}"
    searched = SEARCHED
    ordering = ("-id",)
    sortable_by = ()
    fields = (
        "way", "named", "integration", "standing", "attempts", "started_by", "created_at", "started_at", "finished_at",
    )  # fmt: skip
    readonly_fields = ("way", "named", "standing", "created_at")

    @display(description="way")
    def way(self, copy: DocumentCopy) -> str:
        return "To documents" if comes_here(copy) else "To the file store"

    @display(description="file")
    def named(self, copy: DocumentCopy) -> SafeString | str:
        """The document, or what the vendor calls the file."""
        if copy.document is None:
            return str(copy.result.get("name") or copy.given.get("fileId") or "–")
        address = reverse(f"{self.admin_site.name}:documents_document_change", args=(copy.document_id,))
        link = '<a class="text-primary-600 dark:text-primary-500 underline" href="{}">{}</a>'
        return format_html(link, address, copy.document.file_name)

    @display(description="state", label=COLOURS)
    def state(self, copy: DocumentCopy) -> tuple[str, str]:
        return WorkStatus(copy.status), state_words(copy)

    @display(description="progress")
    def progress(self, copy: DocumentCopy) -> str:
        return progress_words(copy)

    @display(description="reason")
    def reason(self, copy: DocumentCopy) -> str:
        return f"{copy.error_message} ({copy.error_code})" if copy.error_code else copy.error_message or "–"

    # --- how one stands, kept fresh --------------------------------------------------------------------------------

    @display(description="how it stands")
    def standing(self, copy: DocumentCopy) -> SafeString:
        """State, progress and reason; the console asks again by itself."""
        live = reverse(f"{self.admin_site.name}:documents_documentcopy_live", args=(copy.pk,))
        return format_html('<div data-refresh-url="{}">{}</div>', live, render_to_string(LIVE, self._shown(copy)))

    def get_urls(self) -> list[URLPattern]:
        live = self.admin_site.admin_view(self.live_view)
        return [path("<uuid:object_id>/live", live, name="documents_documentcopy_live"), *super().get_urls()]

    @method_decorator(require_GET)
    def live_view(self, request: HttpRequest, object_id: uuid.UUID) -> HttpResponse:
        """The part of a copy's page which keeps itself fresh."""
        copy: DocumentCopy = self.object_for_action(request, object_id)
        return HttpResponse(render_to_string(LIVE, self._shown(copy)))

    def _shown(self, copy: DocumentCopy) -> dict[str, object]:
        busy = copy.status in ACTIVE
        return {
            "copy": copy,
            "state": state_words(copy),
            "colour": COLOURS[WorkStatus(copy.status)],
            "share": share_of(copy) if busy else None,
            "progress": progress_words(copy),
            "reason": self.reason(copy),
            "waits": copy.status == WorkStatus.QUEUED and copy.attempts,
            "days": REMEMBERED.days,
            "refresh_seconds": BUSY_SECONDS if busy else QUIET_SECONDS,
        }


LIVE = "documents/copy_live.html"


def state_words(copy: DocumentCopy) -> str:
    """`Waits to be tried again` tells that from what has not begun."""
    if copy.status == WorkStatus.QUEUED and copy.attempts:
        return "Waits to be tried again"
    return str(WorkStatus(copy.status).label)


def share_of(copy: DocumentCopy) -> int | None:
    """In percent; None where nobody knows how much there is."""
    return min(100, 100 * copy.done // copy.total) if copy.total else None


def progress_words(copy: DocumentCopy) -> str:
    """`3.0 MB of 8.0 MB (37 %)`."""
    done = str(filesizeformat(copy.done))
    return f"{done} of {filesizeformat(copy.total)} ({share_of(copy)} %)" if copy.total else done
