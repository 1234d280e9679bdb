"""Control calls below /_control/hubspot: the portal, tokens, objects changed behind the hub's back, and the truth."""

from __future__ import annotations

import random
from dataclasses import asdict
from typing import Any

from simulator.control import add_call
from simulator.hubspot.portal import SCOPES, CrmObject, HubSpot
from simulator.mailbox_control import missing
from simulator.routing import Router
from simulator.state import World
from simulator.wire import Request

FREE_MAIL = ("gmail.com", "outlook.com", "yahoo.com")


def register(router: Router, world: World) -> None:
    control = Control(world)
    calls = (
        ("POST", "/hubspot/tokens", control.create_token),
        ("POST", "/hubspot/tokens/expire", control.expire_token),
        ("GET", "/hubspot/portal", control.portal),
        ("PATCH", "/hubspot/portal", control.change_portal),
        ("PATCH", "/hubspot/settings", control.change_settings),
        ("POST", "/hubspot/merge", control.merge),
        ("POST", "/hubspot/objects/{kind}", control.add),
        ("GET", "/hubspot/objects/{kind}", control.show),
        ("PATCH", "/hubspot/objects/{kind}/{id}", control.change),
        ("DELETE", "/hubspot/objects/{kind}/{id}", control.archive),
        ("DELETE", "/hubspot/objects/{kind}/{id}/for-good", control.erase),
    )
    for method, path, handler in calls:
        add_call(router, method, path, handler)


class Control:
    def __init__(self, world: World) -> None:
        self.world = world

    @property
    def hubspot(self) -> HubSpot:
        return self.world.part(HubSpot)

    def create_token(self, request: Request) -> dict[str, Any]:
        """`token`, `scopes` (default: contacts and companies, read and write)."""
        body = request.json()
        self.hubspot.tokens[str(body["token"])] = list(body.get("scopes", SCOPES))
        return {"token": body["token"], "scopes": self.hubspot.tokens[str(body["token"])]}

    def expire_token(self, request: Request) -> dict[str, Any]:
        self.hubspot.expired.add(str(request.json()["token"]))
        return {}

    def portal(self, request: Request) -> dict[str, Any]:
        return {"portalId": self.hubspot.portal_id, "timeZone": self.hubspot.time_zone}

    def change_portal(self, request: Request) -> dict[str, Any]:
        """`portalId`, `timeZone`, `custom` (kind → names of properties)."""
        body, portal = request.json(), self.hubspot
        portal.portal_id = int(body.get("portalId", portal.portal_id))
        portal.time_zone = str(body.get("timeZone", portal.time_zone))
        portal.custom = body.get("custom", portal.custom)
        return self.portal(request)

    def change_settings(self, request: Request) -> dict[str, Any]:
        """See `portal.Settings`; what was counted so far is forgotten."""
        portal = self.hubspot
        portal.settings.change(request.json())
        portal.today = 0
        portal.lately.clear()
        portal.searches.clear()
        return asdict(portal.settings)

    def add(self, request: Request) -> dict[str, Any]:
        """`objects`: each its properties; or `count` (and `seed`) generated ones."""
        body, kind = request.json(), self._kind(request)
        given = body.get("objects") or generate(kind, int(body["count"]), int(body.get("seed", 1)))
        made = [self.hubspot.add(kind, _texts(item), self.world.now()) for item in given]
        return {"ids": [item.id for item in made]}

    def show(self, request: Request) -> list[dict[str, Any]]:
        """Every object, archived ones too, with all its properties."""
        return [_outline(item) for item in self.hubspot.objects[self._kind(request)].values()]

    def change(self, request: Request) -> dict[str, Any]:
        found = self._object(request)
        self.hubspot.change(found, _texts(request.json()), self.world.now())
        return _outline(found)

    def archive(self, request: Request) -> dict[str, Any]:
        found = self._object(request)
        self.hubspot.archive(found, self.world.now())
        return _outline(found)

    def erase(self, request: Request) -> dict[str, Any]:
        """Deleted for privacy: in no list any more, not even the archived one."""
        found = self._object(request)
        self.hubspot.erase(found)
        return _outline(found)

    def merge(self, request: Request) -> dict[str, Any]:
        """`kind`, `primary`, `secondary`: the second one's address or domain becomes one more of the first; it is in no
        list any more."""
        body, portal = request.json(), self.hubspot
        objects = portal.objects[str(body["kind"])]
        first, second = objects[str(body["primary"])], objects[str(body["secondary"])]
        own, more = (
            ("email", "hs_additional_emails") if first.kind == "contacts" else ("domain", "hs_additional_domains")
        )
        names = [first.properties.get(more), second.properties.get(own), second.properties.get(more)]
        merged = [first.properties.get("hs_merged_object_ids"), second.id]
        portal.erase(second)
        joined = {more: _joined(names), "hs_merged_object_ids": _joined(merged)}
        portal.change(first, joined, self.world.now())
        return _outline(first)

    def _kind(self, request: Request) -> str:
        if request.params["kind"] not in self.hubspot.objects:
            raise missing("kind of object")
        return request.params["kind"]

    def _object(self, request: Request) -> CrmObject:
        found = self.hubspot.objects[self._kind(request)].get(request.params["id"])
        if found is None:
            raise missing("object")
        return found


def _texts(properties: dict[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in properties.items()}


def _joined(names: list[str | None]) -> str:
    return ";".join(name for name in names if name)


def _outline(item: CrmObject) -> dict[str, Any]:
    return {
        "id": item.id,
        "properties": item.properties,
        "archived": item.archived_at is not None,
        "updated": item.updated,
        "associations": item.associations,
    }


def generate(kind: str, count: int, seed: int) -> list[dict[str, str]]:
    """Objects that look like those of a firm: most contacts with an address of their company, some with free mail,
    some with two, some with none."""
    chance = random.Random(f"{seed}/{kind}")
    if kind == "companies":
        made = [{"name": f"Company {number}", "domain": f"company{number}.example"} for number in range(count)]
        for number, company in enumerate(made):
            if number % 17 == 16:
                company["domain"] = chance.choice(FREE_MAIL)
        return made
    people = []
    for number in range(count):
        host = (
            chance.choice(FREE_MAIL) if number % 11 == 10 else f"company{chance.randrange(max(1, count // 5))}.example"
        )
        person = {"firstname": f"Given{number}", "lastname": f"Family{number}", "email": f"person{number}@{host}"}
        if number % 13 == 12:
            person["hs_additional_emails"] = f"p{number}@old.example;p{number}@older.example"
        if number % 29 == 28:
            del person["email"]
        people.append(person)
    return people
