"""The console's pages of outbound mail: the log of each provider, what waits, whom not to write to, mirrors.

Entries are looked at and never edited. Of mail that users sent from their own mailboxes the console shows what their
users show colleagues, and no more (threat 18). Every change goes through the service that the API calls.
"""

from __future__ import annotations

from email_logs.admin.entries import EmailLogEntryAdmin
from email_logs.admin.mirrors import EmailLogMirrorAdmin
from email_logs.admin.outgoing import OutgoingEmailAdmin
from email_logs.admin.suppressions import SuppressionAdmin
from email_logs.admin.tables import EmailLogTableAdmin

__all__ = (
    "EmailLogEntryAdmin",
    "EmailLogMirrorAdmin",
    "EmailLogTableAdmin",
    "OutgoingEmailAdmin",
    "SuppressionAdmin",
)
