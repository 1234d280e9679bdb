"""The SendGrid v3 API: `access` is what stands in front of every call, `sending` and `templates` are the resources,
`hooks` the signed events, `control` what a test may seed and see. `register` is called by `server`."""

from __future__ import annotations

from simulator.errors import TYPICAL
from simulator.push import Push
from simulator.routing import Router
from simulator.sendgrid import control, sending, templates
from simulator.sendgrid.access import EU, VENDOR, Access, scopes, typical
from simulator.state import World


def register(router: Router, world: World, push: Push) -> None:
    """Adds every route twice: as api.sendgrid.com has it, and under /eu as api.eu.sendgrid.com does."""
    TYPICAL[VENDOR] = typical
    mails = sending.Sending(world, push)
    for prefix, region in (("", "global"), (f"/{EU}", EU)):
        for method, path, operation, scope, handler in (
            ("GET", "/v3/scopes", "scopes", "", scopes),
            ("POST", "/v3/mail/send", "mail.send", "mail.send", mails.send),
            ("GET", "/v3/templates", "templates.list", "templates.read", templates.listing),
        ):
            router.add(method, prefix + path, VENDOR, f"sendgrid.{operation}", Access(world, region, scope, handler))
    control.register(router, world, push)
