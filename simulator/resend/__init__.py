"""The Resend API: `access` is what stands in front of every call, `emails` and `catalog` are the resources, `hooks` the
delivery events, `control` what a test may seed and see. `register` is called by `server`."""

from __future__ import annotations

from simulator.errors import TYPICAL
from simulator.push import Push
from simulator.resend import catalog, control, emails
from simulator.resend.access import FULL, SENDING, VENDOR, Access, typical
from simulator.routing import Router
from simulator.state import World


def register(router: Router, world: World, push: Push) -> None:
    """Adds every route; GET /templates and /domains of the one port are Resend's."""
    TYPICAL[VENDOR] = typical
    sending = emails.Emails(world, push)
    for method, path, operation, permission, handler in (
        ("POST", "/emails", "emails.send", SENDING, sending.send),
        ("POST", "/emails/batch", "emails.batch", SENDING, sending.send_batch),
        ("GET", "/emails/{id}", "emails.get", FULL, sending.get),
        ("GET", "/domains", "domains.list", FULL, catalog.domains),
        ("GET", "/templates", "templates.list", FULL, catalog.templates),
        ("GET", "/templates/{id}", "templates.get", FULL, catalog.template),
    ):
        router.add(method, path, VENDOR, f"resend.{operation}", Access(world, permission, handler))
    control.register(router, world, push)
