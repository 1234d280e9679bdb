"""How deliveries look on the wire (CONTRACT 5)."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from core.api.pagination import PageParameters, paged_shape
from core.api.serializers import AnyField, CamelSerializer, IsoDateTimeField, wire_time
from core.work import WorkStatus
from integrations.models import Delivery, DeliveryAttempt
from integrations.models.event import SUBSCRIBABLE
from integrations.services.delivery_log import REPLAYED_AT_ONCE, Replayed

WORDS = {
    WorkStatus.QUEUED.value: "queued",
    WorkStatus.RUNNING.value: "sending",
    WorkStatus.DONE.value: "delivered",
    WorkStatus.FAILED.value: "failed",
}
"""Status of the row → on the wire."""
ROWS = {word: status for status, word in WORDS.items()}


class _Span(CamelSerializer):
    """`from` and `to`, when deliveries were made, half open; a name that Python keeps for itself."""

    def get_fields(self) -> dict[str, AnyField]:
        """With both."""
        required = self.needs_span
        span = {
            "from": IsoDateTimeField(required=required, source="since"),
            "to": IsoDateTimeField(required=required, source="until"),
        }
        return {**super().get_fields(), **span}

    needs_span = False


class DeliveryParameters(_Span, PageParameters):
    """Query of the list."""

    status = serializers.ChoiceField(list(ROWS), required=False)
    type = serializers.ChoiceField(SUBSCRIBABLE, required=False)

    def only(self) -> dict[str, Any]:
        """As the service filters."""
        return _only(self.validated_data)


class ReplayBody(_Span):
    """Body of a replay of many."""

    needs_span = True
    status = serializers.ChoiceField(["delivered", "failed"], required=False)
    type = serializers.ChoiceField(SUBSCRIBABLE, required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """The span is not empty."""
        if attrs["since"] >= attrs["until"]:
            raise serializers.ValidationError({"until": ["Must be later than from."]})
        return attrs

    def only(self) -> dict[str, Any]:
        """As the service filters."""
        return _only(self.validated_data)


def _only(given: dict[str, Any]) -> dict[str, Any]:
    only: dict[str, Any] = {name: given[name] for name in ("type", "since", "until") if name in given}
    if "status" in given:
        only["status"] = ROWS[given["status"]]
    return only


class AttemptShape(CamelSerializer):
    """One time it was sent."""

    number = serializers.IntegerField()
    at = IsoDateTimeField()
    status = serializers.IntegerField(allow_null=True, help_text="What was answered; null: nothing, or not yet.")
    latency_ms = serializers.IntegerField(allow_null=True, help_text="null while it is under way.")
    error = serializers.CharField(allow_blank=True)
    excerpt = serializers.CharField(allow_blank=True, help_text="The beginning of the answer.")


class DeliveryShape(CamelSerializer):
    """One event for one integration."""

    id = serializers.UUIDField()
    message_id = serializers.CharField(help_text="The webhook-id of every attempt.")
    event_id = serializers.UUIDField()
    type = serializers.CharField()
    status = serializers.ChoiceField(list(ROWS))
    body = serializers.CharField(help_text="Exactly what is sent.")
    response_status = serializers.IntegerField(allow_null=True)
    error = serializers.CharField(allow_blank=True)
    attempt_count = serializers.IntegerField()
    next_attempt_at = IsoDateTimeField(allow_null=True)
    happened_at = IsoDateTimeField()
    created_at = IsoDateTimeField()
    finished_at = IsoDateTimeField(allow_null=True)
    attempts = AttemptShape(many=True, help_text="The newest 20, oldest first.")


DeliveriesShape = paged_shape(DeliveryShape)


class ReplayedShape(CamelSerializer):
    """What a replay of many came to."""

    count = serializers.IntegerField(help_text=f"How many are sent again; at most {REPLAYED_AT_ONCE} at once.")
    next_from = IsoDateTimeField(allow_null=True, help_text="Where to go on from; null: that were all.")


def delivery(row: Delivery) -> dict[str, Any]:
    """As `DeliveryShape`; its attempts are fetched."""
    waits = row.status == WorkStatus.QUEUED
    return {
        "id": str(row.pk),
        "messageId": row.message_id,
        "eventId": str(row.event_id),
        "type": row.event_type,
        "status": WORDS[row.status],
        "body": row.body,
        "responseStatus": row.response_status,
        "error": row.error_message,
        "attemptCount": row.attempt_count,
        "nextAttemptAt": wire_time(row.next_attempt_at) if waits else None,
        "happenedAt": wire_time(row.event_at),
        "createdAt": wire_time(row.created_at),
        "finishedAt": wire_time(row.finished_at) if row.finished_at else None,
        "attempts": [_attempt(made) for made in row.attempts_made.all()],
    }


def _attempt(row: DeliveryAttempt) -> dict[str, Any]:
    return {
        "number": row.number,
        "at": wire_time(row.at),
        "status": row.status,
        "latencyMs": row.latency_ms,
        "error": row.error,
        "excerpt": row.excerpt,
    }


def replayed(result: Replayed) -> dict[str, Any]:
    """As `ReplayedShape`."""
    return {"count": result.count, "nextFrom": wire_time(result.next_from) if result.next_from else None}
