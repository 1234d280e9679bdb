"""The wire form of documents (CONTRACT 4, Documents)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from rest_framework import serializers

from core.api.pagination import PageParameters, PaginationShape, paged_shape
from core.api.serializers import CamelSerializer, IsoDateTimeField, wire_time
from core.work import WorkRow, WorkStatus
from documents.models import MAX_CONTENT_TYPE, Confirmation, Document, DocumentCopy, DocumentStatus, Stage
from documents.services.in_parts import Missing
from documents.services.reading import DocumentsQuery, Filters
from documents.services.standing import Standing
from documents.storage.base import Download, Upload
from entities.serializers import EntityFields, EntityIdField, EntityTypeField

MAX_GIVEN_NAME = 4096
"""A path in front of a name is cut off; what is left may be 255 long."""
SHA256 = re.compile(r"[0-9A-Fa-f]{64}\Z")


class UploadBody(EntityFields):
    """A file that is to come."""

    file_name = serializers.CharField(
        max_length=MAX_GIVEN_NAME, trim_whitespace=False, help_text="Its last part, at most 255 characters, is kept."
    )
    content_type = serializers.CharField(max_length=MAX_CONTENT_TYPE)
    size = serializers.IntegerField(
        min_value=0, required=False, help_text="In bytes. With it the store takes exactly so many."
    )
    sha256 = serializers.RegexField(
        SHA256,
        required=False,
        error_messages={"invalid": "Give 64 hexadecimal digits."},
        help_text="Of the file.",
    )
    parts = serializers.BooleanField(
        required=False, help_text="In parts, where the store takes any, also if one request would do. Needs size."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Where a part begins and ends follows from the size."""
        if attrs.get("parts") and attrs.get("size") is None:
            raise serializers.ValidationError({"size": "Give the size of a file that is to be sent in parts."})
        return attrs


class ArchiveBody(CamelSerializer):
    """Empty: turned over."""

    archived = serializers.BooleanField(required=False)


class DocumentParameters(PageParameters):
    """Query of a list."""

    entity_type = EntityTypeField(default="")
    entity_id = EntityIdField(default="")
    status = serializers.ChoiceField(DocumentStatus.choices, default="")
    archived = serializers.BooleanField(default=None, allow_null=True, help_text="Only archived ones, or only others.")
    content_type = serializers.RegexField(
        r"^[^/\s\x00]+/[^/\s\x00]+\Z", default="", max_length=MAX_CONTENT_TYPE, help_text="image/png, or image/*"
    )
    uploaded_by = serializers.UUIDField(default=None, allow_null=True, help_text="The user's id.")
    q = serializers.CharField(default="", max_length=500, help_text="Words of the file's name; each may go on.")

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        """With the two dates, by their wire names."""
        return {
            **super().get_fields(),
            "from": IsoDateTimeField(source="since", default=None, help_text="Begun then or later."),
            "to": IsoDateTimeField(source="until", default=None, help_text="Begun before."),
        }

    def query(self) -> DocumentsQuery:
        """What is asked for."""
        given = self.validated_data
        filters = Filters(
            entity_type=given["entity_type"],
            entity_id=given["entity_id"],
            status=given["status"],
            archived=given["archived"],
            content_type=given["content_type"].lower(),
            uploaded_by=given["uploaded_by"],
            since=given["since"],
            until=given["until"],
            q=given["q"],
        )
        return DocumentsQuery(filters, self.page_query())


class DownloadParameters(CamelSerializer):
    """Query of a download."""

    redirect = serializers.BooleanField(default=False, help_text="302 to the file itself.")


# --- answers ------------------------------------------------------------------------------------------------------


def document(row: Document) -> dict[str, Any]:
    """As the API shows it."""
    by = row.uploaded_by
    return {
        "id": str(row.pk),
        "fileName": row.file_name,
        "contentType": row.content_type,
        "size": row.size,
        "sha256": row.sha256 or None,
        "status": row.status,
        "rejection": {"code": row.reason, "message": row.reason_text} if row.reason else None,
        "confirmation": confirmation(row),
        "entityType": row.entity_type,
        "entityId": row.entity_id,
        "uploadedBy": {"id": str(by.pk), "name": by.name, "email": by.email} if by else None,
        "createdAt": wire_time(row.created_at),
        "confirmedAt": wire_time(row.confirmed_at) if row.confirmed_at else None,
        "archivedAt": wire_time(row.archived_at) if row.archived_at else None,
    }


