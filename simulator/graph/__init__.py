"""Microsoft Graph: mail and its subscriptions, calendars. `methods` and `calendar_methods` are tables of what exists
and needs; `access` checks token, scope, throttles; the other modules are the resources. `register` is called by
`server`."""

from __future__ import annotations

from simulator.graph import attachments, calendar_events, delta, drafts, folders, messages, sending, subscriptions
from simulator.graph.access import Access
from simulator.graph.batch import Batch, Perform
from simulator.graph.calendar_methods import CALENDAR_METHODS
from simulator.graph.methods import FOLDER, MESSAGE, METHODS
from simulator.routing import Router
from simulator.state import World

HANDLERS = folders.HANDLERS | messages.HANDLERS | delta.HANDLERS | drafts.HANDLERS | sending.HANDLERS
HANDLERS |= attachments.HANDLERS | calendar_events.HANDLERS


def spellings(path: str) -> list[str]:
    """Every path of a method: a message also below its folder, a delta also as the function call `delta()`."""
    if path.startswith(MESSAGE):
        return [path, f"{FOLDER}/{path}"]
    return [path, f"{path}()"] if path.endswith("/delta") else [path]


def register(router: Router, world: World, perform: Perform) -> None:
    """Adds every route; `perform` runs one call of a batch through the server's own dispatch."""
    for operation, method in (METHODS | CALENDAR_METHODS).items():
        handler = Access(world, method, HANDLERS[operation])
        for prefix in ("/v1.0/me", "/v1.0/users/{user}"):
            for path in spellings(method.path):
                router.add(method.http, f"{prefix}/{path}", "microsoft", operation, handler)
    router.add("POST", "/v1.0/$batch", "microsoft", "graph.batch", Batch(world, perform))
    attachments.register_upload(router, world)
    subscriptions.register(router, world)
