"""What a Resend team has: keys, domains, templates, mails, remembered idempotency keys, an address for events."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from simulator.errors import trace_id
from simulator.state import World


@dataclass(frozen=True)
class Key:
    team: str
    permission: str
    """full_access or sending_access."""


@dataclass
class Domain:
    id: str
    name: str
    status: str
    created_at: float
    region: str = "us-east-1"

    def show(self) -> dict[str, Any]:
        facts = {"id": self.id, "name": self.name, "status": self.status, "region": self.region}
        return facts | {"created_at": odd_stamp(self.created_at), "capabilities": {"sending": "enabled"}}


@dataclass
class Template:
    id: str
    name: str
    alias: str | None
    published: bool
    created_at: float
    sender: str
    subject: str
    html: str
    variables: list[dict[str, Any]]
    """{key, type (string or number), fallback_value}; without a fallback a send has to bring the value."""

    def show(self) -> dict[str, Any]:
        """A row of the list."""
        made = odd_stamp(self.created_at)
        return {
            "id": self.id,
            "name": self.name,
            "alias": self.alias,
            "status": "published" if self.published else "draft",
            "published_at": made if self.published else None,
            "created_at": made,
            "updated_at": made,
        }

    def describe(self) -> dict[str, Any]:
        """The template alone."""
        content = {"from": self.sender or None, "subject": self.subject or None, "reply_to": None, "text": None}
        return {"object": "template"} | self.show() | content | {"html": self.html, "variables": self.variables}


@dataclass
class Email:
    id: str
    message_id: str
    created_at: float
    sender: str
    recipients: dict[str, list[str]]
    """to, cc, bcc, reply_to."""
    subject: str
    payload: dict[str, Any]
    """As it was sent to us."""
    dropped: list[str]
    """File names of attachments that Resend leaves out without a word."""
    last_event: str

    def show(self) -> dict[str, Any]:
        return {
            "object": "email",
            "id": self.id,
            "message_id": self.message_id,
            **{name: self.recipients[name] or None for name in ("to", "cc", "bcc", "reply_to")},
            "from": self.sender,
            "subject": self.subject,
            "html": self.payload.get("html"),
            "text": self.payload.get("text"),
            "created_at": odd_stamp(self.created_at),
            "scheduled_at": None,
            "last_event": self.last_event,
        }

    def tags(self) -> dict[str, str]:
        """An object, although they are sent as a list (reference workspace 18, 18)."""
        return {str(tag["name"]): str(tag["value"]) for tag in self.payload.get("tags") or []}


@dataclass(frozen=True)
class Remembered:
    """The answer to an idempotency key."""

    at: float
    fingerprint: str
    answer: dict[str, Any]


@dataclass
class Team:
    name: str
    owner: str = "owner@hub.example"
    """The only address that may be written to from onboarding@resend.dev."""
    domains: list[Domain] = field(default_factory=list)
    templates: list[Template] = field(default_factory=list)
    emails: dict[str, Email] = field(default_factory=dict)
    remembered: dict[str, Remembered] = field(default_factory=dict)
    requests: deque[float] = field(default_factory=deque)
    """Times of the calls of the second that is under way."""
    counted: list[tuple[float, int]] = field(default_factory=list)
    """Time and number of addresses of every mail: what the quotas count."""
    hook_url: str = ""
    hook_secret: str = ""


@dataclass
class Resend:
    """`world.part(Resend)`."""

    keys: dict[str, Key] = field(default_factory=dict)
    teams: dict[str, Team] = field(default_factory=dict)

    def team(self, name: str) -> Team:
        """Made when first named."""
        return self.teams.setdefault(name, Team(name))


def new_id(world: World) -> str:
    return trace_id(world.authority.secret_text("resend", 24))


def odd_stamp(moment: float) -> str:
    """2023-10-06 23:47:56.678+00: a space, and an offset of two digits (reference workspace 1.3)."""
    return iso(moment).replace("T", " ").replace("Z", "+00")


def iso(moment: float) -> str:
    """2023-10-06T23:47:56.678Z"""
    seconds, milliseconds = divmod(round(moment * 1000), 1000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{milliseconds:03}Z"
