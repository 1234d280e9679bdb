"""The sidebar: what a workspace's people look for first stands first, and nobody is shown what they may not open.

unfold asks for it on every page (`UNFOLD["SIDEBAR"]["navigation"]`). A page that no group names comes under "More", so
that a new one is never missing.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db import models
from django.http import HttpRequest
from django.urls import reverse

from core.admin import is_only_member

PAGES: tuple[tuple[str, tuple[tuple[str, str, str], ...]], ...] = (
    (
        "Accounts",
        (
            ("integrations.connection", "Connections", "alternate_email"),
            ("integrations.syncrun", "Sync history", "sync"),
            ("email_sync.message", "My mail", "mail"),
            ("calendar_sync.calendar", "Calendars", "calendar_month"),
            ("calendar_sync.calendarevent", "Unreadable events", "event_busy"),
        ),
    ),
    (
        "Outbound mail",
        (
            ("email_logs.emaillogtable", "Email logs", "table_view"),
            ("email_logs.emaillogentry", "Sent mail", "outgoing_mail"),
            ("email_logs.outgoingemail", "Waiting mail", "schedule_send"),
            ("email_logs.suppression", "Do not write to", "block"),
            ("email_logs.emaillogmirror", "Mirrors", "content_copy"),
        ),
    ),
    (
        "Integrations",
        (
            ("integrations.integration", "Integrations", "extension"),
            ("integrations.delivery", "Deliveries", "webhook"),
            ("integrations.event", "Events", "list_alt"),
        ),
    ),
    (
        "Records",
        (
            ("entities.addressmatch", "Matched addresses", "contact_mail"),
            ("entities.domainmatch", "Matched domains", "domain"),
            ("documents.document", "Documents", "description"),
            ("documents.documentcopy", "Copies of documents", "file_copy"),
        ),
    ),
    (
        "Workspace",
        (
            ("workspaces.workspace", "Workspaces", "apartment"),
            ("workspaces.membership", "Members", "group"),
            ("workspaces.apitoken", "API tokens", "key"),
            ("workspaces.auditevent", "Audit trail", "history"),
            ("workspaces.user", "Users", "manage_accounts"),
        ),
    ),
)
"""Group → (model, title, icon of unfold's own font)."""
OTHER_ICON = "article"


def groups(request: HttpRequest) -> list[dict[str, Any]]:
    """What unfold draws."""
    left = {model._meta.label_lower: model for model, page in admin.site._registry.items() if _open(request, page)}
    found: list[dict[str, Any]] = [{"items": _first_items(request)}]
    for title, pages in PAGES:
        items = [_item(left.pop(label), name, icon) for label, name, icon in pages if label in left]
        found.append({"title": title, "items": items})
    rest = [_item(model, str(model._meta.verbose_name_plural).capitalize(), OTHER_ICON) for model in left.values()]
    found.append({"title": "More", "items": rest})
    return [group for group in found if group["items"]]


def _first_items(request: HttpRequest) -> list[dict[str, Any]]:
    if is_only_member(request):
        return []
    return [
        {"title": "Overview", "icon": "space_dashboard", "link": reverse("admin:index")},
        {"title": "Set-up", "icon": "checklist", "link": reverse("admin:setup")},
    ]


def _open(request: HttpRequest, page: Any) -> bool:
    return bool(page.has_module_permission(request) and page.has_view_permission(request))


def _item(model: type[models.Model], title: str, icon: str) -> dict[str, Any]:
    meta = model._meta
    return {"title": title, "icon": icon, "link": reverse(f"admin:{meta.app_label}_{meta.model_name}_changelist")}
