"""The wire format of what leaves a mailbox: mail, aliases (docs/mail.md)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rest_framework import serializers

from core.api.pagination import PageParameters
from core.api.serializers import CamelSerializer, IsoDateTimeField, wire_time
from core.errors import InvalidInput
from email_logs.sources import SOURCES
from email_sync.addresses import parse_address, refuse_controls
from email_sync.composing import OutgoingAttachment, media_type
from email_sync.models import Alias, Bounce, Submission, SubmissionStage
from email_sync.records import Address
from email_sync.services.aliases import MAX_ALIASES
from email_sync.services.enclosing import Enclosure, File
from email_sync.services.sending import Letter
from entities.serializers import EntityIdField, EntityTypeField

MAX_UNDO_SECONDS = 600

# --- out ----------------------------------------------------------------------------------------------------------


def submission(sent: Submission) -> dict[str, Any]:
    """What became of a send."""
    return {
        "id": str(sent.pk),
        "connectionId": str(sent.connection_id),
        "status": sent.stage,
        "messageId": sent.message_id,
        "threadId": str(sent.thread_id) if sent.thread_id else None,
        "draftId": str(sent.draft_id) if sent.draft_id else None,
        "from": sent.sender,
        "recipients": sent.recipients,
        "subject": sent.subject,
        "source": sent.source,
        "entityType": sent.entity_type,
        "entityId": sent.entity_id,
        "createdAt": wire_time(sent.created_at),
        "sendAt": wire_time(sent.send_at) if sent.send_at else None,
        "sentAt": wire_time(sent.sent_at) if sent.sent_at else None,
        "nextAttemptAt": wire_time(sent.next_attempt_at) if sent.next_attempt_at else None,
        "refused": sent.refused,
        "bounces": [bounce(row) for row in sent.bounces.all()],
        "error": {"code": sent.error_code, "message": sent.error_message} if sent.error_code else None,
    }


def bounce(row: Bounce) -> dict[str, Any]:
    """Whom a mail did not reach, in the words of the server that refused it."""
    return {
        "recipient": row.recipient,
        "status": row.status,
        "diagnostic": row.diagnostic,
        "at": wire_time(row.at),
        "emailId": str(row.message_id) if row.message_id else None,
    }


def alias(row: Alias) -> dict[str, Any]:
    """An address a mailbox may send as."""
    return {
        "connectionId": str(row.connection_id),
        "email": row.email,
        "name": row.name,
        "isPrimary": row.is_primary,
        "byUser": row.by_user,
    }


# --- in -----------------------------------------------------------------------------------------------------------


@contextmanager
def _where_it_stands() -> Iterator[None]:
    """What is refused inside is named by its place in the body, in whichever list it lies."""
    try:
        yield
    except InvalidInput as error:
        raise serializers.ValidationError([words for found in error.fields.values() for words in found]) from error


class AttachmentBody(CamelSerializer):
    """A file that comes with the request, or a document of the workspace."""

    document_id = serializers.UUIDField(required=False, help_text="A document that is ready: it alone.")
    file_name = serializers.CharField(max_length=255, required=False)
    content_type = serializers.CharField(max_length=255, required=False, help_text="Default: application/octet-stream.")
    content_base64 = serializers.CharField(trim_whitespace=False, required=False)

    def validate_file_name(self, value: str) -> str:
        with _where_it_stands():
            refuse_controls(value, "fileName")
        return value

    def validate_content_type(self, value: str) -> str:
        with _where_it_stands():
            return media_type(value)

    def validate_content_base64(self, value: str) -> bytes:
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            raise serializers.ValidationError("This is not base64.") from None

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """One of the two."""
        if "document_id" in attrs and len(attrs) > 1:
            raise serializers.ValidationError({"documentId": "Give documentId alone, or a file."})
        for name, wire in (("file_name", "fileName"), ("content_base64", "contentBase64")):
            if "document_id" not in attrs and name not in attrs:
                raise serializers.ValidationError({wire: "Give fileName and contentBase64, or documentId."})
        return attrs


class LeaveBody(CamelSerializer):
    """When a mail leaves, and what it belongs to."""

    send_at = IsoDateTimeField(required=False, allow_null=True, help_text="At most a year ahead; the past means now.")
    undo_seconds = serializers.IntegerField(
        required=False, min_value=0, max_value=MAX_UNDO_SECONDS, help_text="It can be cancelled for so long."
    )
    entity_type = EntityTypeField(required=False)
    entity_id = EntityIdField(required=False)
    source = serializers.ChoiceField(choices=SOURCES, required=False)  # type: ignore[assignment]

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """An entity is a type and an id."""
        for given, missing in (("entity_type", "entity_id"), ("entity_id", "entity_type")):
            if attrs.get(given) and not attrs.get(missing):
                raise serializers.ValidationError({missing: "An entity is a type and an id."})
        return attrs


class PeopleField(serializers.ListField):
    """Addresses: "a@b.c" or "Name <a@b.c>"."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(child=serializers.CharField(max_length=998), max_length=500, **kwargs)


