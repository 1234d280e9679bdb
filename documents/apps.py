"""The app's configuration."""

from __future__ import annotations

from django.apps import AppConfig


class DocumentsConfig(AppConfig):
    """Documents and where their bytes lie."""

    name = "documents"

    def ready(self) -> None:
        """Every store loads and carries its key."""
        from documents.storage import DOCUMENT_STORES

        DOCUMENT_STORES.register_check()
