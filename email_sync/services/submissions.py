"""Outgoing mail on its way: one attempt at a time, no blind resend, an honest word at every point.

`attempt` is called by `sending` right after the row was written; `take_due` and `settle` by the sweeper; `proved` by
`bounces`; what the API does with a mail is in `outbox`. A mail whose fate is unknown (the provider was called and did
not answer, or the worker died in between) is `unconfirmed` until it is found in Sent or a server reports on it; it is
never sent again. One that surely was not handed over is tried again.
"""

from __future__ import annotations

import logging
import uuid
from datetime import timedelta

from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Coalesce, Now
from django.utils import timezone

from core.errors import (
    Conflict,
    HubError,
    NeedsReauth,
    PermissionRefused,
    ProviderAuthError,
    ProviderOutcomeUnknown,
    ProviderRateLimited,
    ProviderUnavailable,
    ServiceBusy,
)
from core.redaction import clean_words
from core.work import backoff_seconds, sane_wait
from email_sync.models import Draft, Submission, SubmissionStage
from email_sync.providers.base import MailProvider
from email_sync.records import OutgoingMail, SentMail
from email_sync.services import linking, outbound_log, threads
from email_sync.services.accounts import with_mailbox
from email_sync.services.locking import one_writer
from integrations.models import Connection, EventType
from integrations.services import events, incidents, schedule, sync_runs

logger = logging.getLogger("patchbay.send")

LEASE_SECONDS = 180
"""Longer than every time-out of one attempt together."""
SETTLE_SECONDS = 600
"""An unconfirmed mail is looked for in Sent this long; then it stays unconfirmed, and says so."""
SEE_SECONDS = 15
"""After this the copy of an answer is looked for that was not in Sent at once."""
FILE_SECONDS = 86_400
"""A copy is put into Sent for this long."""
GIVE_UP = timedelta(hours=24)
"""A mail that cannot be handed over is tried again this long; a provider that asks to wait longer is asked after."""
NOT_FOUND = (
    "The provider did not say whether it took the mail, and it did not show in Sent within ten minutes. "
    "It is not sent again."
)
TOO_LARGE = "message_too_large"
UNDECIDED = (SubmissionStage.SENDING, SubmissionStage.UNCONFIRMED)
"""Stages in which a mail may have left unknown to us."""


class Withdrawn(Exception):
    """Internal: the mail was cancelled, or another worker took it over, before this one called the provider."""


# --- one attempt --------------------------------------------------------------------------------------------------


def attempt(submission: Submission) -> Submission:
    """One call to the provider under the submission's lease; the outcome decides the stage (never raises for it)."""
    if submission.mime is None:
        return _leave(submission, SubmissionStage.FAILED, Conflict("This mail is no longer stored."))
    try:
        sent = with_mailbox(submission.connection, lambda mailbox: _hand_over(submission, mailbox))
    except Withdrawn:
        submission.refresh_from_db()
        return submission
    except ProviderOutcomeUnknown as error:
        return _unknown(submission, error)
    except (ProviderUnavailable, ProviderRateLimited, ServiceBusy) as error:
        return _again_or_fail(submission, error)
    except (ProviderAuthError, NeedsReauth) as error:
        return _refused_credential(submission, error)
    except HubError as error:
        return _leave(submission, SubmissionStage.FAILED, error)
    except Exception:  # the boundary: whatever broke, the row must say the truth
        logger.exception("submission %s broke", submission.pk)
        return _broke(submission)
    return accepted(submission, sent)


def _hand_over(submission: Submission, mailbox: MailProvider) -> SentMail:
    """The last moment at which the mail can be taken back, then the call. `attempts` is the fence: a worker that
    stalled meanwhile finds it raised."""
    held = Submission.objects.filter(
        pk=submission.pk,
        attempts=submission.attempts,
        stage__in=(SubmissionStage.SCHEDULED, SubmissionStage.SENDING),
    )
    lease = Now() + timedelta(seconds=LEASE_SECONDS)
    if not held.update(stage=SubmissionStage.SENDING, calling=True, tried_at=Now(), lease_until=lease):
        raise Withdrawn
    return mailbox.send(mail_of(submission))


def mail_of(submission: Submission) -> OutgoingMail:
    """The mail as providers take it."""
    return OutgoingMail(
        message_id=submission.message_id,
        sender=submission.sender,
        recipients=tuple(submission.recipients),
        mime=bytes(submission.mime or b""),
        bcc=tuple(submission.bcc),
        thread_remote_id=submission.thread.remote_id if submission.thread else "",
    )


def _broke(submission: Submission) -> Submission:
    """Nobody can say how far a call came that ended in an error nobody translated."""
    if Submission.objects.filter(pk=submission.pk, calling=True).exists():
        return _unknown(submission, ProviderOutcomeUnknown())
    return _again_or_fail(submission, ServiceBusy("The send broke before the provider was called; the log says where."))


