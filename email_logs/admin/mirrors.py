"""The console's page of mirrors: where a copy of the log outside stands."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest
from unfold.decorators import display
from unfold.forms import BaseDialogForm

from core.admin import scoped_action
from core.work import WorkStatus
from email_logs import tasks
from email_logs.admin.looks import WORK_COLOURS
from email_logs.models import EmailLogMirror
from email_logs.services import mirroring
from workspaces.admin.looks import ReadOnlyAdmin


@admin.register(EmailLogMirror)
class EmailLogMirrorAdmin(ReadOnlyAdmin):
    """One per integration that names a table."""

    workspace_path = "integration__workspace"
    list_display = ("named", "table", "state", "progress", "written", "last_mirrored_at", "words")
    list_display_links = ("named",)
    list_filter = ("status",)
    list_select_related = ("integration__workspace",)
    ordering = ("created_at", "id")
    fields = (
        "named", "table", "state_words", "progress", "written", "words", "error_at", "started_at", "last_mirrored_at",
        "next_mirror_at", "next_attempt_at",
    )  # fmt: skip
    readonly_fields = ("named", "table", "state_words", "progress", "words", "created_at")
    actions_detail = ("mirror_now",)

    @display(description="integration", ordering="integration__name")
    def named(self, mirror: EmailLogMirror) -> str:
        return mirror.integration.name

    @display(description="table outside")
    def table(self, mirror: EmailLogMirror) -> str:
        return mirroring.table_named(mirror.integration) or "–"

    @display(description="state", ordering="status", label=WORK_COLOURS)
    def state(self, mirror: EmailLogMirror) -> tuple[str, str]:
        return WorkStatus(mirror.status), self.state_words(mirror)

    @display(description="state")
    def state_words(self, mirror: EmailLogMirror) -> str:
        if mirror.status == WorkStatus.QUEUED and mirror.error_code:
            return "Waits"
        return "Up to date" if mirror.status == WorkStatus.DONE else WorkStatus(mirror.status).label

    @display(description="rows of this run")
    def progress(self, mirror: EmailLogMirror) -> str:
        return f"{mirror.done:,} of {mirror.total:,}"

    @display(description="last error")
    def words(self, mirror: EmailLogMirror) -> str:
        return f"{mirror.error_message} ({mirror.error_code})" if mirror.error_code else "–"

    @scoped_action(description="Mirror now", confirm="Writes what is new and what changed.", icon="sync")
    def mirror_now(self, request: HttpRequest, obj: EmailLogMirror, form: BaseDialogForm) -> str:
        tasks.ring_mirror(mirroring.start(integration=obj.integration).pk)
        return "The mirror has begun."
