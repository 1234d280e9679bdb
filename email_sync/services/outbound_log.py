"""What the log of outbound mail is told of a mailbox's own mail. Called by `submissions` and `bounces`, inside their
transactions; a mail that waits for its time or was taken back has not left and is not in the log."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime

from core.redaction import clean_words
from email_logs.services import mailbox_log
from email_logs.services.mailbox_log import OwnMail
from email_logs.states import State
from email_sync.models import Submission, SubmissionStage
from email_sync.records import DeliveryReport, FailedRecipient
from integrations.models import Connection

STATES = {
    SubmissionStage.SENT: State.ACCEPTED,
    SubmissionStage.UNCONFIRMED: State.UNKNOWN,
    SubmissionStage.FAILED: State.FAILED,
}
MAX_WORDS = 500


def note(submission: Submission, *, first: bool = False) -> None:
    """Where it stands now, if it has left or will not. `first`: nothing was noted of it before."""
    state = STATES.get(SubmissionStage(submission.stage))
    if state is not None:
        mailbox_log.note(_mail(submission), state, words=_words(submission), first=first)


def _words(submission: Submission) -> str:
    if submission.refused and submission.stage == SubmissionStage.SENT:
        return clean_words(f"The provider refused it for {', '.join(submission.refused)}.", MAX_WORDS)
    return submission.error_message


def _mail(submission: Submission) -> OwnMail:
    connection = submission.connection
    return OwnMail(
        id=submission.pk,
        workspace_id=connection.workspace_id,
        connection_id=connection.pk,
        provider=connection.provider,
        sender=submission.sender,
        to=tuple(submission.to or submission.recipients),  # mail that waited for its time when `to` was introduced
        cc=tuple(submission.cc),
        bcc=tuple(submission.bcc),
        subject=submission.subject,
        message_id=submission.message_id,
        source=submission.source,
        attachments=submission.attachment_count,
    )


def bounced(
    submission: Submission, *, report_id: uuid.UUID, at: datetime, failed: Mapping[str, FailedRecipient]
) -> None:
    """A report on a mail of this mailbox."""
    refused = {recipient: claim.diagnostic or claim.status for recipient, claim in failed.items()}
    mailbox_log.bounced(mail_id=submission.pk, report_id=report_id, at=at, refused=refused)


def bounced_elsewhere(connection: Connection, *, report_id: uuid.UUID, at: datetime, report: DeliveryReport) -> None:
    """A report on no mail of this mailbox: perhaps on one that the workspace sent."""
    mailbox_log.bounced_elsewhere(
        workspace_id=connection.workspace_id,
        mail_ids=report.original_ids,
        report_id=report_id,
        at=at,
        refused={
            address: claim.diagnostic or claim.status for claim in report.recipients for address in claim.addresses
        },
    )
