"""Sending from a user's own mailbox: a row before the call, one attempt at a time, no blind resend.

`send` is called by the API, `settle` by the sweeper. A mail whose fate is unknown (the provider took the request and
did not answer, or the worker died in between) is `unconfirmed` until it is found in Sent; it is never sent again.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.db.models.functions import Coalesce, Now

from core.errors import (
    Conflict,
    HubError,
    InvalidInput,
    NeedsReauth,
    NotConfigured,
    ProviderAuthError,
    ProviderOutcomeUnknown,
    ProviderRateLimited,
    ProviderRejected,
    ProviderUnavailable,
    ServiceBusy,
)
from core.redaction import clean_words
from core.work import backoff_seconds
from email_sync import composing
from email_sync.models import Message, Submission, SubmissionStage
from email_sync.providers import MAIL_PROVIDERS
from email_sync.providers.base import MailProvider
from email_sync.records import Address, OutgoingMail, SentMail
from email_sync.services import threads
from email_sync.services.accounts import with_mailbox
from email_sync.services.locking import one_writer
from integrations.models import Connection
from integrations.services import schedule, sync_runs
from workspaces.services import audit

if TYPE_CHECKING:
    from workspaces.models import User, Workspace

logger = logging.getLogger("patchbay.send")

LEASE_SECONDS = 180
"""Longer than every time-out of one attempt together."""
KEY_HOURS = 24
"""How long an idempotency key means the same mail: as long as `workspaces.idempotency` promises."""
SETTLE_SECONDS = 600
"""An unconfirmed mail is looked for in Sent this long; then it stays unconfirmed, and says so."""
MAX_ATTEMPTS = 10


@dataclass(frozen=True, slots=True)
class Draft:
    """A mail as the API gives it, checked by the serializer."""

    to: Sequence[str]
    subject: str
    body: str
    body_html: str = ""
    cc: Sequence[str] = ()
    bcc: Sequence[str] = ()
    attachments: Sequence[composing.OutgoingAttachment] = field(default=())
    connection_id: uuid.UUID | None = None
    reply_to_id: uuid.UUID | None = None
    idempotency_key: str = ""


def send(*, user: User, workspace: Workspace, draft: Draft, by: User) -> Submission:
    """Compose, store, hand over. The submission tells what came of it; a mail refused at once is `failed` with the
    provider's words. InvalidInput for addresses and headers, NotConfigured where no mailbox can send."""
    parent = _parent(user, workspace, draft)
    connection = _sender(user, workspace, draft, parent)
    if (earlier := _earlier(connection, draft)) is not None:
        return earlier
    mail = _compose(connection, draft, parent)
    try:
        submission = _create(connection, draft, parent, mail, by=by)
    except IntegrityError:
        if (twin := _earlier(connection, draft)) is not None:
            return twin  # the same request came twice at once
        raise
    return attempt(submission)


def _create(
    connection: Connection, draft: Draft, parent: Message | None, mail: OutgoingMail, *, by: User
) -> Submission:
    """The row, under the lease of its first attempt. IntegrityError where the key has one already."""
    with transaction.atomic():
        submission = Submission.objects.create(
            connection=connection,
            idempotency_key=draft.idempotency_key,
            message_id=mail.message_id,
            sender=mail.sender,
            recipients=list(mail.recipients),
            bcc=list(mail.bcc),
            subject=draft.subject,
            mime=mail.mime,
            thread=parent.thread if parent else None,
            attempts=1,
            lease_until=Now() + timedelta(seconds=LEASE_SECONDS),
        )
        audit.record(by=by, workspace=connection.workspace, action="email.send", target=submission)
    return submission


def _earlier(connection: Connection, draft: Draft) -> Submission | None:
    """The same request came before and its answer was lost with our process: its row says what became of it. A key
    that is older than keys last is given free: another mail may use it."""
    if not draft.idempotency_key:
        return None
    same = Submission.objects.filter(connection=connection, idempotency_key=draft.idempotency_key)
    same.filter(created_at__lt=Now() - timedelta(hours=KEY_HOURS)).update(idempotency_key="")
    return same.first()


def _parent(user: User, workspace: Workspace, draft: Draft) -> Message | None:
    if draft.reply_to_id is None:
        return None
    return Message.objects.of(user=user, workspace=workspace).select_related("body", "thread").find(draft.reply_to_id)


