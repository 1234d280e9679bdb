"""`manage.py demo_log`: thirty days of outbound mail that nobody sent, for the demo's console.

Called by `manage.py demo`, in the product's own surroundings. It writes into logs that are empty and into no other.
"""

from __future__ import annotations

import random
import uuid
from datetime import datetime, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from core.ids import uuid7
from email_logs.models import DeliveryEvent, EmailLogEntry, EmailLogTable, Suppression
from email_logs.services import days, tables
from email_logs.sources import SOURCES
from email_logs.states import State
from workspaces.models import User, Workspace

MAILS = 450
SPAN = timedelta(days=30)
WEIGHTS = {
    State.DELIVERED: 74,
    State.ACCEPTED: 8,
    State.BOUNCED: 6,
    State.DEFERRED: 4,
    State.FAILED: 3,
    State.COMPLAINED: 2,
    State.UNKNOWN: 1,
}
WORDS = {
    State.BOUNCED: "550 5.1.1 no such user",
    State.DEFERRED: "451 4.7.1 greylisted, try again later",
    State.FAILED: "The provider refused this: the sender's domain is not verified.",
    State.COMPLAINED: "The reader called it spam.",
    State.UNKNOWN: "The provider did not say whether it accepted this.",
}
SUBJECTS = (
    "Welcome to Acme",
    "Your invoice",
    "Appointment confirmed",
    "Please sign the form",
    "Your matter was updated",
)
PEOPLE = ("ann", "bo", "carla", "dmitri", "emeka", "fatima", "goro", "hana", "ivan", "julia", "kofi", "lena")


class Command(BaseCommand):
    """Fills the empty logs of the workspace that an account owns."""

    help = "Fill empty email logs with mail nobody sent, for a demonstration."

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("--email", required=True, help="An owner's address.")

    def handle(self, *args: Any, **options: Any) -> None:
        owner = User.objects.filter(email=options["email"]).first()
        workspace = Workspace.objects.filter(memberships__user=owner).first() if owner else None
        if workspace is None:
            raise CommandError("Nobody has this address, or they are in no workspace.")
        logs = tables.initialise(workspace=workspace)
        if EmailLogEntry.objects.filter(table__in=logs).exists():
            raise CommandError("There is mail in these logs.")
        for log in logs:
            fill(log, random.Random(7))  # noqa: S311 - the same demo every time
        days.count_changed()
        self.stdout.write(f"{MAILS * len(logs)} mails that nobody sent are in the email logs.")


def fill(log: EmailLogTable, chance: random.Random) -> None:
    """Mail of all days and states, fewer at weekends, with what its provider told."""
    entries, events = [], []
    now = timezone.now()
    for number in range(MAILS):
        at = now - SPAN * chance.random() ** 1.3
        if at.weekday() > 4 and chance.random() < 0.6:
            at -= timedelta(days=2)
        state = chance.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        entry = _entry(log, chance, at, State(state), number)
        entries.append(entry)
        events += _events(entry)
    EmailLogEntry.objects.bulk_create(entries)
    DeliveryEvent.objects.bulk_create(events)
    refused = {entry.to: entry for entry in entries if entry.state in (State.BOUNCED, State.COMPLAINED)}
    rows = [
        Suppression(workspace_id=log.workspace_id, address=to, reason=entry.state, words=entry.error, entry_id=entry.pk)
        for to, entry in refused.items()
    ]
    Suppression.objects.bulk_create(rows, ignore_conflicts=True)


def _entry(log: EmailLogTable, chance: random.Random, at: datetime, state: State, number: int) -> EmailLogEntry:
    return EmailLogEntry(
        id=uuid.UUID(int=(int(at.timestamp() * 1000) << 80) | (uuid7().int & ((1 << 80) - 1))),
        workspace_id=log.workspace_id,
        table=log,
        sent_at=at,
        state=state,
        state_at=at + timedelta(seconds=chance.randrange(2, 90)),
        to=f"{chance.choice(PEOPLE)}{chance.randrange(40)}@customer.example",
        sender="noreply@demo.example",
        subject=f"{chance.choice(SUBJECTS)} {number}",
        message_id=f"demo-{log.pk.hex[-6:]}-{number}" if state not in (State.FAILED, State.UNKNOWN) else "",
        template_id=chance.choice(("", "", "tmpl_welcome", "tmpl_invoice")),
        source=chance.choice(SOURCES),
        error=WORDS.get(state, ""),
        attachments=chance.choice((0, 0, 0, 1, 2)),
    )


def _events(entry: EmailLogEntry) -> list[DeliveryEvent]:
    told = {
        State.DELIVERED: (State.ACCEPTED, State.DELIVERED),
        State.BOUNCED: (State.ACCEPTED, State.DEFERRED, State.BOUNCED),
        State.DEFERRED: (State.ACCEPTED, State.DEFERRED),
        State.COMPLAINED: (State.ACCEPTED, State.DELIVERED, State.COMPLAINED),
    }.get(State(entry.state), ())
    return [
        DeliveryEvent(
            workspace_id=entry.workspace_id,
            table=entry.table,
            entry_id=entry.pk,
            message_id=entry.message_id,
            event_key=f"demo-{entry.pk}-{kind}",
            kind=kind,
            recipients=[entry.to],
            words=WORDS.get(kind, ""),
            at=entry.sent_at + timedelta(seconds=20 * step),
        )
        for step, kind in enumerate(told)
    ]
