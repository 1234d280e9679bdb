"""/v1.0/subscriptions: made after a handshake with the caller's address, renewed, reauthorised, deleted, listed per app
and user; and what is to be posted to them: notifications of changes to messages or events, lifecycle events."""

from __future__ import annotations

import bisect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from simulator.errors import Refusal, graph_error, trace_id
from simulator.exchange import Change
from simulator.grants import AccessToken
from simulator.graph.access import CONTEXT, bad_request, caller, check_scope, created, open_mailbox, prefer, stamped
from simulator.graph.calendar_book import BookChange, book_of
from simulator.graph.calendar_methods import READ as READ_CALENDARS
from simulator.graph.methods import READ_BASIC
from simulator.graph.query import read_moment
from simulator.graph.resource import stamp
from simulator.routing import Router
from simulator.state import Account, World
from simulator.wire import Request, Response, json_response

RESOURCE = re.compile(
    r"/?(?:me|users/(?P<user>[^/]+))/(?:mailFolders(?:\('(?P<quoted>[^']+)'\)|/(?P<plain>[^/]+))/)?messages/?",
    re.IGNORECASE,
)
EVENTS = re.compile(r"/?(?:me|users/(?P<user>[^/]+))/events/?", re.IGNORECASE)
READ_ANY = (*READ_BASIC, *READ_CALENDARS)
CHANGE_TYPES = {"created", "updated", "deleted"}
KINDS = {"added": "created", "changed": "updated", "removed": "deleted"}
LIFECYCLE = {"reauthorizationRequired", "subscriptionRemoved", "missed"}
MAX_MINUTES = 10_080
MIN_MINUTES = 45
MAX_STATE = 128
MAX_NOTIFICATIONS = 100
TENANT = "5f1a7e00-51c0-4a00-8000-0000000000aa"


@dataclass
class Subscription:
    id: str
    client_id: str
    account: str
    resource: str
    folder_id: str
    """Empty: all messages."""
    of_events: bool
    """It is about the events of all calendars."""
    change_types: frozenset[str]
    notification_url: str
    lifecycle_url: str
    client_state: str
    expires_at: float
    immutable: bool
    """Whether it was made with the header; its notifications carry that kind of id."""
    told: int
    """The seq of the mailbox, or of its calendars, up to which it has been told."""

    def show(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "resource": self.resource,
            "applicationId": self.client_id,
            "changeType": ",".join(sorted(self.change_types)),
            "clientState": self.client_state or None,
            "notificationUrl": self.notification_url,
            "lifecycleNotificationUrl": self.lifecycle_url or None,
            "expirationDateTime": stamp(self.expires_at),
            "creatorId": self.account,
            "includeResourceData": None,
            "latestSupportedTlsVersion": "v1_2",
        }


Handler = Callable[[Request, AccessToken, Account], object]