def _unknown(submission: Submission, error: HubError) -> Submission:
    return _leave(submission, SubmissionStage.UNCONFIRMED, error, next_in=20)


def _refused_credential(submission: Submission, error: HubError) -> Submission:
    """Fails the mail and asks for the user, unless the user connected the account again just then."""
    if sync_runs.saved_meanwhile(submission.connection):
        return _again_or_fail(submission, error)
    incidents.grant_refused(submission.connection, code=error.code, message=error.message)
    return _leave(submission, SubmissionStage.FAILED, error)


def _again_or_fail(submission: Submission, error: HubError) -> Submission:
    """Surely not taken: try again later, for a day. What a provider asks for is waited, and said."""
    begun = max(filter(None, (submission.created_at, submission.send_at)))
    if timezone.now() - begun > GIVE_UP:
        return _leave(submission, SubmissionStage.FAILED, error)
    wait = backoff_seconds(submission.attempts)
    if isinstance(error, ProviderRateLimited):
        wait = sane_wait(error.retry_after)
    return _leave(submission, SubmissionStage.SENDING, error, next_in=wait)


def accepted(submission: Submission, sent: SentMail) -> Submission:
    """The provider has the mail: its thread, its draft's end, its event, in one transaction."""
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
            "calling": False,
            "next_attempt_at": _next_look(submission, sent),
            "error_code": "",
            "error_message": "",
        }
        if sent.message_id:
            columns["message_id"] = sent.message_id
        if sent.filed:
            columns["mime"] = None
            schedule.soon(connection=submission.connection, type="email")  # its copy belongs into folder and thread
        before = Submission.objects.filter(pk=submission.pk, sent_at__isnull=True).values_list("stage", flat=True)
        first = before.first()
        unplaced = submission.thread_id is None
        _set(submission, columns)
        if first:
            _end_draft(submission)
            _tell(submission, EventType.EMAIL_SENT)
            outbound_log.note(submission, first=first == SubmissionStage.SENDING)
        if first or unplaced:
            _link(submission)
    return submission


def _next_look(submission: Submission, sent: SentMail) -> object:
    """At once where the copy still has to be filed; soon where it is still to be seen: it may be in another
    conversation than the one that was answered."""
    if not sent.filed:
        return Now()
    unseen = submission.thread is not None and submission.thread.remote_id and not sent.remote_id
    return Now() + timedelta(seconds=SEE_SECONDS) if unseen and submission.sent_at is None else None


def proved(submission: Submission) -> None:
    """It has left, whatever was believed: a server reports on it. Inside the writer's transaction, once. Its copy, and
    with it its thread, is looked for next."""
    undecided = Submission.objects.filter(pk=submission.pk, stage__in=UNDECIDED)
    left = undecided.update(
        stage=SubmissionStage.SENT,
        filed=False,
        sent_at=Coalesce("tried_at", Now()),
        lease_until=None,
        calling=False,
        next_attempt_at=Now(),
        error_code="",
        error_message="",
    )
    submission.refresh_from_db()
    if left:
        _end_draft(submission)
        _tell(submission, EventType.EMAIL_SENT)
        outbound_log.note(submission)


def _end_draft(submission: Submission) -> None:
    """What was a draft is a mail now; `drafts.settle` removes the provider's copy."""
    drafts = Draft.objects.filter(pk=submission.draft_id)
    drafts.update(removing=True, attempts=0, next_attempt_at=Now(), error_code="", error_message="")


def _link(submission: Submission) -> None:
    """The conversation belongs to the entity the mail was sent for."""
    if submission.entity_type and submission.thread is not None:
        linking.link_thread(
            thread=submission.thread,
            entity_type=submission.entity_type,
            entity_id=submission.entity_id,
            by=submission.connection.user,
        )


def _leave(
    submission: Submission, stage: SubmissionStage, error: HubError, *, next_in: float | None = None
) -> Submission:
    """Where an attempt did not end well. A sender that comes back after its lease ran out may find that the mail was
    seen in Sent meanwhile: then it has left, whatever the sender believes."""
    logger.info("submission %s: %s (%s)", submission.pk, stage, error.code)
    columns: dict[str, object] = {
        "stage": stage,
        "lease_until": None,
        "calling": False,
        "next_attempt_at": None if next_in is None else Now() + timedelta(seconds=next_in),
        "error_code": error.code[:64],
        "error_message": clean_words(error.message),
    }
    if stage == SubmissionStage.FAILED:
        columns["mime"] = None
    over = (SubmissionStage.SENT, SubmissionStage.CANCELLED)
    with transaction.atomic():
        left = Submission.objects.filter(pk=submission.pk).exclude(stage__in=over).update(**columns)
        submission.refresh_from_db()
        if left:
            outbound_log.note(submission)
        if left and stage == SubmissionStage.FAILED:
            _tell(submission, EventType.EMAIL_FAILED)
    return submission


