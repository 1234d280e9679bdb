"""What a browser gets from a consent flow: the redirect that begins it, and the page at its end where there was no
`returnTo` or it failed. Used by the OAuth views and the console.

Whoever finishes a flow is not signed in here, so the page says whose workspace the account was connected to: somebody
who was sent a consent link by a stranger must be able to see it (threat 1). It loads nothing and runs nothing.
"""

from __future__ import annotations

import base64
from hashlib import sha256
from typing import Any

from django.http import HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string

from core.errors import HubError
from integrations.oauth import CONNECTION_PROVIDERS
from integrations.services.oauth_flow import Finished, Started

STYLE = """
:root{color-scheme:light dark;--good:#15803d;--bad:#b42318;--line:#8883;--muted:#667085}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;display:grid;place-items:center;padding:1.25rem;background:Canvas;color:CanvasText;
font:16px/1.55 system-ui,-apple-system,"Segoe UI",sans-serif}
main{width:min(34rem,100%);border:1px solid var(--line);border-radius:14px;padding:1.75rem 1.75rem 1.4rem}
h1{font-size:1.3rem;line-height:1.3;margin:0 0 .8rem;color:var(--good)}
.failed h1{color:var(--bad)}
p{margin:.5rem 0}dl{margin:1rem 0;display:grid;grid-template-columns:max-content 1fr;gap:.35rem 1rem}
dt{color:var(--muted)}dd{margin:0;overflow-wrap:anywhere;font-weight:600}
.small{color:var(--muted);font-size:.875rem}
"""
STYLE_HASH = base64.b64encode(sha256(STYLE.encode()).digest()).decode()
POLICY = (
    f"default-src 'none'; style-src 'sha256-{STYLE_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def to_consent(started: Started) -> HttpResponse:
    """To the provider, with the cookie that the callback must bring back."""
    response = HttpResponseRedirect(started.url)
    if started.cookie is not None:
        response.set_cookie(
            started.cookie.name,
            started.cookie.value,
            max_age=started.cookie.max_age,
            path=started.cookie.path,
            secure=started.cookie.secure,
            httponly=True,
            samesite="Lax",
        )
    return response


def succeeded(done: Finished) -> HttpResponse:
    """The account is connected."""
    connection = done.connection
    provider = CONNECTION_PROVIDERS.get(connection.provider).name
    return _page(200, "integrations/connected.html", {"done": done, "connection": connection, "provider": provider})


def failed(error: HubError) -> HttpResponse:
    """Nothing was connected, and why."""
    return _page(error.status, "integrations/not_connected.html", {"error": error})


def _page(status: int, template: str, context: dict[str, Any]) -> HttpResponse:
    response = HttpResponse(render_to_string(template, {**context, "style": STYLE}), status=status)
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cache-Control"] = "no-store"
    response.is_page = True  # type: ignore[attr-defined]  # for people: ApiErrorMiddleware leaves it as it is
    return response