def _sender(user: User, workspace: Workspace, draft: Draft, parent: Message | None) -> Connection:
    """The asked-for connection, else the one the answered mail is in, else the oldest that can send."""
    own = Connection.objects.of(user=user, workspace=workspace).connected()
    if draft.connection_id is not None:
        connection = own.find(draft.connection_id)
    elif parent is not None:
        connection = own.find(parent.connection_id)
    else:
        found = own.filter(provider__in=list(MAIL_PROVIDERS)).order_by("needs_reauth", "created_at").first()
        if found is None:
            raise NotConfigured("Connect a mailbox first.")
        connection = found
    if connection.provider not in MAIL_PROVIDERS:
        raise NotConfigured("This connection cannot send mail.")
    if connection.needs_reauth:
        raise NeedsReauth()
    if parent is not None and parent.connection_id != connection.pk:
        raise InvalidInput(fields={"replyToId": ["This email is in another mailbox than connectionId."]})
    return connection


def _compose(connection: Connection, draft: Draft, parent: Message | None) -> OutgoingMail:
    return composing.compose(
        sender=Address(connection.display_name, connection.account_email),
        to=draft.to,
        cc=draft.cc,
        bcc=draft.bcc,
        subject=composing.reply_subject(draft.subject, parent.subject) if parent else draft.subject,
        text=draft.body,
        html=draft.body_html,
        attachments=draft.attachments,
        in_reply_to=parent.message_id if parent else "",
        references=composing.reply_references(parent.body.references, parent.body.in_reply_to) if parent else (),
        thread_remote_id=parent.thread.remote_id if parent else "",
    )


def attempt(submission: Submission) -> Submission:
    """One call to the provider under the submission's lease; the outcome decides the stage (never raises for it)."""
    if submission.mime is None:
        return _leave(submission, SubmissionStage.FAILED, Conflict("This mail is no longer stored."))
    mail = _mail(submission)
    try:
        sent = with_mailbox(submission.connection, lambda mailbox: mailbox.send(mail))
    except ProviderOutcomeUnknown as error:
        return _leave(submission, SubmissionStage.UNCONFIRMED, error, next_in=20)
    except (ProviderUnavailable, ProviderRateLimited, ServiceBusy) as error:
        return _again_or_fail(submission, error)
    except (ProviderAuthError, NeedsReauth) as error:
        return _refused_credential(submission, error)
    except HubError as error:
        return _leave(submission, SubmissionStage.FAILED, error)
    except OSError:  # nobody can say how far it came
        logger.exception("submission %s: the line broke", submission.pk)
        return _leave(submission, SubmissionStage.UNCONFIRMED, ProviderOutcomeUnknown(), next_in=20)
    return _accepted(submission, sent)


def _refused_credential(submission: Submission, error: HubError) -> Submission:
    """Fails the mail and asks for the user, unless the user connected the account again just then."""
    if sync_runs.saved_meanwhile(submission.connection):
        return _again_or_fail(submission, error)
    submission.connection.note_error(code=error.code, message=error.message, needs_reauth=True)
    return _leave(submission, SubmissionStage.FAILED, error)


def _mail(submission: Submission) -> OutgoingMail:
    return OutgoingMail(
        message_id=submission.message_id,
        sender=submission.sender,
        recipients=tuple(submission.recipients),
        mime=bytes(submission.mime or b""),
        bcc=tuple(submission.bcc),
        thread_remote_id=submission.thread.remote_id if submission.thread else "",
    )


def _accepted(submission: Submission, sent: SentMail) -> Submission:
    with transaction.atomic():
        one_writer(submission.connection_id)  # a sync may be writing the copy at this moment
        thread = threads.of_sent(submission, sent)
        columns: dict[str, object] = {
            "stage": SubmissionStage.SENT,
            "thread": thread,
            "remote_id": sent.remote_id,
            "refused": list(sent.refused) or submission.refused,  # filing the copy says nothing of them
            "filed": sent.filed,
            "sent_at": Coalesce("sent_at", Now()),
            "lease_until": None,
            "next_attempt_at": None if sent.filed else Now(),
            "error_code": "",
            "error_message": "",
        }
        if sent.message_id:
            columns["message_id"] = sent.message_id
        if sent.filed:
            columns["mime"] = None
            schedule.soon(connection=submission.connection, type="email")  # its copy belongs into folder and thread
        _set(submission, columns)
    return submission


def _again_or_fail(submission: Submission, error: HubError) -> Submission:
    """Surely not taken: try again later, at most MAX_ATTEMPTS times."""
    if submission.attempts >= MAX_ATTEMPTS:
        return _leave(submission, SubmissionStage.FAILED, error)
    wait = backoff_seconds(submission.attempts)
    if isinstance(error, ProviderRateLimited):
        wait = sync_runs.sane_wait(error.retry_after)
    return _leave(submission, SubmissionStage.SENDING, error, next_in=wait)


