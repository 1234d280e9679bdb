"""Events of documents for those who follow, written in the transaction of what they tell."""

from __future__ import annotations

from documents.models import Document
from integrations.models import EventType
from integrations.services import events


def tell(type: EventType, document: Document) -> None:
    """Ids and nothing else: what a reader may see is decided when it is read (ADR 0010)."""
    events.record(
        workspace_id=document.workspace_id,
        type=type,
        payload={
            "documentId": str(document.pk),
            "entityType": document.entity_type,
            "entityId": document.entity_id,
        },
    )
