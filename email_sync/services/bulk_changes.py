"""One action on many messages: each mailbox in one transaction, whatever the number.

Called by the API. What `changes.change` promises for one click holds for each: shown at once, queued for the provider,
coalesced with a click that waits, told to streams. An id that is not the caller's is reported and stops nothing.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from django.db import connection as database
from django.db import transaction
from django.db.models.functions import Now

from core.errors import HubError, NotFound
from email_sync.models import ChangeKind, Message
from email_sync.scope import is_imported
from email_sync.services import changes, telling, threads
from email_sync.services.locking import one_writer
from integrations.models import Connection

if TYPE_CHECKING:
    from workspaces.models import User, Workspace


@dataclass(slots=True)
class BulkResult:
    """What became of each id; `connections` are the mailboxes whose provider has to hear of it."""

    updated: int = 0
    unchanged: int = 0
    failed: list[tuple[str, HubError]] = field(default_factory=list)
    connections: list[Connection] = field(default_factory=list)


def change_all(*, user: User, workspace: Workspace, ids: Sequence[str], kind: ChangeKind, value: bool) -> BulkResult:
    """Set a flag on these messages. NotFound for a foreign, malformed or missing id alike; Conflict as `change` has."""
    done = BulkResult()
    asked = {text: _parsed(text) for text in ids}
    own = Message.objects.of(user=user, workspace=workspace).filter(pk__in=[pk for pk in asked.values() if pk])
    mailbox_of = dict(own.values_list("pk", "connection"))
    done.failed += [(text, NotFound()) for text, pk in asked.items() if pk not in mailbox_of]
    for connection in Connection.objects.filter(pk__in=set(mailbox_of.values())).order_by("pk"):
        chosen = [pk for pk, mailbox in mailbox_of.items() if mailbox == connection.pk]
        if connection.disconnected_at is not None:
            done.failed += [(str(pk), changes.disconnected()) for pk in chosen]
        else:
            _change_mailbox(connection, chosen, kind, value, done)
    return done


def _parsed(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


def _change_mailbox(
    connection: Connection, ids: Sequence[uuid.UUID], kind: ChangeKind, value: bool, done: BulkResult
) -> None:
    with transaction.atomic():
        one_writer(connection.pk)
        rows = list(Message.objects.select_for_update().filter(pk__in=ids).order_by("pk"))
        present = [row for row in rows if row.removed_at is None]
        changed = [row for row in present if changes.current(row, kind) != value]
        _write(connection, changed, kind, value)
    done.failed += [(str(row.pk), changes.removed()) for row in rows if row.removed_at is not None]
    done.updated += len(changed)
    done.unchanged += len(present) - len(changed)
    done.connections += [connection] if changed else []


def _write(connection: Connection, rows: Sequence[Message], kind: ChangeKind, value: bool) -> None:
    """Flags, queue, figures of the threads and the event: a statement each."""
    if not rows:
        return
    ids = [row.pk for row in rows]
    Message.objects.filter(pk__in=ids).update(**changes.columns_of(kind, value), updated_at=Now())
    at_provider = [row.pk for row in rows if not is_imported(row.remote_id)]
    with database.cursor() as cursor:
        cursor.execute(ENQUEUE, [connection.pk, kind, value, at_provider])
    threads.recount({row.thread_id for row in rows})
    telling.changed(connection, ids)


ENQUEUE = """
    INSERT INTO email_sync_localchange AS waiting
        (connection_id, message_id, kind, value, version, status, attempts, error_message)
    SELECT %s, wanted.id, %s, %s, 1, 'pending', 0, ''
    FROM unnest(%s::uuid[]) WITH ORDINALITY AS wanted (id, place)
    ORDER BY wanted.place
    ON CONFLICT (message_id, kind) WHERE status = 'pending'
    DO UPDATE SET value = excluded.value, version = waiting.version + 1, attempts = 0, created_at = now()
"""
"""As `changes._enqueue` for one: a click that waits already is changed under a new version."""
