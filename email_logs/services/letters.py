"""What is sent, from the first attempt to the last: the same, whatever is changed meanwhile.

Called by `sending`, which freezes it, and by `attempts`, which makes a `Mail` of it each time. A vendor that knows
idempotency keys refuses another content under the same one, so sender and name are frozen as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from core.errors import UnsupportedOperation
from email_logs.models import OutgoingEmail
from integrations.models import Integration
from integrations.providers.base import EMAIL
from integrations.providers.mail import Mail, MailProvider
from integrations.services import integration_use
from integrations.services.integrations import provider_of

LISTS = ("to", "cc", "bcc")


def kind_of(integration: Integration) -> type[MailProvider]:
    """The class of an email provider; UnsupportedOperation where it sends no mail."""
    kind = provider_of(integration)
    if EMAIL not in kind.capabilities or not issubclass(kind, MailProvider):
        raise UnsupportedOperation("This integration sends no mail.")
    return kind


def provider_for(integration: Integration) -> MailProvider:
    """Ready to send. Disabled, NotConfigured and UnsupportedOperation where it cannot."""
    kind_of(integration)
    provider = integration_use.provider_for(integration)
    if not isinstance(provider, MailProvider):
        raise UnsupportedOperation("This integration sends no mail.")
    return provider


def freeze(given: Mapping[str, Any], mail: Mail, note: str) -> dict[str, Any]:
    """As `OutgoingEmail.mail` keeps it. `note`: what is said of the mail whatever becomes of it."""
    kept = {name: value for name, value in given.items() if value not in (None, "", [])}
    lists = {name: list(getattr(mail, name)) for name in LISTS}
    return {"given": kept | lists, "sender": mail.sender, "senderName": mail.sender_name, "note": note}


def mail_of(work: OutgoingEmail, provider: MailProvider) -> Mail:
    """The mail of a row that is not settled, under its key."""
    kept = contents(work)
    return replace(
        provider.mail(kept["given"]),
        sender=kept["sender"],
        sender_name=kept["senderName"],
        idempotency_key=key_of(work),
        reference=str(work.entry_id),
    )


def key_of(work: OutgoingEmail) -> str:
    """The idempotency key that providers see, the same for every attempt."""
    return f"log-{work.entry_id}"


def contents(work: OutgoingEmail) -> Mapping[str, Any]:
    """What was frozen."""
    kept: Mapping[str, Any] = work.mail or {}
    return kept


def note_of(work: OutgoingEmail) -> str:
    """What is said of it whatever becomes of it; "" for nothing."""
    return str(contents(work).get("note") or "")