def _tell(submission: Submission, type: str) -> None:
    """Inside the transaction that settles it."""
    events.record(
        workspace_id=submission.connection.workspace_id,
        type=type,
        connection_id=submission.connection_id,
        user_id=submission.connection.user_id,
        payload={
            "submissionId": str(submission.pk),
            "threadId": str(submission.thread_id) if submission.thread_id else None,
            **({"code": submission.error_code} if submission.error_code else {}),
        },
    )


def _set(submission: Submission, columns: dict[str, object]) -> None:
    Submission.objects.filter(pk=submission.pk).update(**columns)
    submission.refresh_from_db()


# --- the sweeper's side -------------------------------------------------------------------------------------------


def take_due(limit: int = 100) -> list[uuid.UUID]:
    """Submissions to look at: due, or abandoned in the middle of an attempt."""
    abandoned = Q(lease_until__lt=Now())
    due = Q(next_attempt_at__lte=Now(), lease_until__isnull=True)
    return list(Submission.objects.filter(abandoned | due).order_by("created_at").values_list("pk", flat=True)[:limit])


def settle(submission_id: uuid.UUID) -> None:
    """The next step of one submission: send, look in Sent, or file the copy."""
    submission = _claim(submission_id)
    if submission is None:
        return
    if submission.stage in (SubmissionStage.SCHEDULED, SubmissionStage.SENDING):
        if _has_left(submission.connection):
            _leave(submission, SubmissionStage.FAILED, PermissionRefused("Its sender is no longer a member."))
        else:
            attempt(submission)
        return
    try:
        with_mailbox(submission.connection, lambda mailbox: _look(submission, mailbox))
    except (HubError, OSError) as error:
        logger.info("submission %s: could not look: %s", submission.pk, error)
        _look_again(submission)
    except Exception:  # the boundary: a mail that breaks the look must not be looked for without end
        logger.exception("submission %s: looking broke", submission.pk)
        _look_again(submission)


def _has_left(connection: Connection) -> bool:
    """Whether its user left the workspace since."""
    members = Connection.objects.filter(user__is_active=True, user__memberships__workspace=F("workspace"))
    return not members.filter(pk=connection.pk).exists()


def _claim(submission_id: uuid.UUID) -> Submission | None:
    """Take it under a lease. One whose sender died mid-call becomes UNCONFIRMED: nobody knows whether it left."""
    with transaction.atomic():
        due = Q(next_attempt_at__lte=Now(), lease_until__isnull=True) | Q(lease_until__lt=Now())
        rows = Submission.objects.select_for_update(skip_locked=True, of=("self",)).filter(due, pk=submission_id)
        submission = rows.select_related("connection", "thread").first()
        if submission is None:
            return None
        interrupted = submission.calling
        if interrupted:
            submission.stage = SubmissionStage.UNCONFIRMED
            submission.calling = False
            submission.error_code = "provider_outcome_unknown"
            submission.error_message = "The send was interrupted; Sent will tell whether the mail left."
        submission.attempts += 1
        submission.save(update_fields=["stage", "calling", "error_code", "error_message", "attempts"])
        Submission.objects.filter(pk=submission.pk).update(lease_until=Now() + timedelta(seconds=LEASE_SECONDS))
        if interrupted:
            outbound_log.note(submission)
    return submission


def _look(submission: Submission, mailbox: MailProvider) -> None:
    if submission.stage == SubmissionStage.SENT and submission.mime is not None:
        accepted(submission, mailbox.file_sent(mail_of(submission)))
        return
    found = mailbox.find_sent(submission.message_id)
    if found is not None:
        accepted(submission, found)
    else:
        _look_again(submission)


def _look_again(submission: Submission) -> None:
    """Until the time is over; an unconfirmed mail then stays what it is: unknown, and its bytes are not kept."""
    unconfirmed = submission.stage == SubmissionStage.UNCONFIRMED
    to_be_filed = not unconfirmed and not submission.filed
    window = timedelta(seconds=FILE_SECONDS if to_be_filed else SETTLE_SECONDS)
    within = Submission.objects.filter(pk=submission.pk, tried_at__gt=Now() - window).exists()
    columns: dict[str, object] = {"lease_until": None}
    if within:
        wait = backoff_seconds(submission.attempts, base=15, cap=120)
        columns["next_attempt_at"] = Now() + timedelta(seconds=wait)
    else:
        columns |= {"next_attempt_at": None, "mime": None}
        columns |= {"error_message": NOT_FOUND} if unconfirmed else {}
    Submission.objects.filter(pk=submission.pk, stage=submission.stage).update(**columns)
    submission.refresh_from_db()
