"""The wire format of mail: what goes out is built from rows, what comes in is checked here.

Lists are built from `.values()` rows by plain functions: a ModelSerializer is the largest single cost of a list
(reference/performance.md). The serializer classes below describe the same shapes for OpenAPI; a test holds them equal.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from rest_framework import serializers

from core.api.pagination import PageParameters, PaginationShape
from core.api.serializers import CamelSerializer, IsoDateTimeField, wire_time
from email_sync.models import FOLDERS, ChangeKind
from email_sync.parsing.replies import reply_text
from email_sync.records import INBOX, ROLES
from email_sync.sanitising import sanitise
from email_sync.serializers.attachments import AttachmentShape, attachment
from email_sync.serializers.calendars import CalendarPartShape, calendar_part
from email_sync.serializers.outgoing import BounceShape, bounce
from email_sync.services import following
from email_sync.services.bulk_changes import BulkResult
from email_sync.services.following import Note
from email_sync.services.linking import ADDRESS, DOMAIN, MANUAL, LinkedEntity
from email_sync.services.reading import Detail, InboxQuery, Row

# --- out ----------------------------------------------------------------------------------------------------------


def email_summary(row: Row) -> dict[str, Any]:
    """An email as lists show it (CONTRACT 4, Email)."""
    folders = [role for role in ROLES if row[f"in_{role}"]]
    return {
        "id": str(row["id"]),
        "connectionId": str(row["connection_id"]),
        "threadId": str(row["thread_id"]),
        "messageId": row["message_id"],
        "folder": folders[0] if folders else row["folder_name"],
        "folders": folders,
        "subject": row["subject"],
        "from": {"name": row["from_name"], "email": row["from_email"]},
        "to": _people(row["recipients"].get("to")),
        "cc": _people(row["recipients"].get("cc")),
        "bcc": _people(row["recipients"].get("bcc")),
        "snippet": row["snippet"],
        "sentAt": _time(row["sent_at"]),
        "receivedAt": _time(row["received_at"]),
        "isRead": row["is_read"],
        "isStarred": row["is_starred"],
        "isArchived": row["in_archive"],
        "hasAttachments": row["has_attachments"],
        "entities": [entity(one) for one in row["entities"]],
        "pendingChanges": row["pending"],
        "defect": row["defect"],
        "metadataOnly": row["body_withheld"],
    }


def email_state(row: Row) -> dict[str, Any]:
    """What may change of an email, as the stream tells it."""
    summary = email_summary(row)
    return {name: summary[name] for name in STATE}


STATE = (
    "id", "connectionId", "threadId", "folder", "folders", "isRead", "isStarred", "isArchived", "entities",
    "pendingChanges",
)  # fmt: skip


def stream_data(note: Note) -> dict[str, Any]:
    """The `data` of one event of the stream: new emails whole, changed ones by their state, else the facts."""
    if note.type == following.UPDATED:
        return {"emails": [email_state(row) for row in note.emails]}
    return email_summary(note.emails[0]) if note.emails else note.facts


def entity(linked: LinkedEntity) -> dict[str, str]:
    """A CRM entity and how a conversation came to it."""
    return {"entityType": linked.entity_type, "entityId": linked.entity_id, "how": linked.how}


def _people(pairs: list[list[str]] | None) -> list[dict[str, str]]:
    return [{"name": name, "email": email} for name, email in pairs or []]


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else wire_time(moment)


def email_detail(detail: Detail) -> dict[str, Any]:
    """An email with its body. HTML is sanitised on every read; remote content stays off."""
    parts = [attachment(part) for part in detail.attachments]
    base = f"/api/v1/integrations/email/{detail.row['id']}/attachments/"
    own = {part["contentId"]: base + part["id"] for part in parts if part["contentId"]}
    clean = sanitise(detail.body.html, cid_urls=own)
    return {
        **email_summary(detail.row),
        "bodyText": detail.body.text,
        "bodyHtml": clean.html,
        "blockedRemoteContent": clean.blocked_remote,
        "replyText": reply_text(detail.body.text),
        "attachments": parts,
        "calendarParts": [calendar_part(part) for part in detail.attachments if part.calendar],
        "headers": [{"name": name, "value": value} for name, value in detail.body.headers],
        "bounces": [bounce(row) for row in detail.bounces],
    }


def bulk_result(done: BulkResult) -> dict[str, Any]:
    """What became of an action on many emails."""
    return {
        "updated": done.updated,
        "unchanged": done.unchanged,
        "failed": [{"id": text, "code": error.code, "message": error.message} for text, error in done.failed],
    }


# --- in -----------------------------------------------------------------------------------------------------------


class InboxParameters(PageParameters):
    """The query of `email/inbox`."""

    folder = serializers.ChoiceField(choices=list(FOLDERS), default=INBOX)
    q = serializers.CharField(default="", allow_blank=True, max_length=500)
    unread = serializers.BooleanField(default=None, allow_null=True)
    connection_id = serializers.UUIDField(default=None, allow_null=True)

    def query(self) -> InboxQuery:
        """The checked query."""
        given = self.validated_data
        return InboxQuery(
            folder=given["folder"],
            q=given["q"],
            unread=bool(given["unread"]),
            connection_id=given["connection_id"],
            paging=self.page_query(),
        )


class FlagBody(CamelSerializer):
    """An empty body toggles, a value sets."""

    read = serializers.BooleanField(required=False)
    starred = serializers.BooleanField(required=False)
    archived = serializers.BooleanField(required=False)


BULK_ACTIONS = {
    "read": (ChangeKind.READ, True),
    "unread": (ChangeKind.READ, False),
    "star": (ChangeKind.STARRED, True),
    "unstar": (ChangeKind.STARRED, False),
    "archive": (ChangeKind.ARCHIVED, True),
    "unarchive": (ChangeKind.ARCHIVED, False),
}


class BulkBody(CamelSerializer):
    """One action on many emails."""

    ids = serializers.ListField(child=serializers.CharField(max_length=100), allow_empty=False, max_length=1000)
    action = serializers.ChoiceField(choices=list(BULK_ACTIONS))

    def change(self) -> dict[str, Any]:
        """What `bulk_changes.change_all` takes."""
        kind, value = BULK_ACTIONS[self.validated_data["action"]]
        return {"ids": self.validated_data["ids"], "kind": kind, "value": value}


# --- for OpenAPI --------------------------------------------------------------------------------------------------


class PersonShape(CamelSerializer):
    name = serializers.CharField()
    email = serializers.CharField()


class EntityShape(CamelSerializer):
    """Several where an address or domain stands for several: all are shown."""

    entity_type = serializers.CharField()
    entity_id = serializers.CharField()
    how = serializers.ChoiceField(choices=[MANUAL, ADDRESS, DOMAIN])


class EmailShape(CamelSerializer):
    """An email as lists show it."""

    id = serializers.UUIDField()
    connection_id = serializers.UUIDField()
    thread_id = serializers.UUIDField()
    message_id = serializers.CharField()
    folder = serializers.CharField()
    folders = serializers.ListField(child=serializers.ChoiceField(choices=list(ROLES)))
    subject = serializers.CharField()
    to = PersonShape(many=True)
    cc = PersonShape(many=True)
    bcc = PersonShape(many=True)
    snippet = serializers.CharField()
    sent_at = IsoDateTimeField(allow_null=True)
    received_at = IsoDateTimeField()
    is_read = serializers.BooleanField()
    is_starred = serializers.BooleanField()
    is_archived = serializers.BooleanField()
    has_attachments = serializers.BooleanField()
    entities = EntityShape(many=True)
    pending_changes = serializers.ListField(child=serializers.CharField())
    defect = serializers.CharField()
    metadata_only = serializers.BooleanField(help_text="Its text is not kept here, as its user wishes.")

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        """`from` is a Python keyword, so it cannot be declared above."""
        return {**super().get_fields(), "from": PersonShape()}


class InboxShape(CamelSerializer):
    """A page of a folder or of a search."""

    pagination = PaginationShape()
    search_complete = serializers.BooleanField(
        help_text="false while mail of a first sync is shown but not all of it can be searched for yet."
    )

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        """`data` is taken in a serializer, so it cannot be declared above."""
        return {"data": EmailShape(many=True), **super().get_fields()}


class HeaderShape(CamelSerializer):
    name = serializers.CharField()
    value = serializers.CharField()


class EmailDetailShape(EmailShape):
    """An email with its body."""

    body_text = serializers.CharField()
    body_html = serializers.CharField()
    blocked_remote_content = serializers.IntegerField()
    reply_text = serializers.CharField()
    attachments = AttachmentShape(many=True)
    calendar_parts = CalendarPartShape(many=True)
    headers = HeaderShape(many=True)
    bounces = BounceShape(many=True, help_text="Of a sent mail: whom it did not reach.")


class BulkFailureShape(CamelSerializer):
    id = serializers.CharField()
    code = serializers.CharField()
    message = serializers.CharField()


class BulkResultShape(CamelSerializer):
    """What became of an action on many emails."""

    updated = serializers.IntegerField()
    unchanged = serializers.IntegerField(help_text="They were so already.")
    failed = BulkFailureShape(many=True)
