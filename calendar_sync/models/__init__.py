"""The calendar model: calendars of a connection, their events, who takes part, and when they take place.

An event's identity is (calendar, remote id, recurrence key); a changed or cancelled occurrence of a series is an event
with a key that points to its series. Times are kept as the author wrote them (wall clock, zone), because a series has
to stay at nine when the clocks change; `Occurrence` holds the instants of a horizon, so that a page of a range costs
what it shows (ADR 0026). A calendar belongs to its user: lookups go through `of`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from calendar_sync.models.feeds import Feed as Feed
from calendar_sync.models.links import EventLink as EventLink
from calendar_sync.models.links import LinkKind as LinkKind
from calendar_sync.models.push import CalendarChannel as CalendarChannel
from calendar_sync.records import CONFIRMED, NEEDS_ACTION, PUBLIC
from core.ids import uuid7
from integrations.models import Connection
from workspaces.scoping import fetch

if TYPE_CHECKING:
    from workspaces.models import User, Workspace

MAX_REMOTE_ID = 1000
MAX_KEY = 16


class CalendarQuerySet(models.QuerySet["Calendar"]):
    """Set rules: whose, and which the provider still has."""

    def of(self, *, user: User, workspace: Workspace) -> Self:
        """Calendars of this user's own connections."""
        return self.filter(connection__in=Connection.objects.of(user=user, workspace=workspace))

    def present(self) -> Self:
        """Those the provider still has."""
        return self.filter(removed_at__isnull=True)

    def shown(self) -> Self:
        """Those whose events are shown: present and selected."""
        return self.present().filter(selected=True)

    def find(self, calendar_id: object) -> Calendar:
        """One by id; NotFound for a foreign, malformed or missing id alike."""
        return fetch(self, pk=calendar_id)


class Calendar(models.Model):
    """A calendar of an account."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="calendars", db_index=False)
    remote_id = models.CharField(max_length=MAX_REMOTE_ID)
    name = models.CharField(max_length=500, blank=True, default="")
    color = models.CharField(max_length=9, blank=True, default="")
    time_zone = models.CharField(max_length=200, blank=True, default="")
    """Its own; what floats, and zones nobody knows, are read by it."""
    read_only = models.BooleanField(default=False)
    is_primary = models.BooleanField(default=False)
    selected = models.BooleanField(default=True)
    """Its user wants it here: it is synced and its events are shown."""
    removed_at = models.DateTimeField(null=True, blank=True)
    """The provider no longer has it."""
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    objects = CalendarQuerySet.as_manager()

    class Meta:
        ordering = ("-is_primary", "name", "id")
        constraints = (models.UniqueConstraint(fields=("connection", "remote_id"), name="calendar_one_per_remote_id"),)

    def __str__(self) -> str:
        return self.name or self.remote_id


class EventQuerySet(models.QuerySet["CalendarEvent"]):
    """Set rules: whose, and which are there to be shown."""

    def of(self, *, user: User, workspace: Workspace) -> Self:
        """Events of this user's own calendars, of those that are shown."""
        return self.filter(calendar__in=Calendar.objects.of(user=user, workspace=workspace).shown())

    def present(self) -> Self:
        """Those the provider still has, the unreadable ones too."""
        return self.filter(removed_at__isnull=True)

    def readable(self) -> Self:
        """Present and understood."""
        return self.present().filter(problem="")


