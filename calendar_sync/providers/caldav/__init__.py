"""CalDAV: any server that speaks RFC 4791, by its address and a password. docs/calendars.md is the page for users.

Changes come by sync-collection (RFC 6578) where the server has it, else the ctag says that something changed and
everything is compared. Servers lose, forge and forget sync tokens in every way there is (reference 5.2); all of them
end in CursorExpired, and the daily comparison finds those that say nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar
from xml.etree.ElementTree import Element

from calendar_sync import content, zones
from calendar_sync.content import BadCalendar
from calendar_sync.ics import read_events
from calendar_sync.providers.base import CalendarAccount
from calendar_sync.providers.caldav import discovery
from calendar_sync.providers.caldav.dav import APPLE, CALDAV, CALENDARSERVER, DAV, Answer, Dav, Member, prop, same_place
from calendar_sync.providers.caldav.writing import CalDavWriter
from calendar_sync.records import NO_EVENT, ChangePage, ListingPage, RemoteCalendar, RemoteResource
from core.errors import CursorExpired, ProviderUnavailable
from core.http import raise_for_provider

SYNC, CTAG = "sync:", "ctag:"
"""How a cursor of ours begins: what the rest of it is."""
DESCRIBED = prop(
    (DAV, "resourcetype"), (DAV, "displayname"), (DAV, "sync-token"), (DAV, "supported-report-set"),
    (DAV, "current-user-privilege-set"), (CALDAV, "supported-calendar-component-set"), (CALDAV, "calendar-timezone"),
    (CALENDARSERVER, "getctag"), (APPLE, "calendar-color"),
)  # fmt: skip
WRITING = {f"{{{DAV}}}{name}" for name in ("write", "write-content", "all", "bind")}
TOKEN_LOST = frozenset({400, 403, 404, 405, 409, 410, 412, 415, 500, 501})
"""What servers answer to a token they no longer know, or never gave (reference 5.2). One that is really ill says so
again to the listing that follows."""


class CalDav(CalDavWriter):
    """Connected together with the IMAP account of the same person."""

    key: ClassVar[str] = "imap"

    def __init__(self, account: CalendarAccount) -> None:
        super().__init__(account)
        server = account.settings.get("caldav")
        given = server if isinstance(server, dict) else {}
        self.url = str(given.get("url", ""))
        username = str(given.get("username") or account.email)
        self.dav = Dav(self.url, username, account.secrets.get("caldavPassword", ""))

    @classmethod
    def check(cls, account: CalendarAccount) -> int:
        """Log in and look for calendars; how many there are. ProviderRejected where there is no calendar server."""
        return len(cls(account).calendars())

    # --- calendars --------------------------------------------------------------------------------------------

    def calendars(self) -> list[RemoteCalendar]:
        """Those of every home set; collections for tasks alone, and the scheduling boxes, are none."""
        found: dict[str, RemoteCalendar] = {}
        for home in discovery.homes(self.dav, self.url):
            self.dav.at = self.dav.absolute(home)  # members are named by path alone
            for member in self.dav.propfind(home, DESCRIBED, depth=1).members:
                if (calendar := _calendar(member, self.account.email)) is not None:
                    found[calendar.remote_id] = calendar
        return sorted(found.values(), key=lambda calendar: calendar.remote_id)

    def start_cursor(self, calendar: RemoteCalendar) -> str:
        """The calendar's own token as it is now."""
        answer = self.dav.propfind(calendar.remote_id, DESCRIBED, depth=0)
        member = next((one for one in answer.members if same_place(one.remote_id, calendar.remote_id)), None)
        if member is None:
            raise ProviderUnavailable("The calendar server answered nothing about the calendar.")
        return _cursor_of(member)

    def listing(self, calendar: RemoteCalendar, token: str) -> ListingPage:
        """One page, of versions alone: a calendar server answers ids of a whole collection at once."""
        answer = self.dav.propfind(calendar.remote_id, prop((DAV, "getetag"), (DAV, "resourcetype")), depth=1)
        versions = tuple((member.remote_id, member.etag) for member in _resources(answer, calendar))
        return ListingPage(versions=versions, total=len(versions))

    # --- changes ----------------------------------------------------------------------------------------------

    def changes(self, calendar: RemoteCalendar, cursor: str) -> ChangePage:
        """By the kind of cursor."""
        if cursor.startswith(SYNC):
            return self._since(calendar, cursor.removeprefix(SYNC))
        if cursor.startswith(CTAG) and self.start_cursor(calendar) == cursor:
            return ChangePage(cursor)
        raise CursorExpired("The server does not say what changed.")

    def _since(self, calendar: RemoteCalendar, token: str) -> ChangePage:
        response = self.dav.send("REPORT", calendar.remote_id, discovery.sync_collection(token), depth=0)
        if response.status in TOKEN_LOST:
            raise CursorExpired(f"The server no longer knows the sync token ({response.status}).")
        answer = self.dav.read(raise_for_provider(response, "The calendar server"))
        if not answer.sync_token:
            raise CursorExpired("The server gave no new sync token.")
        members = list(_resources(answer, calendar))
        return ChangePage(
            cursor=f"{SYNC}{answer.sync_token}",
            versions=tuple((member.remote_id, member.etag) for member in members if member.status != 404),
            removed=tuple(member.remote_id for member in members if member.status == 404),
            more=answer.is_truncated and answer.sync_token != token,
        )

    # --- events -----------------------------------------------------------------------------------------------

    def fetch(self, calendar: RemoteCalendar, remote_ids: Sequence[str]) -> Iterator[RemoteResource]:
        """By multiget."""
        wanted = set(remote_ids)
        answer = self.dav.report(calendar.remote_id, discovery.multiget(remote_ids), depth=1)
        for member in answer.members:
            text = member.text(CALDAV, "calendar-data")
            if member.remote_id in wanted and text:
                yield _resource(member, text, calendar.time_zone)


