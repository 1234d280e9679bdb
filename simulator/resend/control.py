"""Control calls under /_control/resend: keys, domains and templates to begin with, delivery events on demand, and the
truth about every mail. `team` is optional everywhere."""

from __future__ import annotations

import base64
from dataclasses import asdict
from typing import Any

from simulator.control import add_call
from simulator.push import Push
from simulator.resend import hooks
from simulator.resend.access import FULL, SENDING, VENDOR
from simulator.resend.state import Domain, Email, Key, Resend, Team, Template, new_id
from simulator.routing import Router
from simulator.state import World
from simulator.wire import Request

Body = dict[str, Any]
USUAL_TEAM = "team"
PERMISSIONS = (FULL, SENDING)


def register(router: Router, world: World, push: Push) -> None:
    control = ResendControl(world, push)
    for method, path, handler in (
        ("POST", "keys", control.add_key),
        ("DELETE", "keys/{key}", control.remove_key),
        ("POST", "domains", control.add_domain),
        ("POST", "templates", control.add_template),
        ("POST", "webhook", control.set_webhook),
        ("POST", "events", control.event),
        ("GET", "emails", control.emails),
    ):
        add_call(router, method, f"/{VENDOR}/{path}", handler)


class ResendControl:
    def __init__(self, world: World, push: Push) -> None:
        self.world, self.push = world, push

    @property
    def state(self) -> Resend:
        return self.world.part(Resend)

    def _team(self, body: Body) -> Team:
        return self.state.team(str(body.get("team") or USUAL_TEAM))

    def add_key(self, request: Request) -> Body:
        """`key, permission?` (full_access), `owner?`: the address of the team's owner."""
        body = request.json()
        permission = str(body.get("permission") or FULL)
        if permission not in PERMISSIONS:
            raise ValueError(f"permission must be one of {', '.join(PERMISSIONS)}")
        team = self._team(body)
        team.owner = str(body.get("owner") or team.owner)
        self.state.keys[str(body["key"])] = Key(team.name, permission)
        return {"team": team.name, "permission": permission}

    def remove_key(self, request: Request) -> Body:
        del self.state.keys[request.params["key"]]
        return {}

    def add_domain(self, request: Request) -> Body:
        """`name, status?` (verified)."""
        body = request.json()
        name, status = str(body["name"]).lower(), str(body.get("status") or "verified")
        domain = Domain(new_id(self.world), name, status, self.world.now())
        team = self._team(body)
        team.domains = [item for item in team.domains if item.name != name] + [domain]
        return domain.show()

    def add_template(self, request: Request) -> Body:
        """`name, alias?, published?` (true), `from?, subject?, html?, variables?, created_at?` (seconds)."""
        body, team = request.json(), self._team(request.json())
        template = Template(
            str(body.get("id") or new_id(self.world)), str(body["name"]), body.get("alias"),
            bool(body.get("published", True)), float(body.get("created_at", self.world.now())),
            str(body.get("from") or ""), str(body.get("subject") or ""), str(body.get("html") or "<p>Hello</p>"),
            list(body.get("variables") or []),
        )  # fmt: skip
        team.templates.append(template)
        return template.describe()

    def set_webhook(self, request: Request) -> Body:
        """`url` (on loopback), `secret?`: where the team's events go, and what signs them."""
        body, team = request.json(), self._team(request.json())
        made = "whsec_" + base64.b64encode(new_id(self.world)[:24].encode()).decode()
        team.hook_url, team.hook_secret = str(body["url"]), str(body.get("secret") or made)
        return {"url": team.hook_url, "signing_secret": team.hook_secret}

    def event(self, request: Request) -> Body:
        """`email_id, type` (delivered, bounced, …); `data?` laid over the event's; `id?` to repeat one; `ago?`,
        `signed_ago?`, `delay?` in seconds, `copies?`, `forged?`."""
        body = request.json()
        team, email = self._find(str(body["email_id"]))
        wish = hooks.Wish(
            str(body.get("id") or ""), float(body.get("ago", 0)), float(body.get("signed_ago", 0)),
            int(body.get("copies", 1)), float(body.get("delay", 0)), bool(body.get("forged")),
        )  # fmt: skip
        identity = hooks.tell(self.world, self.push, team, email, str(body["type"]), wish, body.get("data"))
        return {"id": identity}

    def _find(self, identity: str) -> tuple[Team, Email]:
        for team in self.state.teams.values():
            if identity in team.emails:
                return team, team.emails[identity]
        raise ValueError("no such email")

    def emails(self, request: Request) -> list[Body]:
        """The truth, oldest first, of one `team` or of all."""
        wanted = request.argument("team")
        return [
            asdict(email) | {"team": team.name}
            for team in self.state.teams.values()
            if wanted in ("", team.name)
            for email in team.emails.values()
        ]