class Subscriptions:
    def __init__(self, world: World) -> None:
        self.world = world

    def route(self, handler: Handler) -> Callable[[Request], Response]:
        """Token, scope and mailbox first, request ids last."""

        def handle(request: Request) -> Response:
            try:
                token, account = caller(self.world, request)
                check_scope(token, READ_ANY)
                open_mailbox(self.world, request, account)
                value = handler(request, token, account)
            except Refusal as refusal:
                return stamped(self.world, request, refusal.response)
            if isinstance(value, Response):
                return stamped(self.world, request, value)
            return stamped(self.world, request, Response(204) if value is None else json_response(value))

        return handle

    def create(self, request: Request, token: AccessToken, account: Account) -> Response:
        body = read_body(request)
        folder_id = check_body(self.world, body, token, account)
        of_events = EVENTS.fullmatch(str(body["resource"])) is not None
        if not request.validated:
            message = "Subscription validation request failed. Notification endpoint must respond with 200 OK to "
            raise bad_request(message + "validation request.", "ValidationError")
        found = Subscription(
            trace_id(self.world.authority.secret_text("subscription", 24)), token.grant.client_id, account.email,
            str(body["resource"]), folder_id, of_events, frozenset(str(body["changeType"]).replace(" ", "").split(",")),
            str(body["notificationUrl"]), str(body.get("lifecycleNotificationUrl") or ""),
            str(body.get("clientState") or ""), expiry(self.world, body),
            prefer(request, "IdType").lower() == "immutableid", _seq(self.world, account, of_events),
        )  # fmt: skip
        self.world.subscriptions[found.id] = found
        request.effect = {"kind": "subscription.created", "id": found.id}
        return created({"@odata.context": f"{CONTEXT}subscriptions/$entity"} | found.show())

    def list_own(self, request: Request, token: AccessToken, account: Account) -> dict[str, Any]:
        """Of this app and user."""
        found = [item.show() for item in living(self.world) if _own(item, token, account)]
        return {"@odata.context": f"{CONTEXT}subscriptions", "value": found}

    def get(self, request: Request, token: AccessToken, account: Account) -> dict[str, Any]:
        return self._find(request, token, account).show()

    def renew(self, request: Request, token: AccessToken, account: Account) -> dict[str, Any]:
        found, body = self._find(request, token, account), read_body(request)
        if set(body) - {"expirationDateTime", "@odata.type"}:
            raise bad_request("Only expirationDateTime can be changed here.", "InvalidRequest")
        found.expires_at = expiry(self.world, body)
        request.effect = {"kind": "subscription.renewed", "id": found.id}
        return found.show()

    def reauthorize(self, request: Request, token: AccessToken, account: Account) -> None:
        found = self._find(request, token, account)
        request.effect = {"kind": "subscription.reauthorized", "id": found.id}

    def delete(self, request: Request, token: AccessToken, account: Account) -> None:
        found = self._find(request, token, account)
        del self.world.subscriptions[found.id]
        request.effect = {"kind": "subscription.deleted", "id": found.id}

    def _find(self, request: Request, token: AccessToken, account: Account) -> Subscription:
        found = next((item for item in living(self.world) if item.id == request.params["id"]), None)
        if found is None or not _own(found, token, account):
            raise graph_error(404, "ResourceNotFound", "The object was not found.")
        return found


def _seq(world: World, account: Account, of_events: bool) -> int:
    if of_events:
        return book_of(world, account).seq
    return account.exchange.seq if account.exchange else 0


def _own(found: Subscription, token: AccessToken, account: Account) -> bool:
    return (found.client_id, found.account) == (token.grant.client_id, account.email)


def living(world: World) -> list[Subscription]:
    """Those that have not run out; one that has is gone without a word."""
    ended = [name for name, found in world.subscriptions.items() if found.expires_at <= world.now()]
    for name in ended:
        del world.subscriptions[name]
    return list(world.subscriptions.values())


def read_body(request: Request) -> dict[str, Any]:
    try:
        return request.json()
    except ValueError as error:
        raise bad_request("Unable to read JSON request payload.") from error


def addresses_to_validate(world: World, request: Request) -> list[str]:
    """The addresses a new subscription names, if nothing else is wrong with it; raises Refusal otherwise."""
    token, account = caller(world, request)
    body = read_body(request)
    check_body(world, body, token, account)
    return [str(body[name]) for name in ("notificationUrl", "lifecycleNotificationUrl") if body.get(name)]


def check_body(world: World, body: dict[str, Any], token: AccessToken, account: Account) -> str:
    """The id of the folder it is about, empty for all messages and for events."""
    for name in ("changeType", "notificationUrl", "resource", "expirationDateTime"):
        if not body.get(name):
            raise bad_request(f"The property '{name}' is required.", "ValidationError")
    types = set(str(body["changeType"]).replace(" ", "").split(","))
    if types - CHANGE_TYPES:
        raise bad_request("The changeType is not valid for this resource.", "InvalidRequest")
    if len(str(body.get("clientState") or "")) > MAX_STATE:
        raise bad_request("clientState is longer than 128 characters.", "InvalidRequest")
    if body.get("includeResourceData"):
        raise bad_request("Notifications with resource data are not imitated.", "InvalidRequest")
    expiry(world, body)
    resource = str(body["resource"])
    found = EVENTS.fullmatch(resource)
    check_scope(token, READ_BASIC if found is None else READ_CALENDARS)
    if found is None:
        return _folder_of(resource, account)
    check_user(found["user"], account)
    return ""


def check_user(user: str | None, account: Account) -> None:
    if (user or account.email).lower() not in (account.email, account.subject):
        raise graph_error(403, "ErrorAccessDenied", "Access is denied. Check credentials and try again.")


