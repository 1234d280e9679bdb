"""Log tables, their entries, what providers told of them; mail on its way; whom not to write to.

The entry table holds every outbound mail of the installation and may be partitioned by its id, which begins with the
time: nothing else in it is unique and nothing refers to it by a constraint.
"""

from __future__ import annotations

from email_logs.models.entry import DeliveryEvent, EmailLogDay, EmailLogEntry, EmailLogTable
from email_logs.models.erasure import PersonalDataErasure
from email_logs.models.export import EmailLogExport, ExportChunk
from email_logs.models.follower import DayCount
from email_logs.models.mirror import EmailLogMirror
from email_logs.models.outgoing import OutgoingEmail
from email_logs.models.suppression import Suppression

__all__ = (
    "DayCount",
    "DeliveryEvent",
    "EmailLogDay",
    "EmailLogEntry",
    "EmailLogExport",
    "EmailLogMirror",
    "EmailLogTable",
    "ExportChunk",
    "OutgoingEmail",
    "PersonalDataErasure",
    "Suppression",
)
