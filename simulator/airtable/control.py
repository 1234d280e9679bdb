"""Control calls below /_control/airtable: tokens, bases with tables and records, settings, and the truth."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from simulator.airtable.base import SCOPES, Airtable, Base, Column, Table, Token, make_id
from simulator.airtable.cells import kept, read_fields
from simulator.control import add_call
from simulator.mailbox_control import missing
from simulator.routing import Router
from simulator.state import World
from simulator.wire import Request


def register(router: Router, world: World) -> None:
    control = Control(world)
    calls = (
        ("POST", "/airtable/tokens", control.create_token),
        ("POST", "/airtable/tokens/revoke", control.revoke_token),
        ("POST", "/airtable/bases", control.create_base),
        ("GET", "/airtable/bases/{base}", control.show_base),
        ("POST", "/airtable/bases/{base}/{table}", control.add_records),
        ("PATCH", "/airtable/settings", control.change_settings),
        ("POST", "/airtable/expire-offsets", control.expire_offsets),
    )
    for method, path, handler in calls:
        add_call(router, method, path, handler)


class Control:
    def __init__(self, world: World) -> None:
        self.world = world

    @property
    def airtable(self) -> Airtable:
        return self.world.part(Airtable)

    def create_token(self, request: Request) -> dict[str, Any]:
        """`token`, and if wanted `email`, `scopes` (default all), `bases` (default every one)."""
        body = request.json()
        email = str(body.get("email") or "owner@hub.example")
        token = Token(make_id("usr", email), email, list(body.get("scopes", SCOPES)), body.get("bases"))
        self.airtable.tokens[str(body["token"])] = token
        return asdict(token)

    def revoke_token(self, request: Request) -> dict[str, Any]:
        if self.airtable.tokens.pop(str(request.json()["token"]), None) is None:
            raise missing("token")
        return {}

    def create_base(self, request: Request) -> dict[str, Any]:
        """`name`, `tables`: [{`name`, `fields`: [{`name`, `type`, `choices`?}]}]; `id` if it is to be a given one."""
        body = request.json()
        name = str(body.get("name") or "Base")
        base = Base(str(body.get("id") or make_id("app", name)), name)
        for table in body.get("tables", []):
            added = self._table(base, table)
            base.tables[added.id] = added
        self.airtable.bases[base.id] = base
        return self._show(base)

    def _table(self, base: Base, given: dict[str, Any]) -> Table:
        name = str(given["name"])
        identity = make_id("tbl", f"{base.id}/{name}")
        columns = [
            Column(make_id("fld", f"{identity}/{item['name']}"), str(item["name"]), str(item["type"]),
                   list(item.get("choices", [])))
            for item in given["fields"]
        ]  # fmt: skip
        return Table(identity, name, columns)

    def show_base(self, request: Request) -> dict[str, Any]:
        """The truth: every table with every record, cells by name."""
        return self._show(self._base(request))

    def _show(self, base: Base) -> dict[str, Any]:
        tables = [
            table.describe() | {"records": [table.show(record) for record in table.records.values()]}
            for table in base.tables.values()
        ]
        return {"id": base.id, "name": base.name, "tables": tables}

    def add_records(self, request: Request) -> dict[str, Any]:
        """Behind the hub's back: `records`, each an object of cells by name."""
        table = self._base(request).table(request.params["table"])
        if table is None:
            raise missing("table")
        when = datetime.fromtimestamp(self.world.now(), UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        rows = [read_fields(table, row, typecast=True) for row in request.json()["records"]]
        return {"records": [table.show(table.add(kept(row), when)) for row in rows]}

    def _base(self, request: Request) -> Base:
        base = self.airtable.bases.get(request.params["base"])
        if base is None:
            raise missing("base")
        return base

    def change_settings(self, request: Request) -> dict[str, Any]:
        """See `base.Settings`; the count of the month and every penalty begin anew."""
        self.airtable.settings.change(request.json())
        self.airtable.calls = 0
        self.airtable.lately.clear()
        self.airtable.blocked_until.clear()
        return asdict(self.airtable.settings)

    def expire_offsets(self, request: Request) -> dict[str, Any]:
        expired = len(self.airtable.offsets)
        self.airtable.offsets.clear()
        return {"expired": expired}
