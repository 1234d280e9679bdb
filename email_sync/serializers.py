"""The wire format of mail: what goes out is built from rows, what comes in is checked here.

Lists are built from `.values()` rows by plain functions: a ModelSerializer is the largest single cost of a list
(reference/performance.md). The serializer classes below describe the same shapes for OpenAPI; a test holds them equal.
"""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from typing import Any

from rest_framework import serializers

from core.api.pagination import PageParameters
from core.api.serializers import CamelSerializer, IsoDateTimeField, wire_time
from email_sync.composing import OutgoingAttachment
from email_sync.models import FOLDERS, Submission, SubmissionStage, Thread
from email_sync.parsing.replies import reply_text
from email_sync.records import INBOX, ROLES
from email_sync.sanitising import sanitise
from email_sync.services.reading import Detail, InboxQuery, Row
from email_sync.services.sending import Draft

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
        "entities": [],
        "pendingChanges": row["pending"],
        "defect": row["defect"],
    }


def _people(pairs: list[list[str]] | None) -> list[dict[str, str]]:
    return [{"name": name, "email": email} for name, email in pairs or []]


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else wire_time(moment)


def email_detail(detail: Detail) -> dict[str, Any]:
    """An email with its body. HTML is sanitised on every read; remote content stays off."""
    parts: list[dict[str, Any]] = [
        {
            "id": str(part.pk),
            "fileName": part.file_name,
            "contentType": part.content_type,
            "size": part.size,
            "inline": part.inline,
            "contentId": part.content_id,
        }
        for part in detail.attachments
    ]
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
        "headers": [{"name": name, "value": value} for name, value in detail.body.headers],
    }


def thread_detail(thread: Thread, details: list[Detail]) -> dict[str, Any]:
    """A thread, oldest message first."""
    return {
        "threadId": str(thread.pk),
        "subject": thread.subject,
        "messageCount": thread.message_count,
        "emails": [email_detail(detail) for detail in details],
        "entities": [],
    }


def submission(sent: Submission) -> dict[str, Any]:
    """What became of a send."""
    return {
        "id": str(sent.pk),
        "connectionId": str(sent.connection_id),
        "status": sent.stage,
        "messageId": sent.message_id,
        "threadId": str(sent.thread_id) if sent.thread_id else None,
        "refused": sent.refused,
        "error": {"code": sent.error_code, "message": sent.error_message} if sent.error_code else None,
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


class AttachmentBody(CamelSerializer):
    """A file that comes with the request."""

    file_name = serializers.CharField(max_length=255)
    content_type = serializers.CharField(max_length=255, default="application/octet-stream")
    content_base64 = serializers.CharField(trim_whitespace=False)

    def validate_content_base64(self, value: str) -> bytes:
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            raise serializers.ValidationError("This is not base64.") from None


class SendBody(CamelSerializer):
    """The body of `email/send`."""

    to = serializers.ListField(child=serializers.CharField(max_length=998), allow_empty=True, max_length=500)
    cc = serializers.ListField(child=serializers.CharField(max_length=998), required=False, max_length=500)
    bcc = serializers.ListField(child=serializers.CharField(max_length=998), required=False, max_length=500)
    subject = serializers.CharField(max_length=998, allow_blank=True, trim_whitespace=False)
    body = serializers.CharField(allow_blank=True, trim_whitespace=False, max_length=5_000_000)
    body_html = serializers.CharField(required=False, allow_blank=True, trim_whitespace=False, max_length=5_000_000)
    connection_id = serializers.UUIDField(required=False)
    reply_to_id = serializers.UUIDField(required=False)
    attachments = AttachmentBody(many=True, required=False)

    def draft(self, idempotency_key: str) -> Draft:
        """The checked mail. The request's key goes along, so that even our own crash sends nothing twice."""
        given = dict(self.validated_data)
        files = [
            OutgoingAttachment(file["file_name"], file["content_type"], file["content_base64"])
            for file in given.pop("attachments", [])
        ]
        return Draft(**given, attachments=files, idempotency_key=idempotency_key)


# --- for OpenAPI --------------------------------------------------------------------------------------------------


class PersonShape(CamelSerializer):
    name = serializers.CharField()
    email = serializers.CharField()


class EntityShape(CamelSerializer):
    entity_type = serializers.CharField()
    entity_id = serializers.CharField()


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

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        """`from` is a Python keyword, so it cannot be declared above."""
        return {**super().get_fields(), "from": PersonShape()}


class AttachmentShape(CamelSerializer):
    id = serializers.UUIDField()
    file_name = serializers.CharField()
    content_type = serializers.CharField()
    size = serializers.IntegerField()
    inline = serializers.BooleanField()
    content_id = serializers.CharField()


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
    headers = HeaderShape(many=True)


class ThreadShape(CamelSerializer):
    """A thread, oldest message first."""

    thread_id = serializers.UUIDField()
    subject = serializers.CharField()
    message_count = serializers.IntegerField()
    emails = EmailDetailShape(many=True)
    entities = EntityShape(many=True)


class SendErrorShape(CamelSerializer):
    code = serializers.CharField()
    message = serializers.CharField()


class SubmissionShape(CamelSerializer):
    """What became of a send."""

    id = serializers.UUIDField()
    connection_id = serializers.UUIDField()
    status = serializers.ChoiceField(choices=SubmissionStage.choices)
    message_id = serializers.CharField()
    thread_id = serializers.UUIDField(allow_null=True)
    refused = serializers.ListField(child=serializers.CharField())
    error = SendErrorShape(allow_null=True)


class CountShape(CamelSerializer):
    total = serializers.IntegerField()
    unread = serializers.IntegerField()
