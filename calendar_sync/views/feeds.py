"""A private address for other programs: made, rotated and revoked by its member, read by whoever has it."""

from __future__ import annotations

import time
from hashlib import sha256

from django.http import HttpResponse, HttpResponseBase
from django.utils.cache import get_conditional_response
from django.utils.http import http_date
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView

from calendar_sync.serializers import feeds as wire
from calendar_sync.services import feeds
from core.api.negotiation import AnyAccept
from core.api.serializers import valid
from core.api.throttling import AddressThrottle, seconds_to_wait
from workspaces.authentication import caller
from workspaces.idempotency import idempotent

PER_MINUTE = 30
"""Answers one address gives; programs ask some times an hour."""


class FeedSettings(APIView):
    """The member's feed."""

    @extend_schema(operation_id="calendar_feed", responses=wire.FeedShape)
    def get(self, request: Request) -> Response:
        """Whether there is one; its address is not shown again. 404 where there is none."""
        return Response(wire.feed(feeds.find(membership=caller(request).membership)))

    @extend_schema(operation_id="calendar_feed_make", request=wire.FeedOptions, responses={201: wire.FeedShape})
    @idempotent
    def post(self, request: Request) -> Response:
        """A new address, shown once. The one before stops working."""
        options, token = valid(wire.FeedOptions, request.data).validated_data, caller(request)
        made = feeds.make(membership=token.membership, shows_private=options["shows_private"], by=token.user)
        return Response(wire.feed(made.row, made.url), status=status.HTTP_201_CREATED)

    @extend_schema(operation_id="calendar_feed_revoke", responses={204: OpenApiResponse(description="Done.")})
    def delete(self, request: Request) -> Response:
        """The address stops working. Repeatable."""
        feeds.revoke(membership=caller(request).membership, by=caller(request).user)
        return Response(status=status.HTTP_204_NO_CONTENT)


class FeedThrottle(BaseThrottle):
    """Per address that is asked for, whether or not it is one of ours."""

    def __init__(self) -> None:
        self._wait: float | None = None

    def allow_request(self, request: Request, view: APIView) -> bool:
        """Count this request."""
        asked = sha256(str(view.kwargs.get("token")).encode()).hexdigest()[:32]
        self._wait = seconds_to_wait(f"throttle:feed:{asked}", PER_MINUTE, time.time())
        return self._wait is None

    def wait(self) -> float | None:
        """Seconds, for Retry-After."""
        return self._wait


class FeedFile(APIView):
    """A feed as a file."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    throttle_classes = (AddressThrottle, FeedThrottle)
    content_negotiation_class = AnyAccept

    @extend_schema(
        operation_id="calendar_feed_file",
        auth=[],
        parameters=[OpenApiParameter("token", str, OpenApiParameter.PATH)],
        responses={
            (200, "text/calendar"): OpenApiResponse(OpenApiTypes.STR),
            304: OpenApiResponse(description="Nothing changed since (`If-None-Match`, `If-Modified-Since`)."),
        },
    )
    def get(self, request: Request, token: str) -> HttpResponseBase:
        """iCalendar of all selected calendars, 92 days back and a year ahead; 404 where the address opens nothing."""
        found = feeds.content(feeds.opened(token))
        changed = int(found.feed.changed_at.timestamp())
        unchanged = get_conditional_response(request._request, etag=found.etag, last_modified=changed)
        answer = unchanged or HttpResponse(found.text(), content_type="text/calendar; charset=utf-8")
        answer["ETag"], answer["Last-Modified"] = found.etag, http_date(changed)
        answer["Cache-Control"] = "private, no-cache"
        return answer
