"""The console's address book: which addresses and domains stand for which entities, where that comes from, how sure it
is, and what is to be decided. Every change goes through the service that the API calls."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.views.main import ORDER_VAR
from django.core.exceptions import PermissionDenied
from django.core.validators import RegexValidator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from unfold.decorators import display
from unfold.forms import BaseDialogForm
from unfold.widgets import UnfoldAdminTextInputWidget

from core.admin import Bounded, OfferedOrder, scoped_action
from core.errors import HubError
from entities import matching
from entities.models import MAX_ID, MAX_TYPE, SYNCED, AddressMatch, DomainMatch, walked
from entities.serializers import ENTITY_ID, ENTITY_TYPE
from entities.services import matches
from workspaces.admin.forms import PageForm, form_page
from workspaces.admin.looks import ReadOnlyAdmin, by, workspaces_of

CERTAIN, LIKELY, ASKED = "certain", "likely", "asked"
CONFIDENCE = {CERTAIN: "success", LIKELY: "info", ASKED: "warning"}
CONFIDENCE_WORDS = {CERTAIN: "Certain", LIKELY: "Likely", ASKED: "To decide"}
NAMES = {"emailAddress": "what", "domain": "what"}
"""Fields as the service has them → as the form has them."""


class MatchForm(PageForm):
    """What stands for what."""

    what = forms.CharField(label="Address or domain", max_length=320, widget=UnfoldAdminTextInputWidget)
    entity_type = forms.CharField(
        max_length=MAX_TYPE, widget=UnfoldAdminTextInputWidget, initial="contact",
        validators=[RegexValidator(ENTITY_TYPE, "Use letters, digits, '_', '.' and '-', a letter first.")],
        help_text="Your CRM's word: contact, company, deal …",
    )  # fmt: skip
    entity_id = forms.CharField(
        max_length=MAX_ID, widget=UnfoldAdminTextInputWidget,
        validators=[RegexValidator(ENTITY_ID, "Use no white space and no '/'.")], help_text="Your CRM's id of it.",
    )  # fmt: skip


class SourceFilter(admin.SimpleListFilter):
    title, parameter_name = "source", "source"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("manual", "By hand"), (SYNCED, "From the CRM")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        wanted = {"manual": "", SYNCED: SYNCED}.get(self.value() or "")
        return queryset if wanted is None else queryset.filter(source=wanted)


class DecideFilter(admin.SimpleListFilter):
    title, parameter_name = "confidence", "confidence"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(ASKED, CONFIDENCE_WORDS[ASKED])]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(shared=True) if self.value() == ASKED else queryset


class Book(OfferedOrder):
    """In the order of addresses or domains, or the other way, each workspace for itself: the order of the indexes."""

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        super().get_ordering(request, queryset)  # leaves what is offered
        return walked(self.model_admin.key, down=self.params.get(ORDER_VAR, "").startswith("-"))


class BookPages(Bounded):
    """Counted along the index: a planner that is free to choose may read a whole table for one workspace's rows."""

    def rows_to_count(self) -> QuerySet[Any]:
        return self.object_list.values("workspace_id")  # type: ignore[attr-defined]


