"""The one way out for a workspace's mail: the API, automations through Django's mail, integrations' own sends and
notices all come here.

`send_email` writes the log entry and the work beside it in one transaction before anybody is asked; then the first
attempt is made in this process, or the queue's workers make it. Bad input is refused before anything is written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db import IntegrityError, transaction
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.crypto import salted_hmac

from core import holder
from core.api.serializers import wire_time
from core.errors import Conflict, HubError, InvalidInput, NotConfigured, ProviderRejected
from core.ids import uuid7
from core.work import WorkStatus
from email_logs.models import EmailLogEntry, EmailLogTable, OutgoingEmail
from email_logs.services import attempts, enclosing, letters, outgoing, tables
from email_logs.services.settling import LEASE_SECONDS, Ended
from email_logs.services.suppressions import suppressed
from email_logs.sources import SOURCES
from email_logs.states import State
from integrations import fields
from integrations.models import EventType, Integration
from integrations.providers.mail import Mail
from integrations.services import events
from workspaces.services import audit

if TYPE_CHECKING:
    from workspaces.models import User, Workspace

NO_SITE_PROVIDER = "The workspace has no site email provider: set one of its email providers as that."


class Suppressed(HubError):
    """422: everybody it was to go to refused mail for good, or wants none."""

    status = 422
    default_code = "suppressed"
    default_message = "Nobody is left to write to: every address in `to` is suppressed."


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of a mail so far."""

    entry: EmailLogEntry
    integration_id: object
    suppressed: Sequence[str] = ()
    """Addresses it does not go to."""
    refused: HubError | None = None
    """Why it failed at once; its entry says the same."""

    def answer(self) -> Mapping[str, Any]:
        """As the API and the action `send` answer it."""
        entry = self.entry
        waits = entry.state in (State.QUEUED, State.UNKNOWN, State.FAILED)
        return {
            "id": str(entry.pk),
            "status": str(entry.state),
            "messageId": entry.message_id,
            "tableId": str(entry.table_id),
            "integrationId": str(self.integration_id),
            "sentAt": None if waits else wire_time(entry.sent_at),
            "suppressed": list(self.suppressed),
            "error": entry.error,
        }

    def raise_if_refused(self) -> None:
        """For who answers a request: the refusal, with the entry's id."""
        if self.refused is not None:
            self.refused.extra = {**self.refused.extra, "emailId": str(self.entry.pk)}
            raise self.refused


@dataclass(frozen=True, slots=True)
class _Request:
    """One that was checked and may be written down."""

    workspace: Workspace
    table: EmailLogTable
    given: Mapping[str, Any]
    mail: Mail
    left_out: Mapping[str, str]
    source: str
    by: User | None
    at_once: bool
    key: str
    fingerprint: str

    @property
    def note(self) -> str:
        """What the entry says of those it does not go to."""
        names = ", ".join(f"{address} ({reason})" for address, reason in sorted(self.left_out.items()))
        return f"Not sent to suppressed addresses: {names}." if names else ""


def send_email(
    *,
    workspace: Workspace,
    given: Mapping[str, Any],
    integration: Integration | None = None,
    source: str = "",
    by: User | None = None,
    at_once: bool = True,
    request_key: str = "",
) -> Sent:
    """Send a mail through `integration`, or the site provider. `given` is the input of the action `send`, in which an
    attachment may also be `{"documentId"}`.

    `at_once` makes the first attempt before it returns (not inside a transaction); else it is queued with the caller's
    transaction. The same `request_key` again within a day sends nothing and tells what became of the first.
    InvalidInput naming the field; DocumentUnusable and, while documents cannot be read, ServiceBusy, without an entry;
    NotConfigured and Disabled; Conflict where the key was used for something else. What
    a provider refuses is no exception here: see `Sent.refused`.
    """
    if source and source not in SOURCES:
        raise InvalidInput(fields={"source": [f"This must be one of {', '.join(SOURCES)}."]})
    mark = _fingerprint(integration, given, source)
    if request_key and (before := _earlier(workspace, request_key, mark)) is not None:
        return before
    through = integration or site_provider(workspace)
    request = _checked(workspace, through, given, source, by, at_once, request_key, mark)
    try:
        with transaction.atomic():
            entry, work = _write(request)
    except IntegrityError:
        twin = _earlier(workspace, request_key, mark) if request_key else None
        if twin is None:
            raise
        return twin
    left_out = sorted(request.left_out)
    if work.status == WorkStatus.FAILED:
        return Sent(entry, through.pk, left_out, Suppressed())
    if work.status == WorkStatus.QUEUED:
        return Sent(entry, through.pk, left_out)
    ended = attempts.attempt(work, asked=True)
    _show(entry, work, ended)
    return Sent(entry, _integration_of(work, request.table), left_out, ended.refused)


def site_provider(workspace: Workspace) -> Integration:
    """The workspace's; NotConfigured where it has none."""
    rows = Integration.objects.in_workspace(workspace).enabled().select_related("workspace")
    found = rows.filter(is_site_email_provider=True).first()
    if found is None:
        raise NotConfigured(NO_SITE_PROVIDER)
    return found


# --- before it is written -----------------------------------------------------------------------------------------


