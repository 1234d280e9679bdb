"""Other content for a stored message: drafts are changed, all other mail is only ever replaced.

Called by `drafts`, inside its transaction.
"""

from __future__ import annotations

from dataclasses import replace

from email_sync import fingerprints
from email_sync.models import Attachment, Message, MessageBody, MessageSearch, Unindexed
from email_sync.scope import metadata_of
from email_sync.services import store


def rewrite(row: Message, item: store.Incoming) -> None:
    """Other content for a message that was changed, not replaced: a draft. Inside the caller's transaction and under
    its lock; where it is and its thread stay."""
    parsed = metadata_of(item.parsed) if row.body_withheld else item.parsed
    row.message_id, row.subject = parsed.message_id, parsed.subject
    row.from_name, row.from_email = parsed.sender.name, parsed.sender.email
    row.recipients = {"to": store.pairs(parsed.to), "cc": store.pairs(parsed.cc), "bcc": store.pairs(parsed.bcc)}
    row.snippet, row.sent_at = store.snippet(parsed), parsed.sent_at
    row.size, row.defect = item.remote.size, parsed.defect
    row.has_attachments = any(not part.inline for part in parsed.attachments)
    row.received_at = item.remote.received_at  # its search row bears the same
    row.fingerprint = fingerprints.of_parsed(parsed)
    row.save()
    for texts in (Unindexed, MessageBody, Attachment, MessageSearch):
        texts.objects.filter(message=row).delete()
    store.insert_texts(row.connection, [(row.pk, replace(item, parsed=parsed))])