class CalendarEvent(models.Model):
    """An event, the master of a series, or one changed occurrence of a series."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="+", db_index=False)
    calendar = models.ForeignKey(Calendar, on_delete=models.CASCADE, related_name="events", db_index=False)
    remote_id = models.CharField(max_length=MAX_REMOTE_ID)
    recurrence_key = models.CharField(max_length=MAX_KEY, blank=True, default="")
    """Which occurrence of its series this is, by its original start; "" for the series itself and for single events."""
    series = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.CASCADE, related_name="changes", db_index=False
    )
    """The series; None for a series itself, a single event, and an occurrence whose series is not here."""
    series_remote_id = models.CharField(max_length=MAX_REMOTE_ID, blank=True, default="")
    """Where the provider stores changed occurrences apart: the series may come later, or never."""
    etag = models.CharField(max_length=500, blank=True, default="")
    raw = models.TextField(blank=True, default="")
    """As the provider gave it; on the first event of what it stores as one."""
    uid = models.TextField(blank=True, default="")
    meeting = models.UUIDField()
    """Digest of the UID: the same meeting in several calendars. Of an event without a UID, its own id."""
    title = models.TextField(blank=True, default="")
    description = models.TextField(blank=True, default="")
    location = models.TextField(blank=True, default="")
    conference_url = models.TextField(blank=True, default="")
    status = models.CharField(max_length=10, default=CONFIRMED)
    visibility = models.CharField(max_length=12, default=PUBLIC)
    busy = models.BooleanField(default=True)
    organizer_email = models.CharField(max_length=320, blank=True, default="")
    organizer_name = models.CharField(max_length=255, blank=True, default="")
    sequence = models.PositiveIntegerField(default=0)
    # --- when
    wall_start = models.DateTimeField()
    """By the clock in `zone`, written down as if it were UTC."""
    duration = models.DurationField()
    zone = models.CharField(max_length=200, blank=True, default="")
    zone_rules = models.JSONField(null=True, blank=True)
    """Of a zone that only its author knows (`records.ZoneRules`)."""
    all_day = models.BooleanField(default=False)
    nominal = models.BooleanField(default=False)
    recurrence = models.JSONField(null=True, blank=True)
    """`services.columns` writes and reads it. None where it does not recur."""
    following = models.BooleanField(default=False)
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    """Of the first occurrence; of days, midnights in UTC."""
    series_ends_at = models.DateTimeField(null=True, blank=True)
    """When a series surely is over; None where it is not known to end, and for what does not recur."""
    expanded_from = models.DateTimeField(null=True, blank=True)
    expanded_until = models.DateTimeField(null=True, blank=True)
    """Of a series: the stretch whose occurrences are stored."""
    cut = models.TextField(blank=True, default="")
    """"" or why not all occurrences of the stretch are there: nothing is expanded beyond it then."""
    problem = models.TextField(blank=True, default="")
    """"" or why it could not be read: then it is kept, and not shown."""
    # --- where it stands
    removed_at = models.DateTimeField(null=True, blank=True)
    removed_cause = models.CharField(max_length=20, blank=True, default="")
    """"deleted" (the provider said so), "absent" (it was not in a complete listing) or "calendar" (that is gone)."""
    leaving_at = models.DateTimeField(null=True, blank=True)
    """The provider said it is gone from its calendar: whether it moved or was deleted is settled at the run's end."""
    seen_in = models.UUIDField(null=True, blank=True)
    """The last complete listing that named it."""
    written_at = models.DateTimeField(null=True, blank=True)
    """When its user last wrote it from here: what a sync had asked for before is older."""
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    objects = EventQuerySet.as_manager()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("calendar", "remote_id", "recurrence_key"), name="event_one_per_remote_id"),
        )
        indexes = (
            models.Index(fields=("connection", "meeting"), name="event_of_meeting"),
            models.Index(fields=("series",), name="event_of_series"),
            models.Index(
                fields=("calendar", "series_remote_id"),
                condition=Q(series__isnull=True) & ~Q(series_remote_id=""),
                name="event_without_series",
            ),
            models.Index(
                fields=("calendar", "expanded_until"),
                condition=Q(recurrence__isnull=False, removed_at__isnull=True, cut=""),
                name="event_to_expand",
            ),
            models.Index(
                fields=("calendar", "expanded_from"),
                condition=Q(recurrence__isnull=False, removed_at__isnull=True, cut=""),
                name="event_expanded_from",
            ),
            models.Index(fields=("connection",), condition=Q(leaving_at__isnull=False), name="event_leaving"),
            models.Index(fields=("removed_at",), condition=Q(removed_at__isnull=False), name="event_removed"),
            models.Index(fields=("calendar",), condition=~Q(cut=""), name="event_cut_off"),
            models.Index(fields=("calendar",), condition=~Q(problem=""), name="event_unreadable"),
        )

    def __str__(self) -> str:
        return self.title or "(no title)"


class Attendee(models.Model):
    """Somebody who takes part: the organizer, or who was invited."""

    id = models.BigAutoField(primary_key=True)
    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="+", db_index=False)
    event = models.ForeignKey(CalendarEvent, on_delete=models.CASCADE, related_name="attendees")
    email = models.CharField(max_length=320, blank=True, default="")
    name = models.CharField(max_length=255, blank=True, default="")
    address_key = models.CharField(max_length=320, blank=True, default="")
    """`entities.matching.normalise` of it; "" where it is no address, and for rooms."""
    domain = models.CharField(max_length=255, blank=True, default="")
    response = models.CharField(max_length=12, default=NEEDS_ACTION)
    optional = models.BooleanField(default=False)
    is_resource = models.BooleanField(default=False)
    is_invited = models.BooleanField(default=True)
    """False for an organizer who is not among the attendees: they are here for the matches."""
    starts_at = models.DateTimeField()
    """Of the event: a timeline is read in this order, and each address of an account is one range of an index."""

    class Meta:
        ordering = ("id",)
        indexes = (
            models.Index(
                fields=("connection", "address_key", "starts_at", "event"),
                condition=~Q(address_key=""),
                name="attendee_address_timeline",
            ),
            models.Index(
                fields=("connection", "domain", "starts_at", "event"),
                condition=~Q(domain=""),
                name="attendee_domain_timeline",
            ),
        )


class Occurrence(models.Model):
    """One time of an event, as instants. Of a series only those of its horizon are here."""

    id = models.BigAutoField(primary_key=True)
    calendar = models.ForeignKey(Calendar, on_delete=models.CASCADE, related_name="+", db_index=False)
    event = models.ForeignKey(CalendarEvent, on_delete=models.CASCADE, related_name="occurrences", db_index=False)
    """The series, or the single event."""
    source = models.ForeignKey(CalendarEvent, on_delete=models.CASCADE, related_name="+", db_index=False)
    """Whose title, place and people hold: the same, or the changed occurrence."""
    key = models.CharField(max_length=MAX_KEY, blank=True, default="")
    meeting = models.UUIDField()
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    all_day = models.BooleanField(default=False)
    is_long = models.BooleanField(default=False)
    """Longer than `LONG`: found by its end and not by its start."""

    class Meta:
        constraints = (models.UniqueConstraint(fields=("event", "key"), name="occurrence_one_per_key"),)
        indexes = (
            models.Index(fields=("calendar", "starts_at"), condition=Q(is_long=False), name="occurrence_range"),
            models.Index(fields=("calendar", "ends_at"), condition=Q(is_long=True), name="occurrence_long"),
            models.Index(fields=("source", "starts_at"), name="occurrence_source"),
        )
