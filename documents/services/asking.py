"""Asking the store on somebody's behalf: where it is down they are told to come again, and nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from core.errors import ProviderRateLimited, ProviderUnavailable, ServiceBusy

RETRY_AFTER_SECONDS = 15.0


@contextmanager
def asking() -> Iterator[None]:
    """ServiceBusy (503) for a store that is down or tells to wait."""
    try:
        yield
    except (ProviderUnavailable, ProviderRateLimited) as error:
        wait = error.retry_after if isinstance(error, ProviderRateLimited) else RETRY_AFTER_SECONDS
        words = f"Documents cannot be stored or looked at now; nothing is lost. {error.message}"
        raise ServiceBusy(words, retry_after=wait, code="storage_unavailable") from error
