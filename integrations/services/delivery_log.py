"""Deliveries as an admin sees them: listed, sent once more, forgotten. Called by the API, the console and a schedule.

Promised: a page costs the same wherever it is; a replay goes out under the id that its receiver knows, and never beside
an attempt that is under way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import transaction
from django.db.models import F, Prefetch, Q, QuerySet
from django.db.models.functions import Now

from core.api.pagination import Page, PageQuery, decode_cursor, encode_cursor
from core.errors import Conflict, InvalidInput
from core.ids import oldest_kept
from core.work import WorkStatus
from integrations.models import Delivery, DeliveryAttempt, Integration, Subscription
from integrations.services import subscriptions
from integrations.services.integration_use import Disabled
from workspaces.scoping import fetch
from workspaces.services import audit

if TYPE_CHECKING:
    from workspaces.models import User

KEEP_DAYS = 30
KEEP = timedelta(days=KEEP_DAYS)
CHUNK = 5000
COUNTED = 10_000
"""A list is counted so far, or to its page."""
SHOWN_ATTEMPTS = 20
"""The newest of each delivery."""
REPLAYED_AT_ONCE = 10_000


def listed(*, integration: Integration, query: PageQuery, only: Mapping[str, Any]) -> Page[Delivery]:
    """Newest first. `only`: status, type, since, until (`filtered`)."""
    rows = filtered(Delivery.objects.filter(integration=integration), only).order_by("-id")
    start = 0 if query.cursor else (query.page - 1) * query.limit
    most = max(COUNTED, start + query.limit)
    total = rows.order_by()[: most + 1].count()
    place = rows.filter(id__lt=_place(query.cursor)) if query.cursor else rows
    recent = DeliveryAttempt.objects.filter(number__gt=F("delivery__attempt_count") - SHOWN_ATTEMPTS).order_by("number")
    found = list(place.prefetch_related(Prefetch("attempts_made", recent))[start : start + query.limit + 1])
    page = found[: query.limit]
    onward = encode_cursor([str(page[-1].pk)]) if len(found) > query.limit else None
    return Page(page, min(total, most), onward, total_is_exact=total <= most)


def newest(
    *, integration_ids: Iterable[UUID], only: Mapping[str, Any], before: UUID | None, limit: int
) -> list[Delivery]:
    """Of several endpoints, newest first, older than `before`, without bodies. Each is asked for its own newest by its
    index, so the cost follows the page and nothing is counted: ask for one more than is shown."""
    parts = []
    for pk in integration_ids:
        rows = filtered(Delivery.objects.filter(integration=pk), only)
        rows = rows.filter(id__lt=before) if before else rows
        parts.append(rows.order_by("-id").values("id")[:limit])
    if not parts:
        return []
    together = parts[0].union(*parts[1:], all=True).order_by("-id")[:limit] if len(parts) > 1 else parts[0]
    ids = [row["id"] for row in together]
    return list(Delivery.objects.filter(pk__in=ids).defer("body").select_related("integration").order_by("-id"))


def filtered(rows: QuerySet[Any], only: Mapping[str, Any]) -> QuerySet[Any]:
    """`status` as the row has it, `type` of the event, `since` and `until` when it was made (half open)."""
    if only.get("status"):
        rows = rows.filter(status=only["status"])
    if only.get("type"):
        rows = rows.filter(event_type=only["type"])
    if only.get("since"):
        rows = rows.filter(id__gte=_made_at(only["since"]))
    if only.get("until"):
        rows = rows.filter(id__lt=_made_at(only["until"]))
    return rows


def _made_at(moment: datetime) -> UUID:
    """The least id that was made then: rows are in the order of their ids, and found by them alone."""
    milliseconds = min(max(0, round(moment.timestamp() * 1000)), 2**48 - 1)
    return UUID(int=milliseconds << 80)


def _place(cursor: str) -> UUID:
    try:
        [value] = decode_cursor(cursor)
        return UUID(str(value))
    except ValueError as error:
        raise InvalidInput(fields={"cursor": ["This cursor is not one of ours."]}) from error


# --- once more ----------------------------------------------------------------------------------------------------


def replay(*, integration: Integration, delivery_id: str, by: User) -> Delivery:
    """Send one again now, whatever became of it, under its id; its schedule begins anew. Conflict while an attempt is
    under way, Disabled where the integration is off. The caller rings (`tasks.ring_deliveries`)."""
    with transaction.atomic():
        rows = Delivery.objects.filter(integration=integration)
        delivery: Delivery = fetch(rows, pk=delivery_id)
        _ask_again(integration)
        if not rows.filter(pk=delivery.pk).exclude(status=WorkStatus.RUNNING).update(**_anew()):
            raise Conflict("An attempt is under way. Look again in a moment.", code="delivery_under_way")
        _record(integration, by, {"delivery": delivery.message_id})
    return listed_one(delivery)


def listed_one(delivery: Delivery) -> Delivery:
    """As it is now, with its newest attempts."""
    recent = DeliveryAttempt.objects.filter(number__gt=F("delivery__attempt_count") - SHOWN_ATTEMPTS).order_by("number")
    found: Delivery = Delivery.objects.prefetch_related(Prefetch("attempts_made", recent)).get(pk=delivery.pk)
    return found


@dataclass(frozen=True, slots=True)
class Replayed:
    """How many are sent again, and when the first was made that is not, because they are too many for once."""

    count: int
    next_from: datetime | None = None


def replay_range(*, integration: Integration, only: Mapping[str, Any], by: User) -> Replayed:
    """Send again what has ended and was made in a time, oldest first, at most REPLAYED_AT_ONCE. What is on its way is
    left alone. The caller rings."""
    with transaction.atomic():
        rows = filtered(Delivery.objects.filter(integration=integration).ended(), only).order_by("id")
        found = list(rows.values_list("pk", "created_at")[: REPLAYED_AT_ONCE + 1])
        _ask_again(integration)
        ids = [pk for pk, _ in found[:REPLAYED_AT_ONCE]]
        count = Delivery.objects.filter(pk__in=ids).ended().update(**_anew())
        span = {name: only[name].isoformat() for name in ("since", "until") if only.get(name)}
        _record(integration, by, {"deliveries": count, **span})
    return Replayed(count, found[-1][1] if len(found) > REPLAYED_AT_ONCE else None)


def _anew() -> dict[str, Any]:
    fresh: dict[str, Any] = {"status": WorkStatus.QUEUED, "tries": 0, "finished_at": None, "lease_until": None}
    return {**fresh, "next_attempt_at": Now(), "queued_at": Now(), "error_code": "", "error_message": ""}


def _ask_again(integration: Integration) -> None:
    """Somebody wants it now: our own pause is over, and not one that the endpoint asked for."""
    row = Subscription.objects.filter(pk=integration.pk).select_for_update().first()
    if not Integration.objects.enabled().filter(pk=integration.pk).exists():
        raise Disabled
    if row is None:
        subscriptions.begin(integration)
    Subscription.objects.filter(pk=integration.pk).update(not_before=None)


def _record(integration: Integration, by: User, changes: Mapping[str, object]) -> None:
    audit.record(
        by=by, workspace=integration.workspace, action="integration.replayed", target=integration, changes=changes
    )


# --- housekeeping -------------------------------------------------------------------------------------------------


def forget_old() -> int:
    """Give up what waited too long; remove what ended over KEEP_DAYS ago, with its attempts, in chunks. How many."""
    subscriptions.give_up_old(Delivery.objects.all())
    old = Delivery.objects.filter(id__lt=oldest_kept(KEEP_DAYS)).ended()
    old = old.filter(Q(finished_at__isnull=True) | Q(finished_at__lt=Now() - KEEP)).order_by("id")
    removed = 0
    while ids := list(old.values_list("pk", flat=True)[:CHUNK]):
        DeliveryAttempt.objects.filter(delivery__in=ids).delete()
        removed += Delivery.objects.filter(pk__in=ids).ended().delete()[0]
    return removed
