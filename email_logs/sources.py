"""Where a mail originates: the eight labels of the source document. Another one is refused."""

from __future__ import annotations

SOURCES = (
    "Workflow Automation",
    "Matter Email Step",
    "Matter Form Step",
    "Workflow Step",
    "Workflow Email",
    "Form Send",
    "Submission Share",
    "Matter Step",
)
