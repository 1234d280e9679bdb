"""How a document looks in the answers of those who brought one (`integrations.services.files`)."""

from __future__ import annotations

from drf_spectacular.helpers import lazy_serializer

DOCUMENT_SHAPE = lazy_serializer("documents.serializers.DocumentShape")()
"""For OpenAPI only: by dotted path, as the port itself (ADR 31)."""
