"""Stand-ins for the log-in check, for tests of what its outcome means. The real one is tested with real servers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.errors import EgressRefused, ProviderAuthError, ProviderRejected, ProviderUnavailable

seen: list[dict[str, Any]] = []


def _note(email: str, settings: Mapping[str, object], secrets: Mapping[str, str]) -> None:
    seen.append({"email": email, "settings": settings, "secrets": secrets})


def passes(*, email: str, settings: Mapping[str, object], secrets: Mapping[str, str]) -> None:
    _note(email, settings, secrets)


def refuses(*, email: str, settings: Mapping[str, object], secrets: Mapping[str, str]) -> None:
    raise ProviderAuthError("The IMAP server refused the log-in: Invalid credentials.")


def unreachable(*, email: str, settings: Mapping[str, object], secrets: Mapping[str, str]) -> None:
    raise ProviderUnavailable("imap.example.org did not answer.")


def odd(*, email: str, settings: Mapping[str, object], secrets: Mapping[str, str]) -> None:
    raise ProviderRejected("imap.example.org speaks no IMAP.")


def private(*, email: str, settings: Mapping[str, object], secrets: Mapping[str, str]) -> None:
    raise EgressRefused()
