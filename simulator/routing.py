"""From method and path to a handler. Each vendor module adds its routes; `server` asks. A route carries the vendor
and the operation's name, which faults match on and the ledger records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from simulator.wire import Request, Response

Handler = Callable[[Request], Response]


@dataclass(frozen=True)
class Route:
    method: str
    template: tuple[str, ...]
    vendor: str
    operation: str
    handler: Handler

    def match(self, segments: list[str]) -> dict[str, str] | None:
        """The path parameters, None when the path is another one. Both have the same number of segments."""
        params: dict[str, str] = {}
        for wanted, found in zip(self.template, segments, strict=True):
            if wanted.startswith("{"):
                params[wanted[1:-1]] = found
            elif wanted != found:
                return None
        return params


class Router:
    def __init__(self) -> None:
        self._routes: dict[tuple[str, int], list[Route]] = {}

    def add(self, method: str, template: str, vendor: str, operation: str, handler: Handler) -> None:
        segments = tuple(template.strip("/").split("/"))
        route = Route(method, segments, vendor, operation, handler)
        routes = self._routes.setdefault((method, len(segments)), [])
        taken = next((item for item in routes if _shape(item.template) == _shape(segments)), None)
        if taken is not None:
            raise ValueError(f"{method} {template} of {vendor} is already {taken.operation}")
        routes.append(route)
        # `messages/send` must win over `messages/{id}`, whichever was added first.
        routes.sort(key=lambda item: [segment.startswith("{") for segment in item.template])

    def find(self, request: Request) -> Route | None:
        """The route of a request; its path parameters, vendor and operation are noted on the request."""
        method = "GET" if request.method == "HEAD" else request.method
        for route in self._routes.get((method, len(request.segments)), []):
            params = route.match(request.segments)
            if params is not None:
                request.params, request.vendor, request.operation = params, route.vendor, route.operation
                return route
        return None

    def operations(self) -> list[Route]:
        """Every route, for tests that compare them with the vendors' own descriptions."""
        return [route for routes in self._routes.values() for route in routes]


def _shape(template: tuple[str, ...]) -> list[str]:
    """Two templates of one shape match the same paths."""
    return ["{}" if segment.startswith("{") else segment for segment in template]
