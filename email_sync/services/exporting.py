"""A mailbox as one mbox file: the provider's own bytes, message by message.

Work in slices (`work`, called by the task): ask the provider (no transaction), then commit a piece of the file together
with the place it ends at. So a kill repeats a piece and the file has each message once. What the provider cannot give
is written from what is stored, and says so in its headers.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta

from django.db import transaction
from django.db.models.functions import Now

from core.errors import (
    HubError,
    LeaseLost,
    NeedsReauth,
    ProviderAuthError,
    ProviderRateLimited,
    ProviderRejected,
    RemoteMissing,
)
from core.work import ACTIVE, backoff_seconds, sane_wait
from email_sync import mbox
from email_sync.models import ImportedSource, MailTransfer, Message, TransferKind
from email_sync.providers.base import MailProvider
from email_sync.scope import is_imported, is_local
from email_sync.services import rebuilding, transfers
from email_sync.services.accounts import with_mailbox
from integrations.models import Connection
from workspaces.models import User
from workspaces.services import audit

LEASE_SECONDS = 120.0
"""A piece may wait for the provider; each message of it is at most one call."""
SLICE_SECONDS = 40.0
TOGETHER = 50
PIECE_BYTES = 1024 * 1024
MAX_ATTEMPTS = 8


def start(connection: Connection, *, by: User) -> tuple[MailTransfer, bool]:
    """An export of everything the mailbox has here now, to be rung, and whether it begins: one that is under way is
    answered and not doubled."""
    with transaction.atomic():
        Connection.objects.select_for_update(no_key=True).get(pk=connection.pk)  # of two at once one waits and sees
        exports = MailTransfer.objects.filter(connection=connection, kind=TransferKind.EXPORT)
        under_way = exports.filter(status__in=ACTIVE).first()
        if under_way is not None:
            return under_way, False
        total = Message.objects.present().filter(connection=connection).count()
        made = MailTransfer.objects.create(connection=connection, kind=TransferKind.EXPORT, total=total)
        audit.record(
            by=by,
            workspace=connection.workspace,
            action="connection.mail_exported",
            target=connection,
            changes={"messages": total, "account": connection.account_email},
        )
    return made, True


def work(transfer_id: object, *, seconds: float = SLICE_SECONDS) -> bool:
    """One slice. True where there is more to do at once."""
    transfer: MailTransfer | None = MailTransfer.objects.claim(transfer_id, lease_seconds=LEASE_SECONDS)
    if transfer is None:
        return False
    deadline = time.monotonic() + seconds
    try:
        try:
            more = _slice(transfer, deadline)
        except HubError as error:
            return _after_error(transfer, error)
        if more:
            transfer.retry(after_seconds=0, attempts=0)
            return True
        transfer.finish(expires_at=Now() + timedelta(days=transfers.KEEP_DAYS), total=transfer.done)
    except LeaseLost:  # cancelled, or another worker has it
        pass
    return False


def _slice(transfer: MailTransfer, deadline: float) -> bool:
    """An account that no longer lets us in is exported from what is stored."""
    connection = transfer.connection
    if connection.disconnected_at is None and not connection.needs_reauth:
        try:
            return with_mailbox(connection, lambda mailbox: _pieces(transfer, mailbox, deadline), urgent=False)
        except (ProviderAuthError, NeedsReauth):
            pass
    return _pieces(transfer, None, deadline)


def _pieces(transfer: MailTransfer, mailbox: MailProvider | None, deadline: float) -> bool:
    while rows := _next(transfer):
        _write(transfer, mailbox, rows)
        if time.monotonic() >= deadline:
            return True
    return False


def _next(transfer: MailTransfer) -> list[Message]:
    """In the order of remote ids, which keeps a folder's messages together."""
    rows = Message.objects.present().filter(connection=transfer.connection, remote_id__gt=transfer.position)
    return list(rows.select_related("body").order_by("remote_id")[:TOGETHER])


def _write(transfer: MailTransfer, mailbox: MailProvider | None, rows: Sequence[Message]) -> None:
    """A piece: as many of these messages as make it large enough."""
    piece = bytearray()
    written = rebuilt = 0
    for message in rows:
        raw = _raw(mailbox, message)
        if raw is None:
            raw, rebuilt = rebuilding.rebuilt(message, asked=mailbox is not None), rebuilt + 1
        piece += mbox.entry(raw, message.from_email, message.received_at)
        written += 1
        if len(piece) >= PIECE_BYTES:
            break
    with transaction.atomic():
        transfer.hold(lease_seconds=LEASE_SECONDS, attempts=0)
        transfer.append(bytes(piece))
        transfer.position = rows[written - 1].remote_id
        transfer.done, transfer.rebuilt = transfer.done + written, transfer.rebuilt + rebuilt
        transfer.save(update_fields=["size", "chunks", "position", "done", "rebuilt"])


def _raw(mailbox: MailProvider | None, message: Message) -> bytes | None:
    """The message's own bytes, or None. Where only metadata may be kept here, the file is no way around it."""
    if is_imported(message.remote_id):
        source = ImportedSource.objects.filter(message=message).first()
        return bytes(source.raw) if source is not None else None
    if mailbox is None or message.body_withheld or is_local(message.remote_id):
        return None
    try:
        return mailbox.raw(message.remote_id)
    except (RemoteMissing, ProviderRejected):
        return None


def _after_error(transfer: MailTransfer, error: HubError) -> bool:
    """The provider is away or asks to wait: later again, until it has been tried often enough."""
    if isinstance(error, LeaseLost):
        raise error
    if isinstance(error, ProviderRateLimited):
        transfer.retry(after_seconds=sane_wait(error.retry_after), code=error.code, attempts=0)
    elif transfer.attempts >= MAX_ATTEMPTS:
        transfer.fail(code=error.code, message=error.message)
    else:
        transfer.retry(after_seconds=backoff_seconds(transfer.attempts), code=error.code, message=error.message)
    return False
