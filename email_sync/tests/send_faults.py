"""A send that breaks, whatever it goes through: who breaks it, and what must be true afterwards (reference reliability
R12). For the matrices of `test_send_faults` and `test_send_faults_graph`.

A `Scene` is a mailbox at a real or stand-in server with its own faults and the independent truth of what left it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any, Protocol

import pytest
from django.db.models.functions import Now

from email_sync.models import Submission, SubmissionStage
from email_sync.services import sending, submissions
from email_sync.services.sending import Letter
from integrations.models import Connection

ADA, BOB = "ada@contract.test", "bob@contract.test"
LONG = 25
"""Sends at each point in the long form."""
Fault = Callable[[], AbstractContextManager[None]]


class HasConnection(Protocol):
    """Whatever mail is sent from."""

    connection: Connection


class Scene(Protocol):
    """A mailbox that can be made to fail, and the independent truth of what left it."""

    connection: Connection
    faults: dict[str, Fault]

    def taken(self, subject: str) -> int:
        """How many mails with this subject were accepted."""

    def send(self, subject: str) -> Submission:
        """As a client asks, with a key of its own."""


# --- our own process dies ---------------------------------------------------------------------------------------------


@contextmanager
def dying(target: Any, name: str, *, after: bool) -> Iterator[None]:
    """The process ends before, or just after, this function."""
    original = getattr(target, name)

    def die(*given: Any, **named: Any) -> Any:
        if after:
            original(*given, **named)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(target, name, die)
        yield


DEATHS: dict[str, Fault] = {
    "dies before the row": lambda: dying(sending, "_create", after=False),
    "dies after the row": lambda: dying(sending, "_create", after=True),
    "dies before the call": lambda: dying(submissions, "_hand_over", after=False),
    "dies before the commit": lambda: dying(submissions, "_hand_over", after=True),
    "dies before the answer": lambda: dying(submissions, "attempt", after=True),
}


# --- the matrix -------------------------------------------------------------------------------------------------------


def send(scene: Scene, subject: str) -> Submission:
    """A short mail."""
    return hand_in(scene, Letter([BOB], subject, "At one?"))


def hand_in(scene: HasConnection, letter: Letter) -> Submission:
    """Its subject is its key."""
    letter = replace(letter, connection_id=scene.connection.pk, idempotency_key=letter.subject)
    user, workspace = scene.connection.user, scene.connection.workspace
    return sending.send(user=user, workspace=workspace, letter=letter, by=user)


def break_off(scene: Scene, point: str, subject: str) -> Submission:
    """One send that meets the fault; where our process died with it, its client asks again. Then time passes until
    nothing is left to do."""
    with ExitStack() as stack:
        stack.enter_context(scene.faults[point]())
        stack.enter_context(suppress(KeyboardInterrupt))
        scene.send(subject)
    submission = scene.send(subject)
    for _ in range(8):
        time_passes()
    Submission.objects.update(tried_at=Now() - timedelta(seconds=submissions.SETTLE_SECONDS))
    time_passes()
    submission.refresh_from_db()
    return submission


def time_passes() -> None:
    Submission.objects.filter(lease_until__isnull=False).update(lease_until=Now() - timedelta(seconds=1))
    Submission.objects.filter(next_attempt_at__isnull=False).update(next_attempt_at=Now())
    for submission_id in submissions.take_due():
        submissions.settle(submission_id)


def check(scene: Scene, point: str, times: int) -> None:
    """At most one mail; `sent` only where one left, `failed` only where none did; nothing waits without end."""
    for number in range(times):
        subject = f"{point} {number}"
        submission = break_off(scene, point, subject)
        taken = scene.taken(subject)
        assert taken <= 1, "sent twice"
        assert submission.next_attempt_at is None
        assert (
            submission.stage
            in {
                0: (SubmissionStage.FAILED, SubmissionStage.UNCONFIRMED),
                1: (SubmissionStage.SENT, SubmissionStage.UNCONFIRMED),
            }[taken]
        ), (submission.stage, taken)
        if point in LEAVES:
            assert (submission.stage, taken) == (SubmissionStage.SENT, 1)
        if "for good" in point:
            assert (submission.stage, submission.attempts) == (SubmissionStage.FAILED, 1)


LEAVES = {
    "dies before the row", "dies after the row", "dies before the call", "dies before the answer", "is not there",
    "closes at the recipient", "refuses the recipient for now",
    "refuses the mail for now", "asks to wait", "loses the draft it made", "makes no upload session",
    "loses the answer to a range", "refuses a range",
}  # fmt: skip
"""Points at which it is sure that nothing was taken, or that it is known to have been: the mail leaves in the end."""
