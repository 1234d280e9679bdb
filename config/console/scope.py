"""Which workspaces a page of the frame speaks of: the same ones as the pages of rows (`core.admin`)."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TypeVar

from django.db.models import Model, QuerySet
from django.http import HttpRequest

from core.admin import console_workspace_ids, sees_all

Row = TypeVar("Row", bound=Model)


@dataclass(frozen=True, slots=True)
class Scope:
    """`workspaces` is None for an operator who looks at the whole installation."""

    workspaces: frozenset[uuid.UUID] | None

    def of(self, rows: QuerySet[Row], path: str = "workspace") -> QuerySet[Row]:
        """Those of the workspaces; `path` leads from the model to its workspace."""
        return rows if self.workspaces is None else rows.filter(**{f"{path}__in": self.workspaces})


def scope_of(request: HttpRequest) -> Scope:
    """What the caller sees now."""
    return Scope(None if sees_all(request) else console_workspace_ids(request))
