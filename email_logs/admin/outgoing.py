"""The console's page of mail that has not left, or of which nobody is sure."""

from __future__ import annotations

from django.contrib import admin
from django.urls import reverse
from django.utils.safestring import SafeString
from unfold.decorators import display

from core.work import WorkStatus
from email_logs.admin.looks import WORK_COLOURS, name_of
from email_logs.models import OutgoingEmail
from workspaces.admin.looks import ReadOnlyAdmin, link

WORDS = {
    WorkStatus.QUEUED: "Waits",
    WorkStatus.RUNNING: "Being sent",
    WorkStatus.DONE: "Settled",
    WorkStatus.FAILED: "Not sent",
}


@admin.register(OutgoingEmail)
class OutgoingEmailAdmin(ReadOnlyAdmin):
    """What it says is sealed and not shown; its entry in the log says who and what about."""

    list_display = ("created_at", "log", "state", "attempts", "next_attempt_at", "words")
    list_display_links = ("created_at",)
    list_filter = ("status",)
    list_select_related = ("table__integration",)
    ordering = ("-created_at", "-entry_id")
    sortable_by = ()
    fields = (
        "entry_link", "log", "state_words", "attempts", "words", "created_at", "called_at", "next_attempt_at",
        "finished_at", "workspace",
    )  # fmt: skip
    readonly_fields = ("entry_link", "log", "state_words", "words", "created_at")

    @display(description="mail")
    def entry_link(self, work: OutgoingEmail) -> SafeString:
        url = reverse(f"{self.admin_site.name}:email_logs_emaillogentry_change", args=(work.entry_id,))
        return link(url, "Its entry in the log")

    @display(description="log of")
    def log(self, work: OutgoingEmail) -> str:
        return name_of(work.table)

    @display(description="state", label=WORK_COLOURS)
    def state(self, work: OutgoingEmail) -> tuple[str, str]:
        return WorkStatus(work.status), WORDS[WorkStatus(work.status)]

    @display(description="state")
    def state_words(self, work: OutgoingEmail) -> str:
        return WORDS[WorkStatus(work.status)]

    @display(description="last error")
    def words(self, work: OutgoingEmail) -> str:
        return f"{work.error_message} ({work.error_code})" if work.error_code else "–"
