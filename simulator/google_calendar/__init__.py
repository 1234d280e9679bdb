"""The Google Calendar API: `methods` is the table of what exists and needs; `access` checks token, scope and quota;
`store` remembers; `listing`, `writing` and `channels` are the resources, `times` their rules, `control` what tests see
of it. `register` is called by `server`."""

from __future__ import annotations

from simulator.google_calendar import channels, listing, writing
from simulator.google_calendar.access import Access
from simulator.google_calendar.control import register_control
from simulator.google_calendar.methods import METHODS
from simulator.routing import Router
from simulator.state import World

HANDLERS = listing.HANDLERS | writing.HANDLERS | channels.HANDLERS


def register(router: Router, world: World) -> None:
    """Adds every route."""
    for operation, method in METHODS.items():
        handler = Access(world, operation, method, HANDLERS[operation])
        router.add(method.http, method.path, "google", operation, handler)
    register_control(router, world)
