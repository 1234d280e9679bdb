"""Dates, times and rules of events, as Google checks and shows them, and the instances of a series (by dateutil)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dateutil import rrule  # type: ignore[import-untyped]

from simulator.errors import google_error
from simulator.google_access import invalid

Json = dict[str, Any]
LINE = re.compile(r"(RRULE|EXRULE|RDATE|EXDATE)((?:;[A-Z-]+=[^:;]+)*):(.+)")
MAX_INSTANCES = 5000


def zone_of(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise invalid("Invalid time zone definition.", "invalid") from error


def moment_of(given: Json, calendar_zone: str) -> datetime:
    """An instant, in the event's zone; of a date its midnight, without zone."""
    if ("date" in given) == ("dateTime" in given):
        raise invalid("Invalid start time." if given else "Missing start time.", "invalid")
    try:
        if "date" in given:
            return datetime.combine(date.fromisoformat(given["date"]), time())
        moment = datetime.fromisoformat(given["dateTime"])
    except (ValueError, TypeError) as error:
        raise invalid("Invalid value for: Invalid format", "invalid") from error
    if moment.tzinfo is None and not given.get("timeZone"):
        raise invalid("Missing time zone definition for start time.", "required")
    where = zone_of(given.get("timeZone") or calendar_zone)
    return moment.replace(tzinfo=where) if moment.tzinfo is None else moment.astimezone(where)


def shown(moment: datetime, zone: str, calendar_zone: str) -> Json:
    """As Google answers: with the offset of the calendar's zone, beside the name of the event's own."""
    if moment.tzinfo is None:
        return {"date": moment.date().isoformat()}
    return {"dateTime": moment.astimezone(zone_of(calendar_zone)).isoformat(), "timeZone": zone}


def checked(body: Json, calendar_zone: str) -> Json:
    """The times of an event, as they are stored; refuses what Google refuses."""
    start, end = (moment_of(body.get(name) or {}, calendar_zone) for name in ("start", "end"))
    if (start.tzinfo is None) != (end.tzinfo is None):
        raise invalid("Invalid start time.", "invalid")
    if end < start:
        raise google_error(400, "The specified time range is empty.", "timeRangeEmpty")
    zones = [str(body[name].get("timeZone") or calendar_zone) for name in ("start", "end")]
    if body.get("recurrence"):
        if start.tzinfo is not None and not body["start"].get("timeZone"):
            raise invalid("Missing time zone definition for start time.", "required")
        rules(body["recurrence"], start)
    return {"start": shown(start, zones[0], calendar_zone), "end": shown(end, zones[1], calendar_zone)}


def rules(lines: list[str], start: datetime) -> rrule.rruleset:
    """The instances of a series; 400 where a line is none."""
    found = rrule.rruleset()
    try:
        for line in lines:
            matched = LINE.fullmatch(line)
            if matched is None or re.search(r"INTERVAL=0+(;|$)", line):
                raise ValueError(line)
            name, parameters, value = matched.groups()
            if name in ("RRULE", "EXRULE"):
                add = found.rrule if name == "RRULE" else found.exrule
                add(rrule.rrulestr(_until(value, start), dtstart=start))
                continue
            for item in value.split(","):
                (found.rdate if name == "RDATE" else found.exdate)(_listed(item, parameters, start))
    except (ValueError, TypeError, KeyError) as error:
        raise invalid("Invalid recurrence rule.", "invalid") from error
    found.rdate(start)
    return found


def _until(value: str, start: datetime) -> str:
    """With UNTIL of the kind that dateutil wants: in UTC where the start is an instant, else without zone."""
    if start.tzinfo is None:
        return re.sub(r"(UNTIL=\d{8})T\d{6}Z?", r"\1", value)
    return re.sub(r"(UNTIL=\d{8})(?=;|$)", r"\1T235959Z", value)


def _listed(item: str, parameters: str, start: datetime) -> datetime:
    text = item.strip()
    if len(text) == 8:
        day = datetime.strptime(text, "%Y%m%d")  # noqa: DTZ007 - a day
        return day if start.tzinfo is None else datetime.combine(day, start.time(), start.tzinfo)
    if text.endswith("Z"):
        return datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    named = re.search(r"TZID=([^;:]+)", parameters)
    where = zone_of(named[1]) if named else start.tzinfo
    return datetime.strptime(text, "%Y%m%dT%H%M%S").replace(tzinfo=where)


def key_of(moment: datetime) -> str:
    """The end of an instance's id."""
    return f"{moment:%Y%m%d}" if moment.tzinfo is None else f"{moment.astimezone(UTC):%Y%m%dT%H%M%SZ}"


def instance_at(master: Json, key: str, calendar_zone: str) -> Json | None:
    """The instance of a series that an id's end names, unchanged; None where the series has none there."""
    start = moment_of(master["start"], calendar_zone)
    try:
        wanted = _listed(key, "", start)
    except ValueError:
        return None
    if (start.tzinfo is None) != (len(key) == 8):
        return None
    there = rules(master["recurrence"], start).between(wanted - timedelta(1), wanted + timedelta(1), inc=True)
    found = next((moment for moment in there if key_of(moment) == key), None)
    return None if found is None else instance(master, found, calendar_zone)


def instance(master: Json, moment: datetime, calendar_zone: str) -> Json:
    """One instance of a series, as Google shows it."""
    start, end = moment_of(master["start"], calendar_zone), moment_of(master["end"], calendar_zone)
    zone, end_zone = (str(master[name].get("timeZone", "")) for name in ("start", "end"))
    length = end - start
    begins = shown(moment, zone, calendar_zone)
    until = moment + length if moment.tzinfo is None else (moment.astimezone(UTC) + length)
    body = {name: value for name, value in master.items() if name != "recurrence"}
    return body | {
        "id": f"{master['id']}_{key_of(moment)}",
        "recurringEventId": master["id"],
        "originalStartTime": begins,
        "start": begins,
        "end": shown(until, end_zone, calendar_zone),
    }


def moments(master: Json, calendar_zone: str) -> Iterator[datetime]:
    """When a series takes place, the first five thousand times."""
    start = moment_of(master["start"], calendar_zone)
    return islice(rules(master["recurrence"], start), MAX_INSTANCES)
