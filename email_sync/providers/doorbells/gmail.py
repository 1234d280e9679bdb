"""Gmail's push: `watch` has Gmail announce changes to a Cloud Pub/Sub topic, whose push subscription calls us
(reference 2.4).

A push names the mailbox in its body, and its bearer token proves that the operator's own Pub/Sub subscription sent it
(`pubsub`). The history id in it is ignored: the sync goes on from its own cursor, so that pushes may be lost, doubled
and out of order.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import ClassVar

from core.errors import ProviderUnavailable
from email_sync.providers.base import MailAccount
from email_sync.providers.doorbells import pubsub
from email_sync.providers.gmail.answers import text
from email_sync.providers.gmail.api import GmailApi
from integrations.doorbells import Channel, Doorbell, Hooks, Knock, Posted

MAX_BODY_BYTES = 16 * 1024
"""Pub/Sub's envelope around an address and a number is under a kilobyte."""


class GmailWatch(Doorbell):
    """One watch per Google account and project; it ends after seven days."""

    key: ClassVar[str] = "google"
    via: ClassVar[str] = "pubsub"
    accepted: ClassVar[int] = 204
    has_lifecycle: ClassVar[bool] = False
    one_per_account: ClassVar[bool] = True
    needs_secret: ClassVar[bool] = False
    is_addressed: ClassVar[bool] = False  # the operator's Pub/Sub subscription does
    renew_after_seconds: ClassVar[float] = 86_400.0

    def __init__(self, account: MailAccount) -> None:
        super().__init__(account)
        self._api = GmailApi(account)

    @classmethod
    def missing(cls, settings: Mapping[str, object], hooks: Hooks) -> str:
        if not settings.get("pubsubTopic"):
            return "Push is not set up: GMAIL_PUBSUB_TOPIC is not set."
        if not settings.get("pushServiceAccount"):
            return "Push is not set up: GMAIL_PUSH_SERVICE_ACCOUNT is not set, so no push could be believed."
        return ""

    def subscribe(self, hooks: Hooks, secret: str, about: str = "") -> Channel:
        """Pushes name the account as its profile does."""
        return self._watch(text(self._api.profile(), "emailAddress").lower() or self.account.email.lower())

    def renew(self, remote_id: str) -> Channel:
        """The same call: there is nothing to be missing."""
        return self._watch(remote_id)

    def stop(self, remote_id: str) -> None:
        self._api.stop()

    def _watch(self, address: str) -> Channel:
        answer = self._api.watch(str(self.account.settings.get("pubsubTopic") or ""))
        try:
            return Channel(address, datetime.fromtimestamp(int(str(answer.get("expiration"))) / 1000, UTC))
        except (ValueError, OverflowError, OSError):
            raise ProviderUnavailable("Gmail did not say how long it watches.") from None

    @classmethod
    def knocks(cls, settings: Mapping[str, object], posted: Posted) -> Sequence[Knock]:
        pubsub.prove(
            posted.headers.get("authorization", ""),
            certs_url=str(settings.get("certsUrl") or pubsub.CERTS_URL),
            audience=str(settings.get("pushAudience") or posted.url),
            service_account=str(settings.get("pushServiceAccount") or ""),
        )
        address = _address(posted.body)
        return [Knock(address)] if address else []


def _address(body: bytes) -> str:
    """The mailbox a push names; "" where it cannot be read, which sending it again would not mend."""
    if len(body) > MAX_BODY_BYTES:
        return ""
    try:
        data = json.loads(base64.b64decode(json.loads(body)["message"]["data"], validate=True))
        address = data["emailAddress"]
    except (ValueError, TypeError, LookupError, RecursionError, binascii.Error):
        return ""
    return address.lower() if isinstance(address, str) and len(address) <= 320 and "\0" not in address else ""
