"""Delivery events as the two vendors post them, written and signed here once more, by their documents and not by the
code under test (reference providers-workspace 1.6 and 2.4)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.test import Client

from integrations.models import Integration
from integrations.providers.delivery import REFERENCE

GOOD, OTHER = "good", "other"
"""Names of keys."""


@dataclass(frozen=True)
class Happened:
    """Something that happened to a mail."""

    what: str
    """delivered, bounced, blocked (a bounce that is not for good), deferred, complained, dropped, opened,
    unsubscribed, accepted."""
    key: str = "event-1"
    message_id: str = "mail-1"
    reference: str = ""
    recipient: str = "ada@hub.example"
    ago: float = 1.0


class Vendor(ABC):
    """One of them."""

    type: ClassVar[str]
    word: ClassVar[str]
    names_recipients: ClassVar[bool]

    def credentials(self, key: str = GOOD) -> dict[str, str]:
        """Of an integration whose hook this key proves."""
        return {"apiKey": "re_or_SG.key", self.field: self.public(key)}

    field: ClassVar[str]

    @abstractmethod
    def public(self, key: str) -> str:
        """What the hub is given of a key."""

    @abstractmethod
    def body(self, *happened: Happened) -> bytes:
        """A post that tells of these."""

    @abstractmethod
    def signed(self, body: bytes, *, key: str = GOOD, at: float = 0.0, identity: str = "event-1") -> dict[str, str]:
        """Its headers. `at`: seconds from now."""

    def post(self, integration: Integration, *happened: Happened, **how: Any) -> Any:
        """Post it as the vendor does."""
        body = self.body(*happened)
        signed = self.signed(body, identity=happened[0].key, **how)
        return send(self.word, integration.pk, body, signed)


def send(word: str, integration_id: object, body: bytes, headers: Mapping[str, str]) -> Any:
    """To the hook, as bytes."""
    return Client().post(
        f"/api/hooks/{word}/{integration_id}", body, content_type="application/json", headers=dict(headers)
    )


class Svix(Vendor):
    """Resend's: one event a post, whose id is the post's."""

    type, word, field, names_recipients = "EMAIL_PROVIDER", "resend", "webhookSecret", False
    names: ClassVar[dict[str, str]] = {"blocked": "bounced", "deferred": "delivery_delayed", "dropped": "suppressed"}
    details: ClassVar[dict[str, Any]] = {
        "bounced": {"bounce": {"message": "No such user.", "type": "Permanent", "subType": "General"}},
        "blocked": {"bounce": {"message": "Mailbox full.", "type": "Transient", "subType": "MailboxFull"}},
        "dropped": {"suppressed": {"message": "The address bounced before.", "type": "OnAccountSuppressionList"}},
    }

    def public(self, key: str) -> str:
        return "whsec_" + base64.b64encode(hashlib.sha256(key.encode()).digest()).decode()

    def body(self, *happened: Happened) -> bytes:
        (one,) = happened
        data: dict[str, Any] = {"email_id": one.message_id, "to": [one.recipient], "subject": "Hello"}
        data |= self.details.get(one.what, {})
        if one.reference:
            data["tags"] = {REFERENCE: one.reference}
        at = datetime.fromtimestamp(time.time() - one.ago, UTC).isoformat().replace("+00:00", "Z")
        name = self.names.get(one.what, one.what)
        return json.dumps({"type": f"email.{name}", "created_at": at, "data": data}).encode()

    def signed(self, body: bytes, *, key: str = GOOD, at: float = 0.0, identity: str = "event-1") -> dict[str, str]:
        stamp = str(int(time.time() + at))
        digest = hmac.new(hashlib.sha256(key.encode()).digest(), f"{identity}.{stamp}.".encode() + body, "sha256")
        old = "v1," + base64.b64encode(b"x" * 32).decode()
        signature = f"{old} v1,{base64.b64encode(digest.digest()).decode()}"
        return {"svix-id": identity, "svix-timestamp": stamp, "svix-signature": signature}


class Ecdsa(Vendor):
    """SendGrid's: any number of events a post, each with its id and its recipient."""

    type, word, field, names_recipients = "EMAIL_PROVIDER_ALT", "sendgrid", "webhookPublicKey", True
    names: ClassVar[dict[str, str]] = {
        "bounced": "bounce", "blocked": "bounce", "complained": "spamreport", "opened": "open", "accepted": "processed",
        "unsubscribed": "unsubscribe",
    }  # fmt: skip
    details: ClassVar[dict[str, Any]] = {
        "bounced": {"type": "bounce", "reason": "550 No such user."},
        "blocked": {"type": "blocked", "reason": "Mailbox full."},
        "dropped": {"reason": "Bounced Address"},
    }
    keys: ClassVar[dict[str, ec.EllipticCurvePrivateKey]] = {
        name: ec.generate_private_key(ec.SECP256R1()) for name in (GOOD, OTHER)
    }

    def public(self, key: str) -> str:
        form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        return base64.b64encode(self.keys[key].public_key().public_bytes(*form)).decode()

    def body(self, *happened: Happened) -> bytes:
        rows = [self.row(one) for one in happened]
        return json.dumps(rows).encode() + b"\r\n"

    def row(self, one: Happened) -> dict[str, Any]:
        row = {
            "email": one.recipient,
            "timestamp": int(time.time() - one.ago),
            "event": self.names.get(one.what, one.what),
            "sg_event_id": one.key,
            "sg_message_id": f"{one.message_id}.recvd-5f54b5d587-sqnkx-1-00000000-12.0",
        }
        return row | self.details.get(one.what, {}) | ({REFERENCE: one.reference} if one.reference else {})

    def signed(self, body: bytes, *, key: str = GOOD, at: float = 0.0, identity: str = "") -> dict[str, str]:
        stamp = str(int(time.time() + at))
        signature = self.keys[key].sign(stamp.encode() + body, ec.ECDSA(hashes.SHA256()))
        name = "X-Twilio-Email-Event-Webhook"
        return {f"{name}-Signature": base64.b64encode(signature).decode(), f"{name}-Timestamp": stamp}


VENDORS = (Svix(), Ecdsa())
