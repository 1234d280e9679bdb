"""The workspace is part of every lookup: query sets that start from it, and a fetch that answers "not found".

Every model of a workspace uses `WorkspaceQuerySet`; every view, service and task starts from `in_workspace`. Another
workspace's row and a missing one raise the same error with the same words, so nobody learns that it exists.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, ClassVar, Self, TypeVar

from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.db import models

from core.errors import NotFound

if TYPE_CHECKING:
    from workspaces.models import Workspace

M = TypeVar("M", bound=models.Model)


class WorkspaceQuerySet(models.QuerySet[M]):
    """`workspace_path` is the look-up from this model to its workspace, for models without the column."""

    workspace_path: ClassVar[str] = "workspace"

    def in_workspace(self, workspace: Workspace | uuid.UUID) -> Self:
        """Only what belongs to `workspace` (the row or its id)."""
        return self.filter(**{self.workspace_path: workspace})

    def fetch(self, pk: object) -> M:
        """The row with this key in this query set. NotFound where there is none or `pk` is no key at all."""
        return fetch(self, pk=pk)


def fetch(rows: models.QuerySet[M], **lookup: object) -> M:
    """The one row of `rows` that matches; NotFound otherwise, malformed ids included."""
    try:
        return rows.get(**lookup)
    except (ObjectDoesNotExist, ValidationError, ValueError):
        raise NotFound from None
