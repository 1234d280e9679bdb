"""Which workspace the console shows, for those who run several. `core.admin` keeps the choice and checks it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from django.http import Http404, HttpRequest
from django.urls import Resolver404, resolve, reverse

from core.admin import allowed_workspace_ids, choose_workspace, chosen_workspace_id, is_operator
from workspaces.models import Workspace

OFFERED = 200
"""An operator of more workspaces finds the others in the list of workspaces."""
KEPT_PAGES = ("_changelist", "setup", "checks")
"""Endings of the names of pages that make sense in every workspace; a row's own page does not."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What is offered and what is chosen; `chosen` is None for all."""

    offered: tuple[Workspace, ...]
    chosen: Workspace | None


def choice(request: HttpRequest) -> Choice:
    """Nothing is offered to whoever runs one workspace. One statement."""
    rows = Workspace.objects.order_by("name", "pk")
    if not is_operator(request):
        rows = rows.filter(pk__in=allowed_workspace_ids(request))
    offered = tuple(rows[:OFFERED])
    chosen_id = chosen_workspace_id(request)
    chosen = next((workspace for workspace in offered if workspace.pk == chosen_id), None)
    if chosen is None and chosen_id is not None:
        chosen = Workspace.objects.filter(pk=chosen_id).first()
        offered = (*offered, chosen) if chosen else offered
    return Choice(offered if len(offered) > 1 else (), chosen)


def choose(request: HttpRequest) -> str:
    """Take the posted `workspace` ("" is all); the page to go to. Http404 for one that the caller may not open."""
    wanted = request.POST.get("workspace", "")
    try:
        workspace_id = uuid.UUID(wanted) if wanted else None
    except ValueError:
        raise Http404 from None
    if workspace_id is not None and not Workspace.objects.filter(pk=workspace_id).exists():
        raise Http404
    choose_workspace(request, workspace_id)
    return _where_it_makes_sense(request.POST.get("next", ""))


def _where_it_makes_sense(path: str) -> str:
    """The page that was open, without its filters; the first page where it showed a row."""
    try:
        match = resolve(path)
    except Resolver404:
        return reverse("admin:index")
    kept = match.app_name == "admin" and str(match.url_name).endswith(KEPT_PAGES)
    return path if kept else reverse("admin:index")
