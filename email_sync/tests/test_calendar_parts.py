"""Invitations in mail: shown at a glance, read with care, never trusted."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from email_sync.models import Attachment, Message
from email_sync.parsing import calendars, wire
from email_sync.parsing.bounded import BoundedParser
from email_sync.parsing.message import parse
from email_sync.parsing.parts import PartNode
from email_sync.records import CalendarSummary
from email_sync.serializers.calendars import calendar_part
from email_sync.tests.conftest import Account
from workspaces.tests.fixtures import Actor

INVITE = b"""BEGIN:VCALENDAR\r
PRODID:-//Example//EN\r
METHOD:REQUEST\r
BEGIN:VTIMEZONE\r
TZID:Europe/Berlin\r
BEGIN:STANDARD\r
DTSTART:16010101T030000\r
END:STANDARD\r
END:VTIMEZONE\r
BEGIN:VEVENT\r
UID:1@example.com\r
SUMMARY;LANGUAGE=en:Budget\\, part 2: the\r
  long\\nway\r
DTSTART;TZID=Europe/Berlin:20260331T100000\r
DTEND;TZID="Europe/Berlin":20260331T113000\r
ORGANIZER;CN="Lovelace; Ada: Dr.":MAILTO:ada@example.com\r
RRULE:FREQ=SECONDLY\r
BEGIN:VALARM\r
SUMMARY:Alarm\r
END:VALARM\r
END:VEVENT\r
BEGIN:VEVENT\r
SUMMARY:Another\r
END:VEVENT\r
END:VCALENDAR\r
"""
SAID = CalendarSummary(
    "REQUEST", "Budget, part 2: the long way", "2026-03-31T10:00:00", "2026-03-31T11:30:00", "Europe/Berlin",
    "Lovelace; Ada: Dr.", "ada@example.com",
)  # fmt: skip


def letter(content: bytes = INVITE, content_type: str = "text/calendar; method=REQUEST; charset=utf-8") -> bytes:
    return (
        b"From: ada@example.com\r\nSubject: Invitation\r\nMessage-ID: <invite@example.com>\r\nMIME-Version: 1.0\r\n"
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nPlease come.\r\n--b\r\nContent-Type: "
        + content_type.encode()
        + b"\r\n\r\n"
        + content
        + b"\r\n--b--\r\n"
    )


def said(text: str, **parameters: str) -> CalendarSummary:
    content_type = "; ".join(["text/calendar", *(f"{name}={value}" for name, value in parameters.items())])
    return calendars.summary(PartNode("1", "text/calendar", (("Content-Type", content_type),), body=text.encode()))


def event(*lines: str) -> str:
    return "\n".join(["BEGIN:VCALENDAR", "BEGIN:VEVENT", *lines, "END:VEVENT", "END:VCALENDAR"])


@pytest.mark.parametrize("content_type", ["text/calendar; method=REQUEST", "APPLICATION/ICS; name=invite.ics"])
def test_invitation_is_an_attachment_that_says_what_it_is(content_type: str) -> None:
    parsed = parse(letter(content_type=content_type))
    [part] = parsed.attachments
    assert part.calendar == SAID
    assert parsed.text == "Please come."
    assert wire.decode(wire.encode(parsed)).attachments == parsed.attachments


@pytest.mark.parametrize(
    ("lines", "start", "zone"),
    [
        (["DTSTART:20260331T100000Z"], "2026-03-31T10:00:00Z", ""),
        (["DTSTART;VALUE=DATE:20260331"], "2026-03-31", ""),
        (["DTSTART:20260331T100000"], "2026-03-31T10:00:00", ""),
        (["DTSTART;TZID=W. Europe Standard Time:20260331T100000"], "2026-03-31T10:00:00", "W. Europe Standard Time"),
        (["DTSTART:20261399T100000Z"], "", ""),
        (["DTSTART:tomorrow"], "", ""),
        (["DTSTART"], "", ""),
        (["DTSTART:20260101", "DTSTART:20270101"], "2026-01-01", ""),
        ([], "", ""),
    ],
)
def test_start_is_what_the_sender_wrote_or_nothing(lines: list[str], start: str, zone: str) -> None:
    found = said(event(*lines))
    assert (found.start, found.time_zone) == (start, zone)


def test_method_comes_from_the_type_where_the_calendar_has_none() -> None:
    assert said(event("SUMMARY:x"), method="cancel").method == "CANCEL"
    assert said("METHOD:" + "X" * 5000).method == ""
    assert said(event("SUMMARY:x"), method="<b>").method == ""


def test_organizer_that_is_no_address_is_nobody() -> None:
    assert said(event("ORGANIZER:https://evil.example")).organizer_email == ""
    assert said(event("ORGANIZER;CN=x\x00\x07y:mailto:a@b.example")).organizer_name == "x y"


@given(st.text(), st.text())
def test_summary_of_anything_raises_nothing_and_fits(before: str, inside: str) -> None:
    found = said(before + event(inside, "SUMMARY:" + inside, "ORGANIZER;CN=" + inside + ":mailto:" + inside))
    assert len(found.summary) <= calendars.MAX_SUMMARY
    assert "\x00" not in found.summary + found.organizer_name + found.organizer_email


@pytest.mark.parametrize(
    "bomb",
    [
        "BEGIN:VEVENT\n" * 100_000,
        "BEGIN:VCALENDAR\n" + "SUMMARY;" + 'A="' * 500_000,
        "X" + "\n " * 500_000,
        event("SUMMARY:" + "\\" * 1_000_000),
        event("ATTENDEE:mailto:a@example.com\n" * 100_000),
    ],
)
def test_summary_of_a_bomb_takes_no_time(bomb: str) -> None:
    began = time.process_time()
    said(bomb)
    assert time.process_time() - began < 2


def test_a_thousand_invitations_in_one_mail_are_read_a_few_times() -> None:
    part = b"--b\r\nContent-Type: text/calendar\r\n\r\n" + INVITE + b"\r\n"
    raw = letter().replace(b"--b--", part * 900 + b"--b--")
    parsed = parse(raw)
    assert sum(attachment.calendar is not None for attachment in parsed.attachments) == 5
    assert len(parsed.attachments) == 901


def test_bounded_child_brings_the_invitation_through() -> None:
    with BoundedParser() as parser:
        [parsed] = parser.parse_many([letter()])
    assert parsed.attachments[0].calendar == SAID


@pytest.mark.parametrize(
    ("start", "zone", "shown"),
    [
        ("2026-03-31T10:00:00", "Europe/Berlin", "2026-03-31T08:00:00.000Z"),
        ("2026-03-31T10:00:00", "W. Europe Standard Time", "2026-03-31T10:00:00"),
        ("2026-03-31T10:00:00", "../../etc/passwd", "2026-03-31T10:00:00"),
        ("2026-03-31T10:00:00", "Europe", "2026-03-31T10:00:00"),
        ("0001-01-01T00:00:00", "Asia/Tokyo", "0001-01-01T00:00:00"),
        ("2026-03-31T10:00:00Z", "", "2026-03-31T10:00:00.000Z"),
        ("2026-03-31", "", "2026-03-31"),
        ("", "", None),
    ],
)
def test_time_of_a_known_zone_is_shown_in_utc_and_any_other_as_it_came(start: str, zone: str, shown: Any) -> None:
    columns = {"method": "", "summary": "", "start": start, "end": "", "time_zone": zone}
    part = Attachment(calendar={**columns, "organizer_name": "", "organizer_email": ""})
    answer = calendar_part(part)
    assert (answer["start"], answer["end"], answer["organizer"]) == (shown, None, None)


@pytest.mark.django_db
def test_email_detail_shows_the_invitation_beside_its_attachment(account: Account, member: Actor) -> None:
    account.box.append(letter(), "inbox")
    account.sync()
    message = Message.objects.get()
    detail = member.client.get(f"/api/v1/integrations/email/{message.pk}").json()
    [attachment] = detail["attachments"]
    assert detail["calendarParts"] == [
        {
            "attachmentId": attachment["id"],
            "method": "REQUEST",
            "summary": "Budget, part 2: the long way",
            "start": "2026-03-31T08:00:00.000Z",
            "end": "2026-03-31T09:30:00.000Z",
            "timeZone": "Europe/Berlin",
            "organizer": {"name": "Lovelace; Ada: Dr.", "email": "ada@example.com"},
        }
    ]
    whole = member.client.get(f"/api/v1/integrations/email/{message.pk}/attachments/{attachment['id']}")
    assert whole.content.strip() == INVITE.strip()
    assert whole.headers["Content-Type"] == "application/octet-stream"
