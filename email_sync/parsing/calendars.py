"""What a calendar part says at a glance: which event, when, by whom (RFC 5545, RFC 5546).

Called by `message`, in the bounded child where the mail is raw. It reads the first event's few lines and nothing else:
no recurrence is expanded, no zone looked up, no attachment followed; whole calendars are `calendar_sync`'s. Promised:
one pass over at most 256 KiB, and nothing the sender writes raises.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime

from email_sync.parsing.attachments import content_type_parameter
from email_sync.parsing.parts import PartNode
from email_sync.parsing.text import decode, one_line
from email_sync.records import CalendarSummary

TYPES = frozenset({"text/calendar", "application/ics"})
MAX_BYTES = 256 * 1024
MAX_LINES = 5_000
MAX_LINE = 4_000
MAX_SUMMARY, MAX_NAME, MAX_ADDRESS, MAX_ZONE = 500, 200, 320, 100

_FOLD = re.compile(r"\r?\n[ \t]")
_METHOD = re.compile(r"[A-Z][A-Z-]{1,30}")
_MOMENT = re.compile(r"(\d{4})(\d\d)(\d\d)(?:T(\d\d)(\d\d)(\d\d)(Z?))?", re.ASCII)
_ESCAPES = {"n": "\n", "N": "\n"}


def is_calendar(part: PartNode) -> bool:
    """By its type alone: names are the sender's whim."""
    return part.content_type.lower() in TYPES


def summary(part: PartNode) -> CalendarSummary:
    """Of the first event. Fields that are missing or make no sense are ""."""
    text = decode((part.body or b"")[:MAX_BYTES], content_type_parameter(part, "charset") or "utf-8")
    found = dict(_first_event(text))
    start, zone = _moment(*found.get("DTSTART", ("", {})))
    end, _ = _moment(*found.get("DTEND", ("", {})))
    organizer, parameters = found.get("ORGANIZER", ("", {}))
    method = (found.get("METHOD", ("", {}))[0] or content_type_parameter(part, "method")).upper()
    return CalendarSummary(
        method=method if _METHOD.fullmatch(method) else "",
        summary=one_line(_unescaped(found.get("SUMMARY", ("", {}))[0]), MAX_SUMMARY),
        start=start,
        end=end,
        time_zone=zone,
        organizer_name=one_line(parameters.get("CN", ""), MAX_NAME),
        organizer_email=_address(organizer),
    )


Property = tuple[str, dict[str, str]]


def _first_event(text: str) -> Iterator[tuple[str, Property]]:
    """Name, value and parameters of the calendar's own lines and of its first event's, not of what is inside that (an
    alarm has a summary too). Later lines of one name win nothing: the first is kept."""
    inside: list[str] = []
    seen: set[str] = set()
    events = 0
    for line in _FOLD.sub("", text).splitlines()[:MAX_LINES]:
        name, value, parameters = _split(line[:MAX_LINE])
        if name == "BEGIN":
            events += value.upper() == "VEVENT"
            inside = [*inside, value.upper()][:20]
        elif name == "END" and inside:
            inside.pop()
        elif name not in seen and (inside == ["VCALENDAR"] or (inside == ["VCALENDAR", "VEVENT"] and events == 1)):
            seen.add(name)
            yield name, (value, parameters)


def _split(line: str) -> tuple[str, str, dict[str, str]]:
    """`NAME;PARAMETER=value;…:value`; a quoted parameter may hold colons and semicolons."""
    pieces, quoted, start = [], False, 0
    for index, character in enumerate(line):
        if character == '"':
            quoted = not quoted
        elif character in ";:" and not quoted:
            pieces.append(line[start:index])
            start = index + 1
            if character == ":":
                break
    else:
        return "", "", {}
    name, *given = pieces
    parameters = {key.upper(): value.strip('"') for key, _, value in (one.partition("=") for one in given)}
    return name.upper(), line[start:], parameters


def _moment(value: str, parameters: dict[str, str]) -> tuple[str, str]:
    """ISO 8601 and the zone as the sender names it: a date, an instant with Z, or a local time."""
    found = _MOMENT.fullmatch(value.strip())
    if found is None:
        return "", ""
    year, month, day, hour, minute, second, utc = found.groups()
    text = f"{year}-{month}-{day}" + (f"T{hour}:{minute}:{second}{utc}" if hour else "")
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return "", ""
    return text, one_line(parameters.get("TZID", ""), MAX_ZONE) if hour and not utc else ""


def _address(value: str) -> str:
    address = one_line(value, MAX_ADDRESS + 7)
    return address[7:] if address.lower().startswith("mailto:") else ""


def _unescaped(value: str) -> str:
    """RFC 5545 3.3.11."""
    return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[1]), value)
