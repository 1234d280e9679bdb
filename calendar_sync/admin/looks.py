"""What the pages of calendars have in common: nothing is edited, and nothing private is shown to others."""

from __future__ import annotations

from typing import Any, TypeVar

from django.db.models import Model
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from core.admin import ScopedAdmin
from workspaces.models import User

WITHHELD = "Shown to its user only."
_LINK = '<a class="text-primary-600 dark:text-primary-500 underline" href="{}">{}</a>'
Row = TypeVar("Row", bound=Model)


class ReadOnlyAdmin(ScopedAdmin):
    """Looked at, never edited in a form."""

    workspace_path = "connection__workspace"
    can_add = False
    can_change = False
    can_delete = False

    def account_page(self, row: Any) -> SafeString:
        """The account it belongs to, with a way there."""
        address = reverse(f"{self.admin_site.name}:integrations_connection_change", args=(row.connection_id,))
        return link(address, row.connection.account_email)


def link(address: str, words: str) -> SafeString:
    """As the console's own."""
    return format_html(_LINK, address, words)


def is_own(request: HttpRequest, row: Any) -> bool:
    """Whether the caller is the user of the account. An operator of the installation is not."""
    return isinstance(request.user, User) and row.connection.user_id == request.user.pk


def blanked(row: Row, **columns: str) -> Row:
    """The row, never to be saved, with these words for what is private."""
    for name, words in columns.items():
        setattr(row, name, words)
    return row
