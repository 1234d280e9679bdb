"""The console's pages of sync runs: what was synced, when, and what went wrong."""

from __future__ import annotations

from django.contrib import admin
from unfold.decorators import display

from core.admin import SEARCHED
from core.work import WorkStatus
from integrations.models import SyncRun
from workspaces.admin.looks import ReadOnlyAdmin, RecentFilter

RUN_COLOURS = {
    WorkStatus.QUEUED: "info",
    WorkStatus.RUNNING: "info",
    WorkStatus.DONE: "success",
    WorkStatus.FAILED: "danger",
}


class TypeFilter(RecentFilter):
    title, parameter_name, column = "type", "type", "type"


class TriggerFilter(RecentFilter):
    title, parameter_name, column = "trigger", "trigger", "trigger"


@admin.register(SyncRun)
class SyncRunAdmin(ReadOnlyAdmin):
    """What was synced, when, and what went wrong."""

    workspace_path = "connection__workspace"
    owner_path = "connection__user"
    list_display = (
        "created_at", "connection", "type", "state", "trigger", "finished_at", "added", "changed", "removed", "words",
    )  # fmt: skip
    list_filter = (TypeFilter, "status", TriggerFilter)
    list_select_related = ("connection",)
    search_fields = ("connection__account_email", "error_code")
    search_help_text = f"Account or error, among the newest {SEARCHED:,}"
    searched = SEARCHED
    ordering = ("-id",)  # by when they were made
    sortable_by = ()
    fields = (
        "connection", "type", "trigger", "state_words", "progress", "attempts", "added", "changed", "removed", "words",
        "created_at", "started_at", "finished_at", "next_attempt_at", "lease_until",
    )  # fmt: skip
    readonly_fields = ("state_words", "progress", "words", "created_at")

    @display(description="status", label=RUN_COLOURS)
    def state(self, run: SyncRun) -> tuple[str, str]:
        return WorkStatus(run.status), WorkStatus(run.status).label

    @display(description="status")
    def state_words(self, run: SyncRun) -> str:
        """For the page of one run."""
        return self.state(run)[1]

    @display(description="progress")
    def progress(self, run: SyncRun) -> str:
        return progress_words(run)

    @display(description="error")
    def words(self, run: SyncRun) -> str:
        return f"{run.error_message} ({run.error_code})" if run.error_code else "–"


def progress_words(run: SyncRun) -> str:
    """`email: 1,200 of 5,000 (24 %), about 3 min left`."""
    if not run.total:
        return f"{run.type}: {run.get_status_display().lower()}, {run.done:,} done"
    share = min(100, 100 * run.done // run.total)
    left = duration_words(run.eta_seconds())
    return f"{run.type}: {run.done:,} of {run.total:,} ({share} %){f', about {left} left' if left else ''}"


def duration_words(seconds: int | None) -> str:
    """`45 s`, `3 min`, `2.5 h`."""
    if seconds is None:
        return ""
    if seconds < 90:
        return f"{seconds} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