class SendBody(LeaveBody):
    """The body of `email/send`."""

    to = PeopleField(allow_empty=True)
    cc = PeopleField(required=False)
    bcc = PeopleField(required=False)
    subject = serializers.CharField(max_length=998, allow_blank=True, trim_whitespace=False)
    body = serializers.CharField(allow_blank=True, trim_whitespace=False, max_length=5_000_000)
    body_html = serializers.CharField(required=False, allow_blank=True, trim_whitespace=False, max_length=5_000_000)
    connection_id = serializers.UUIDField(required=False)
    from_email = serializers.CharField(required=False, max_length=998, trim_whitespace=False)
    reply_to_id = serializers.UUIDField(required=False)
    forward_of_id = serializers.UUIDField(required=False)
    include_original = serializers.BooleanField(
        required=False, help_text="Of a forward: put the original's words under yours. True unless said."
    )
    attachments = AttachmentBody(many=True, required=False)

    def letter(self, idempotency_key: str) -> Letter:
        """The checked mail. The request's key goes along, so that even our own crash sends nothing twice."""
        given = dict(self.validated_data)
        given["files"] = files(given.pop("attachments", []))
        return Letter(**given, idempotency_key=idempotency_key)


def files(given: list[dict[str, Any]]) -> list[File]:
    """The files of a checked body, in its order."""
    return [_file(item, number) for number, item in enumerate(given)]


def _file(item: dict[str, Any], number: int) -> File:
    if "document_id" in item:
        return Enclosure(item["document_id"], f"attachments.{number}.documentId")
    kind = item.get("content_type", "application/octet-stream")
    return OutgoingAttachment(item["file_name"], kind, item["content_base64"])


class SubmissionParameters(PageParameters):
    """The query of `email/submissions`."""

    status = serializers.ChoiceField(choices=SubmissionStage.choices, default="")
    connection_id = serializers.UUIDField(default=None, allow_null=True)

    def filters(self) -> dict[str, Any]:
        """What the list is narrowed to."""
        return {"stage": self.validated_data["status"], "connection_id": self.validated_data["connection_id"]}


class AliasBody(CamelSerializer):
    """An address and the name it is shown with."""

    email = serializers.CharField(max_length=320)
    name = serializers.CharField(max_length=200, default="", allow_blank=True)

    def validate_email(self, value: str) -> str:
        with _where_it_stands():
            return parse_address(value, "email").email

    def validate_name(self, value: str) -> str:
        with _where_it_stands():
            refuse_controls(value, "name")
        return value


class AliasesBody(CamelSerializer):
    """All a mailbox may send as besides its own address."""

    aliases = AliasBody(many=True, max_length=MAX_ALIASES)  # type: ignore[call-arg]

    def addresses(self) -> list[Address]:
        """The checked list."""
        return [Address(item["name"], item["email"]) for item in self.validated_data["aliases"]]


# --- for OpenAPI --------------------------------------------------------------------------------------------------


class SendErrorShape(CamelSerializer):
    code = serializers.CharField()
    message = serializers.CharField()


class BounceShape(CamelSerializer):
    """Whom a mail did not reach."""

    recipient = serializers.CharField()
    status = serializers.CharField(help_text='RFC 3463: "5.1.1".')
    diagnostic = serializers.CharField()
    at = IsoDateTimeField()
    email_id = serializers.UUIDField(allow_null=True, help_text="The report.")


class SubmissionShape(CamelSerializer):
    """What became of a send."""

    id = serializers.UUIDField()
    connection_id = serializers.UUIDField()
    status = serializers.ChoiceField(choices=SubmissionStage.choices)
    message_id = serializers.CharField()
    thread_id = serializers.UUIDField(allow_null=True)
    draft_id = serializers.UUIDField(allow_null=True)
    recipients = serializers.ListField(child=serializers.CharField())
    subject = serializers.CharField()
    source = serializers.CharField()  # type: ignore[assignment]
    entity_type = serializers.CharField()
    entity_id = serializers.CharField()
    created_at = IsoDateTimeField()
    send_at = IsoDateTimeField(allow_null=True)
    sent_at = IsoDateTimeField(allow_null=True)
    next_attempt_at = IsoDateTimeField(allow_null=True, help_text="When the provider is called or asked next.")
    refused = serializers.ListField(child=serializers.CharField())
    bounces = BounceShape(many=True)
    error = SendErrorShape(allow_null=True)

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        """`from` is a Python keyword, so it cannot be declared above."""
        return {**super().get_fields(), "from": serializers.CharField()}


class AliasShape(CamelSerializer):
    connection_id = serializers.UUIDField()
    email = serializers.CharField()
    name = serializers.CharField()
    is_primary = serializers.BooleanField()
    by_user = serializers.BooleanField(help_text="Named by the user, not by the provider.")
