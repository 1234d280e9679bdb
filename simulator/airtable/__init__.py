"""Airtable's Web API: tokens, the schema of bases, records with real upserts, both kinds of 429.

`base` is what it remembers, `access` stands in front of every call (token, scope, rates, quota), `cells` checks values,
`methods` are the calls, `control` seeds and shows the truth. Facts: providers-workspace 7. `register` is called by
`server`."""

from __future__ import annotations

from simulator.airtable import control, methods
from simulator.airtable.access import VENDOR, typical
from simulator.errors import TYPICAL
from simulator.routing import Router
from simulator.state import World


def register(router: Router, world: World) -> None:
    TYPICAL[VENDOR] = typical
    methods.register(router, world)
    control.register(router, world)
