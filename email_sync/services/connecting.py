"""Checking an IMAP account before it is saved: what `settings.CONNECTION_CHECKS["imap"]` names.

Called by `integrations.services.connections.connect_imap`, which turns these errors into a 422 and saves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

from email_sync.providers.base import MailAccount
from email_sync.providers.imap import Imap


def check_imap(*, email: str, settings: Mapping[str, object], secrets: Mapping[str, str]) -> None:
    """Log in to IMAP and to SMTP. ProviderAuthError: refused; ProviderUnavailable: not reached; EgressRefused."""
    Imap.check(MailAccount(email=email, settings=settings, secrets=secrets))
