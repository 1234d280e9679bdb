"""The console's pages of documents and of their copies to file stores and back."""

from __future__ import annotations

from documents.admin.copies import DocumentCopyAdmin
from documents.admin.documents import DocumentAdmin

__all__ = ("DocumentAdmin", "DocumentCopyAdmin")
