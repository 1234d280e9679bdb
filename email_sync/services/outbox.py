"""Outgoing mail as its sender sees it: listed, refused, taken back.

Called by the API. `submissions` moves it on its way.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import F, QuerySet

from core.errors import Conflict, NeedsReauth, ProviderRejected, TooLarge
from email_sync.models import Submission, SubmissionStage
from email_sync.services.submissions import TOO_LARGE
from integrations.models import Connection
from workspaces.services import audit

if TYPE_CHECKING:
    from workspaces.models import User, Workspace


def of(
    *, user: User, workspace: Workspace, stage: str = "", connection_id: uuid.UUID | None = None
) -> QuerySet[Submission]:
    """The caller's outgoing mail, newest first. NotFound for a mailbox that is not the caller's."""
    rows = Submission.objects.of(user=user, workspace=workspace)
    if connection_id is not None:
        rows = rows.filter(connection=Connection.objects.of(user=user, workspace=workspace).find(connection_id))
    if stage:
        rows = rows.filter(stage=stage)
    return rows.prefetch_related("bounces").order_by("-created_at", "-id")


def raise_if_refused(submission: Submission) -> None:
    """The caller of a mail that was refused at once gets the provider's words as an error, and the row's id."""
    if submission.stage == SubmissionStage.FAILED:
        extra = {"submissionId": str(submission.pk)}
        if submission.error_code == NeedsReauth.default_code:
            raise NeedsReauth(submission.error_message, extra=extra)
        if submission.error_code == TOO_LARGE:
            raise TooLarge(submission.error_message, extra=extra)
        raise ProviderRejected(submission.error_message, code=submission.error_code, extra=extra)


def cancel(*, submission: Submission, by: User) -> Submission:
    """Take a mail back that has not left: before its time, or while it waits for a provider that was away. Conflict
    where the provider was called already."""
    waiting = Submission.objects.filter(
        pk=submission.pk, stage__in=(SubmissionStage.SCHEDULED, SubmissionStage.SENDING), calling=False
    )
    with transaction.atomic():
        taken_back = waiting.update(
            stage=SubmissionStage.CANCELLED,
            next_attempt_at=None,
            lease_until=None,
            mime=None,
            attempts=F("attempts") + 1,
        )
        submission.refresh_from_db()
        if taken_back:
            audit.record(
                by=by, workspace=submission.connection.workspace, action="email.send.cancel", target=submission
            )
        elif submission.stage != SubmissionStage.CANCELLED:
            raise Conflict(_why_not(submission), code="not_cancellable")
    return submission


def _why_not(submission: Submission) -> str:
    words = {
        SubmissionStage.SENT: "This mail has left.",
        SubmissionStage.FAILED: "This mail was refused; there is nothing to cancel.",
    }
    return words.get(SubmissionStage(submission.stage), "This mail may have left: the provider was called.")