def _folder_of(resource: str, account: Account) -> str:
    found = RESOURCE.fullmatch(resource)
    if found is None or account.exchange is None:
        raise bad_request(f"Resource '{resource}' is not supported.", "InvalidRequest")
    check_user(found["user"], account)
    name = found["quoted"] or found["plain"]
    if not name:
        return ""
    folder = account.exchange.folder(name)
    if folder is None:
        raise graph_error(404, "ErrorItemNotFound", "The specified folder could not be found in the store.")
    return folder.id


def expiry(world: World, body: dict[str, Any]) -> float:
    """As asked; under 45 minutes is raised to 45, over seven days is refused."""
    moment, now = read_moment(str(body.get("expirationDateTime") or "")), world.now()
    if moment <= now:
        raise bad_request("Subscription expiration must be in the future.", "ValidationError")
    if moment > now + MAX_MINUTES * 60:
        message = f"Subscription expiration can only be {MAX_MINUTES} minutes in the future."
        raise bad_request(message, "ValidationError")
    return max(moment, now + MIN_MINUTES * 60)


def due_notifications(world: World) -> list[tuple[str, str, dict[str, Any]]]:
    """Account, address and body of what is to be posted now. Subscriptions with the same address share a body."""
    if not world.subscriptions:
        return []
    collected: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for found in living(world):
        account = world.account("microsoft", found.account)
        if account is None or account.exchange is None:
            continue
        values = collected.setdefault((found.account, found.notification_url), [])
        values.extend(_notification(found, change, account) for change in _changes(world, account, found))
        found.told = _seq(world, account, found.of_events)
    return [
        (account, url, {"value": values[start : start + MAX_NOTIFICATIONS]})
        for (account, url), values in collected.items()
        for start in range(0, len(values), MAX_NOTIFICATIONS)
    ]


def _changes(world: World, account: Account, found: Subscription) -> list[Change | BookChange]:
    changes: list[Change | BookChange] = []
    if found.of_events:
        changes += book_of(world, account).changes[found.told :]
    elif account.exchange is not None:
        log = account.exchange.changes
        since = log[bisect.bisect_right(log, found.told, key=lambda change: change.seq) :]
        changes += [change for change in since if found.folder_id in ("", change.folder_id)]
    return [change for change in changes if KINDS[change.kind] in found.change_types]


def _notification(found: Subscription, change: Change | BookChange, account: Account) -> dict[str, Any]:
    identity = change.immutable_id if found.immutable else change.id
    kind = "Event" if found.of_events else "Message"
    path = f"Users/{account.subject}/{kind}s/{identity}"
    return _common(found) | {
        "changeType": KINDS[change.kind],
        "resource": path,
        "resourceData": {"@odata.type": f"#Microsoft.Graph.{kind}", "@odata.id": path, "id": identity},
    }


def _common(found: Subscription) -> dict[str, Any]:
    return {
        "subscriptionId": found.id,
        "subscriptionExpirationDateTime": stamp(found.expires_at),
        "clientState": found.client_state or None,
        "tenantId": TENANT,
    }


def lifecycle(world: World, event: str, email: str, subscription_id: str = "") -> list[tuple[str, dict[str, Any]]]:
    """Address and body for each of an account's subscriptions that has a lifecycle address; one that is told of its
    removal is removed. Raises ValueError for an unknown event."""
    if event not in LIFECYCLE:
        raise ValueError(f"event must be one of {', '.join(sorted(LIFECYCLE))}")
    posts = []
    for found in living(world):
        if found.account != email.lower() or subscription_id not in ("", found.id):
            continue
        if event == "subscriptionRemoved":
            del world.subscriptions[found.id]
        if found.lifecycle_url:
            facts = {"lifecycleEvent": event, "resource": found.resource, "resourceData": None}
            posts.append((found.lifecycle_url, {"value": [_common(found) | facts]}))
    return posts


def register(router: Router, world: World) -> None:
    subscriptions = Subscriptions(world)
    one = "/v1.0/subscriptions/{id}"
    for http, path, name, handler in (
        ("POST", "/v1.0/subscriptions", "create", subscriptions.create),
        ("GET", "/v1.0/subscriptions", "list", subscriptions.list_own),
        ("GET", one, "get", subscriptions.get),
        ("PATCH", one, "update", subscriptions.renew),
        ("DELETE", one, "delete", subscriptions.delete),
        ("POST", f"{one}/reauthorize", "reauthorize", subscriptions.reauthorize),
    ):
        router.add(http, path, "microsoft", f"graph.subscriptions.{name}", subscriptions.route(handler))
