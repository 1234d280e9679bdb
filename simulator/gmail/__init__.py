"""The Gmail API: `methods` is the table of what exists, costs and needs; `access` checks token, scope and quota; the
other modules are the resources. `register` is called by `server`."""

from __future__ import annotations

from simulator.gmail import drafts, history, labels, messages, push, sending, threads
from simulator.gmail.access import Access
from simulator.gmail.batch import BATCH_PATHS, Batch, Perform
from simulator.gmail.methods import METHODS, UPLOADS
from simulator.routing import Router
from simulator.state import World

HANDLERS = messages.HANDLERS | sending.HANDLERS | threads.HANDLERS | labels.HANDLERS | drafts.HANDLERS
HANDLERS |= history.HANDLERS | push.HANDLERS


def register(router: Router, world: World, perform: Perform) -> None:
    """Adds every route; `perform` runs one call of a batch through the server's own dispatch."""
    for operation, method in METHODS.items():
        handler = Access(world, operation, method, HANDLERS[operation])
        router.add(method.http, method.path, "google", operation, handler)
        if operation in UPLOADS:
            router.add(method.http, f"/upload{method.path}", "google", operation, handler)
    for path in BATCH_PATHS:
        router.add("POST", path, "google", "gmail.batch", Batch(world, perform))
