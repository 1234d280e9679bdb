"""The control API's mailboxes: accounts, mail filed and changed behind the hub's back, the truth, lost cursors.

Part of `control`, which registers it and turns what is wrong with a request into words."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from simulator import mailgen
from simulator.errors import Refusal
from simulator.exchange import ExchangeMailbox, Folder, Item
from simulator.graph import control as exchange_control
from simulator.mailbox import Mailbox, StoredMessage
from simulator.mime import read_facts
from simulator.state import Account, World
from simulator.wire import Request, Response, json_response

if TYPE_CHECKING:
    from simulator.server import Server

Body = dict[str, Any]


def missing(what: str) -> Refusal:
    return Refusal(json_response({"error": f"no such {what}"}, 404))


class MailboxControl:
    """What /_control/accounts answers."""

    def __init__(self, server: Server) -> None:
        self.server = server

    @property
    def world(self) -> World:
        return self.server.world

    def routes(self) -> list[tuple[str, str, Callable[[Request], object]]]:
        mailbox = "/accounts/{vendor}/{email}"
        return [
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
            ("POST", f"{mailbox}/expire-delta", self.expire_delta),
            ("POST", f"{mailbox}/folders", self.create_folder),
            ("PATCH", f"{mailbox}/folders/{{folder}}", self.change_folder),
            ("DELETE", f"{mailbox}/folders/{{folder}}", self.delete_folder),
        ]

    def accounts(self, request: Request) -> list[Body]:
        return [_describe(account) for account in self.world.accounts.values()]

    def create_account(self, request: Request) -> Body:
        body = request.json()
        vendor, email = str(body["vendor"]), str(body["email"])
        if vendor not in ("google", "microsoft") or "@" not in email:
            raise ValueError("vendor must be google or microsoft, email an address")
        names = body.get("folder_names")
        account = self.world.add_account(vendor, email, str(body.get("name", "")), body.get("aliases"), names)
        if account.mailbox and "history_start" in body:
            account.mailbox.history_id = account.mailbox.history_floor = int(body["history_start"])
        fill_mailbox(self.world, account, body)
        return _describe(account)

    def seed(self, request: Request) -> Body:
        account = self.account(request)
        fill_mailbox(self.world, account, request.json())
        return _describe(account)

    def delete_account(self, request: Request) -> Body:
        account = self.account(request)
        self.world.remove_account(account)
        return _describe(account)

    def mailbox(self, request: Request) -> Body:
        """The mailbox as it is: the truth to compare a synced copy with."""
        exchange = self.account(request).exchange
        if exchange is not None:
            exchange.settle(self.world.now())
            return exchange_control.describe(exchange)
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
        account = self.account(request)
        if request.headers.get("content-type", "").startswith("message/"):
            items: list[Body] = [{"labels": request.query.get("label"), "bytes": request.body}]
            items[0]["internal_date"] = request.argument("internal_date") or None
        else:
            body = request.json()
            items = body.get("messages", [body])
        return {"messages": [self._file(account, item) for item in items]}

    def _file(self, account: Account, item: Body) -> Body:
        raw = item.get("bytes") or base64.b64decode(item.get("raw") or "") or str(item["eml"]).encode()
        if account.exchange is not None:
            when = self._internal_date(raw, item.get("internal_date"))
            filed = exchange_control.file(account.exchange, item, raw, when, self.world.now())
            return exchange_control.outline(account.exchange, filed)
        if account.mailbox is None:
            raise missing("mailbox")
        return _outline(self._file_labelled(account.mailbox, item, raw))

    def _file_labelled(self, mailbox: Mailbox, item: Body, raw: bytes) -> StoredMessage:
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
        """Changes a message: labels by `add` and `remove`; at Microsoft also folder, is_read, flag, categories."""
        exchange = self.account(request).exchange
        if exchange is not None:
            item = self._item(request, exchange)
            exchange_control.change(exchange, item, request.json(), self.world.now())
            return exchange_control.outline(exchange, item)
        mailbox, message, body = self._mailbox(request), self._message(request), request.json()
        add = {_label_id(mailbox, str(name)) for name in body.get("add", [])}
        mailbox.relabel(message, add, {_label_id(mailbox, str(name)) for name in body.get("remove", [])})
        return _outline(message)

    def delete_message(self, request: Request) -> Body:
        exchange = self.account(request).exchange
        if exchange is not None:
            item = self._item(request, exchange)
            shown = exchange_control.outline(exchange, item)
            exchange.remove(item, self.world.now())
            return shown
        message = self._message(request)
        self._mailbox(request).remove(message)
        return _outline(message)

    def raw(self, request: Request) -> Response:
        """As it came in; what Exchange makes of it is what Graph's `/$value` gives."""
        exchange = self.account(request).exchange
        if exchange is not None:
            return Response(200, self._item(request, exchange).raw, {}, "message/rfc822")
        return Response(200, self._message(request).raw, {}, "message/rfc822")

    def expire_history(self, request: Request) -> Body:
        mailbox = self._mailbox(request)
        mailbox.forget_history()
        return {"history_id": str(mailbox.history_id)}

    def expire_delta(self, request: Request) -> Body:
        return exchange_control.expire_delta(self._exchange(request), request.json())

    def create_folder(self, request: Request) -> Body:
        """`name`, `parent` (id, well-known or display name; default top level), `hidden`."""
        exchange, body = self._exchange(request), request.json()
        parent = exchange_control.folder_of(exchange, str(body.get("parent") or "msgfolderroot"))
        folder = exchange.add_folder(str(body["name"]), parent.id, hidden=bool(body.get("hidden")))
        return exchange_control.describe_folder(exchange, folder)

    def change_folder(self, request: Request) -> Body:
        """`name`, `parent`."""
        exchange, body = self._exchange(request), request.json()
        folder, parent = self._folder(request, exchange), str(body.get("parent") or "")
        parent_id = exchange_control.folder_of(exchange, parent).id if parent else ""
        exchange.change_folder(folder, name=str(body.get("name") or ""), parent_id=parent_id)
        return exchange_control.describe_folder(exchange, folder)

    def delete_folder(self, request: Request) -> Body:
        """For good, with everything in it."""
        exchange = self._exchange(request)
        folder = self._folder(request, exchange)
        exchange.remove_folder(folder, self.world.now())
        return {"id": folder.id}

    def _exchange(self, request: Request) -> ExchangeMailbox:
        exchange = self.account(request).exchange
        if exchange is None:
            raise missing("Exchange mailbox")
        return exchange

    def _item(self, request: Request, exchange: ExchangeMailbox) -> Item:
        item = exchange.item(request.params["id"])
        if item is None:
            raise missing("message")
        return item

    def _folder(self, request: Request, exchange: ExchangeMailbox) -> Folder:
        name = request.params["folder"]
        folder = exchange.folder(name) or exchange.named(name)
        if folder is None:
            raise missing("folder")
        return folder

    def account(self, request: Request) -> Account:
        account = self.world.account(request.params["vendor"], request.params["email"])
        if account is None:
            raise missing("account")
        return account

    def _mailbox(self, request: Request) -> Mailbox:
        mailbox = self.account(request).mailbox
        if mailbox is None:
            raise missing("mailbox")
        return mailbox

    def _message(self, request: Request) -> StoredMessage:
        message = self._mailbox(request).messages.get(request.params["id"])
        if message is None:
            raise missing("message")
        return message


def fill_mailbox(world: World, account: Account, options: Body) -> None:
    """Generated mail that has always been there: it leaves no history. Options: messages, seed, until, years."""
    count, mailbox, exchange = int(options.get("messages", 0)), account.mailbox, account.exchange
    if not count:
        return
    until = str(options.get("until", mailgen.DEFAULT_UNTIL))
    end = world.now() if until == "now" else mailgen.moment(until)
    seed, years = int(options.get("seed", world.seed)), float(options.get("years", 3))
    for mail in mailgen.generate(account.name, account.email, count, seed, end, years):
        if mailbox is not None:
            mailbox.add(mail.raw, {_label_id(mailbox, label) for label in mail.labels}, mail.internal_date)
        elif exchange is not None:
            exchange_control.file(exchange, {"labels": mail.labels}, mail.raw, mail.internal_date, world.now())
    if mailbox is not None:
        mailbox.forget_history()
    if exchange is not None:
        exchange.forget_changes()


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
    if account.exchange:
        shown |= {"messages": account.exchange.count(), "folders": len(account.exchange.folders)}
    return shown
