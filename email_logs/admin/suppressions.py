"""The console's page of addresses that are not written to."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST
from unfold.decorators import display
from unfold.forms import BaseDialogForm

from core.addresses import exact
from core.admin import scoped_action
from core.errors import HubError
from email_logs.models import EmailLogEntry, Suppression
from email_logs.models.suppression import SuppressionReason
from email_logs.services import suppressions
from email_logs.services.marks import MARK
from workspaces.admin.looks import ReadOnlyAdmin, by, link, workspaces_of

REASONS = {
    SuppressionReason.BOUNCED: "danger",
    SuppressionReason.COMPLAINED: "danger",
    SuppressionReason.UNSUBSCRIBED: "warning",
    SuppressionReason.MANUAL: "info",
}


class AddressForm(forms.Form):
    """Whom not to write to."""

    address = forms.EmailField(max_length=320)
    words = forms.CharField(max_length=500, required=False)


@admin.register(Suppression)
class SuppressionAdmin(ReadOnlyAdmin):
    """Read, added to and taken from by POST."""

    list_display = ("shown_address", "why", "words", "created_at", "created_by")
    list_display_links = ("shown_address",)
    list_filter = ("reason",)
    list_select_related = ("created_by",)
    search_fields = ("address",)  # its being there makes the field
    search_help_text = "The whole address"
    ordering = ("-created_at", "-id")
    sortable_by = ()
    fields = ("shown_address", "why_words", "words", "mail", "created_at", "created_by", "workspace")
    readonly_fields = ("shown_address", "why_words", "mail")
    actions_detail = ("remove",)
    list_before_template = "email_logs/add_suppression.html"

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Suppression], search_term: str
    ) -> tuple[QuerySet[Suppression], bool]:
        """By the unique index, which has no order of beginnings."""
        whole = exact(search_term.strip())
        return (queryset.filter(address=whole) if search_term.strip() else queryset), False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        context = {"suppress_in": list(workspaces_of(request))}
        return super().changelist_view(request, {**context, **(extra_context or {})})

    def get_urls(self) -> list[URLPattern]:
        add = self.admin_site.admin_view(self.suppress)
        return [
            path("suppress/<uuid:workspace_id>", add, name="email_logs_suppression_suppress"),
            *super().get_urls(),
        ]

    @method_decorator(require_POST)
    def suppress(self, request: HttpRequest, workspace_id: object) -> HttpResponse:
        """Add an address."""
        workspace = get_object_or_404(workspaces_of(request), pk=workspace_id)
        form = AddressForm(request.POST)
        try:
            if not form.is_valid():
                raise ValidationError("This is not an email address.")
            suppressions.add(workspace=workspace, by=by(request), **form.cleaned_data)
            messages.success(request, f"{form.cleaned_data['address']} is not written to any more.")
        except HubError as error:
            messages.error(request, error.message)
        except ValidationError as error:
            messages.error(request, error.message)
        return HttpResponseRedirect(reverse(f"{self.admin_site.name}:email_logs_suppression_changelist"))

    @display(description="address")
    def shown_address(self, row: Suppression) -> str:
        return "(erased)" if row.address.startswith(MARK) else row.address

    @display(description="reason", label=REASONS)
    def why(self, row: Suppression) -> tuple[str, str]:
        return row.reason, SuppressionReason(row.reason).label

    @display(description="reason")
    def why_words(self, row: Suppression) -> str:
        return SuppressionReason(row.reason).label

    @display(description="the mail it came of")
    def mail(self, row: Suppression) -> SafeString | str:
        rows = EmailLogEntry.objects.filter(workspace=row.workspace_id, connection_id=None)
        entry = rows.filter(pk=row.entry_id).first() if row.entry_id is not None else None
        if entry is None:
            return "–"
        url = reverse(f"{self.admin_site.name}:email_logs_emaillogentry_change", args=(entry.pk,))
        return link(url, "Show")

    @scoped_action(
        description="Write to it again",
        confirm="Mail goes to this address again, until it is refused again.",
        icon="mark_email_read",
        submit="Remove",
    )
    def remove(self, request: HttpRequest, obj: Suppression, form: BaseDialogForm) -> str:
        suppressions.remove(suppression=obj, by=by(request))
        return f"{self.shown_address(obj)} is written to again."
