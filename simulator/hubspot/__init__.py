"""HubSpot's CRM: account details, contacts, companies and logged emails; search with its cap and its lag, batch upserts
that succeed in part, and three policies of throttling.

`portal` is what it remembers, `access` stands in front of every call, `properties` checks values, `objects`, `search`
and `batch` are the calls, `control` seeds and shows the truth. Facts: providers-workspace 9 and
developers.hubspot.com/docs/api-reference (CRM objects, search, emails). `register` is called by `server`."""

from __future__ import annotations

from simulator.errors import TYPICAL
from simulator.hubspot import batch, control, objects, search
from simulator.hubspot.access import VENDOR, typical
from simulator.routing import Router
from simulator.state import World


def register(router: Router, world: World) -> None:
    TYPICAL[VENDOR] = typical
    for module in (objects, search, batch, control):
        module.register(router, world)
