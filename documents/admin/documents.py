"""The console's pages of documents: looked at, downloaded, archived and deleted; uploaded over the API only."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.decorators import display
from unfold.forms import BaseDialogForm

from core.admin import scoped_action
from core.errors import HubError, InvalidInput
from documents.admin.copies import progress_words, state_words
from documents.models import STORED, Document, DocumentCopy, DocumentStatus
from documents.serializers import confirmation
from documents.services import changing, copying, downloading, reading
from workspaces.admin.looks import ReadOnlyAdmin, by, workspaces_of

COLOURS = {
    DocumentStatus.PENDING: "info",
    DocumentStatus.CHECKING: "info",
    DocumentStatus.READY: "success",
    DocumentStatus.ARCHIVED: "warning",
    DocumentStatus.REJECTED: "danger",
}

MOST_COPIES = 10
FOUND = 500
"""The most that a search brings."""
COPY = (
    '<p style="overflow-wrap: anywhere">{} UTC '
    '<a class="text-primary-600 dark:text-primary-500 underline" href="{}">{}</a>: {}</p>'
)


@admin.register(Document)
class DocumentAdmin(ReadOnlyAdmin):
    """Newest first."""

    list_display = ("file_name", "state", "shown_size", "content_type", "entity", "uploaded_by", "created_at")
    list_display_links = ("file_name",)
    list_filter = ("status",)
    list_select_related = ("uploaded_by",)
    search_fields = ("file_name",)  # its being there makes the field; `reading` finds
    search_help_text = f"Words of the file's name; the newest {FOUND} that have them"
    ordering = ("-id",)
    sortable_by = ()
    fields = (
        "file_name", "state", "checked", "why", "file", "shown_size", "content_type", "sniffed_type", "sha256",
        "entity", "uploaded_by", "workspace", "created_at", "confirmed_at", "archived_at", "copies",
    )  # fmt: skip
    readonly_fields = ("state", "checked", "why", "file", "shown_size", "entity", "copies")
    actions_detail = ("archive", "remove")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Document], search_term: str
    ) -> tuple[QuerySet[Document], bool]:
        """As the API finds them, a workspace at a time; none for what it refuses."""
        if not search_term.strip():
            return queryset, False
        workspaces = [row.pk for row in workspaces_of(request)]
        try:
            found = reading.found(rows=queryset, workspace_ids=workspaces, q=search_term, count=FOUND)
        except InvalidInput:
            return queryset.none(), False
        return queryset.filter(pk__in=found), False

    @display(description="state", label=COLOURS)
    def state(self, row: Document) -> tuple[str, str]:
        return row.status, DocumentStatus(row.status).label

    @display(description="size")
    def shown_size(self, row: Document) -> str:
        return "–" if row.size is None else str(filesizeformat(row.size))

    @display(description="linked to")
    def entity(self, row: Document) -> str:
        return f"{row.entity_type} {row.entity_id}"

    @display(description="how far it is checked")
    def checked(self, row: Document) -> str:
        """`reading, 3.0 GB of 8.0 GB`, and why that waits or ended."""
        found = confirmation(row)
        if found is None:
            return "–"
        far = f"{found['stage']}, {filesizeformat(found['done'])} of {filesizeformat(found['total'])}"
        words = [*([far] if found["stage"] else []), *([found["lastError"]["message"]] if found["lastError"] else [])]
        return ". ".join(words)

    @display(description="why it was rejected")
    def why(self, row: Document) -> str:
        return row.reason_text or "–"

    @display(description="file")
    def file(self, row: Document) -> SafeString | str:
        """An address that is good for five minutes after the page was opened."""
        if row.status not in STORED:
            return "–"
        try:
            url = downloading.download(document=row).url
        except HubError as error:
            return error.message
        return format_html('<a class="text-primary-600 dark:text-primary-500 underline" href="{}">Download</a>', url)

    @display(description="copies")
    def copies(self, row: Document) -> SafeString | str:
        """The newest, with their state, how far they are and why they wait."""
        found = copying.of_document(row, limit=MOST_COPIES)
        return format_html_join("", COPY, (self._copy(copy) for copy in found)) or "–"

    def _copy(self, copy: DocumentCopy) -> tuple[str, ...]:
        address = reverse(f"{self.admin_site.name}:documents_documentcopy_change", args=(copy.pk,))
        way = "from" if copying.comes_here(copy) else "to"
        words = [state_words(copy), progress_words(copy), *([copy.error_message] if copy.error_message else [])]
        return f"{copy.created_at:%Y-%m-%d %H:%M}", address, f"{way} {copy.integration.name}", ", ".join(words)

    @scoped_action(
        description="Archive, or take it out again", confirm="Nothing is deleted.", icon="archive", submit="Do it"
    )
    def archive(self, request: HttpRequest, obj: Any, form: BaseDialogForm) -> str:
        row = changing.archive(document=obj, by=by(request))
        return f"{row.file_name} is {row.status} now."

    @scoped_action(
        description="Delete", confirm="The document and its file are deleted for good.", icon="delete", submit="Delete"
    )
    def remove(self, request: HttpRequest, obj: Any, form: BaseDialogForm) -> str:
        changing.delete(document=obj, by=by(request))
        return f"{obj.file_name} is deleted."