def _checked(
    workspace: Workspace,
    integration: Integration,
    given: Mapping[str, Any],
    source: str,
    by: User | None,
    at_once: bool,
    key: str,
    mark: str,
) -> _Request:
    """Everything that can be refused without asking anybody."""
    kind = letters.kind_of(integration)
    enclosed = enclosing.find(given, workspace=workspace, limit=kind.most_attached)
    checked = fields.read(kind.action("send").fields, enclosed.given)
    provider = letters.provider_for(integration)
    provider.refuse_unfit(provider.mail(checked))
    values = enclosed.filled(checked)
    mail = provider.mail(values)
    left_out = suppressed(workspace.pk, (*mail.to, *mail.cc, *mail.bcc))
    table = tables.of_integration(integration)
    return _Request(workspace, table, values, _without(mail, left_out), left_out, source, by, at_once, key, mark)


def _without(mail: Mail, left_out: Mapping[str, str]) -> Mail:
    """To those who are not suppressed. Without anybody in `to` it stays as it is, and is not sent."""
    to, cc, bcc = (tuple(one for one in people if one not in left_out) for people in (mail.to, mail.cc, mail.bcc))
    return replace(mail, to=to, cc=cc, bcc=bcc) if to else mail


def _fingerprint(integration: Integration | None, given: Mapping[str, Any], source: str) -> str:
    """Keyed: a mail may hold a secret, and a plain digest of it could be guessed from a stolen table."""
    text = json.dumps([str(integration and integration.pk), dict(given), source], sort_keys=True, default=str)
    return salted_hmac(__name__, text, algorithm="sha256").hexdigest()


def _earlier(workspace: Workspace, key: str, mark: str) -> Sent | None:
    """What became of the same request. A key that is older than keys last is given free."""
    same = OutgoingEmail.objects.filter(workspace=workspace, request_key=key)
    same.filter(created_at__lt=Now() - outgoing.KEEP).update(request_key="")
    found = same.select_related("table").first()
    if found is None:
        return None
    if found.fingerprint != mark:
        raise Conflict("This Idempotency-Key was used for another request.", code="idempotency_key_reused")
    entry = EmailLogEntry.objects.get(pk=found.entry_id)
    refused: HubError | None = None
    if found.status == WorkStatus.FAILED and entry.state == State.FAILED:
        refused = ProviderRejected(found.error_message, code=found.error_code)
    return Sent(entry, found.table.integration_id, (), refused)


# --- the row ------------------------------------------------------------------------------------------------------


def _write(request: _Request) -> tuple[EmailLogEntry, OutgoingEmail]:
    """The entry and the work: under the lease of the attempt that follows, queued for a worker, or over already."""
    nobody = bool(request.left_out) and all(address in request.left_out for address in request.mail.to)
    entry = _entry(request, State.FAILED if nobody else State.QUEUED)
    entry.save(force_insert=True)
    work = OutgoingEmail(
        entry_id=entry.pk,
        workspace=request.workspace,
        table=request.table,
        request_key=request.key,
        fingerprint=request.fingerprint if request.key else "",
    )
    if nobody:
        work.status, work.finished_at, work.error_code = WorkStatus.FAILED, Now(), Suppressed.default_code
        work.error_message = entry.error
        payload = {"emailId": str(entry.pk), "tableId": str(request.table.pk), "code": Suppressed.default_code}
        events.record(workspace_id=request.workspace.pk, type=EventType.EMAIL_FAILED, payload=payload)
    else:
        work.mail = letters.freeze(request.given, request.mail, request.note)
        _begin(work, request)
    work.save(force_insert=True)
    if request.by is not None:
        changes = {"integration": str(request.table.integration_id), "source": request.source}
        audit.record(by=request.by, workspace=request.workspace, action="email.send", target=entry, changes=changes)
    return entry, work


def _entry(request: _Request, state: State) -> EmailLogEntry:
    mail = request.mail
    return EmailLogEntry(
        id=uuid7(),
        workspace=request.workspace,
        table=request.table,
        to=", ".join(mail.to),
        cc=", ".join(mail.cc),
        bcc=", ".join(mail.bcc),
        sender=mail.sender,
        subject=mail.subject,
        template_id=mail.template_id,
        attachments=len(mail.attachments),
        source=request.source,
        state=state,
        error=request.note,
    )


def _begin(work: OutgoingEmail, request: _Request) -> None:
    """Whose turn it is: this process's at once, unless its provider asked everybody to wait."""
    if request.at_once and not _rests(request.table):
        work.status, work.attempts, work.holder = WorkStatus.RUNNING, 1, holder.me()
        work.lease_until = Now() + timedelta(seconds=LEASE_SECONDS)
    else:
        outgoing.queued.send(sender=OutgoingEmail, table_id=request.table.pk)


def _rests(table: EmailLogTable) -> bool:
    """Only where it asked for that: whether one that failed works again, a person's request finds out."""
    return table.failing_since is None and table.not_before is not None and table.not_before > timezone.now()


def _show(entry: EmailLogEntry, work: OutgoingEmail, ended: Ended) -> None:
    """The entry as it is now, without reading it again."""
    entry.state, entry.error = ended.state, ended.words
    entry.message_id = ended.message_id or entry.message_id
    entry.sent_at = ended.at or entry.sent_at
    entry.table_id = work.table_id


def _integration_of(work: OutgoingEmail, table: EmailLogTable) -> object:
    """Of the table it is in now: a fallback may have taken it elsewhere."""
    if work.table_id == table.pk:
        return table.integration_id
    return EmailLogTable.objects.values_list("integration_id", flat=True).get(pk=work.table_id)
