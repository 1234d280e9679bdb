"""Conversations for tests: letters between named people, and mailboxes in memory that hold them."""

from __future__ import annotations

from collections.abc import Sequence
from email.message import EmailMessage
from typing import Any

from django.db import transaction
from django.utils import timezone

from core.ids import uuid7
from email_sync.models import Message, Thread, ThreadParticipant
from email_sync.parsing.message import parse
from email_sync.records import RemoteMessage, RemoteState
from email_sync.services import participants
from email_sync.services.store import Incoming, write_page
from email_sync.tests.conftest import Account
from email_sync.tests.factories import connect
from email_sync.tests.memory import Mailbox, Memory
from entities.matching import normalise
from integrations.models import Connection, Visibility
from workspaces.tests.fixtures import Actor

CUSTOMER = "Carla <carla@customer.example>"


def letter(
    name: str = "",
    *,
    sender: str = CUSTOMER,
    to: str = "ada@acme.example",
    cc: str = "",
    subject: str = "Offer",
    date: str = "Mon, 05 Jan 2026 10:00:00 +0000",
    after: Sequence[str] = (),
    body: str = "Good morning, how are you today?",
    headers: Sequence[tuple[str, str]] = (),
) -> bytes:
    """A mail whose Message-ID is `name`@letters.example ("" makes one up); `after` are the names it refers to."""
    message = EmailMessage()
    message["Message-ID"] = f"<{name or uuid7().hex}@letters.example>"
    message["From"], message["To"], message["Subject"], message["Date"] = sender, to, subject, date
    if cc:
        message["Cc"] = cc
    if after:
        message["References"] = " ".join(f"<{one}@letters.example>" for one in after)
    for header, value in headers:
        del message[header]
        message[header] = value
    message.set_content(body)
    return message.as_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def open_mailbox(actor: Actor, address: str, visibility: str = Visibility.PRIVATE) -> Account:
    """A connected, empty mailbox of this actor. The `memory` provider must be in place."""
    made = Account(connect(actor, address, visibility=visibility))
    Memory.mailboxes[address] = made.box = Mailbox()
    return made


def deliver(connection: Connection, raw: bytes) -> None:
    """Written as the engine would write it, without one."""
    now = timezone.now()
    state = RemoteState(uuid7().hex, ("inbox",), frozenset({"inbox"}), is_read=False, is_starred=False)
    with transaction.atomic():
        incoming = Incoming(RemoteMessage(state, now, len(raw)), parse(raw))
        write_page(connection=connection, stream="inbox", messages=[incoming])


def get(actor: Actor, path: str, **query: Any) -> Any:
    """The answer of the mail API, which must be 200."""
    response = actor.client.get(f"/api/v1/integrations/email/{path}", query)
    assert response.status_code == 200, response.content
    return response.json()


def match(actor: Actor, entity_type: str, entity_id: str | int, **what: str) -> Any:
    """Match an address or a domain over the API."""
    body = {"entityType": entity_type, "entityId": entity_id, **what}
    response = actor.client.post("/api/v1/integrations/email/match", body, format="json")
    assert response.status_code in (200, 201), response.content
    return response.json()


def assert_people_are_true() -> None:
    """Participants and figures of every thread are what its mails say."""
    for thread in Thread.objects.select_related("connection"):
        shown = [message for message in thread.messages.all() if participants.is_shown(message)]
        newest = max((message.received_at for message in shown), default=None)
        assert (thread.shown_count, thread.shown_at) == (len(shown), newest)
        own = normalise(thread.connection.account_email)
        wanted = {key for m in shown for key in participants.of_row(m.from_email, m.recipients, own)}
        rows = ThreadParticipant.objects.filter(thread=thread)
        assert {row.address_key for row in rows} == wanted, [message.subject for message in shown]
        assert {row.shown_at for row in rows} <= {newest}
        assert {row.connection_id for row in rows} <= {thread.connection_id}
        assert all(row.domain == row.address_key.partition("@")[2] for row in rows)
    assert not Message.objects.exclude(message_id="").filter(fingerprint=None).exists()
