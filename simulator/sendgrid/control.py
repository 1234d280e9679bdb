"""Control calls under /_control/sendgrid: keys, senders and templates to begin with, events on demand, and the truth
about every mail. `account` is optional everywhere."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from simulator.control import add_call
from simulator.push import Push
from simulator.routing import Router
from simulator.sendgrid import hooks
from simulator.sendgrid.access import EU, VENDOR
from simulator.sendgrid.state import Account, Key, Mail, SendGrid, Template
from simulator.state import World
from simulator.wire import Request

Body = dict[str, Any]
USUAL_ACCOUNT = "account"
USUAL_SCOPES = ("mail.send", "templates.read")


def register(router: Router, world: World, push: Push) -> None:
    control = SendGridControl(world, push)
    for method, path, handler in (
        ("POST", "keys", control.add_key),
        ("DELETE", "keys/{key}", control.remove_key),
        ("POST", "senders", control.add_sender),
        ("POST", "templates", control.add_template),
        ("POST", "credits", control.set_credits),
        ("POST", "webhook", control.set_webhook),
        ("POST", "events", control.events),
        ("GET", "mails", control.mails),
    ):
        add_call(router, method, f"/{VENDOR}/{path}", handler)


class SendGridControl:
    def __init__(self, world: World, push: Push) -> None:
        self.world, self.push = world, push

    @property
    def state(self) -> SendGrid:
        return self.world.part(SendGrid)

    def _account(self, body: Body) -> Account:
        return self.state.account(str(body.get("account") or USUAL_ACCOUNT))

    def add_key(self, request: Request) -> Body:
        """`key, scopes?` (mail.send, templates.read), `region?` (global or eu)."""
        body = request.json()
        region = str(body.get("region") or "global")
        if region not in ("global", EU):
            raise ValueError("region must be global or eu")
        key = Key(self._account(body).name, tuple(body.get("scopes", USUAL_SCOPES)), region)
        self.state.keys[str(body["key"])] = key
        return asdict(key)

    def remove_key(self, request: Request) -> Body:
        del self.state.keys[request.params["key"]]
        return {}

    def add_sender(self, request: Request) -> Body:
        """`sender`: an address or a domain that is verified."""
        body = request.json()
        account = self._account(body)
        account.senders.add(str(body["sender"]).lower())
        return {"senders": sorted(account.senders)}

    def add_template(self, request: Request) -> Body:
        """`name, generation?` (dynamic), `active?` (true), `updated_at?` (seconds), `subject?, id?`."""
        body, account = request.json(), self._account(request.json())
        generation = str(body.get("generation") or "dynamic")
        token = f"{self.world.seed}{account.name}{len(account.templates)}".encode().hex().rjust(32, "0")[-32:]
        made = f"{token[:8]}-{token[8:12]}-{token[12:16]}-{token[16:20]}-{token[20:]}"
        template = Template(
            str(body.get("id") or (f"d-{token}" if generation == "dynamic" else made)), str(body["name"]), generation,
            float(body.get("updated_at", self.world.now())), bool(body.get("active", True)),
            str(body.get("subject") or "Hello"),
        )  # fmt: skip
        account.templates.append(template)
        return template.show()

    def set_credits(self, request: Request) -> Body:
        """`credits`: mails left, null: no end."""
        body = request.json()
        account = self._account(body)
        account.credits = None if body["credits"] is None else int(body["credits"])
        return {"credits": account.credits}

    def set_webhook(self, request: Request) -> Body:
        """`url` (on loopback): where the account's events go; the key that checks them."""
        body = request.json()
        account = self._account(body)
        account.hook_url = str(body["url"])
        return {"url": account.hook_url, "public_key": account.signer.public_key()}

    def events(self, request: Request) -> Body:
        """`message_id, events`: [{`event, email?` (the first address), `ago?`, `more?` laid over it}], posted as one
        array; `signed_ago?`, `delay?` in seconds, `copies?`, `forged?`."""
        body = request.json()
        account, mail = self._find(str(body["message_id"]))
        made = [
            hooks.event(
                self.world, mail, str(item["event"]), str(item.get("email") or mail.recipients[0]),
                float(item.get("ago", 0)), item.get("more"),
            )
            for item in body["events"]
        ]  # fmt: skip
        wish = hooks.Wish(
            float(body.get("signed_ago", 0)), int(body.get("copies", 1)), float(body.get("delay", 0)),
            bool(body.get("forged")),
        )  # fmt: skip
        hooks.post(self.world, self.push, account, made, wish)
        return {"events": made}

    def _find(self, identity: str) -> tuple[Account, Mail]:
        for account in self.state.accounts.values():
            if identity in account.mails:
                return account, account.mails[identity]
        raise ValueError("no such mail")

    def mails(self, request: Request) -> list[Body]:
        """The truth, oldest first, of one `account` or of all."""
        wanted = request.argument("account")
        return [
            asdict(mail) | {"account": account.name}
            for account in self.state.accounts.values()
            if wanted in ("", account.name)
            for mail in account.mails.values()
        ]
