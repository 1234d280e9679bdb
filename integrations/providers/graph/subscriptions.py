"""Graph's change notifications: a subscription to a resource of a mailbox, and the events of its own life
(reference 3.5). Mail and calendars each name theirs.

A notification carries the secret (`clientState`) that the subscription was made with; what else it says is ignored. An
answer later than three seconds counts as none, so the caller only leaves a mark.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import ClassVar
from urllib.parse import quote

from core.errors import InvalidInput, ProviderUnavailable
from integrations.accounts import ProviderAccount
from integrations.doorbells import Channel, Doorbell, Event, Hooks, Knock, KnockRefused, Posted, only_https
from integrations.providers.graph.answers import Json, identifier, moment, objects, text
from integrations.providers.graph.api import GraphApi
from integrations.providers.graph.errors import check

PATH = "/subscriptions"
CHANGES = "created,updated,deleted"
LIFE = timedelta(days=3)
"""Of at most seven days. A subscription whose making we never heard of ends by itself after this."""
EVENTS = {
    "reauthorizationRequired": Event.RENEW,
    "subscriptionRemoved": Event.GONE,
    "missed": Event.CHANGED,
}
MAX_ELEMENTS = 1000
MAX_TOKEN = 4096
_TOKEN = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]+")


class GraphSubscription(Doorbell):
    """Any number of subscriptions per mailbox; each connection has its own."""

    resource: ClassVar[str]
    """What is watched, as Graph names it."""

    key: ClassVar[str] = "microsoft"
    via: ClassVar[str] = "subscription"
    accepted: ClassVar[int] = 202
    has_lifecycle: ClassVar[bool] = True
    one_per_account: ClassVar[bool] = False
    needs_secret: ClassVar[bool] = True
    is_addressed: ClassVar[bool] = True
    renew_after_seconds: ClassVar[float] = 86_400.0

    def __init__(self, account: ProviderAccount) -> None:
        super().__init__(account)
        self._api = GraphApi(account)

    @classmethod
    def missing(cls, settings: Mapping[str, object], hooks: Hooks) -> str:
        """Microsoft calls https addresses only; a stand-in on this machine calls this machine."""
        return only_https("Microsoft", hooks.notify, settings.get("graphApiUrl"))

    def subscribe(self, hooks: Hooks, secret: str, about: str = "") -> Channel:
        body = {
            "changeType": CHANGES,
            "resource": self.resource,
            "notificationUrl": hooks.notify,
            "lifecycleNotificationUrl": hooks.lifecycle,  # cannot be added later
            "clientState": secret,
            "expirationDateTime": _end(),
        }
        return _channel(self._api.json("POST", PATH, json=body, idempotent=False))

    def renew(self, remote_id: str) -> Channel:
        """Also what a `reauthorizationRequired` asks for: the token of this request counts."""
        return _channel(self._api.json("PATCH", _one(remote_id), json={"expirationDateTime": _end()}))

    def stop(self, remote_id: str) -> None:
        check(self._api.ask("DELETE", _one(remote_id)))

    @classmethod
    def greeting(cls, query: Mapping[str, str]) -> str | None:
        token = query.get("validationToken")
        if token is None:
            return None
        if len(token) > MAX_TOKEN or not _TOKEN.fullmatch(token):
            raise KnockRefused("This is no validation token.")
        return token

    @classmethod
    def knocks(cls, settings: Mapping[str, object], posted: Posted) -> Sequence[Knock]:
        """InvalidInput where the body is not Graph's shape at all."""
        try:
            body = json.loads(posted.body)
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict) or not isinstance(body.get("value"), list):
            raise InvalidInput("The body is no collection of notifications.")
        return [_knock(element) for element in objects(body, "value")[:MAX_ELEMENTS] if _named(element)]


def _named(element: Json) -> bool:
    """Whether it carries a subscription's id and a secret, and tells of something we know."""
    known = "lifecycleEvent" not in element or text(element, "lifecycleEvent") in EVENTS
    remote_id, secret = text(element, "subscriptionId"), text(element, "clientState")
    return known and 0 < len(remote_id) <= 255 and 0 < len(secret) <= 128 and "\0" not in remote_id


def _knock(element: Json) -> Knock:
    event = EVENTS.get(text(element, "lifecycleEvent"), Event.CHANGED)
    return Knock(text(element, "subscriptionId"), event, text(element, "clientState"))


def _channel(answer: Json) -> Channel:
    ends = moment(answer, "expirationDateTime")
    if ends is None:
        raise ProviderUnavailable("Microsoft did not say how long it notifies.")
    return Channel(identifier(answer, "id"), ends)


def _end() -> str:
    return (datetime.now(UTC) + LIFE).strftime("%Y-%m-%dT%H:%M:%SZ")


def _one(remote_id: str) -> str:
    return f"{PATH}/{quote(remote_id, safe='')}"
