"""The owner console (django-unfold): its name, colours and scripts. Its pages are `config.console`'s and the apps'.

The colours hold WCAG AA wherever unfold puts text on them, in light and dark; `config/tests/test_console_theme.py`
computes it.
"""

from __future__ import annotations

from typing import Any

__all__ = ("UNFOLD",)

UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Patchbay",
    "SITE_HEADER": "Patchbay",
    "SITE_SUBHEADER": "Mail and integrations",
    "SITE_URL": None,
    "ACCOUNT": {
        "navigation": [
            {"title": "API documentation", "link": "/api/docs"},
            {"title": "Change password", "link": "/admin/password_change/"},
        ]
    },
    "SITE_SYMBOL": "hub",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": "/static/patchbay/favicon.svg"}],
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "SIDEBAR": {"show_search": True, "show_all_applications": False, "navigation": "config.console.navigation.groups"},
    "STYLES": ["/static/patchbay/console.css"],
    "SCRIPTS": ["/static/patchbay/console.js"],
    "BORDER_RADIUS": "8px",
    "COLORS": {
        "base": {
            "50": "#f6f8f8",
            "100": "#eef2f2",
            "200": "#dfe6e6",
            "300": "#c6d1d1",
            "400": "#94a5a6",
            "500": "#5c6f71",
            "600": "#465759",
            "700": "#354446",
            "800": "#212e30",
            "900": "#131d1f",
            "950": "#0b1213",
        },
        "primary": {
            "50": "#effaf8",
            "100": "#d7f2ed",
            "200": "#b0e4dc",
            "300": "#7ecfc6",
            "400": "#4fb9af",
            "500": "#38b2a4",
            "600": "#0b746b",
            "700": "#0a5d57",
            "800": "#0b4a46",
            "900": "#0c3e3b",
            "950": "#042524",
        },
    },
}
