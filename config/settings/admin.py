"""The owner console (django-unfold)."""

from __future__ import annotations

from typing import Any

__all__ = ("UNFOLD",)

UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Patchbay",
    "SITE_HEADER": "Patchbay",
    "SITE_SUBHEADER": "Mail and integrations",
    "SITE_URL": "/api/docs",
    "SITE_SYMBOL": "hub",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": "/static/patchbay/favicon.svg"}],
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "SIDEBAR": {"show_search": True, "show_all_applications": False},
}
