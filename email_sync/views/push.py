"""Where providers call when something changed in a mailbox: `email/push/:provider` and its lifecycle twin."""

from __future__ import annotations

from django.http import HttpResponse
from rest_framework.request import Request

from email_sync.services import doorbells
from integrations.views import push


class Push(push.Push):
    """Notifications of changes."""

    bells = doorbells.BELLS

    @push.describe("email_push")
    def post(self, request: Request, provider: str) -> HttpResponse:
        """For providers. A mailbox that a proved notification names is synced soon; nothing else in it is believed.
        401 `push_refused` where a signature is wanted and missing or wrong."""
        return super().post(request, provider)


class PushLifecycle(push.Push):
    """What becomes of a subscription."""

    bells = doorbells.BELLS
    lifecycle = True

    @push.describe("email_push_lifecycle")
    def post(self, request: Request, provider: str) -> HttpResponse:
        """For providers: a subscription must be confirmed, was removed, or notifications were lost."""
        return super().post(request, provider)
