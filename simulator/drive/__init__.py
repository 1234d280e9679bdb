"""The Drive API: `methods` is the table of what exists, costs and needs; `access` checks token, scope and quota;
`store` remembers; `files` and `uploads` are the resource, `control` what tests see of it. `register` is called by
`server`."""

from __future__ import annotations

from simulator.drive import files, uploads
from simulator.drive.access import Access
from simulator.drive.control import register_control
from simulator.drive.methods import METHODS
from simulator.routing import Router
from simulator.state import World

HANDLERS = files.HANDLERS | uploads.HANDLERS


def register(router: Router, world: World) -> None:
    """Adds every route."""
    for operation, method in METHODS.items():
        handler = Access(world, operation, method, HANDLERS[operation])
        router.add(method.http, method.path, "google", operation, handler)
    uploads.register_uploads(router, world)
    register_control(router, world)
