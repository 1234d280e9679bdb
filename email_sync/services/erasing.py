"""Deleting stored messages for good: what their user does not want here, and imported mail that the provider turns out
to have. Not a removal at the provider, which leaves a tombstone (`store`). Called by the writer and by the work of a
scope change."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from email_sync.models import Message, Unindexed
from email_sync.records import ParsedMessage
from email_sync.scope import IMPORT_PREFIX, IMPORT_STREAM
from email_sync.services import threads
from integrations.models import Connection


def imported_twins(connection: Connection, stream: str, brought: Sequence[ParsedMessage]) -> list[str]:
    """Remote ids of imported messages that the provider brings now itself: its own take their place."""
    imported = Message.objects.filter(connection=connection, stream=IMPORT_STREAM, remote_id__startswith=IMPORT_PREFIX)
    if stream == IMPORT_STREAM or not brought or not imported.exists():
        return []
    known = {(mail.message_id, mail.sender.email, mail.sent_at) for mail in brought if mail.message_id}
    rows = imported.filter(message_id__any_of={message_id for message_id, _, _ in known})
    found = rows.values_list("remote_id", "message_id", "from_email", "sent_at")
    return [remote_id for remote_id, *identity in found if tuple(identity) in known]


def erase(connection: Connection, remote_ids: Sequence[str]) -> list[uuid.UUID]:
    """Delete these messages for good, inside the caller's transaction and under its lock: not a removal at the provider
    but their user's wish. Threads that are left empty go too. Answers the ids the messages had here."""
    if not remote_ids:
        return []
    rows = Message.objects.filter(connection=connection, remote_id__any_of=set(remote_ids))
    found = list(rows.values_list("pk", "thread_id"))
    waiting = Unindexed.objects.filter(message__in=[pk for pk, _ in found])
    list(waiting.select_for_update().order_by("pk"))  # who indexes one now would write a row of nothing
    Message.objects.filter(pk__in=[pk for pk, _ in found]).delete()
    threads.recount(emptied := {thread_id for _, thread_id in found})
    threads.forget_empty(emptied)
    return [pk for pk, _ in found]