class MatchAdmin(ReadOnlyAdmin):
    """What both kinds have. A search is by beginnings, which the same indexes find."""

    key: ClassVar[str]
    """The column by which it is found and sorted."""

    can_add = True
    list_filter = (SourceFilter, DecideFilter)
    list_select_related = ("created_by", "workspace")
    readonly_fields = ("source_words", "confidence_words", "linked", "created_at")
    actions_detail = ("keep", "undo")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[Book]:
        return Book

    def get_paginator(self, request: HttpRequest, queryset: QuerySet[Any], *how: Any, **options: Any) -> Bounded:
        """Also of a match's history, which is no list of matches."""
        pages = BookPages if queryset.model is self.model else Bounded
        return pages(queryset, *how, **options)

    def beginning(self, word: str) -> str:
        """What `key` begins with, where somebody typed this."""
        raise NotImplementedError

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """One word: how an address or domain begins. Two: an entity's type and id."""
        match search_term.split():
            case []:
                found = queryset
            case [word]:
                found = queryset.filter(**{f"{self.key}__startswith": self.beginning(word)})
            case [entity_type, entity_id]:
                found = queryset.filter(entity_type=entity_type, entity_id=entity_id)
            case _:
                found = queryset.none()
        return found, False

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """An address or a domain, whichever list it was asked from."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = MatchForm(request.POST if request.method == "POST" else None, workspaces=workspaces_of(request))
        if form.is_valid():
            given = {name: form.cleaned_data[name] for name in ("entity_type", "entity_id")}
            what = form.cleaned_data["what"]
            match: matches.AnyMatch
            try:
                if "@" in what:
                    match, _ = matches.match_address(workspace=form.workspace, by=by(request), address=what, **given)
                else:
                    match, _ = matches.match_domain(workspace=form.workspace, by=by(request), domain=what, **given)
            except HubError as error:
                form.tell(error, NAMES)
            else:
                messages.success(request, f"Linked: {match}. Mail of the past and of the future follows.")
                name = f"{self.admin_site.name}:entities_{match._meta.model_name}_changelist"
                return HttpResponseRedirect(reverse(name))
        about = "A domain stands for all its addresses; one where anybody can have an address stands for nobody."
        return form_page(self, request, form, title="Link an address or a domain", submit="Link", about=about)

    @display(description="source")
    def source_words(self, match: matches.AnyMatch) -> str:
        if match.source == SYNCED:
            return "From the CRM"
        return f"By hand, {match.created_by.email}" if match.created_by else "By hand"

    @display(description="confidence", label=CONFIDENCE)
    def confidence(self, match: matches.AnyMatch) -> tuple[str, str]:
        """By hand is certain; a CRM's word is likely; what stands for several of a kind is to be decided."""
        level = ASKED if match.shared else LIKELY if match.source else CERTAIN
        return level, CONFIDENCE_WORDS[level]

    @display(description="confidence")
    def confidence_words(self, match: matches.AnyMatch) -> str:
        return self.confidence(match)[1]

    @display(description="links, as far as you see")
    def linked(self, match: matches.AnyMatch) -> str:
        by_ = match.viewer  # type: ignore[union-attr]  # see `get_object`
        found = {
            kind: matches.counts(kind=kind, user=by_, workspace=match.workspace, matches=[match]).get(match.pk)
            for kind in ("emails", "events")
        }
        return ", ".join(f"{n.count:,}{'' if n.exact else ' or more'} {kind}" for kind, n in found.items() if n) or "–"

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """With who looks: what a match links is counted as far as they see."""
        match = super().get_object(request, object_id, from_field)
        if match is not None:
            match.viewer = by(request)
        return match

    @scoped_action(
        description="Keep this one",
        confirm="Where the same stands for other entities of this type, those links are undone and this one is "
        "certain. What a CRM still says comes again with its next change there.",
        icon="check",
        submit="Keep this one",
    )
    def keep(self, request: HttpRequest, obj: matches.AnyMatch, form: BaseDialogForm) -> str:
        undone = matches.decide(match=obj, by=by(request))
        return f"Kept: {obj}. {undone} other{'' if undone == 1 else 's'} undone."

    @scoped_action(
        description="Undo",
        confirm="What it links is linked no longer, unless by hand.",
        icon="link_off",
        submit="Undo",
    )
    def undo(self, request: HttpRequest, obj: matches.AnyMatch, form: BaseDialogForm) -> str:
        said = str(obj)
        matches.remove(match=obj, by=by(request))
        return f"Undone: {said}."


@admin.register(AddressMatch)
class AddressMatchAdmin(MatchAdmin):
    """Addresses."""

    list_display = ("address", "entity_type", "entity_id", "source_words", "confidence", "created_at")
    key = "address_key"
    ordering = sortable_by = ("address",)
    search_fields = ("address",)  # its being there makes the field
    search_help_text = "How an address begins, or an entity's type and id: contact 42"
    fields = (
        "address", "entity_type", "entity_id", "source_words", "confidence_words", "linked", "workspace", "created_at"
    )  # fmt: skip

    def beginning(self, word: str) -> str:
        return matching.beginning(word)


@admin.register(DomainMatch)
class DomainMatchAdmin(MatchAdmin):
    """Domains."""

    list_display = ("domain", "entity_type", "entity_id", "source_words", "confidence", "created_at")
    key = "domain"
    ordering = sortable_by = ("domain",)
    search_fields = ("domain",)  # its being there makes the field
    search_help_text = "How a domain begins, or an entity's type and id: contact 42"
    fields = (
        "domain", "entity_type", "entity_id", "source_words", "confidence_words", "linked", "workspace", "created_at"
    )  # fmt: skip

    def beginning(self, word: str) -> str:
        return word.casefold() if word.isascii() else matching.normalise_domain(word) or word