def confirmation(row: Document) -> dict[str, Any] | None:
    """How far it is looked at, or why that ended without a word about the file; None where there is nothing to say."""
    if row.status not in (DocumentStatus.PENDING, DocumentStatus.CHECKING):
        return None
    try:
        work = row.confirmation
    except Confirmation.DoesNotExist:
        return None
    waits = work.status == WorkStatus.QUEUED and work.attempts
    return {
        "stage": work.stage if row.status == DocumentStatus.CHECKING else None,
        "done": work.done,
        "total": work.size,
        "attempts": work.attempts,
        "nextAttemptAt": wire_time(work.next_attempt_at) if waits else None,
        "lastError": _error(work),
    }


def _error(work: WorkRow) -> dict[str, str] | None:
    return {"code": work.error_code, "message": work.error_message} if work.error_code else None


def upload(made: Upload | Missing) -> dict[str, Any]:
    """What a client sends its bytes with; `fields` only where it is a form. In parts: all of `missing`, and what stands
    where one request would be is the first part, so that the store refuses whoever sends the whole file there."""
    if isinstance(made, Missing):
        return {**upload(made.parts[0].upload), **missing(made)}
    fields = {"fields": dict(made.fields)} if made.fields is not None else {}
    return {
        "method": made.method,
        "url": made.url,
        "headers": dict(made.headers),
        **fields,
        "expiresAt": wire_time(made.expires_at),
    }


def missing(found: Missing) -> dict[str, Any]:
    """What is still to be sent of an upload in parts."""
    return {
        "partSize": found.part_size,
        "partCount": found.part_count,
        "missing": found.missing,
        "parts": [
            {
                "number": part.number,
                "start": part.start,
                "size": part.size,
                "method": part.upload.method,
                "url": part.upload.url,
                "headers": dict(part.upload.headers),
            }
            for part in found.parts
        ],
        "expiresAt": wire_time(found.expires_at),
    }


def download(made: Download) -> dict[str, str]:
    """Where it can be had."""
    return {"url": made.url, "expiresAt": wire_time(made.expires_at)}


def standing(found: Standing) -> dict[str, Any]:
    """Of the store."""
    return {
        "configured": found.configured,
        "storage": found.storage,
        "maxBytes": found.max_bytes,
        "allowedContentTypes": found.allowed_content_types,
        "publicEndpoint": found.public_endpoint,
        "quotaBytes": max(settings.DOCUMENT_QUOTA_BYTES, 0) or None,
        "check": {"ok": found.ok, "message": found.message},
    }


def copy(row: DocumentCopy) -> dict[str, Any]:
    """How a copy stands."""
    waits = row.status == WorkStatus.QUEUED
    return {
        "id": str(row.pk),
        "action": row.action,
        "status": row.status,
        "integrationId": str(row.integration_id),
        "documentId": str(row.document_id) if row.document_id else None,
        "file": row.result or None,
        "done": row.done,
        "total": row.total,
        "attempts": row.attempts,
        "nextAttemptAt": wire_time(row.next_attempt_at) if waits else None,
        "lastError": _error(row),
        "createdAt": wire_time(row.created_at),
        "finishedAt": wire_time(row.finished_at) if row.finished_at else None,
    }


def with_counts(answer: Mapping[str, Any], counts: Mapping[str, int]) -> dict[str, Any]:
    """A list of an entity."""
    return {**answer, "counts": dict(counts)}


# --- for OpenAPI --------------------------------------------------------------------------------------------------


class UploaderShape(CamelSerializer):
    id = serializers.UUIDField()
    name = serializers.CharField()
    email = serializers.CharField()


class RejectionShape(CamelSerializer):
    code = serializers.CharField()
    message = serializers.CharField()


class WorkErrorShape(CamelSerializer):
    code = serializers.CharField()
    message = serializers.CharField()


class ConfirmationShape(CamelSerializer):
    """How far an upload is looked at (`checking`), or why that ended and it is `pending` again."""

    stage = serializers.ChoiceField(Stage.choices, allow_null=True, help_text="Null: nobody is at it.")
    done = serializers.IntegerField(help_text="Bytes of this stage.")
    total = serializers.IntegerField(help_text="Bytes of the file.")
    attempts = serializers.IntegerField()
    next_attempt_at = IsoDateTimeField(allow_null=True)
    last_error = WorkErrorShape(allow_null=True)


