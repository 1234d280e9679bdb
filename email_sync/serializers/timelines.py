"""The wire format of an entity's timeline and of one thread."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from core.api.serializers import CamelSerializer, IsoDateTimeField, wire_time
from email_sync.models import Thread, ThreadLink
from email_sync.serializers import EmailDetailShape, EntityShape, PersonShape, email_detail, entity
from email_sync.services.reading import Detail
from email_sync.services.timeline_items import Item
from email_sync.services.visibility import Access, Mailbox

SEEN_AS = [("full", "full"), ("metadata", "metadata")]
SHOWN_AS = {Access.OWN: "full", Access.FULL: "full", Access.METADATA: "metadata"}

# --- out ----------------------------------------------------------------------------------------------------------


def timeline_item(item: Item) -> dict[str, Any]:
    """A conversation (CONTRACT 4, `email/threads/:entityType/:entityId`), and whose it is."""
    return {
        "threadId": str(item.thread.pk),
        "subject": item.thread.subject,
        "participants": [{"name": name, "email": email} for name, email in item.people],
        "messageCount": item.message_count,
        "lastMessageAt": wire_time(item.last_message_at),
        "snippet": item.snippet,
        "unread": item.unread,
        **_whose(item.mailbox),
        "copies": [{"threadId": str(thread.pk), **_whose(mailbox)} for thread, mailbox in item.copies],
    }


def _whose(mailbox: Mailbox) -> dict[str, Any]:
    name, email = mailbox.owner
    return {
        "isOwn": mailbox.access == Access.OWN,
        "visibility": SHOWN_AS[mailbox.access],
        "owner": {"name": name, "email": email},
    }


def thread_detail(thread: Thread, mailbox: Mailbox, details: list[Detail]) -> dict[str, Any]:
    """A thread, oldest message first; of a colleague's as much as its mailbox shows."""
    entities = details[-1].row["entities"] if details else []
    is_own = mailbox.access == Access.OWN
    return {
        "threadId": str(thread.pk),
        "subject": thread.subject,
        "messageCount": thread.message_count if is_own else thread.shown_count,
        **_whose(mailbox),
        "emails": [email_detail(detail) for detail in details],
        "entities": [entity(one) for one in entities],
    }


def link(row: ThreadLink) -> dict[str, Any]:
    """A decision about a conversation."""
    return {
        "threadId": str(row.thread_id),
        "entityType": row.entity_type,
        "entityId": row.entity_id,
        "how": "manual",
        "createdAt": wire_time(row.decided_at),
    }


# --- for OpenAPI --------------------------------------------------------------------------------------------------


class WhoseShape(CamelSerializer):
    """Whose mailbox it is in, and how much of it the caller sees."""

    is_own = serializers.BooleanField()
    visibility = serializers.ChoiceField(choices=SEEN_AS)
    owner = PersonShape()


class ThreadCopyShape(WhoseShape):
    """The same conversation in another mailbox."""

    thread_id = serializers.UUIDField()


class TimelineItemShape(WhoseShape):
    """A conversation on an entity's timeline."""

    thread_id = serializers.UUIDField()
    subject = serializers.CharField()
    participants = PersonShape(many=True)
    message_count = serializers.IntegerField(help_text="Each message once, however many mailboxes hold it.")
    last_message_at = IsoDateTimeField()
    snippet = serializers.CharField(help_text='"" where the caller sees metadata only.')
    unread = serializers.IntegerField(help_text="Of the caller's own.")
    copies = ThreadCopyShape(many=True)


class ThreadShape(WhoseShape):
    """A thread, oldest message first."""

    thread_id = serializers.UUIDField()
    subject = serializers.CharField()
    message_count = serializers.IntegerField()
    emails = EmailDetailShape(many=True)
    entities = EntityShape(many=True)


class LinkShape(CamelSerializer):
    """A link made by hand."""

    thread_id = serializers.UUIDField()
    entity_type = serializers.CharField()
    entity_id = serializers.CharField()
    how = serializers.ChoiceField(choices=["manual"])
    created_at = IsoDateTimeField()
