"""The calendar API, relative to /api/v1/integrations/ (CONTRACT 4, Calendar)."""

from django.urls import path

from calendar_sync import views
from calendar_sync.views import feeds, freebusy, links, push, writing

urlpatterns = [
    path("calendar/events", writing.EventList.as_view(), name="calendar-events"),
    path(
        "calendar/events/entity/<str:entity_type>/<str:entity_id>",
        views.EntityEvents.as_view(),
        name="calendar-entity-events",
    ),
    path("calendar/events/<str:event_id>.ics", views.EventFile.as_view(), name="calendar-event-ics"),
    path("calendar/events/<str:event_id>/entities", links.EventLinks.as_view(), name="calendar-event-links"),
    path("calendar/events/<str:event_id>", writing.EventDetail.as_view(), name="calendar-event"),
    path("calendar/events/<str:event_id>/rsvp", writing.Rsvp.as_view(), name="calendar-rsvp"),
    path("calendar/calendars", views.Calendars.as_view(), name="calendar-calendars"),
    path("calendar/calendars/<str:calendar_id>", views.CalendarDetail.as_view(), name="calendar-calendar"),
    path("calendar/freebusy", freebusy.FreeBusy.as_view(), name="calendar-freebusy"),
    path("calendar/feed", feeds.FeedSettings.as_view(), name="calendar-feed"),
    path("calendar/feeds/<str:token>.ics", feeds.FeedFile.as_view(), name="calendar-feed-file"),
    path("calendar/push/<str:provider>", push.Push.as_view(), name="calendar-push"),
    path("calendar/push/<str:provider>/lifecycle", push.PushLifecycle.as_view(), name="calendar-push-lifecycle"),
    path("calendar/slots", freebusy.SlotList.as_view(), name="calendar-slots"),
    path("calendar/sync", views.Sync.as_view(), name="calendar-sync"),
]
