"""Where documents' bytes lie: one file per store behind `base.Store`. This table is the registry: DOCUMENT_STORAGE →
dotted path of the class, which carries the key."""

from __future__ import annotations

from functools import cache

from django.conf import settings
from django.core.signals import setting_changed

from core.registry import Registry
from documents.storage.base import Store

DOCUMENT_STORES: Registry[type[Store]] = Registry(
    "document store",
    {"local": "documents.storage.local.LocalStore", "s3": "documents.storage.s3.S3Store"},
    check_id="patchbay.E401",
)


@cache
def store() -> Store:
    """The store this installation uses, made once: it may be used by several threads."""
    return DOCUMENT_STORES.get(settings.DOCUMENT_STORAGE)()


def _forget(**_: object) -> None:
    store.cache_clear()


setting_changed.connect(_forget, dispatch_uid="documents.storage")
