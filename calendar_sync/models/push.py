"""How a provider tells of changes in calendars before it is asked."""

from __future__ import annotations

from django.db import models

from integrations.models.push import PushRow


class CalendarChannel(PushRow):
    """The doorbell of one calendar, of the list of them, or of all that is in an account (`services.doorbells`)."""

    calendar = models.ForeignKey(
        "calendar_sync.Calendar", null=True, blank=True, on_delete=models.CASCADE, related_name="channels"
    )
    """None where it is about the account: about the list where its provider has one for each calendar."""

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("connection", "calendar"), name="calendarchannel_one_each", nulls_distinct=False
            ),
        )
        indexes = (
            models.Index(fields=("remote_id",), name="calendarchannel_remote_id"),
            models.Index(fields=("next_attempt_at",), name="calendarchannel_due"),
        )

    @property
    def about(self) -> str:
        return "" if self.calendar is None else self.calendar.remote_id
