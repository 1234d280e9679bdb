"""Addresses a workspace does not write to any more: who refused mail for good, or does not want any.

Filled by delivery events and by hand; asked before every send; read and changed by the API. Addresses are compared as
one address is, letter by letter (`core.addresses`), so `ada+bills` is not `ada`.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from core.addresses import exact
from core.api.pagination import Page, PageQuery, paginate
from core.errors import Conflict
from email_logs.models import Suppression
from email_logs.models.suppression import SuppressionReason
from email_logs.services.marks import mark_of
from workspaces.services import audit

if TYPE_CHECKING:
    from workspaces.models import User, Workspace


def suppressed(workspace_id: uuid.UUID, addresses: Iterable[str]) -> Mapping[str, str]:
    """Those of these addresses, as given, that are not to be written to, each with its reason."""
    keys = {address: exact(address) for address in addresses}
    marks = {address: mark_of(workspace_id, key) for address, key in keys.items()}  # of those who were erased
    rows = Suppression.objects.in_workspace(workspace_id).filter(address__in={*keys.values(), *marks.values()})
    found = dict(rows.values_list("address", "reason"))
    said = {address: found.get(key) or found.get(marks[address]) for address, key in keys.items()}
    return {address: reason for address, reason in said.items() if reason}


def note(rows: Iterable[Suppression]) -> None:
    """Those that events speak of, inside their transaction. What is suppressed already keeps its first reason."""
    unique = {row.address: row for row in rows}
    # In one order everywhere: two posts that bring the same addresses wait for one another and not in a circle.
    Suppression.objects.bulk_create([unique[key] for key in sorted(unique)], ignore_conflicts=True)


def listed(*, workspace: Workspace, query: PageQuery, only: Mapping[str, Any]) -> Page[Suppression]:
    """Newest first. `only`: `reason`, `address` (exactly), `q` (a part of it)."""
    rows: QuerySet[Suppression] = Suppression.objects.in_workspace(workspace)
    if reason := only.get("reason"):
        rows = rows.filter(reason=reason)
    if address := only.get("address"):
        rows = rows.filter(address=exact(address))
    if part := only.get("q"):
        rows = rows.filter(address__contains=part.casefold())
    return paginate(rows, query)


def add(*, workspace: Workspace, address: str, words: str, by: User) -> Suppression:
    """By hand. Conflict where it is there already."""
    row = Suppression(
        workspace=workspace, address=exact(address), reason=SuppressionReason.MANUAL, words=words, created_by=by
    )
    try:
        with transaction.atomic():
            row.save(force_insert=True)
            row.refresh_from_db()
            audit.record(
                by=by, workspace=workspace, action="suppression.added", target=row, changes={"reason": row.reason}
            )
    except IntegrityError:
        raise Conflict("This address is suppressed already.", code="already_suppressed") from None
    return row


def remove(*, suppression: Suppression, by: User) -> None:
    """Mail goes there again, until it is refused again."""
    with transaction.atomic():
        audit.record(
            by=by,
            workspace=suppression.workspace,
            action="suppression.removed",
            target=suppression,
            changes={"reason": suppression.reason},
        )
        suppression.delete()
