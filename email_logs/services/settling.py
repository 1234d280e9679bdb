"""What became of an attempt, in one transaction: the work row, the entry, the table's rest, the event.

Called by `attempts` for a row whose fence it holds; LeaseLost where another worker took it over. Promised: an entry's
state only moves forward, and its event is in the transaction that moved it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

from django.db import transaction
from django.db.models import Case, F, Field, Value, When
from django.db.models.expressions import Combinable
from django.db.models.functions import Coalesce, Now

from core.crypto import seal_for
from core.errors import BudgetSpent, HubError, LeaseLost, ProviderRateLimited
from core.redaction import clean_words
from email_logs.models import EmailLogEntry, EmailLogTable, OutgoingEmail
from email_logs.services import delivery_events, fallback, letters
from email_logs.states import State
from integrations.models import EventType
from integrations.models.event import WRITING_TRANSACTION
from integrations.providers.mail import QUOTA_CODE, Accepted
from integrations.services import events

LEASE_SECONDS = 120
"""Longer than every wait and time-out of one attempt together."""
GAVE_UP = "It could not be handed over within 24 hours. The last time: "
UNDECIDED = (State.QUEUED, State.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Ended:
    """Where the mail stands after an attempt."""

    state: str
    message_id: str = ""
    at: datetime | None = None
    """When the provider took it."""
    words: str = ""
    """What its entry says beside."""
    refused: HubError | None = None
    """Why it failed."""


def accepted(work: OutgoingEmail, table: EmailLogTable, taken: Accepted) -> Ended:
    """The provider has it. Also where another worker took the row over meanwhile: it is known now."""
    note = letters.note_of(work)
    with transaction.atomic():
        try:
            work.finish(calling=False, mail=None)
        except LeaseLost:
            return _accepted_late(work, taken, note)
        _write(
            work,
            state=_where_undecided("state", Value(State.ACCEPTED)),
            state_at=_where_undecided("state_at", Now()),
            error=_where_undecided("error", Value(note)),
            message_id=taken.message_id,
            sent_at=work.finished_at,  # what is answered below, to the microsecond
        )
        _tell(work, EventType.EMAIL_SENT)
        taken_as = EmailLogEntry(pk=work.entry_id, table_id=work.table_id, message_id=taken.message_id)
        delivery_events.join_waiting(taken_as)
        if table.failing_since is not None:
            EmailLogTable.objects.filter(pk=table.pk).update(failing_since=None, not_before=None)
    return Ended(State.ACCEPTED, taken.message_id, work.finished_at, note)


def _where_undecided(column: str, value: Combinable) -> Case:
    """An event may have come before the answer to the send, and knows more."""
    field = cast("Field[Any, Any]", EmailLogEntry._meta.get_field(column))
    return Case(When(state__in=UNDECIDED, then=value), default=F(column), output_field=field)


def _accepted_late(work: OutgoingEmail, taken: Accepted, note: str) -> Ended:
    undecided = EmailLogEntry.objects.filter(pk=work.entry_id, state__in=UNDECIDED)
    moved = undecided.update(
        state=State.ACCEPTED, state_at=Now(), sent_at=Now(), message_id=taken.message_id, error=note,
        transaction=WRITING_TRANSACTION,
    )  # fmt: skip
    if moved:
        _tell(work, EventType.EMAIL_SENT)
    return Ended(State.ACCEPTED, taken.message_id, None, note)


def proved(work: OutgoingEmail, state: str) -> Ended:
    """An event said first that the provider has it."""
    with transaction.atomic():
        work.finish(calling=False, mail=None)
        _tell(work, EventType.EMAIL_SENT)
    return Ended(state)


def unknown(work: OutgoingEmail, error: HubError) -> Ended:
    """Nobody can say; it is never sent again."""
    words = _words(error)
    with transaction.atomic():
        work.fail(code="provider_outcome_unknown", message=words, calling=False, mail=None)
        queued = EmailLogEntry.objects.filter(pk=work.entry_id, state=State.QUEUED)
        queued.update(state=State.UNKNOWN, state_at=Now(), error=words, transaction=WRITING_TRANSACTION)
    return Ended(State.UNKNOWN, words=words)


def failed(work: OutgoingEmail, table: EmailLogTable, error: HubError, *, words: str = "") -> Ended:
    """It was surely not taken, and will not be."""
    words = " ".join(filter(None, (words or _words(error), letters.note_of(work))))
    with transaction.atomic():
        work.fail(code=error.code[:64], message=words, calling=False, called_at=None, mail=None)
        queued = EmailLogEntry.objects.filter(pk=work.entry_id, state__in=UNDECIDED)
        if queued.update(state=State.FAILED, state_at=Now(), error=words, transaction=WRITING_TRANSACTION):
            _tell(work, EventType.EMAIL_FAILED, code=error.code)
    return Ended(State.FAILED, words=words, refused=error)


def given_up(work: OutgoingEmail, table: EmailLogTable, error: HubError) -> Ended:
    """It waited long enough."""
    return failed(work, table, error, words=GAVE_UP + _words(error))


def again(work: OutgoingEmail, table: EmailLogTable, error: HubError, *, wait: float, rest: float) -> Ended:
    """Later. Whether somebody may have it stays noted, or is taken back where nobody has."""
    pause = isinstance(error, BudgetSpent)
    words = "" if pause else _words(error)
    columns: dict[str, object] = {"calling": False, "called_at": work.called_at}
    if pause:
        columns["attempts"] = F("attempts") - 1
    with transaction.atomic():
        work.retry(after_seconds=wait, code=error.code[:64], message=words, **columns)
        if words:
            waiting = EmailLogEntry.objects.filter(pk=work.entry_id, state=State.QUEUED).exclude(error=words)
            waiting.update(error=words, transaction=WRITING_TRANSACTION)
        _rest(table, error, rest)
    return Ended(State.QUEUED, words=words)


def moved(work: OutgoingEmail, table: EmailLogTable, other: EmailLogTable, error: HubError, *, rest: float) -> None:
    """To another provider, whose table the entry is in from now on."""
    integration = other.integration
    if integration is None:
        raise ValueError("only the tables of integrations send")
    sender, name = str(integration.config["fromEmail"]), str(integration.config.get("fromName") or "")
    kept = {**letters.contents(work), "given": fallback.given_elsewhere(work), "sender": sender, "senderName": name}
    with transaction.atomic():
        columns = {"table": other, "tried": [*work.tried, table.integration_id], "mail": seal_for(work, "mail", kept)}
        work.hold(lease_seconds=LEASE_SECONDS, calling=False, called_at=None, **columns)
        work.refresh_from_db()
        _write(work, table=other, sender=sender)
        _rest(table, error, rest)


def _write(work: OutgoingEmail, **columns: object) -> None:
    EmailLogEntry.objects.filter(pk=work.entry_id).update(transaction=WRITING_TRANSACTION, **columns)


def _rest(table: EmailLogTable, error: HubError, seconds: float) -> None:
    if not seconds:
        return
    columns: dict[str, object] = {"not_before": Now() + timedelta(seconds=seconds)}
    if not isinstance(error, ProviderRateLimited) or error.code == QUOTA_CODE:
        columns["failing_since"] = Coalesce("failing_since", Now())
    EmailLogTable.objects.filter(pk=table.pk).update(**columns)


def _tell(work: OutgoingEmail, type: str, **facts: str) -> None:
    payload = {"emailId": str(work.entry_id), "tableId": str(work.table_id), **facts}
    events.record(workspace_id=work.workspace_id, type=type, payload=payload)


def _words(error: HubError) -> str:
    """For the log: what was refused, cleaned."""
    if error.fields:
        return clean_words("; ".join(f"{name}: {' '.join(words)}" for name, words in error.fields.items()))
    return clean_words(error.message)
