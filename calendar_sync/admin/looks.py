"""What the pages of calendars have in common: nothing is edited, and nothing private is shown to others."""

from __future__ import annotations

from typing import Any, TypeVar

from django.db.models import Model
from django.http import HttpRequest
from django.urls import reverse
from django.utils.safestring import SafeString

from workspaces.admin.looks import ReadOnlyAdmin, by, link

WITHHELD = "Shown to its user only."
Row = TypeVar("Row", bound=Model)


class OfAccountAdmin(ReadOnlyAdmin):
    """Of what belongs to an account."""

    workspace_path = "connection__workspace"

    def account_page(self, row: Any) -> SafeString:
        """The account it belongs to, with a way there."""
        address = reverse(f"{self.admin_site.name}:integrations_connection_change", args=(row.connection_id,))
        return link(address, row.connection.account_email)


def is_own(request: HttpRequest, row: Any) -> bool:
    """Whether the caller is the user of the account. An operator of the installation is not."""
    return bool(row.connection.user_id == by(request).pk)


def blanked(row: Row, **columns: str) -> Row:
    """The row, never to be saved, with these words for what is private."""
    for name, words in columns.items():
        setattr(row, name, words)
    return row
