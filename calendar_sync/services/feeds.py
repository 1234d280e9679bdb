"""Feeds: made, shown once, rotated, revoked, opened by their token, and what is in them.

Token: `feed_<12 hex lookup>_<43 url-safe characters><6 of checksum>`, as API tokens are; logs mask that form. A feed
holds the selected calendars' events that touch a horizon, a meeting of several calendars once, series with their rules,
without the people who take part: whoever has the address has all that is in it.
"""

from __future__ import annotations

import hmac
import re
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from hashlib import sha256

from django.conf import settings
from django.db import connection as database
from django.db import transaction
from django.urls import reverse
from django.utils import timezone

from calendar_sync.ics_writing import write_events
from calendar_sync.models import Calendar, CalendarEvent, Feed
from calendar_sync.records import PUBLIC, RemoteEvent
from calendar_sync.services import occurrences
from calendar_sync.services.columns import remote_of
from core.errors import NotFound
from workspaces.models import Membership, User
from workspaces.services import audit
from workspaces.services.tokens import checksum, digest

BACK, AHEAD = timedelta(days=92), timedelta(days=366)
MAX_EVENTS = 2000
"""A feed holds so many events and series, the earliest of its horizon."""
CUT_OFF = f"Only the first {MAX_EVENTS:,} events are in this feed."
BUSY = "Busy"
_TEXT = re.compile(r"feed_(?P<lookup>[0-9a-f]{12})_(?P<secret>[A-Za-z0-9_-]{43})(?P<crc>[A-Za-z0-9_-]{6})")
_NOBODYS = "0" * 64


@dataclass(frozen=True, slots=True)
class Issued:
    """A feed and its address, which nobody can read again."""

    row: Feed
    url: str = field(repr=False)


def make(*, membership: Membership, shows_private: bool, by: User) -> Issued:
    """A new address for the member's calendars; one there was before opens nothing any more."""
    lookup = secrets.token_hex(6)
    body = f"feed_{lookup}_{secrets.token_urlsafe(32)}"
    text = body + checksum(body)
    given = {"lookup": lookup, "digest": digest(text), "shows_private": shows_private, "content": ""}
    now = timezone.now()
    with transaction.atomic():
        row, _ = Feed.objects.update_or_create(
            membership=membership, defaults={**given, "created_at": now, "changed_at": now}
        )
        _record(row, "feed.made", by)
    return Issued(row, settings.PUBLIC_URL.rstrip("/") + reverse("calendar-feed-file", args=[text]))


def find(*, membership: Membership) -> Feed:
    """The member's; NotFound where there is none."""
    row = Feed.objects.filter(membership=membership).first()
    if row is None:
        raise NotFound
    return row


def revoke(*, membership: Membership, by: User) -> None:
    """The address opens nothing from now on. Repeatable."""
    with transaction.atomic():
        row = Feed.objects.select_for_update().filter(membership=membership).first()
        if row is not None:
            _record(row, "feed.revoked", by)
            row.delete()


def _record(row: Feed, action: str, by: User) -> None:
    changes = {"fingerprint": row.fingerprint, "showsPrivate": row.shows_private}
    audit.record(by=by, workspace=row.membership.workspace, action=action, target=row, changes=changes)


def opened(text: str) -> Feed:
    """The feed of a token, compared in constant time. NotFound for every other text alike."""
    found = _TEXT.fullmatch(text)
    lookup = found["lookup"] if found and hmac.compare_digest(checksum(text[:-6]), found["crc"]) else ""
    row = Feed.objects.filter(lookup=lookup, membership__user__is_active=True).select_related("membership").first()
    if not hmac.compare_digest(row.digest if row else _NOBODYS, digest(text)) or row is None:
        raise NotFound
    return row


# --- what is in it ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Content:
    """What a feed holds now; writing it out is the dear part, and is left away where nothing changed."""

    feed: Feed
    events: Sequence[RemoteEvent]
    is_cut: bool

    @property
    def etag(self) -> str:
        return f'"{self.feed.content}"'

    def text(self) -> str:
        """iCalendar. The same content gives the same text."""
        return write_events(self.events, stamp=self.feed.changed_at, description=CUT_OFF if self.is_cut else "")


_EVENTS = """
    WITH hit AS (
        SELECT event_id, meeting, calendar_id, starts_at FROM calendar_sync_occurrence
        WHERE calendar_id = ANY(%(calendars)s::uuid[])
          AND NOT is_long AND starts_at >= %(begin)s AND starts_at < %(end)s
        UNION ALL
        SELECT event_id, meeting, calendar_id, starts_at FROM calendar_sync_occurrence
        WHERE calendar_id = ANY(%(calendars)s::uuid[]) AND is_long AND ends_at > %(begin)s AND starts_at < %(end)s
    ), home AS (
        SELECT DISTINCT ON (meeting) meeting, calendar_id FROM hit
        ORDER BY meeting, array_position(%(calendars)s::uuid[], calendar_id)
    )
    SELECT hit.event_id FROM hit JOIN home USING (meeting, calendar_id)
    GROUP BY hit.event_id ORDER BY min(hit.starts_at), hit.event_id LIMIT %(limit)s
"""


def content(feed: Feed) -> Content:
    """Notes when it last changed. Four queries, a fifth where it did."""
    ids = _ids(feed)
    found = CalendarEvent.objects.readable().defer("raw").in_bulk(ids[:MAX_EVENTS])
    masters = [found[pk] for pk in ids if pk in found]
    changes = occurrences.changes_of([event for event in masters if event.recurrence])
    rows = [(master, row) for master in masters for row in (master, *changes.get(master.pk, ()))]
    said = sha256(repr([feed.shows_private, *(_said(row) for _, row in rows)]).encode()).hexdigest()
    if said != feed.content:
        Feed.objects.filter(pk=feed.pk).exclude(content=said).update(content=said, changed_at=timezone.now())
        feed.refresh_from_db(fields=["content", "changed_at"])
    return Content(feed, [_shown(master, row, feed) for master, row in rows], len(ids) > MAX_EVENTS)


def _ids(feed: Feed) -> list[uuid.UUID]:
    """One more than is shown where there are more."""
    member = feed.membership
    own = Calendar.objects.of(user=member.user, workspace=member.workspace).shown()
    calendars = list(own.order_by("-is_primary", "created_at", "id").values_list("pk", flat=True))
    today = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
    with database.cursor() as cursor:
        cursor.execute(
            _EVENTS,
            {"calendars": calendars, "begin": today - BACK, "end": today + AHEAD, "limit": MAX_EVENTS + 1},
        )
        return [pk for (pk,) in cursor.fetchall()]


_SAID = (
    "pk", "uid", "title", "description", "location", "conference_url", "status", "visibility", "busy", "sequence",
    "wall_start", "duration", "zone", "zone_rules", "all_day", "nominal", "recurrence", "recurrence_key", "following",
)  # fmt: skip


def _said(row: CalendarEvent) -> list[object]:
    """All that a feed may show of it."""
    return [getattr(row, name) for name in _SAID]


def _shown(master: CalendarEvent, row: CalendarEvent, feed: Feed) -> RemoteEvent:
    """Without people; a private event as a busy block, under a UID that is nobody else's."""
    event = replace(remote_of(row, ()), organizer=None, uid=master.uid or f"{master.pk}@patchbay")
    if feed.shows_private or master.visibility == row.visibility == PUBLIC:
        return event
    hidden = replace(event, title=BUSY, description="", location="", conference_url="")
    return hidden if master.visibility == PUBLIC else replace(hidden, uid=f"{master.pk}@patchbay")
