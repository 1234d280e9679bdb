"""The console's pages of deliveries: what went out to whom, every attempt, and once more."""

from __future__ import annotations

import json
import uuid
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import display
from unfold.forms import BaseDialogForm

from core.admin import scoped_action, sees_all
from core.work import WorkStatus
from integrations import tasks
from integrations.admin.looks import (
    DELIVERY_COLOURS,
    DELIVERY_WORDS,
    Asked,
    AskedDays,
    BeforeFilter,
    WalkedList,
    as_uuid,
)
from integrations.models import Delivery, Integration
from integrations.models.event import SUBSCRIBABLE
from integrations.services import delivery_log
from workspaces.admin.looks import ReadOnlyAdmin, by, link, span_of

ENDPOINTS = 100
"""At most so many are listed together; each alone by its filter."""


class EndpointFilter(Asked):
    title, parameter_name = "endpoint", "endpoint"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(str(row.pk), _named(row)) for row in model_admin.endpoints(request)[:ENDPOINTS]]


class StateFilter(Asked):
    title, parameter_name = "state", "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(status.value, words) for status, words in DELIVERY_WORDS.items()]


class TypeFilter(Asked):
    title, parameter_name = "event", "type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in SUBSCRIBABLE]


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin):
    """Newest first, of all endpoints or one. Kept for 30 days after they ended."""

    list_display = ("made_at", "endpoint", "event_type", "state", "attempt_count", "answered", "said")
    list_display_links = ("made_at",)
    list_filter = (EndpointFilter, StateFilter, TypeFilter, ("created_at", AskedDays), BeforeFilter)
    list_filter_submit = True
    sortable_by = ()
    fieldsets = (
        (None, {"fields": ("endpoint_link", "event_type", "state_words", "said", "next_attempt")}),
        ("Attempts", {"fields": ("attempts_table",)}),
        ("Message", {"fields": ("message_id", "event_at", "made_at", "finished_at", "content")}),
    )
    readonly_fields = (
        "endpoint_link", "state_words", "said", "next_attempt", "attempts_table", "message_id", "made_at", "content",
    )  # fmt: skip
    actions_detail = ("replay",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Delivery]:
        rows: QuerySet[Delivery] = super().get_queryset(request).select_related("integration__workspace")
        return rows

    def endpoints(self, request: HttpRequest) -> QuerySet[Integration]:
        """Integrations that are or were told of events, those that exist first."""
        rows = Integration.objects.filter(subscription__isnull=False).defer("credentials")
        rows = rows if sees_all(request) else rows.filter(workspace__in=self.workspace_ids(request))
        return rows.order_by("-deleted_at", "name", "pk")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[WalkedList]:
        return WalkedList

    def walk(self, request: HttpRequest, before: uuid.UUID | None, limit: int) -> list[Delivery]:
        """The rows of a page."""
        endpoints = self.endpoints(request)
        if request.GET.get("endpoint"):
            asked = as_uuid(request.GET["endpoint"])
            endpoints = endpoints.filter(pk=asked) if asked else endpoints.none()
        only: dict[str, Any] = dict(span_of(request, "created_at"))
        for name, word, known in (("status", "state", WorkStatus.values), ("type", "type", SUBSCRIBABLE)):
            if request.GET.get(word) in known:
                only[name] = request.GET[word]
        ids = list(endpoints.values_list("pk", flat=True)[:ENDPOINTS])
        return delivery_log.newest(integration_ids=ids, only=only, before=before, limit=limit)

    @display(description="made at")
    def made_at(self, delivery: Delivery) -> SafeString:
        return format_html('<span class="whitespace-nowrap">{}</span>', f"{delivery.created_at:%Y-%m-%d %H:%M:%S}")

    @display(description="endpoint")
    def endpoint(self, delivery: Delivery) -> str:
        return _named(delivery.integration)

    @display(description="endpoint")
    def endpoint_link(self, delivery: Delivery) -> SafeString | str:
        if delivery.integration.deleted_at is not None:
            return _named(delivery.integration)
        address = reverse(f"{self.admin_site.name}:integrations_integration_change", args=(delivery.integration_id,))
        return link(address, delivery.integration.name)

    @display(description="state", label=DELIVERY_COLOURS)
    def state(self, delivery: Delivery) -> tuple[str, str]:
        return WorkStatus(delivery.status), self.state_words(delivery)

    @display(description="state")
    def state_words(self, delivery: Delivery) -> str:
        return DELIVERY_WORDS[WorkStatus(delivery.status)]

    @display(description="answered")
    def answered(self, delivery: Delivery) -> str:
        return str(delivery.response_status or "–")

    @display(description="last error")
    def said(self, delivery: Delivery) -> str:
        return delivery.error_message or "–"

    @display(description="next attempt")
    def next_attempt(self, delivery: Delivery) -> str:
        waits = delivery.status == WorkStatus.QUEUED
        return f"{delivery.next_attempt_at:%Y-%m-%d %H:%M:%S} UTC" if waits else "–"

    @display(description="what is sent")
    def content(self, delivery: Delivery) -> SafeString:
        """As the API shows it: exactly the body, here with line breaks."""
        try:
            text = json.dumps(json.loads(delivery.body), indent=2, ensure_ascii=False)
        except ValueError:
            text = delivery.body
        return format_html('<pre class="text-xs" style="white-space: pre-wrap; overflow-wrap: anywhere">{}</pre>', text)

    @display(description="attempts")
    def attempts_table(self, delivery: Delivery) -> SafeString:
        newest = delivery.attempts_made.order_by("-number")[: delivery_log.SHOWN_ATTEMPTS]
        return render_to_string("integrations/console/attempts.html", {"attempts": newest})

    @scoped_action(
        description="Replay",
        confirm="It is sent now under the same webhook-id, whatever became of it; its schedule begins anew.",
        icon="replay",
        submit="Replay",
    )
    def replay(self, request: HttpRequest, obj: Delivery, form: BaseDialogForm) -> str:
        delivery_log.replay(integration=obj.integration, delivery_id=str(obj.pk), by=by(request))
        tasks.ring_deliveries(obj.integration_id)
        return "It is sent again."


def _named(integration: Integration) -> str:
    return f"{integration.name} (deleted)" if integration.deleted_at is not None else integration.name
