"""What the rows of work have in common that an integration repeats: one row per integration, which is the work and
remembers where it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self
from uuid import UUID

from django.db import models
from django.db.models import F
from django.db.models.functions import Now

from core.ids import uuid7
from core.work import WorkQuerySet, WorkRow, WorkStatus

if TYPE_CHECKING:
    from integrations.models import Integration


class IntegrationRunQuerySet(WorkQuerySet):
    """Set rules: which could begin again, and how they do."""

    def resting(self) -> Self:
        """Not under way."""
        return self.filter(status__in=(WorkStatus.DONE, WorkStatus.FAILED))

    def begin(self, trigger: str, **fresh: object) -> int:
        """Queue the next run of those that rest, with `fresh` counters; how many."""
        return self.resting().update(
            status=WorkStatus.QUEUED,
            trigger=trigger,
            run=F("run") + 1,
            attempts=0,
            next_attempt_at=Now(),
            started_at=None,
            finished_at=None,
            **fresh,
        )


class IntegrationRun(WorkRow):
    """Abstract: its runs follow one another and `run` counts them. Whose it is the heir says, as `integration`, one to
    one, and when the next run is due (`services.integration_runs`)."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    run = models.PositiveIntegerField(default=1)
    trigger = models.CharField(max_length=20)
    """What began the run: "schedule" or "manual"."""
    failures = models.PositiveIntegerField(default=0)
    """Runs in a row that failed."""
    error_at = models.DateTimeField(null=True, blank=True)
    """Of `error_code` and `error_message`."""
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    objects = IntegrationRunQuerySet.as_manager()  # type: ignore[misc]  # more than WorkRow's

    if TYPE_CHECKING:
        integration: models.OneToOneField[Integration, Integration]
        integration_id: UUID

    class Meta:
        abstract = True
