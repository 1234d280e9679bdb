"""Sending deliveries: one call each, judged, and what follows from how it went.

`work` is called by workers; no transaction is open during a call. Promised: at least once under one id; the schedule of
`SCHEDULE`; a disabled or deleted integration is asked for right before each call and not called; what tells of the
endpoint rather than of one message (it asks to slow down, or says nothing) makes all its deliveries wait.
"""

from __future__ import annotations

import json
import logging
import random
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.db.models.expressions import Combinable
from django.db.models.functions import Coalesce, Now

from core.errors import (
    BudgetSpent,
    CredentialsRejected,
    HubError,
    LeaseLost,
    ProviderRateLimited,
    ProviderUnavailable,
)
from core.redaction import clean_words
from integrations.models import Delivery, DeliveryAttempt, Health, Integration, Subscription
from integrations.models.delivery import MAX_AGE
from integrations.providers.base import Announced, Announcement
from integrations.services import delivery_turns, integration_health, integration_use, integrations
from integrations.services.delivery_turns import Turn

logger = logging.getLogger("patchbay.deliver")

SCHEDULE = (0.0, 5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0, 36_000.0)
"""Seconds before each attempt, counted from the one before (DESIGN 6); after the last one a delivery is given up."""
JITTER = 0.1
LONGEST_WAIT = 86_400.0
"""Who asks to wait longer is asked after a day."""
SLOW_DOWN = frozenset({429, 502, 503, 504})
"""Answers of an endpoint that cannot keep up, whatever it was sent (Standard Webhooks)."""
REST = (5.0, 300.0)
"""The first of our own pauses, which doubles with every failure, and the longest."""
SLOW_SECONDS = 5.0
SLICE_SECONDS = 10.0
EXCERPT_BYTES = 1024
GONE, EXHAUSTED = "gone", "attempts_used_up"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one attempt went."""

    accepted: bool = False
    status: int | None = None
    reason: str = ""
    excerpt: str = ""
    latency_ms: int = 0
    gone: bool = False
    retry_after: float | None = None
    rests: bool = False
    """It tells of the endpoint: its other deliveries wait too."""
    refused: HubError | None = None
    """The credentials were; an incident."""
    not_asked: bool = False
    """The call was not made, so this was no attempt; again in `retry_after` seconds."""


def work(integration_id: uuid.UUID, *, call_help: Callable[[], None]) -> bool:
    """Send what is due for this integration, for a while. True where there is more to do at once."""
    until = time.monotonic() + SLICE_SECONDS
    while time.monotonic() < until:
        turn = delivery_turns.take(integration_id)
        if turn is None:
            return False
        if turn.crowded:
            call_help()
        send(turn)
    return True


def send(turn: Turn) -> None:
    """One attempt and what follows from it. Never raises for an endpoint."""
    integration = Integration.objects.select_related("workspace").get(pk=turn.delivery.integration_id)
    outcome = _call(integration, turn.delivery)
    try:
        _settle(turn, integration, outcome)
    except LeaseLost:
        logger.info("delivery %s was taken over by another worker", turn.delivery.pk)
    if outcome.refused is not None:
        integration_health.refused(integration, outcome.refused)
    elif outcome.accepted and (integration.failing_since is not None or integration.health == Health.UNKNOWN):
        integration_health.works(integration)


# --- the call -----------------------------------------------------------------------------------------------------


def _call(integration: Integration, delivery: Delivery) -> Outcome:
    began = time.monotonic()

    def outcome(**facts: object) -> Outcome:
        return Outcome(latency_ms=round((time.monotonic() - began) * 1000), **facts)  # type: ignore[arg-type] # by name

    try:
        taken = integration_use.provider_for(integration).announce(_announcement(delivery))
    except integration_use.Disabled:
        return outcome(not_asked=True, retry_after=0.0)
    except BudgetSpent as error:
        return outcome(not_asked=True, retry_after=error.retry_after)
    except CredentialsRejected as error:
        return outcome(reason=error.message, refused=error)
    except ProviderRateLimited as error:
        return outcome(status=429, reason=error.message, retry_after=error.retry_after, rests=True)
    except ProviderUnavailable as error:
        return outcome(reason=error.message, rests=True)
    except HubError as error:
        return outcome(reason=error.message)
    except Exception:  # the boundary: whatever broke, the row must say so
        logger.exception("delivery %s broke", delivery.pk)
        return outcome(reason="Sending it broke here; the log says where.")
    return outcome(**_judged(taken))


def _announcement(delivery: Delivery) -> Announcement:
    return Announcement(
        id=delivery.message_id,
        type=delivery.event_type,
        at=delivery.event_at,
        body=delivery.body.encode("ascii"),
        data=json.loads(delivery.body)["data"],
    )


def _judged(taken: Announced) -> dict[str, object]:
    return {
        "accepted": taken.accepted,
        "status": taken.status,
        "reason": taken.reason,
        "excerpt": clean_words(taken.excerpt, EXCERPT_BYTES).encode()[:EXCERPT_BYTES].decode(errors="ignore"),
        "gone": taken.gone,
        "retry_after": taken.retry_after,
        "rests": not taken.accepted and taken.status in SLOW_DOWN,
    }


# --- what follows -------------------------------------------------------------------------------------------------


def _settle(turn: Turn, integration: Integration, outcome: Outcome) -> None:
    """One transaction: the attempt, the delivery, the endpoint, and the end of an integration that is over."""
    with transaction.atomic():
        ending = "" if outcome.accepted or outcome.not_asked else _ending(integration, outcome)
        if ending:
            _switch_off(integration, code=GONE if outcome.gone else "failing", words=ending)
        place = Subscription.objects.filter(pk=integration.pk)
        place.select_for_update().first()
        if outcome.not_asked:
            _put_back(turn, place, outcome.retry_after or 0.0)
            return
        _note(turn.attempt, outcome)
        if outcome.accepted:
            turn.delivery.finish(response_status=outcome.status)
            slow = outcome.latency_ms > SLOW_SECONDS * 1000
            place.update(failures=0, failing_since=None, not_before=None, slow=slow)
        else:
            _failed(turn.delivery, outcome)
            failures = place.values_list("failures", flat=True)[0] + 1
            place.update(failures=failures, failing_since=Coalesce("failing_since", Now()), **_rest(outcome, failures))


def _note(attempt: DeliveryAttempt, outcome: Outcome) -> None:
    DeliveryAttempt.objects.filter(pk=attempt.pk).update(
        status=outcome.status, latency_ms=outcome.latency_ms, error=outcome.reason, excerpt=outcome.excerpt
    )


def _put_back(turn: Turn, place: QuerySet[Subscription], seconds: float) -> None:
    turn.attempt.delete()
    turn.delivery.retry(after_seconds=seconds, attempt_count=F("attempt_count") - 1)
    if seconds:
        place.update(not_before=_in(seconds))


def _failed(delivery: Delivery, outcome: Outcome) -> None:
    tries = delivery.tries + 1
    facts = {"tries": tries, "response_status": outcome.status}
    if outcome.gone:
        delivery.fail(code=GONE, message=outcome.reason, **facts)
    elif tries >= len(SCHEDULE):
        delivery.fail(code=EXHAUSTED, message=outcome.reason, **facts)
    else:
        delivery.retry(
            after_seconds=wait_seconds(tries, outcome.retry_after), code="refused", message=outcome.reason, **facts
        )


def wait_seconds(tries: int, retry_after: float | None) -> float:
    """How long after the `tries`th failure the next attempt is: the schedule's time, longer where that was asked."""
    scheduled = SCHEDULE[tries] * (1 - JITTER + 2 * JITTER * random.random())  # noqa: S311 - jitter, not a secret
    return max(scheduled, min(retry_after or 0.0, LONGEST_WAIT))


