"""Mail with a calendar part is shown and does nothing. Whoever knows an event's UID can write to those invited, in the
organizer's name too, so only the calendar's own server is believed.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from calendar_sync.models import CalendarEvent
from calendar_sync.providers import CALENDAR_PROVIDERS
from calendar_sync.records import Invited, Person
from calendar_sync.tests import conftest as calendars
from calendar_sync.tests import memory as calendar_memory
from calendar_sync.tests.factories import connect, remote, resource
from email_sync.models import Message
from email_sync.providers import MAIL_PROVIDERS
from email_sync.tests import conftest as mail
from email_sync.tests import memory as mail_memory
from integrations.models import SyncState
from tests.world import fingerprint
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db

API = "/api/v1/integrations"
READER, ORGANIZER, STRANGER = "ada@contract.test", "chair@mine.test", "mallory@evil.example"
UID = "board@mine.test"
LATER = ("DTSTART:20300101T000000Z", "DTEND:20300101T010000Z")
SAID = {
    "CANCEL": ("STATUS:CANCELLED", "DTSTART:20260105T080000Z"),
    "REQUEST": (*LATER, "SUMMARY:Elsewhere", "LOCATION:https://evil.example/join"),
    "REPLY": ("DTSTART:20260105T080000Z",),
}
"""Method → what the part wants of the event."""


@pytest.fixture
def mailbox(member: Actor, monkeypatch: pytest.MonkeyPatch) -> mail.Account:
    """The reader's account, which has a calendar too."""
    connection = connect(member, READER)
    SyncState.objects.create(connection=connection, type="email")
    made = mail.Account(connection)
    monkeypatch.setitem(MAIL_PROVIDERS._loaded, mail_memory.Memory.key, mail_memory.Memory)
    monkeypatch.setattr(mail_memory.Memory, "mailboxes", {READER: made.box})
    return made


@pytest.fixture
def calendar(mailbox: mail.Account, monkeypatch: pytest.MonkeyPatch) -> calendars.Account:
    """It holds a meeting that the reader accepted, and one of the reader's own with somebody who has not answered."""
    made = calendars.Account(mailbox.connection)
    made.box.add_calendar("/work/")
    accepted = Invited(READER, response="accepted")
    invited = remote("Board", uid=UID, organizer=Person(ORGANIZER), attendees=(accepted,))
    own = remote(
        "Own",
        datetime(2026, 1, 6, 9),
        uid=f"own-{UID}",
        organizer=Person(READER),
        attendees=(Invited("bob@mine.test"),),
    )
    for event in (invited, own):
        made.box.put("/work/", resource(event))
    monkeypatch.setitem(CALENDAR_PROVIDERS._loaded, calendar_memory.Memory.key, calendar_memory.Memory)
    monkeypatch.setattr(calendar_memory.Memory, "boxes", {READER: made.box})
    made.sync()
    return made


def letter(method: str, uid: str, sender: str) -> bytes:
    lines = [
        f"From: {sender}", f"To: {READER}", "Subject: Invitation", f"Message-ID: <{method}.{uid}>", "MIME-Version: 1.0",
        f"Content-Type: text/calendar; method={method}; charset=utf-8", "",
        "BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//Evil//EN", f"METHOD:{method}", "BEGIN:VEVENT", f"UID:{uid}",
        "SEQUENCE:99", "DTSTAMP:20290101T000000Z", f"ORGANIZER:mailto:{sender}",
        f"ATTENDEE;PARTSTAT=DECLINED:mailto:{READER}", "ATTENDEE;PARTSTAT=DECLINED:mailto:bob@mine.test",
        f"ATTENDEE;PARTSTAT=ACCEPTED:mailto:{STRANGER}", *SAID[method], "END:VEVENT", "END:VCALENDAR", "",
    ]  # fmt: skip
    return "\r\n".join(lines).encode()


def stored() -> dict[str, Any]:
    """Everything that is kept of calendars."""
    return {table: rows for table, rows in fingerprint().items() if table.startswith("calendar_sync_")}


@pytest.mark.parametrize("method", SAID)
@pytest.mark.parametrize("sender", [STRANGER, ORGANIZER])
def test_mail_with_a_calendar_part_changes_nothing_in_the_readers_calendar(
    mailbox: mail.Account, calendar: calendars.Account, member: Actor, method: str, sender: str
) -> None:
    shown = f"{API}/calendar/events?start=2026-01-01T00:00:00Z&end=2026-12-31T00:00:00Z"
    before, events, told = stored(), member.client.get(shown).json(), calendar.told()
    remote_side, asked = dict(calendar.box.resources["/work/"]), list(calendar.box.asked)
    assert [event["title"] for event in events["data"]] == ["Board", "Own"]
    assert before["calendar_sync_calendarevent"][0] == 2

    for uid in (UID, f"own-{UID}", "unknown@evil.example"):
        mailbox.box.append(letter(method, uid, sender), "inbox")
    mailbox.sync()

    for message in Message.objects.all():
        [part] = member.client.get(f"{API}/email/{message.pk}").json()["calendarParts"]
        assert part["method"] == method
    assert Message.objects.count() == 3
    assert stored() == before
    assert member.client.get(shown).json() == events
    assert calendar.told() == told
    assert (calendar.box.resources["/work/"], calendar.box.asked) == (remote_side, asked)

    calendar.sync()
    assert (calendar.box.resources["/work/"], CalendarEvent.objects.count()) == (remote_side, 2)
    assert member.client.get(shown).json() == events
