"""The console's walls: `ScopedAdmin` shows a staff user only what belongs to the workspaces they run.

Every model admin of every app is one (superusers see all). Django's permission table plays no part: a user with
`console_workspace_ids()` may do in those workspaces what the admin class allows. Whoever runs several may narrow the
console to one of them (`choose_workspace`); the choice is checked on every request. Members without such a role see
and use what is their own, on the pages that say whose a row is (`owner_path`), and nothing else. Actions are written
with `@scoped_action`, because unfold's own neither load the object through the admin's query set nor insist on POST
(reference ecosystem 4.2, holes 1 and 2).
"""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

from django.contrib import messages
from django.contrib.admin import ShowFacets
from django.contrib.admin.utils import quote
from django.contrib.admin.views.main import ORDER_VAR
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.paginator import Paginator
from django.db import models
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.functional import cached_property
from unfold.admin import ModelAdmin
from unfold.decorators import action
from unfold.forms import BaseDialogForm
from unfold.views import ChangeList

from core.crypto import SealedField
from core.errors import HubError

ActionBody = Callable[[Any, HttpRequest, Any, BaseDialogForm], str]
CACHE, MEMBER_CACHE = "_console_workspace_ids", "_member_workspace_ids"
CHOSEN = "console_workspace"
"""In the session: the one workspace that is shown."""
SEARCHED = 20_000
"""Of the newest rows, for searches that no index serves (`ScopedAdmin.searched`)."""
COUNTED = 10_000
"""A list is counted as far as this, and no page lies beyond: whoever has more narrows it by a filter or a search."""


def allowed_workspace_ids(request: HttpRequest) -> frozenset[uuid.UUID]:
    """The workspaces whose console the caller may open, asked once per request."""
    return _asked_once(request, CACHE, "console_workspace_ids")


def member_workspace_ids(request: HttpRequest) -> frozenset[uuid.UUID]:
    """The workspaces the caller is in, whatever their role; the one that was chosen among them."""
    ids = _asked_once(request, MEMBER_CACHE, "member_workspace_ids")
    chosen = chosen_workspace_id(request)
    return ids if chosen is None else ids & {chosen}


def _asked_once(request: HttpRequest, name: str, method: str) -> frozenset[uuid.UUID]:
    if not hasattr(request, name):
        ask = getattr(request.user, method, None)
        setattr(request, name, ask() if ask is not None and request.user.is_active else frozenset())
    ids: frozenset[uuid.UUID] = getattr(request, name)
    return ids


def is_only_member(request: HttpRequest) -> bool:
    """Somebody who runs no workspace: they may see their own rows and change their password."""
    return not is_operator(request) and not allowed_workspace_ids(request)


def is_operator(request: HttpRequest) -> bool:
    """A superuser, that is an operator of the installation."""
    return bool(request.user.is_active and getattr(request.user, "is_superuser", False))


def chosen_workspace_id(request: HttpRequest) -> uuid.UUID | None:
    """The one workspace the console is narrowed to; None: all of the caller's. A choice that the caller has lost the
    right to is none."""
    session = getattr(request, "session", None)  # requests of commands and tests may have none
    text = session.get(CHOSEN) if session is not None else None
    if not text:
        return None
    chosen = uuid.UUID(text)
    return chosen if is_operator(request) or chosen in allowed_workspace_ids(request) else None


def choose_workspace(request: HttpRequest, workspace_id: uuid.UUID | None) -> None:
    """From now on show this one only; None: all. Http404 for one the caller may not open."""
    if workspace_id is None:
        request.session.pop(CHOSEN, None)
        return
    if not is_operator(request) and workspace_id not in allowed_workspace_ids(request):
        raise Http404
    request.session[CHOSEN] = str(workspace_id)


def console_workspace_ids(request: HttpRequest) -> frozenset[uuid.UUID]:
    """The workspaces that are shown: those the caller may open, or the one among them that was chosen."""
    chosen = chosen_workspace_id(request)
    return allowed_workspace_ids(request) if chosen is None else frozenset({chosen})


def sees_all(request: HttpRequest) -> bool:
    """An operator who has not narrowed the console to one workspace."""
    return is_operator(request) and chosen_workspace_id(request) is None


class Bounded(Paginator):  # type: ignore[type-arg]  # Django's is generic for mypy only
    """Pages of a list that is counted no further than COUNTED, so that its cost does not grow with its table."""

    def rows_to_count(self) -> models.QuerySet[Any]:
        """In whatever order is the least work."""
        return self.object_list.order_by().values("pk")  # type: ignore[attr-defined,no-any-return]

    @cached_property
    def _counted(self) -> int:
        return self.rows_to_count()[: COUNTED + 1].count()

    @property
    def count(self) -> int:
        """How many there are, or COUNTED where there are more."""
        return min(self._counted, COUNTED)

    @property
    def at_least(self) -> bool:
        """Whether there are more."""
        return self._counted > COUNTED


