"""What a check of `manage.py doctor` reports. Checks are callables without arguments that return findings."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

Level = Literal["ok", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """One thing looked at: how it is, and what to do about it where it is not well."""

    subject: str
    level: Level
    what: str
    mend: str = ""

    def as_json(self) -> dict[str, str]:
        return asdict(self)


def ok(subject: str, what: str) -> Finding:
    """All is well."""
    return Finding(subject, "ok", what)


def warning(subject: str, what: str, mend: str) -> Finding:
    """It works, but not for long or not for everyone."""
    return Finding(subject, "warning", what, mend)


def error(subject: str, what: str, mend: str) -> Finding:
    """It does not work."""
    return Finding(subject, "error", what, mend)