def _rest(outcome: Outcome, failures: int) -> dict[str, object]:
    """When the endpoint is asked anything again."""
    if not outcome.rests:
        return {}
    first, longest = REST
    columns: dict[str, object] = {"not_before": _in(min(longest, first * 2.0 ** min(failures - 1, 20)))}
    if outcome.retry_after:
        columns["asked_until"] = _in(min(outcome.retry_after, LONGEST_WAIT))
    return columns


def _in(seconds: float) -> Combinable:
    return Now() + timedelta(seconds=seconds)


# --- endings ------------------------------------------------------------------------------------------------------


def _ending(integration: Integration, outcome: Outcome) -> str:
    """Why this integration is to be switched off, in words; "" where it is not."""
    if outcome.gone:
        return "The endpoint answered 410: it wants no more messages."
    long_ago = Q(failing_since__lt=Now() - MAX_AGE)
    if Subscription.objects.filter(long_ago, pk=integration.pk).exists():
        return f"Every delivery has failed for five days. The last time: {outcome.reason}"
    return ""


def _switch_off(integration: Integration, *, code: str, words: str) -> None:
    """As when somebody disables it, and its owners are told. Not where somebody changed it meanwhile."""
    row = integrations.switch_off(integration=integration, why=words)
    if row is not None:
        integration_health.ended(row, code=code, words=words)
