"""Work that is a row: claimed under a lease, fenced, retried, re-rung by a sweeper.

A Celery message is only a wake-up with an id. The row says what state the work is in, when it is due next and who holds
it. A claim raises `fence` in one conditional UPDATE; every later write transaction calls `hold`, which proves that the
fence is still ours and locks the row, so a worker that lost its lease cannot write (reference R4). All times are the
database's own clock, so workers with a wrong clock cannot steal or keep a lease.
"""

from __future__ import annotations

import math
import random
from datetime import timedelta
from typing import Any, Self

from django.db import models, transaction
from django.db.models import F, Q
from django.db.models.functions import Now

from core.errors import HubError, LeaseLost
from core.redaction import clean_words

MAX_WAIT_SECONDS = 24 * 3600.0


class WorkStatus(models.TextChoices):
    """The small machine every work row goes through."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


ACTIVE = (WorkStatus.QUEUED, WorkStatus.RUNNING)


class WorkQuerySet(models.QuerySet[Any]):
    """Set rules of work rows: what is due, who may take it."""

    def due(self) -> Self:
        """Queued and its time has come, or running under a lease that ran out."""
        return self.filter(
            Q(status=WorkStatus.QUEUED, next_attempt_at__lte=Now())
            | Q(status=WorkStatus.RUNNING, lease_until__lt=Now())
        )

    def to_ring(self, limit: int = 100) -> list[object]:
        """Ids of what is due: waiting, or left by a worker that died. What has waited longest comes first."""
        return list(self.due().order_by("next_attempt_at").values_list("pk", flat=True)[:limit])

    def claim(self, pk: object, *, lease_seconds: float, **columns: object) -> Any | None:
        """Take one due row: one conditional UPDATE that raises the fence and sets `columns`. None where another worker
        has it."""
        with transaction.atomic(savepoint=False):  # nobody else takes it before our fence is read
            taken = (
                self.filter(pk=pk)
                .due()
                .update(
                    status=WorkStatus.RUNNING,
                    fence=F("fence") + 1,
                    attempts=F("attempts") + 1,
                    lease_until=Now() + timedelta(seconds=lease_seconds),
                    started_at=models.functions.Coalesce("started_at", Now()),
                    **columns,
                )
            )
            return self.get(pk=pk) if taken else None


class WorkRow(models.Model):
    """Abstract: the columns and moves of a piece of work."""

    status = models.CharField(max_length=10, choices=WorkStatus.choices, default=WorkStatus.QUEUED)
    attempts = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField(db_default=Now())
    lease_until = models.DateTimeField(null=True, blank=True)
    fence = models.PositiveBigIntegerField(default=0)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    error_code = models.CharField(max_length=64, blank=True, default="")
    error_message = models.TextField(blank=True, default="")

    objects = WorkQuerySet.as_manager()

    class Meta:
        abstract = True

    def _held(self) -> models.QuerySet[Any]:
        return type(self)._default_manager.filter(pk=self.pk, status=WorkStatus.RUNNING, fence=self.fence)

    def hold(self, *, lease_seconds: float, **columns: object) -> None:
        """Inside a write transaction: prove the fence is ours, lock the row, extend the lease, set `columns`.

        Raises LeaseLost, which must abort the transaction.
        """
        if not self._held().update(lease_until=Now() + timedelta(seconds=lease_seconds), **columns):
            raise LeaseLost(f"{type(self).__name__} {self.pk} is held by another worker.")

    def finish(self, **columns: object) -> None:
        """Done. LeaseLost where the fence moved on."""
        self._leave(status=WorkStatus.DONE, finished_at=Now(), error_code="", error_message="", **columns)

    def fail(self, *, code: str, message: str, **columns: object) -> None:
        """Over, without success; the reason stays readable."""
        self._leave(status=WorkStatus.FAILED, finished_at=Now(), error_code=code, error_message=message, **columns)

    def retry(self, *, after_seconds: float, code: str = "", message: str = "", **columns: object) -> None:
        """Back to the queue until `after_seconds` from now; the sweeper rings it then."""
        self._leave(
            status=WorkStatus.QUEUED,
            next_attempt_at=Now() + timedelta(seconds=after_seconds),
            error_code=code,
            error_message=message,
            **columns,
        )

    def _leave(self, **columns: object) -> None:
        if not self._held().update(lease_until=None, **columns):
            raise LeaseLost(f"{type(self).__name__} {self.pk} is held by another worker.")
        self.refresh_from_db()


def backoff_seconds(attempts: int, *, base: float = 5.0, cap: float = 3600.0) -> float:
    """Exponential back-off with full jitter on the upper half: 5, 10, 20 … s, at most an hour."""
    step: float = min(cap, base * 2.0 ** min(max(0, attempts - 1), 60))
    return step / 2 + random.random() * step / 2  # noqa: S311 - jitter, not a secret


def sane_wait(asked: float) -> float:
    """What a provider asked for, within reason: a second to a day; a day where it makes no sense."""
    return MAX_WAIT_SECONDS if math.isnan(asked) else max(1.0, min(asked, MAX_WAIT_SECONDS))


def words_of(error: Exception, what: str) -> tuple[str, str]:
    """Code and message of what ended an attempt at `what` ("The sync"), as its row keeps them for people."""
    if isinstance(error, HubError):
        return error.code[:64], clean_words(error.message)
    return "internal_error", f"{what} broke; the log says where. It is tried again."