class OfferedOrder(ChangeList):
    """Sorted by columns that are offered (`sortable_by`), whatever an address that was typed or kept says."""

    def get_ordering(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> list[Any]:
        offered = {str(place) for place, name in enumerate(self.list_display) if name in self.sortable_by}
        asked = self.params.get(ORDER_VAR, "").split(".")
        if not offered.issuperset(part.removeprefix("-") for part in asked):
            self.params.pop(ORDER_VAR, None)
        return list(super().get_ordering(request, queryset))


class ScopedAdmin(ModelAdmin):
    """Base of all model admins. Sealed fields are never shown; `can_*` closes a verb for everybody."""

    workspace_path: ClassVar[str] = "workspace"
    """The look-up from the model to its workspace, `connection__workspace`; "pk" on the workspace itself."""
    owner_path: ClassVar[str] = ""
    """The look-up from the model to the user whose own it is, who sees it in any role: `connection__user`. "": none."""
    can_add: ClassVar[bool] = True
    can_change: ClassVar[bool] = True
    can_delete: ClassVar[bool] = True

    searched: ClassVar[int] = 0
    """Among how many of the newest a search looks, of those that filters leave, where the order is "-id"; 0: among all,
    because an index finds them or the list is short."""

    show_full_result_count = False
    show_facets = ShowFacets.NEVER  # each would count the whole table again
    paginator: type[Paginator[Any]] = Bounded
    list_per_page = 50
    empty_value_display = "–"

    # What is there at all

    def workspace_ids(self, request: HttpRequest) -> frozenset[uuid.UUID]:
        """The workspaces whose rows are shown; a class may ask for a higher role."""
        return console_workspace_ids(request)

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        rows: models.QuerySet[Any] = super().get_queryset(request)
        if sees_all(request):
            return rows
        shown = models.Q(**{f"{self.workspace_path}__in": self.workspace_ids(request)})
        if self.owner_path:
            mine = {self.owner_path: request.user.pk, f"{self.workspace_path}__in": member_workspace_ids(request)}
            shown |= models.Q(**mine)
        return rows.filter(shown)

    def in_scope(self, request: HttpRequest, obj: object) -> bool:
        """Whether the caller may see this row (or the row with this key: unfold passes ids for objects)."""
        if sees_all(request):
            return True
        if not isinstance(obj, models.Model):
            return self._find(request, obj) is not None
        workspace_id = self.workspace_id_of(obj)
        if workspace_id in self.workspace_ids(request):
            return True
        own = bool(self.owner_path) and _key_at(obj, self.owner_path) == request.user.pk
        return own and workspace_id in member_workspace_ids(request)

    def workspace_id_of(self, obj: models.Model) -> object:
        """Follow `workspace_path`; None where a step is empty."""
        return _key_at(obj, self.workspace_path)

    # What may be done

    def has_module_permission(self, request: HttpRequest) -> bool:
        if sees_all(request) or self.workspace_ids(request):
            return True
        return bool(self.owner_path and member_workspace_ids(request))

    def has_view_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return self._allowed(request, obj)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self.can_add and self._allowed(request, None)

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return self.can_change and self._allowed(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return self.can_delete and self._allowed(request, obj)

    def _allowed(self, request: HttpRequest, obj: object) -> bool:
        return self.has_module_permission(request) and (obj is None or self.in_scope(request, obj))

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """A row never leaves the caller's workspaces, and none is made elsewhere, whatever the form let through."""
        if not self.in_scope(request, obj):
            raise PermissionDenied
        super().save_model(request, obj, form, change)

    # What can be chosen

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        kwargs.setdefault("queryset", self._choices(db_field, request))
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        kwargs.setdefault("queryset", self._choices(db_field, request))
        return super().formfield_for_manytomany(db_field, request, **kwargs)

    def _choices(self, db_field: Any, request: HttpRequest) -> models.QuerySet[Any]:
        """What the related model's own scoped admin shows; nothing where there is no such admin."""
        related = db_field.remote_field.model
        if sees_all(request):
            return related._default_manager.all()  # type: ignore[no-any-return]
        other = self.admin_site._registry.get(related)
        return other.get_queryset(request) if isinstance(other, ScopedAdmin) else related._default_manager.none()

    def get_list_filter(self, request: HttpRequest) -> Sequence[Any]:
        """Django's own filter by a relation lists the rows of all workspaces: it is for superusers."""
        filters = super().get_list_filter(request)
        return filters if sees_all(request) else [item for item in filters if not self._names_relation(item)]

    def _names_relation(self, item: object) -> bool:
        if not isinstance(item, str):
            return False
        names = {field.name: field for field in self.model._meta.get_fields()}
        return "__" in item or (item in names and names[item].is_relation)

    def get_search_results(
        self, request: HttpRequest, queryset: models.QuerySet[Any], search_term: str
    ) -> tuple[models.QuerySet[Any], bool]:
        """The oldest that is looked at bounds the search: no plan reads on beyond it for words that are rare."""
        beyond = queryset.values_list("pk", flat=True)[self.searched : self.searched + 1]
        if search_term and self.searched and (older := list(beyond)):
            queryset = queryset.filter(pk__gt=older[0])
        found: tuple[models.QuerySet[Any], bool] = super().get_search_results(request, queryset, search_term)
        return found

    # What is shown

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return OfferedOrder

    def get_list_display(self, request: HttpRequest) -> Sequence[Any]:
        return self._open(super().get_list_display(request))

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Sequence[Any]:
        return self._open(super().get_readonly_fields(request, obj))

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Sequence[Any]:
        sets = super().get_fieldsets(request, obj)
        return [(title, {**options, "fields": self._open(options["fields"])}) for title, options in sets]

    def _open(self, names: Iterable[Any]) -> list[Any]:
        """`names` without sealed fields, one level of grouping deep."""
        sealed = {field.name for field in self.model._meta.get_fields() if isinstance(field, SealedField)}
        flat = [tuple(self._open(name)) if isinstance(name, (list, tuple)) else name for name in names]
        return [name for name in flat if isinstance(name, tuple) or name not in sealed]

    # Actions

    def _find(self, request: HttpRequest, pk: object) -> Any | None:
        try:
            return self.get_queryset(request).filter(pk=pk).first()
        except (ValueError, ValidationError):
            return None

    def object_for_action(self, request: HttpRequest, object_id: object) -> Any:
        """The row an action is about. Http404 for another workspace's and for a missing one."""
        found = self._find(request, object_id) if self.has_view_permission(request) else None
        if found is None:
            raise Http404
        return found

    def hidden_actions(self, obj: Any) -> frozenset[str]:
        """Names of actions that make no sense for this row as it is: no button of theirs; their addresses refuse in
        words."""
        return frozenset()

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        actions: list[Any] = super().get_actions_detail(request, object_id)
        row = self._find(request, object_id) if actions else None
        hidden = self.hidden_actions(row) if row is not None else frozenset()
        return [action for action in actions if action.path not in hidden]

    def return_to(self, request: HttpRequest, obj: models.Model) -> HttpResponse:
        """To the row's page, or to the list where the row is gone. unfold's dialog (htmx) wants HX-Redirect."""
        name = f"{self.admin_site.name}:{self.model._meta.app_label}_{self.model._meta.model_name}"
        there = self._find(request, obj.pk) is not None
        url = reverse(f"{name}_change", args=(quote(obj.pk),)) if there else reverse(f"{name}_changelist")
        if request.headers.get("HX-Request"):
            return HttpResponse(headers={"HX-Redirect": url})
        return HttpResponseRedirect(url)


def _key_at(obj: models.Model, path: str) -> object:
    """The key at the end of a look-up that begins at this row; None where a step is empty."""
    *steps, last = path.split("__")
    found: object = obj
    for step in steps:
        found = getattr(found, step, None)
    return getattr(found, last if last == "pk" else f"{last}_id", None)


def scoped_action(
    *,
    description: str,
    confirm: str = "",
    icon: str | None = None,
    form_class: type[BaseDialogForm] | None = None,
    submit: str = "Confirm",
) -> Callable[[ActionBody], Any]:
    """An action of `actions_detail` or `actions_row`: `def sync_now(self, request, obj, form) -> str`.

    A GET shows the dialog and changes nothing; a POST with the CSRF token runs the body on an object fetched through
    the admin's own query set. What the body returns, or the words of the `HubError` it raises, is shown as a message.
    """

    def decorate(body: ActionBody) -> Any:
        @action(
            description=description,
            icon=icon,
            dialog={
                "title": description,
                "description": confirm,
                "form_class": form_class,
                "form_submit_text": submit,
            },
        )
        @functools.wraps(body)
        def confirmed(model_admin: ScopedAdmin, request: HttpRequest, form: BaseDialogForm, object_id: str) -> Any:
            obj = model_admin.object_for_action(request, object_id)
            try:
                messages.success(request, body(model_admin, request, obj, form))
            except HubError as error:
                messages.error(
                    request, " ".join(word for said in error.fields.values() for word in said) or error.message
                )
            return model_admin.return_to(request, obj)

        @functools.wraps(confirmed)
        def entered(model_admin: ScopedAdmin, request: HttpRequest, object_id: str) -> Any:
            model_admin.object_for_action(request, object_id)
            return confirmed(model_admin, request, object_id=object_id)

        entered.is_scoped = True  # type: ignore[attr-defined]  # what the architecture test looks for
        return entered

    return decorate
