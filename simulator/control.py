"""The control API under /_control/: seeds, changes behind the hub's back, scripted consent, faults, clock, ledger.
Used through `process.Simulator`, or by anything that speaks HTTP and JSON. Never subject to faults, never in the
ledger. Errors are `{"error": text}` with 400 or 404."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from dataclasses import asdict
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from simulator import mailgen
from simulator.errors import Refusal
from simulator.grants import Client
from simulator.mailbox import Mailbox, StoredMessage
from simulator.mime import read_facts
from simulator.routing import Router
from simulator.state import Account, AutoConsent, World
from simulator.wire import Request, Response, json_response

if TYPE_CHECKING:
    from simulator.server import Server

VENDOR = "control"
ROOT = "/_control"

Body = dict[str, Any]


def register(router: Router, server: Server) -> None:
    control = Control(server)
    for method, path, handler in control.routes():
        router.add(method, ROOT + path, VENDOR, f"control.{handler.__name__}", _guarded(handler))


def _guarded(handler: Callable[[Request], object]) -> Callable[[Request], Response]:
    """Answers are JSON; what is wrong with a request is said in words."""

    def handle(request: Request) -> Response:
        try:
            value = handler(request)
        except (ValueError, TypeError, KeyError, re.error) as error:
            return json_response({"error": f"{type(error).__name__}: {error}"}, 400)
        return value if isinstance(value, Response) else json_response(value)

    return handle


def missing(what: str) -> Refusal:
    return Refusal(json_response({"error": f"no such {what}"}, 404))


class Control:
    def __init__(self, server: Server) -> None:
        self.server = server

    @property
    def world(self) -> World:
        return self.server.world

    def routes(self) -> list[tuple[str, str, Callable[[Request], object]]]:
        mailbox = "/accounts/{vendor}/{email}"
        return [
            ("GET", "/health", self.health),
            ("GET", "/env", self.env),
            ("POST", "/reset", self.reset),
            ("GET", "/settings", self.settings),
            ("PATCH", "/settings", self.change_settings),
            ("POST", "/clock", self.clock),
            ("GET", "/accounts", self.accounts),
            ("POST", "/accounts", self.create_account),
            ("DELETE", mailbox, self.delete_account),
            ("POST", f"{mailbox}/seed", self.seed),
            ("GET", f"{mailbox}/mailbox", self.mailbox),
            ("POST", f"{mailbox}/messages", self.deliver),
            ("PATCH", f"{mailbox}/messages/{{id}}", self.relabel),
            ("DELETE", f"{mailbox}/messages/{{id}}", self.delete_message),
            ("GET", f"{mailbox}/messages/{{id}}/raw", self.raw),
            ("POST", f"{mailbox}/expire-history", self.expire_history),
            ("POST", "/clients", self.create_client),
            ("POST", "/consent", self.consent),
            ("DELETE", "/consent", self.forget_consent),
            ("GET", "/grants", self.grants),
            ("POST", "/grants/revoke", self.revoke_grants),
            ("POST", "/tokens/expire", self.expire_tokens),
            ("GET", "/faults", self.faults),
            ("POST", "/faults", self.add_fault),
            ("DELETE", "/faults", self.clear_faults),
            ("DELETE", "/faults/{id}", self.remove_fault),
            ("GET", "/ledger", self.ledger),
            ("GET", "/ledger/summary", self.ledger_summary),
            ("DELETE", "/ledger", self.clear_ledger),
            ("GET", "/sent", self.sent),
            ("GET", "/sent/{seq}/raw", self.sent_raw),
        ]

    # The simulator itself

    def health(self, request: Request) -> Body:
        return {"ok": True, "base_url": self.server.base_url, "seed": self.world.seed, "now": self.world.now()}

    def env(self, request: Request) -> Body:
        """The environment a hub needs to use this simulator as Google and Microsoft."""
        base, clients = self.server.base_url, self.world.authority.clients
        google = next(client for client in clients.values() if client.vendor == "google")
        microsoft = next(client for client in clients.values() if client.vendor == "microsoft")
        return {
            "GOOGLE_CLIENT_ID": google.client_id,
            "GOOGLE_CLIENT_SECRET": google.secret,
            "GOOGLE_AUTHORIZE_URL": f"{base}/o/oauth2/v2/auth",
            "GOOGLE_TOKEN_URL": f"{base}/token",
            "GOOGLE_REVOKE_URL": f"{base}/revoke",
            "GOOGLE_USERINFO_URL": f"{base}/v1/userinfo",
            "GMAIL_API_URL": base,
            "MICROSOFT_CLIENT_ID": microsoft.client_id,
            "MICROSOFT_CLIENT_SECRET": microsoft.secret,
            "MICROSOFT_TENANT": "common",
            "MICROSOFT_AUTHORIZE_URL": f"{base}/common/oauth2/v2.0/authorize",
            "MICROSOFT_TOKEN_URL": f"{base}/common/oauth2/v2.0/token",
            "GRAPH_API_URL": base,
            "EGRESS_ALLOW_CIDRS": "127.0.0.0/8,::1/128",
        }

    def reset(self, request: Request) -> Body:
        self.server.reset(int(request.json().get("seed", self.world.seed)))
        return self.health(request)

    def settings(self, request: Request) -> Body:
        return asdict(self.world.settings)

    def change_settings(self, request: Request) -> Body:
        self.world.settings.change(request.json())
        return self.settings(request)

    def clock(self, request: Request) -> Body:
        """Moves the simulator's time: tokens expire, quotas refill, without waiting."""
        self.world.clock_offset += float(request.json()["advance"])
        return {"now": self.world.now()}

    # Accounts and mailboxes

    def accounts(self, request: Request) -> list[Body]:
        return [_describe(account) for account in self.world.accounts.values()]

    def create_account(self, request: Request) -> Body:
        body = request.json()
        vendor, email = str(body["vendor"]), str(body["email"])
        if vendor not in ("google", "microsoft") or "@" not in email:
            raise ValueError("vendor must be google or microsoft, email an address")
        account = self.world.add_account(vendor, email, str(body.get("name", "")), body.get("aliases"))
        if account.mailbox and "history_start" in body:
            account.mailbox.history_id = account.mailbox.history_floor = int(body["history_start"])
        fill_mailbox(self.world, account, body)
        return _describe(account)

    def seed(self, request: Request) -> Body:
        account = self._account(request)
        fill_mailbox(self.world, account, request.json())
        return _describe(account)

    def delete_account(self, request: Request) -> Body:
        account = self._account(request)
        self.world.remove_account(account)
        return _describe(account)

    def mailbox(self, request: Request) -> Body:
        """The mailbox as it is: the truth to compare a synced copy with."""
        mailbox = self._mailbox(request)
        labels = [{"id": label.id, "name": label.name, "system": label.system} for label in mailbox.labels.values()]
        return {
            "history_id": str(mailbox.history_id),
            "labels": labels,
            "drafts": mailbox.drafts,
            "messages": [_outline(message) for message in mailbox.newest_first()],
        }

    def deliver(self, request: Request) -> Body:
        """Files messages: JSON `{"messages": [{"raw": base64 | "eml": text, "labels", "thread_id", "internal_date"}]}`
        (or one such object), or a message/rfc822 body with `?label=`."""
        mailbox = self._mailbox(request)
        if request.headers.get("content-type", "").startswith("message/"):
            items: list[Body] = [{"labels": request.query.get("label"), "bytes": request.body}]
            items[0]["internal_date"] = request.argument("internal_date") or None
        else:
            body = request.json()
            items = body.get("messages", [body])
        return {"messages": [_outline(self._file(mailbox, item)) for item in items]}

    def _file(self, mailbox: Mailbox, item: Body) -> StoredMessage:
        raw = item.get("bytes") or base64.b64decode(item.get("raw") or "") or str(item["eml"]).encode()
        names = item.get("labels")
        labels = {_label_id(mailbox, str(name)) for name in (["INBOX", "UNREAD"] if names is None else names)}
        when = self._internal_date(raw, item.get("internal_date"))
        message = mailbox.add(raw, labels, when, str(item.get("thread_id") or ""))
        if "DRAFT" in labels:
            mailbox.drafts[mailbox.new_draft_id()] = message.id
        return message

    def _internal_date(self, raw: bytes, given: object) -> int:
        """Milliseconds: as given, from the Date header (`"header"`), or now."""
        if given == "header":
            try:
                return int(parsedate_to_datetime(read_facts(raw).date).timestamp() * 1000)
            except (ValueError, TypeError, OverflowError):
                return int(self.world.now() * 1000)
        return int(self.world.now() * 1000) if given is None else int(str(given))

    def relabel(self, request: Request) -> Body:
        mailbox, message, body = self._mailbox(request), self._message(request), request.json()
        add = {_label_id(mailbox, str(name)) for name in body.get("add", [])}
        mailbox.relabel(message, add, {_label_id(mailbox, str(name)) for name in body.get("remove", [])})
        return _outline(message)

    def delete_message(self, request: Request) -> Body:
        message = self._message(request)
        self._mailbox(request).remove(message)
        return _outline(message)

    def raw(self, request: Request) -> Response:
        return Response(200, self._message(request).raw, {}, "message/rfc822")

    def expire_history(self, request: Request) -> Body:
        mailbox = self._mailbox(request)
        mailbox.forget_history()
        return {"history_id": str(mailbox.history_id)}

    def _account(self, request: Request) -> Account:
        account = self.world.account(request.params["vendor"], request.params["email"])
        if account is None:
            raise missing("account")
        return account

    def _mailbox(self, request: Request) -> Mailbox:
        mailbox = self._account(request).mailbox
        if mailbox is None:
            raise missing("mailbox")
        return mailbox

    def _message(self, request: Request) -> StoredMessage:
        message = self._mailbox(request).messages.get(request.params["id"])
        if message is None:
            raise missing("message")
        return message

    # OAuth

    def create_client(self, request: Request) -> Body:
        body = request.json()
        client = Client(
            str(body["vendor"]), str(body["client_id"]), str(body["client_secret"]), body.get("redirect_uris") or []
        )  # fmt: skip
        self.world.authority.add_client(client)
        return asdict(client)

    def consent(self, request: Request) -> Body:
        """From now on (or once) the consent page of a vendor is answered without being shown."""
        body = request.json()
        answer = AutoConsent(
            str(body.get("email", "")), body.get("scopes"), bool(body.get("deny")), bool(body.get("once"))
        )  # fmt: skip
        self.world.consents[str(body["vendor"])] = answer
        return asdict(answer)

    def forget_consent(self, request: Request) -> Body:
        self.world.consents.clear()
        return {}

    def grants(self, request: Request) -> list[Body]:
        grants = self.world.authority.grants.values()
        return [asdict(grant) | {"scopes": sorted(grant.scopes)} for grant in grants]

    def revoke_grants(self, request: Request) -> Body:
        """The user withdraws consent at the vendor's own site."""
        body = request.json()
        count = self.world.authority.revoke(str(body.get("vendor", "")), str(body.get("email", "")))
        return {"revoked": count}

    def expire_tokens(self, request: Request) -> Body:
        body = request.json()
        kind = str(body.get("kind", "access"))
        if kind not in ("access", "refresh", "all"):
            raise ValueError("kind must be access, refresh or all")
        vendor, email = str(body.get("vendor", "")), str(body.get("email", ""))
        return {"expired": self.world.authority.expire(kind, self.world.now(), vendor, email)}

    # Faults and ledger

    def faults(self, request: Request) -> list[Body]:
        return [fault.describe() for fault in self.server.faults.rules.values()]

    def add_fault(self, request: Request) -> Body:
        return self.server.faults.add(request.json()).describe()

    def clear_faults(self, request: Request) -> Body:
        self.server.faults.rules.clear()
        return {}

    def remove_fault(self, request: Request) -> Body:
        fault = self.server.faults.rules.pop(request.params["id"], None)
        if fault is None:
            raise missing("fault")
        return fault.describe()

    def ledger(self, request: Request) -> Body:
        wanted = {name: values[0] for name, values in request.query.items() if name != "limit"}
        entries = [asdict(entry) for entry in self.world.ledger.select(wanted)]
        limit = int(request.argument("limit", "0"))
        return {"entries": entries[-limit:] if limit else entries, "dropped": self.world.ledger.dropped}

    def ledger_summary(self, request: Request) -> Body:
        return self.world.ledger.summary()

    def clear_ledger(self, request: Request) -> Body:
        self.world.ledger.clear()
        return {}

    def sent(self, request: Request) -> Body:
        """Mails accepted for delivery, filtered by `account` and `message_id`."""
        wanted = {name: values[0] for name, values in request.query.items()}
        mails = [mail.summary() for mail in self.world.ledger.sent]
        return {"mails": [mail for mail in mails if all(mail[name] == value for name, value in wanted.items())]}

    def sent_raw(self, request: Request) -> Response:
        seq = int(request.params["seq"])
        raw = next((mail.raw for mail in self.world.ledger.sent if mail.seq == seq), None)
        if raw is None:
            raise missing("mail")
        return Response(200, raw, {}, "message/rfc822")


