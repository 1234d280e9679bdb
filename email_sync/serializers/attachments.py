"""The wire format of an attachment, wherever one is listed (CONTRACT 4): of an email, of a draft stored here."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from core.api.serializers import CamelSerializer
from email_sync.models import Attachment, DraftFile


def attachment(part: Attachment | DraftFile) -> dict[str, Any]:
    """One of them. A file of a draft is inline where its HTML shows it."""
    return {
        "id": str(part.pk),
        "fileName": part.file_name,
        "contentType": part.content_type,
        "size": part.size,
        "inline": part.inline if isinstance(part, Attachment) else bool(part.content_id),
        "contentId": part.content_id,
    }


class AttachmentShape(CamelSerializer):
    id = serializers.UUIDField()
    file_name = serializers.CharField()
    content_type = serializers.CharField()
    size = serializers.IntegerField()
    inline = serializers.BooleanField()
    content_id = serializers.CharField()