def _leave(
    submission: Submission, stage: SubmissionStage, error: HubError, *, next_in: float | None = None
) -> Submission:
    """Where an attempt did not end well. A sender that comes back after its lease ran out may find that the mail was
    seen in Sent meanwhile: then it has left, whatever the sender believes."""
    logger.info("submission %s: %s (%s)", submission.pk, stage, error.code)
    columns: dict[str, object] = {
        "stage": stage,
        "lease_until": None,
        "next_attempt_at": None if next_in is None else Now() + timedelta(seconds=next_in),
        "error_code": error.code[:64],
        "error_message": clean_words(error.message),
    }
    if stage == SubmissionStage.FAILED:
        columns["mime"] = None
    Submission.objects.filter(pk=submission.pk).exclude(stage=SubmissionStage.SENT).update(**columns)
    submission.refresh_from_db()
    return submission


def _set(submission: Submission, columns: dict[str, object]) -> None:
    Submission.objects.filter(pk=submission.pk).update(**columns)
    submission.refresh_from_db()


def raise_if_refused(submission: Submission) -> None:
    """The caller of a mail that was refused at once gets the provider's words as an error, and the row's id."""
    if submission.stage == SubmissionStage.FAILED:
        extra = {"submissionId": str(submission.pk)}
        if submission.error_code == NeedsReauth.default_code:
            raise NeedsReauth(submission.error_message, extra=extra)
        raise ProviderRejected(submission.error_message, code=submission.error_code, extra=extra)


# --- the sweeper's side -------------------------------------------------------------------------------------------


def take_due(limit: int = 100) -> list[uuid.UUID]:
    """Submissions to look at: due, or abandoned in the middle of an attempt."""
    abandoned = Q(lease_until__lt=Now())
    due = Q(next_attempt_at__lte=Now(), lease_until__isnull=True)
    return list(Submission.objects.filter(abandoned | due).order_by("created_at").values_list("pk", flat=True)[:limit])


def settle(submission_id: uuid.UUID) -> None:
    """The next step of one submission: retry, look in Sent, or file the copy."""
    submission = _claim(submission_id)
    if submission is None:
        return
    if submission.stage == SubmissionStage.SENDING:
        attempt(submission)
        return
    try:
        with_mailbox(submission.connection, lambda mailbox: _look(submission, mailbox))
    except (HubError, OSError) as error:
        logger.info("submission %s: could not look: %s", submission.pk, error)
        _look_again(submission)


def _claim(submission_id: uuid.UUID) -> Submission | None:
    """Take it under a lease. One whose sender died mid-call becomes UNCONFIRMED: nobody knows whether it left."""
    with transaction.atomic():
        due = Q(next_attempt_at__lte=Now(), lease_until__isnull=True) | Q(lease_until__lt=Now())
        rows = Submission.objects.select_for_update(skip_locked=True, of=("self",)).filter(due, pk=submission_id)
        submission = rows.select_related("connection", "thread").first()
        if submission is None:
            return None
        if submission.lease_until is not None and submission.stage == SubmissionStage.SENDING:
            submission.stage = SubmissionStage.UNCONFIRMED
            submission.error_code = "provider_outcome_unknown"
            submission.error_message = "The send was interrupted; Sent will tell whether the mail left."
        submission.attempts += 1
        submission.save(update_fields=["stage", "error_code", "error_message", "attempts"])
        Submission.objects.filter(pk=submission.pk).update(lease_until=Now() + timedelta(seconds=LEASE_SECONDS))
    return submission


def _look(submission: Submission, mailbox: MailProvider) -> None:
    if submission.stage == SubmissionStage.SENT:
        _accepted(submission, mailbox.file_sent(_mail(submission)))
        return
    found = mailbox.find_sent(submission.message_id)
    if found is not None:
        _accepted(submission, found)
    else:
        _look_again(submission)


def _look_again(submission: Submission) -> None:
    """Until the time is over; an unconfirmed mail then stays what it is: unknown, and its bytes are not kept. A copy
    is filed for a day."""
    window = SETTLE_SECONDS if submission.stage == SubmissionStage.UNCONFIRMED else 86_400
    within = Submission.objects.filter(pk=submission.pk, created_at__gt=Now() - timedelta(seconds=window)).exists()
    wait = timedelta(seconds=backoff_seconds(submission.attempts, base=15, cap=120))
    columns: dict[str, object] = (
        {"next_attempt_at": Now() + wait} if within else {"next_attempt_at": None, "mime": None}
    )
    _set(submission, {"lease_until": None, **columns})
