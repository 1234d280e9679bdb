"""The console's pages of a workspace's integrations: which there are, how each is, and what may be done with it.

What asks for something is in `setting_up` (settings, secrets) and `using` (actions, templates). Secrets are nowhere:
their fingerprint and age tell enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.urls import URLPattern, reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.decorators import display
from unfold.forms import BaseDialogForm
from unfold.widgets import UnfoldAdminSelectWidget

from core.admin import scoped_action
from core.errors import Conflict
from core.work import WorkStatus
from integrations import tasks
from integrations.admin.looks import HEALTH_COLOURS, HEALTH_NEXT, HEALTH_WORDS, ago
from integrations.admin.setting_up import SettingUp, secret_names
from integrations.admin.using import Using, works_of
from integrations.models import Health, Integration, IntegrationCheck, Subscription
from integrations.models.event import SUBSCRIBABLE
from integrations.providers import INTEGRATION_PROVIDERS
from integrations.providers.base import EMAIL, EVENTS, EVENTS_FIELD
from integrations.serializers.integrations import hook_url
from integrations.services import delivery_log, integration_health, integration_use, integrations, notices
from integrations.services.integrations import provider_of, shown_config
from workspaces.admin.forms import Moment
from workspaces.admin.looks import ReadOnlyAdmin, by


class TypeFilter(admin.SimpleListFilter):
    title, parameter_name = "type", "type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(key, INTEGRATION_PROVIDERS.get(key).name) for key in INTEGRATION_PROVIDERS]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Integration]) -> QuerySet[Integration]:
        return queryset.filter(type=self.value()) if self.value() else queryset


class ReplayForm(BaseDialogForm):
    """What to send once more."""

    since = forms.DateTimeField(
        label="Made since (UTC)", widget=Moment, initial=lambda: timezone.now() - timedelta(days=1)
    )
    type = forms.ChoiceField(
        label="Event", choices=[("", "All"), *((name, name) for name in SUBSCRIBABLE)], required=False,
        widget=UnfoldAdminSelectWidget,
    )  # fmt: skip


@admin.register(Integration)
class IntegrationAdmin(SettingUp, Using, ReadOnlyAdmin):
    """One page each: how it is, how it is set up, what it does, what happened to it."""

    can_add = True
    list_display = ("name", "vendor", "on", "site", "health_label", "checked", "secret_age")
    list_filter = ("enabled", ("health", admin.ChoicesFieldListFilter), TypeFilter)
    list_select_related = ("workspace",)
    search_fields = ("name",)
    ordering = ("name", "id")
    actions_detail = ("test", "enable", "disable", "make_site", "replay_failed", "remove")
    change_form_outer_before_template = "integrations/console/buttons.html"
    readonly_fields = (
        "vendor", "on_words", "site", "health_words", "what_next", "said", "checked_at", "failing_for", "settings",
        "secrets", "hook_address", "subscribed", "endpoint", "deliveries", "work", "incidents", "checks", "created_at",
        "updated_at",
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[Integration]:
        """Those that exist, without opening a secret."""
        rows: QuerySet[Integration] = super().get_queryset(request)
        return rows.filter(deleted_at__isnull=True).defer("credentials")

    def get_urls(self) -> list[URLPattern]:
        return [*self.setting_up_urls(), *self.using_urls(), *super().get_urls()]

    def get_fieldsets(self, request: HttpRequest, obj: Integration | None = None) -> Sequence[Any]:
        """What there is to say of this type."""
        if obj is None:
            return []
        kind = provider_of(obj)
        hook = ("hook_address",) if kind.hook_word else ()
        sets: list[Any] = [
            (None, {"fields": ("name", "vendor", "on_words", *(("site",) if EMAIL in kind.capabilities else ()))}),
            ("How it is", {"fields": ("health_words", "said", "what_next", "checked_at", "failing_for")}),
            ("How it is set up", {"fields": ("settings", "secrets", *hook)}),
        ]
        if EVENTS in kind.capabilities:
            sets.append(("What it is told of", {"fields": ("subscribed", "endpoint", "deliveries")}))
        if any(action.queued for action in kind.actions):
            sets.append(("Work in the background", {"fields": ("work",)}))
        sets.append(("What happened", {"fields": ("incidents", "checks", "created_at", "updated_at")}))
        return sets

    def hidden_actions(self, obj: Integration) -> frozenset[str]:
        capabilities = provider_of(obj).capabilities
        hidden = {"enable" if obj.enabled else "disable"}
        if EMAIL not in capabilities or obj.is_site_email_provider or not obj.enabled:
            hidden.add("make_site")
        if EVENTS not in capabilities:
            hidden.add("replay_failed")
        return frozenset(hidden)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """With the buttons of what this type can do."""
        row = self._find(request, object_id)
        context = {"buttons": self.buttons(row)} if row is not None else {}
        return super().change_view(request, object_id, form_url, {**context, **(extra_context or {})})

    # In the list

    @display(description="type", ordering="type")
    def vendor(self, row: Integration) -> str:
        return provider_of(row).name

    @display(description="state", ordering="enabled", label={"on": "success", "off": "info"})
    def on(self, row: Integration) -> tuple[str, str]:
        return ("on", "Enabled") if row.enabled else ("off", "Disabled")

    @display(description="site email provider")
    def site(self, row: Integration) -> str:
        return "Yes" if row.is_site_email_provider else "–"

    @display(description="health", ordering="health", label=HEALTH_COLOURS)
    def health_label(self, row: Integration) -> tuple[str, str]:
        return Health(row.health), self.health_words(row)

    @display(description="checked", ordering="health_checked_at")
    def checked(self, row: Integration) -> str:
        return f"{ago(row.health_checked_at, timezone.now())} ago" if row.health_checked_at else "–"

    @display(description="secret's age", ordering="credentials_changed_at")
    def secret_age(self, row: Integration) -> str:
        return ago(row.credentials_changed_at, timezone.now())

    # On its page

    @display(description="state")
    def on_words(self, row: Integration) -> str:
        return self.on(row)[1]

    @display(description="health")
    def health_words(self, row: Integration) -> str:
        return HEALTH_WORDS[Health(row.health)]

    @display(description="what to do")
    def what_next(self, row: Integration) -> str:
        return HEALTH_NEXT[Health(row.health)] if row.enabled else "Enable it to use it."

    @display(description="what was said")
    def said(self, row: Integration) -> str:
        return f"{row.health_message} ({row.health_code})" if row.health_code else row.health_message or "–"

    @display(description="checked at")
    def checked_at(self, row: Integration) -> str:
        return f"{row.health_checked_at:%Y-%m-%d %H:%M:%S} UTC" if row.health_checked_at else "–"

    @display(description="failing for")
    def failing_for(self, row: Integration) -> str:
        return ago(row.failing_since, timezone.now())

    @display(description="settings")
    def settings(self, row: Integration) -> SafeString:
        shown = shown_config(row)
        fields = [field for field in provider_of(row).all_config_fields() if field is not EVENTS_FIELD]
        pairs = [(field.label, shown[field.name]) for field in fields if shown.get(field.name) not in (None, "")]
        return render_to_string("integrations/console/pairs.html", {"pairs": pairs, "nothing": "None."})

    @display(description="secrets")
    def secrets(self, row: Integration) -> SafeString:
        pairs: list[tuple[str, str]] = [(label, "There, and never shown") for label in secret_names(row)]
        if row.fingerprint:
            pairs.append(("Fingerprint", row.fingerprint))
        if row.credentials_changed_at:
            pairs.append(("Age", ago(row.credentials_changed_at, timezone.now())))
        nothing = "None yet: give them under Settings." if not row.has_credentials else "It needs none."
        return render_to_string("integrations/console/pairs.html", {"pairs": pairs, "nothing": nothing})

    @display(description="address for the vendor's events")
    def hook_address(self, row: Integration) -> str:
        return hook_url(row) or "–"

    @display(description="events")
    def subscribed(self, row: Integration) -> str:
        chosen = row.config.get(EVENTS_FIELD.name) or []
        return "Everything" if "*" in chosen else ", ".join(chosen) or "Nothing: choose events under Settings."

    @display(description="endpoint")
    def endpoint(self, row: Integration) -> str:
        place = Subscription.objects.filter(pk=row.pk).first()
        if place is None or not place.failures:
            return "Takes what it is sent." if place is not None else "–"
        words = [f"Refused or did not answer {place.failures:,} times in a row"]
        words += [f"since {place.failing_since:%Y-%m-%d %H:%M} UTC"] if place.failing_since else []
        waits = [moment for moment in (place.not_before, place.asked_until) if moment and moment > timezone.now()]
        words += [f"next attempt not before {max(waits):%Y-%m-%d %H:%M:%S} UTC"] if waits else []
        return ", ".join(words) + "."

    @display(description="deliveries")
    def deliveries(self, row: Integration) -> SafeString:
        base = reverse(f"{self.admin_site.name}:integrations_delivery_changelist") + f"?endpoint={row.pk}"
        links = [("All", base), ("Failed", f"{base}&state=failed"), ("Waiting", f"{base}&state=queued")]
        return render_to_string("integrations/console/links.html", {"links": links})

    @display(description="now")
    def work(self, row: Integration) -> SafeString:
        return render_to_string("integrations/console/work.html", works_of(self.admin_site.name, row))

    @display(description="incidents")
    def incidents(self, row: Integration) -> SafeString:
        told = [(notice, notice.status == WorkStatus.DONE) for notice in notices.told(row)]
        return render_to_string("integrations/console/incidents.html", {"notices": told})

    @display(description="checks")
    def checks(self, row: Integration) -> SafeString:
        found = integration_health.checks(row)
        return render_to_string("integrations/console/checks.html", {"checks": found, "kept": IntegrationCheck.KEPT})

    # What may be done

    def _make(self, request: HttpRequest, row: Integration, said: str, **given: object) -> str:
        integrations.change(integration=row, by=by(request), given=given)
        return f"{row.name} {said}."

    @scoped_action(
        description="Test",
        confirm="The vendor is asked now, without side effects; a webhook gets a signed test message.",
        icon="network_check",
        submit="Test now",
    )
    def test(self, request: HttpRequest, obj: Integration, form: BaseDialogForm) -> str:
        tested = integration_use.test(integration=obj)
        if not tested.ok:
            raise Conflict(f"{obj.name} does not work: {tested.message}")
        return f"{obj.name} works: {tested.message} ({tested.latency_ms:,} ms)"

    @scoped_action(description="Enable", confirm="It is used again from now on.", icon="play_arrow", submit="Enable")
    def enable(self, request: HttpRequest, obj: Integration, form: BaseDialogForm) -> str:
        return self._make(request, obj, "is enabled", enabled=True)

    @scoped_action(
        description="Disable",
        confirm="Everything it does stops at once; it is no site email provider any more. Its settings stay.",
        icon="pause",
        submit="Disable",
    )
    def disable(self, request: HttpRequest, obj: Integration, form: BaseDialogForm) -> str:
        return self._make(request, obj, "is disabled", enabled=False)

    @scoped_action(
        description="Make site email provider",
        confirm="The workspace's own mail leaves through it from now on, and through no other.",
        icon="mark_email_read",
        submit="Make it",
    )
    def make_site(self, request: HttpRequest, obj: Integration, form: BaseDialogForm) -> str:
        return self._make(request, obj, "is the site email provider", site_email_provider=True)

    @scoped_action(
        description="Replay failed",
        confirm="Deliveries to it that failed are sent again, oldest first, under their ids.",
        icon="replay",
        form_class=ReplayForm,
        submit="Replay",
    )
    def replay_failed(self, request: HttpRequest, obj: Integration, form: BaseDialogForm) -> str:
        only = {"since": form.cleaned_data["since"], "status": WorkStatus.FAILED, "type": form.cleaned_data["type"]}
        again = delivery_log.replay_range(integration=obj, only=only, by=by(request))
        tasks.ring_deliveries(obj.pk)
        more = f"; go on from {again.next_from:%Y-%m-%d %H:%M:%S} UTC" if again.next_from else ""
        return f"{again.count:,} are sent again{more}."

    @scoped_action(
        description="Delete",
        confirm="Its credentials are wiped at once and nothing is sent through it any more. Its deliveries, logs and "
        "audit trail stay. This cannot be undone.",
        icon="delete",
        submit="Delete it",
    )
    def remove(self, request: HttpRequest, obj: Integration, form: BaseDialogForm) -> str:
        integrations.remove(integration=obj, by=by(request))
        return f"{obj.name} is deleted."
