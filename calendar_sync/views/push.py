"""Where providers call when something changed in calendars: `calendar/push/:provider` and its lifecycle twin."""

from __future__ import annotations

from django.http import HttpResponse
from rest_framework.request import Request

from calendar_sync.services import doorbells
from integrations.views import push


class Push(push.Push):
    """Notifications of changes."""

    bells = doorbells.BELLS

    @push.describe("calendar_push")
    def post(self, request: Request, provider: str) -> HttpResponse:
        """For providers. An account of whose calendars a proved notification tells is synced soon; nothing else in it
        is believed, and one that proves nothing is answered like every other."""
        return super().post(request, provider)


class PushLifecycle(push.Push):
    """What becomes of a subscription."""

    bells = doorbells.BELLS
    lifecycle = True

    @push.describe("calendar_push_lifecycle")
    def post(self, request: Request, provider: str) -> HttpResponse:
        """For providers: a subscription must be confirmed, was removed, or notifications were lost."""
        return super().post(request, provider)
