"""The consent page of both vendors and the three ways to answer it: a person ticks and clicks, a script adds `_auto=`
to the authorize URL, or the control API has said beforehand who consents to what."""

from __future__ import annotations

import html
from dataclasses import dataclass
from urllib.parse import urlencode

from simulator.state import AutoConsent, World
from simulator.wire import Request, Response, html_response, redirect

STYLE = """
:root{color-scheme:light dark;--line:#8884;--accent:#1a56c4;--muted:#667}
*{box-sizing:border-box}body{margin:0;font:16px/1.5 system-ui,sans-serif;display:grid;place-items:center;
min-height:100vh;padding:1rem;background:Canvas;color:CanvasText}
main{width:min(30rem,100%);border:1px solid var(--line);border-radius:14px;padding:2rem}
h1{font-size:1.3rem;margin:.2rem 0 1rem}p{margin:.4rem 0}.muted{color:var(--muted);font-size:.85rem}
fieldset{border:0;padding:0;margin:1.2rem 0}legend{font-weight:600;margin-bottom:.4rem}
label{display:flex;gap:.7rem;align-items:flex-start;padding:.55rem .7rem;border:1px solid var(--line);
border-radius:9px;margin:.35rem 0;cursor:pointer;overflow-wrap:anywhere}input{margin-top:.35rem}
.actions{display:flex;gap:.7rem;justify-content:flex-end;margin-top:1.4rem}
button{font:inherit;padding:.55rem 1.2rem;border-radius:9px;border:1px solid var(--line);background:none;
color:inherit;cursor:pointer}button.go{background:var(--accent);border-color:var(--accent);color:#fff}
"""
PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width,initial-scale=1"><style>{style}</style></head>
<body><main><p class="muted">Provider simulator · not the real {vendor}</p><h1>{title}</h1>{content}</main></body>
</html>"""


@dataclass(frozen=True)
class Asked:
    """What a client asks for. `optional` scopes have a tick box, the `fixed` ones come with any consent."""

    vendor: str
    client_id: str
    fixed: list[str]
    optional: list[str]
    tick_boxes: bool
    login_hint: str = ""


def answer_of(world: World, vendor: str, request: Request) -> AutoConsent | None:
    """The decision that is there already: from the posted form, the URL, or the control API."""
    if request.method == "POST":
        scopes = request.form_lists.get("scope", [])
        chosen = scopes if "tick_boxes" in request.form else None
        return AutoConsent(request.form.get("account", ""), chosen, deny=request.form.get("action") != "allow")
    auto = request.argument("_auto")
    if auto:
        wanted = request.query.get("_scopes")
        return AutoConsent(auto, wanted[0].split() if wanted else None, deny=auto == "deny")
    scripted = world.consents.get(vendor)
    if scripted and scripted.once:
        del world.consents[vendor]
    return scripted


def granted(asked: Asked, answer: AutoConsent) -> list[str]:
    """The scopes of a consent: all, or the fixed ones and those chosen."""
    if answer.scopes is None or not asked.tick_boxes:
        return asked.fixed + asked.optional
    return asked.fixed + [scope for scope in asked.optional if scope in answer.scopes]


def consent_page(world: World, asked: Asked, request: Request) -> Response:
    action = html.escape(request.target, quote=True)
    accounts = "".join(_account_row(world, asked))
    content = (
        f'<form method="post" action="{action}"><p><b>{html.escape(asked.client_id)}</b> wants access.</p>'
        f"<fieldset><legend>Account</legend>{accounts or '<p>No account yet: create one at /_control/accounts.</p>'}"
        f"</fieldset><fieldset><legend>It will be able to use</legend>{_scope_rows(asked)}</fieldset>"
        '<div class="actions"><button name="action" value="deny">Cancel</button>'
        '<button class="go" name="action" value="allow">Allow</button></div></form>'
    )
    return html_response(_page(asked.vendor, "Choose an account and allow access", content))


def error_page(vendor: str, status: int, error: str, detail: str) -> Response:
    """Shown instead of a redirect where the redirect target cannot be trusted."""
    content = f"<p>Error {status}: <b>{html.escape(error)}</b></p><p>{html.escape(detail)}</p>"
    return html_response(_page(vendor, "Access blocked: the request is invalid", content), status)


def send_back(redirect_uri: str, **values: str) -> Response:
    """Back to the client with these parameters; empty ones are left out."""
    query = urlencode({name: value for name, value in values.items() if value})
    return redirect(f"{redirect_uri}{'&' if '?' in redirect_uri else '?'}{query}")


def _page(vendor: str, title: str, content: str) -> str:
    return PAGE.format(title=title, style=STYLE, vendor=vendor.title(), content=content)


def _account_row(world: World, asked: Asked) -> list[str]:
    accounts = world.accounts_of(asked.vendor)
    hinted = world.account(asked.vendor, asked.login_hint) or (accounts[0] if accounts else None)
    return [
        f'<label><input type="radio" name="account" value="{html.escape(account.email, quote=True)}"'
        f"{' checked' if account is hinted else ''}><span>{html.escape(account.name)}<br>"
        f'<span class="muted">{html.escape(account.email)}</span></span></label>'
        for account in accounts
    ]


def _scope_rows(asked: Asked) -> str:
    fixed = "".join(f'<p class="muted">{html.escape(scope)}</p>' for scope in asked.fixed)
    if not asked.tick_boxes:
        return fixed + "".join(f"<p>{html.escape(scope)}</p>" for scope in asked.optional)
    boxes = "".join(
        f'<label><input type="checkbox" name="scope" value="{html.escape(scope, quote=True)}" checked>'
        f"<span>{html.escape(scope)}</span></label>"
        for scope in asked.optional
    )
    return f'{fixed}<input type="hidden" name="tick_boxes" value="1">{boxes}'