def _calendar(member: Member, email: str) -> RemoteCalendar | None:
    """None where the collection holds no events."""
    kinds = {child.tag for child in member.children(DAV, "resourcetype")}
    components = {
        child.get("name", "").upper() for child in member.children(CALDAV, "supported-calendar-component-set")
    }
    if f"{{{CALDAV}}}calendar" not in kinds or (components and "VEVENT" not in components):
        return None
    name = content.clean(member.text(DAV, "displayname"), 500) or member.remote_id.rstrip("/").rpartition("/")[2]
    color = member.text(APPLE, "calendar-color").strip()[:7].lower()
    return RemoteCalendar(
        remote_id=member.remote_id,
        name=name,
        color=color if color.startswith("#") else "",
        time_zone=_zone(member.text(CALDAV, "calendar-timezone")),
        read_only=_is_read_only(member),
    )


def _is_read_only(member: Member) -> bool:
    """Only where the server says what its user may do, and writing is not among it."""
    granted = {inner.tag for one in member.children(DAV, "current-user-privilege-set") for inner in one}
    return bool(granted) and not granted & WRITING


def _zone(text: str) -> str:
    """The IANA name in a VTIMEZONE; "" where there is none anybody knows."""
    try:
        calendars = content.read(text)
    except BadCalendar:
        return ""
    names = (zone.text("TZID", zones.MAX_NAME) for calendar in calendars for zone in calendar.named("VTIMEZONE"))
    return next(filter(None, map(zones.named, names)), "")


def _cursor_of(member: Member) -> str:
    """The sync token where the server also has the report that takes it, else the ctag, else something that never
    agrees."""
    reports = {tag for one in member.children(DAV, "supported-report-set") for tag in _tags(one)}
    token, ctag = member.text(DAV, "sync-token").strip(), member.text(CALENDARSERVER, "getctag").strip()
    if token and (not reports or f"{{{DAV}}}sync-collection" in reports):
        return f"{SYNC}{token}"
    return f"{CTAG}{ctag}" if ctag else "none:"


def _tags(element: Element) -> Iterator[str]:
    return (inner.tag for inner in element.iter())


def _resources(answer: Answer, calendar: RemoteCalendar) -> Iterator[Member]:
    """The members that may be events: some servers list the collection itself, or collections inside it."""
    for member in answer.members:
        is_collection = f"{{{DAV}}}collection" in {child.tag for child in member.children(DAV, "resourcetype")}
        if is_collection or member.remote_id.endswith("/") or same_place(member.remote_id, calendar.remote_id):
            continue
        yield member


def _resource(member: Member, text: str, time_zone: str) -> RemoteResource:
    raw = text.replace("\x00", "").encode("utf-8", "replace").decode()
    if "BEGIN:VEVENT" not in text.upper():
        return RemoteResource(member.remote_id, member.etag, problem=NO_EVENT)
    try:
        return RemoteResource(member.remote_id, member.etag, raw, read_events(text, time_zone=time_zone))
    except BadCalendar as error:
        return RemoteResource(member.remote_id, member.etag, raw[: content.MAX_CHARACTERS], problem=str(error))