def fill_mailbox(world: World, account: Account, options: Body) -> None:
    """Generated mail that has always been there: it leaves no history. Options: messages, seed, until, years."""
    count, mailbox = int(options.get("messages", 0)), account.mailbox
    if not count or mailbox is None:
        return
    until = str(options.get("until", mailgen.DEFAULT_UNTIL))
    end = world.now() if until == "now" else mailgen.moment(until)
    seed, years = int(options.get("seed", world.seed)), float(options.get("years", 3))
    for mail in mailgen.generate(account.name, account.email, count, seed, end, years):
        mailbox.add(mail.raw, {_label_id(mailbox, label) for label in mail.labels}, mail.internal_date)
    mailbox.forget_history()


def _label_id(mailbox: Mailbox, name: str) -> str:
    """A label by id or by name, made if it is not there."""
    if name in mailbox.labels:
        return name
    return (mailbox.label_named(name) or mailbox.add_label(name)).id


def _outline(message: StoredMessage) -> Body:
    return {
        "id": message.id,
        "thread_id": message.thread_id,
        "labels": message.label_ids(),
        "message_id": message.facts.message_id,
        "internal_date": message.internal_date,
        "size": len(message.raw),
        "sha256": hashlib.sha256(message.raw).hexdigest(),
    }


def _describe(account: Account) -> Body:
    shown: Body = {
        "vendor": account.vendor,
        "email": account.email,
        "name": account.name,
        "subject": account.subject,
        "aliases": account.aliases,
    }
    if account.mailbox:
        shown |= {"messages": len(account.mailbox.messages), "threads": len(account.mailbox.threads)}
        shown["history_id"] = str(account.mailbox.history_id)
    return shown
