"""Work that an integration repeats, run after run: claimed, sliced, tried again, put off. The sync of contacts and the
mirror of the email log each make an `IntegrationRuns` of their own.

Promised: at most one run of an integration is under way; a slice never raises for a provider; what fails is tried again
later and later, and what another attempt would not mend fails at once; a run that fails again and again is put off for
hours, and its work is done once somebody mends it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Generic, TypeVar

from django.db.models import F
from django.db.models.functions import Greatest, Now

from core.errors import (
    Crashing,
    CredentialsRejected,
    HubError,
    LeaseLost,
    NotConfigured,
    ProviderRateLimited,
    ProviderRejected,
    UnsupportedOperation,
)
from core.work import backoff_seconds, sane_wait, words_of
from integrations.models import Integration
from integrations.models.integration_run import IntegrationRun
from integrations.services import integration_health
from integrations.services.integration_use import Disabled

logger = logging.getLogger("patchbay.sync")

LEASE_SECONDS = 60.0
SLICE_SECONDS = 40.0
MAX_ATTEMPTS = 6
"""Attempts between which nothing was committed before a run has failed."""
LONGEST_PAUSE = 6 * 3600
"""Seconds between runs that fail one after another."""
LASTING = (ProviderRejected, NotConfigured, UnsupportedOperation, Crashing)
"""Another attempt would not help."""
SCHEDULE, MANUAL = "schedule", "manual"

Row = TypeVar("Row", bound=IntegrationRun)


class Changed(Disabled):
    """Somebody switched the integration off or set it up otherwise meanwhile: the next slice looks anew."""


@dataclass(frozen=True)
class IntegrationRuns(Generic[Row]):
    """The runs of one kind of work."""

    rows: type[Row]
    what: str
    """In words that go on: "The mirror"."""
    slice: Callable[[Row, Integration, float], bool]
    """Work until done (False) or until `time.monotonic()` passes the deadline (True: more to do); at least one piece.
    What a piece commits takes `attempts` back to 0."""
    pause_seconds: Callable[[], float]
    """Between runs."""
    last_at: str
    """The column for when a run last came to its end."""
    next_at: str
    """The column for when the next one begins."""
    after_failure: Mapping[str, Any] = field(default_factory=dict)
    """What else a failed run writes down."""

    def due(self) -> list[object]:
        """Work to ring."""
        return self.rows._default_manager.to_ring()

    def work(self, row_id: object, *, seconds: float = SLICE_SECONDS) -> bool:
        """One slice. True where there is more to do at once. Never raises for a provider."""
        row: Row | None = self.rows._default_manager.claim(row_id, lease_seconds=LEASE_SECONDS)
        if row is None:
            return False
        integration = Integration.objects.select_related("workspace").get(pk=row.integration_id)
        try:
            if row.attempts > MAX_ATTEMPTS:  # no attempt ended by itself: each took its worker along
                raise Crashing(f"{self.what} broke off again and again.")
            if self.slice(row, integration, time.monotonic() + seconds):
                row.retry(after_seconds=0, attempts=0, error_at=None)
                return True
            row.finish(failures=0, error_at=None, **{self.last_at: Now()}, **self._next_in(self.pause_seconds()))
            integration_health.works(integration)
        except LeaseLost:
            self._note_lost(row)
        except (HubError, OSError) as error:
            self.after_error(row, integration, error)
        except Exception as error:
            logger.exception("%s %s broke", self.what, row.pk)
            self.after_error(row, integration, error)
        return False

    def after_error(self, row: Row, integration: Integration, error: Exception) -> None:
        """The error carries the decision (DESIGN 3). A worker that lost its lease decides nothing."""
        try:
            self._decide(row, error)
        except LeaseLost:
            self._note_lost(row)
            return
        if isinstance(error, CredentialsRejected):
            integration_health.refused(integration, error)

    def _decide(self, row: Row, error: Exception) -> None:
        code, message = words_of(error, self.what)
        said: dict[str, Any] = {"code": code, "message": message, "error_at": Now()}
        if isinstance(error, Changed):
            row.retry(after_seconds=0, attempts=0)
        elif isinstance(error, ProviderRateLimited):  # also the month's calls that are used up: parked, and why
            attempts = Greatest(F("attempts") - 1, 0)
            row.retry(after_seconds=sane_wait(error.retry_after), attempts=attempts, **said)
        elif isinstance(error, Disabled):  # it goes on as soon as it is on again
            row.fail(**said, **self._next_in(0))
        elif not isinstance(error, LASTING) and row.attempts < MAX_ATTEMPTS:
            row.retry(after_seconds=backoff_seconds(row.attempts), **said)
        else:
            wait = backoff_seconds(row.failures + 1, base=self.pause_seconds(), cap=LONGEST_PAUSE)
            row.fail(failures=F("failures") + 1, **said, **self.after_failure, **self._next_in(wait))

    def _next_in(self, seconds: float) -> dict[str, Any]:
        return {self.next_at: Now() + timedelta(seconds=seconds)}

    def _note_lost(self, row: Row) -> None:
        logger.info("%s %s was taken over by another worker", self.what, row.pk)
