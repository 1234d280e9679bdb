"""The wire format of drafts (docs/mail.md)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from rest_framework import serializers

from core.api.serializers import CamelSerializer, IsoDateTimeField, wire_time
from email_sync.models import Attachment, Draft, DraftFile, Message
from email_sync.serializers.attachments import AttachmentShape, attachment
from email_sync.serializers.outgoing import AttachmentBody, LeaveBody, PeopleField, SendErrorShape, files
from email_sync.services.draft_refreshing import DraftConflict, content_of
from email_sync.services.drafts import FIELDS, Changes, shown

STATES = ("saved", "pending", "failed", "sending", "gone")
"""`pending`: the provider does not have this revision yet. `failed`: it refused it. `sending`: its mail is on its way.
`gone`: it was changed, sent or removed elsewhere."""


def draft(message: Message) -> dict[str, Any]:
    """A draft as its editor shows it; `services.drafts` has read what is asked for here."""
    row: Draft | None = getattr(message, "draft", None)
    content = row.content if row else content_of(message)
    error = {"code": row.error_code, "message": row.error_message} if row and row.error_code else None
    return {
        "id": str(message.pk),
        "connectionId": str(message.connection_id),
        "threadId": str(message.thread_id),
        "revision": row.revision if row else 1,
        "state": _state(message, row),
        "error": error,
        "fromEmail": content.get("from_email", ""),
        "to": content.get("to", []),
        "cc": content.get("cc", []),
        "bcc": content.get("bcc", []),
        "subject": content.get("subject", ""),
        "body": content.get("body", ""),
        "bodyHtml": content.get("body_html", ""),
        "attachments": _attachments(message, row),
        "updatedAt": wire_time(message.updated_at),
    }


@contextmanager
def telling() -> Iterator[None]:
    """A conflict brings the present draft along, so that its editor can show it beside what was refused."""
    try:
        yield
    except DraftConflict as conflict:
        present = conflict.present
        conflict.extra["draft"] = draft(shown(present)) if present and not present.body_withheld else None
        raise


def _state(message: Message, row: Draft | None) -> str:
    if message.is_leaving:  # type: ignore[attr-defined]  # annotated by `services.drafts`
        return "sending"
    if message.removed_at is not None or not message.in_drafts:
        return "gone"
    if row is None or row.saved_revision >= row.revision:
        return "saved"
    return "failed" if row.error_code and row.next_attempt_at is None and row.lease_until is None else "pending"


def _attachments(message: Message, row: Draft | None) -> list[dict[str, Any]]:
    parts: Iterable[Attachment | DraftFile] = row.files.all() if row else message.attachments.all()
    return [attachment(part) for part in parts]


class DraftFields(CamelSerializer):
    """What a draft says. All of it may be missing: it is a draft."""

    to = PeopleField(required=False)
    cc = PeopleField(required=False)
    bcc = PeopleField(required=False)
    subject = serializers.CharField(required=False, max_length=998, allow_blank=True, trim_whitespace=False)
    body = serializers.CharField(required=False, allow_blank=True, trim_whitespace=False, max_length=5_000_000)
    body_html = serializers.CharField(required=False, allow_blank=True, trim_whitespace=False, max_length=5_000_000)
    from_email = serializers.CharField(required=False, allow_blank=True, max_length=998, trim_whitespace=False)
    attachments = AttachmentBody(many=True, required=False, help_text="Files to add.")

    def changes(self) -> Changes:
        """What the request says."""
        given = self.validated_data
        return Changes(
            fields={name: given[name] for name in FIELDS if name in given},
            files=files(given.get("attachments", [])),
            kept=given.get("keep_attachments"),
            revision=given.get("revision"),
        )


class DraftBody(DraftFields):
    """A new draft."""

    connection_id = serializers.UUIDField(required=False)
    reply_to_id = serializers.UUIDField(required=False)


class DraftChangeBody(DraftFields):
    """What changes of a draft; what is left out stays."""

    keep_attachments = serializers.ListField(
        child=serializers.UUIDField(), required=False, max_length=100, help_text="Which files stay; all unless said."
    )
    revision = serializers.IntegerField(
        required=False, min_value=1, help_text="The revision you saw: another one is a 409."
    )


class DraftSendBody(LeaveBody):
    """When a draft leaves, and what it belongs to."""


class DraftShape(CamelSerializer):
    """A draft, made here or elsewhere."""

    id = serializers.UUIDField(help_text="The id of its email, too.")
    connection_id = serializers.UUIDField()
    thread_id = serializers.UUIDField()
    revision = serializers.IntegerField()
    state = serializers.ChoiceField(choices=STATES)
    error = SendErrorShape(allow_null=True)
    from_email = serializers.CharField()
    to = serializers.ListField(child=serializers.CharField())
    cc = serializers.ListField(child=serializers.CharField())
    bcc = serializers.ListField(child=serializers.CharField())
    subject = serializers.CharField()
    body = serializers.CharField()
    body_html = serializers.CharField()
    attachments = AttachmentShape(many=True)
    updated_at = IsoDateTimeField()
