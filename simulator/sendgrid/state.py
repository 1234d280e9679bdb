"""What a SendGrid account has: keys with scopes, verified senders, templates, mails, credits, an address for events."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from simulator.p256 import Signer


@dataclass(frozen=True)
class Key:
    account: str
    scopes: tuple[str, ...]
    region: str
    """global, or eu: refused at the other host."""


@dataclass
class Template:
    id: str
    name: str
    generation: str
    """dynamic (id d- and 32 hex digits) or legacy (a UUID)."""
    updated_at: float
    active: bool
    """Whether a version of it is active: without one nothing can be sent."""
    subject: str

    def show(self, *, versions: bool = True) -> dict[str, Any]:
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(self.updated_at))
        version = {
            "id": f"{self.id}-1",
            "template_id": self.id,
            "active": int(self.active),
            "name": f"{self.name} 1",
            "subject": self.subject,
            "updated_at": stamp,
            "editor": "code",
        }
        facts = {"id": self.id, "name": self.name, "generation": self.generation, "updated_at": stamp}
        return facts | {"versions": [version] if versions else []}


@dataclass
class Mail:
    """A mail accepted."""

    id: str
    """X-Message-Id; events carry it with a suffix."""
    at: float
    payload: dict[str, Any]
    recipients: list[str]
    dropped: bool
    """Accepted, and never sent: its template is unknown."""


@dataclass
class Account:
    name: str
    senders: set[str] = field(default_factory=set)
    """Verified addresses and domains, lower case."""
    templates: list[Template] = field(default_factory=list)
    mails: dict[str, Mail] = field(default_factory=dict)
    credits: int | None = None
    """Mails left; None: no end."""
    calls: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Operation → minute (epoch / 60) and how many calls it has had in it."""
    hook_url: str = ""

    @property
    def signer(self) -> Signer:
        return Signer.named(f"sendgrid/{self.name}")


@dataclass
class SendGrid:
    """`world.part(SendGrid)`."""

    keys: dict[str, Key] = field(default_factory=dict)
    accounts: dict[str, Account] = field(default_factory=dict)

    def account(self, name: str) -> Account:
        """Made when first named."""
        return self.accounts.setdefault(name, Account(name))