class DocumentShape(CamelSerializer):
    """A document."""

    id = serializers.UUIDField()
    file_name = serializers.CharField()
    content_type = serializers.CharField()
    size = serializers.IntegerField(allow_null=True)
    sha256 = serializers.CharField(allow_null=True, help_text="Of what was confirmed; before, as it was announced.")
    status = serializers.ChoiceField(DocumentStatus.choices)
    rejection = RejectionShape(allow_null=True)
    confirmation = ConfirmationShape(allow_null=True, help_text="Null once it was confirmed, and before.")
    entity_type = serializers.CharField()
    entity_id = serializers.CharField()
    uploaded_by = UploaderShape(allow_null=True)
    created_at = IsoDateTimeField()
    confirmed_at = IsoDateTimeField(allow_null=True)
    archived_at = IsoDateTimeField(allow_null=True)


class PartShape(CamelSerializer):
    """A part that has not come: `size` bytes of the file from `start` on, as the body."""

    number = serializers.IntegerField(help_text="From 1.")
    start = serializers.IntegerField()
    size = serializers.IntegerField(help_text="In bytes.")
    method = serializers.ChoiceField(["PUT"])
    url = serializers.CharField()
    headers = serializers.DictField(child=serializers.CharField())


class MissingPartsShape(CamelSerializer):
    """What is still to be sent of an upload in parts."""

    part_size = serializers.IntegerField(help_text="In bytes, of all parts but the last.")
    part_count = serializers.IntegerField()
    missing = serializers.IntegerField(help_text="How many parts have not come; 0: confirm it.")
    parts = PartShape(many=True, help_text="The first 100 of them.")
    expires_at = IsoDateTimeField(help_text="Until when sending a part has to begin.")


class UploadShape(CamelSerializer):
    """How to send the file: with the headers exactly so; of a form the fields first and the file last, as `file`. Where
    there are `parts`, in these and no other way."""

    method = serializers.ChoiceField(["PUT", "POST"])
    url = serializers.CharField()
    headers = serializers.DictField(child=serializers.CharField())
    fields_ = serializers.DictField(child=serializers.CharField(), required=False, help_text="Of a form.")
    part_size = serializers.IntegerField(required=False, help_text="In bytes, of all parts but the last.")
    part_count = serializers.IntegerField(required=False)
    missing = serializers.IntegerField(required=False, help_text="How many parts have not come.")
    parts = PartShape(many=True, required=False, help_text="The first 100 of them; then `documents/:id/parts`.")
    expires_at = IsoDateTimeField()


class BegunShape(CamelSerializer):
    document = DocumentShape()
    upload = UploadShape()


class DownloadShape(CamelSerializer):
    url = serializers.CharField()
    expires_at = IsoDateTimeField()


class StoreCheckShape(CamelSerializer):
    ok = serializers.BooleanField()
    message = serializers.CharField()


class DocumentConfigShape(CamelSerializer):
    """How documents are stored here."""

    configured = serializers.BooleanField()
    storage = serializers.CharField()
    max_bytes = serializers.IntegerField()
    allowed_content_types = serializers.ListField(child=serializers.CharField(), help_text="Empty: all.")
    public_endpoint = serializers.CharField()
    quota_bytes = serializers.IntegerField(allow_null=True, help_text="Of a workspace; null: not limited.")
    check = StoreCheckShape()


class DocumentCopyShape(CamelSerializer):
    """A document on its way to a file store, or a file of that on its way to being a document."""

    id = serializers.UUIDField()
    action = serializers.CharField()
    status = serializers.ChoiceField(WorkStatus.choices)
    integration_id = serializers.UUIDField()
    document_id = serializers.UUIDField(allow_null=True, help_text="Of a file that comes here: null until it is here.")
    file = serializers.DictField(allow_null=True, help_text="At the vendor; null until the copy is done.")
    done = serializers.IntegerField(help_text="Bytes of this attempt.")
    total = serializers.IntegerField(allow_null=True)
    attempts = serializers.IntegerField()
    next_attempt_at = IsoDateTimeField(allow_null=True)
    last_error = WorkErrorShape(allow_null=True)
    created_at = IsoDateTimeField()
    finished_at = IsoDateTimeField(allow_null=True)


class DocumentCountsShape(CamelSerializer):
    """By state, each counted as far as 10,000."""

    pending = serializers.IntegerField()
    checking = serializers.IntegerField()
    ready = serializers.IntegerField()
    archived = serializers.IntegerField()
    rejected = serializers.IntegerField()


class EntityDocumentsShape(CamelSerializer):
    """A page of an entity's documents."""

    data = DocumentShape(many=True)  # type: ignore[assignment]
    pagination = PaginationShape()
    counts = DocumentCountsShape()


DocumentPageShape = paged_shape(DocumentShape)
