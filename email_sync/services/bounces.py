"""Bounces: what delivery reports in the mailbox say of mails that were sent from it.

`note` is called by the writer with what a page brought, inside its transaction. A report is a stranger's word: it
counts only for a mail this mailbox sent, by its Message-ID, and only for recipients it was sent to. One that counts
also proves that its mail has left: nobody else knows both. One on a mail that the workspace sent through a provider of
its own is passed on to the log of that mail.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from django.db.models import QuerySet

from core.redaction import clean_words
from email_sync.addresses import exact
from email_sync.models import Bounce, Submission, SubmissionStage
from email_sync.records import DRAFTS, SENT, DeliveryReport, FailedRecipient, RemoteMessage
from email_sync.services import outbound_log, submissions
from integrations.models import Connection, EventType
from integrations.services import events

MAX_WORDS = 500
LEFT = (SubmissionStage.SENT, *submissions.UNDECIDED)


def note(connection: Connection, messages: Iterable[tuple[uuid.UUID, RemoteMessage, DeliveryReport | None]]) -> None:
    """Note what the reports among new messages say, once each."""
    for message_id, remote, report in messages:
        if report is not None and not remote.state.roles & {SENT, DRAFTS}:
            _note(connection, message_id, remote.received_at, report)


def _note(connection: Connection, message_id: uuid.UUID, at: datetime, report: DeliveryReport) -> None:
    sent = Submission.objects.filter(connection=connection, message_id__in=report.original_ids, stage__in=LEFT)
    submission = sent.first()
    if submission is None:
        outbound_log.bounced_elsewhere(connection, report_id=message_id, at=at, report=report)
        return
    known = set(submission.bounces.values_list("recipient", flat=True))
    wanted = {exact(recipient): recipient for recipient in submission.recipients if recipient not in known}
    failed = {wanted[key]: claim for claim in report.recipients for key in _keys(claim) if key in wanted}
    for recipient, claim in failed.items():
        words = clean_words(claim.diagnostic, MAX_WORDS)
        Bounce.objects.create(
            submission=submission, message_id=message_id, recipient=recipient, status=claim.status[:20],
            diagnostic=words, at=at,
        )  # fmt: skip
    if failed:
        submissions.proved(submission)
        outbound_log.bounced(submission, report_id=message_id, at=at, failed=failed)
        _tell(connection, submission, message_id, failed)


def _keys(claim: FailedRecipient) -> list[str]:
    return [exact(address) for address in claim.addresses]


def _tell(
    connection: Connection, submission: Submission, message_id: uuid.UUID, failed: Mapping[str, FailedRecipient]
) -> None:
    events.record(
        workspace_id=connection.workspace_id,
        type=EventType.EMAIL_BOUNCED,
        connection_id=connection.pk,
        user_id=connection.user_id,
        payload={
            "submissionId": str(submission.pk),
            "reportId": str(message_id),
            "statuses": sorted({claim.status for claim in failed.values() if claim.status}),
        },
    )


def of_messages(connection_id: uuid.UUID, message_ids: Sequence[str]) -> QuerySet[Bounce]:
    """The bounces of the mails a mailbox sent with these Message-IDs."""
    return Bounce.objects.filter(
        submission__connection=connection_id, submission__message_id__in=message_ids
    ).select_related("submission")
