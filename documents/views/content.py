"""Where the local store's signed addresses lead: no token is needed, the address is the permission.

Bytes are read and written in parts. What goes out runs nowhere: an attachment under its clean name, no sniffing, and a
policy that allows nothing, in a sandbox; a preview may be framed by the pages that may call the API, and still runs
nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.api.negotiation import AnyAccept
from core.api.parsers import AsItCame
from core.api.throttling import AddressThrottle
from core.errors import HubError
from documents import names
from documents.services import content
from documents.storage.base import CHUNK

SANDBOX = "default-src 'none'; sandbox"
DRAINED = 16 * 1024 * 1024
"""How much of a refused upload is read to its end, so that its sender gets to read the answer."""
BINARY = {(200, "application/octet-stream"): OpenApiResponse(OpenApiTypes.BINARY)}


class Signed(APIView):
    """Base of the views."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    throttle_classes = (AddressThrottle,)
    parser_classes = (AsItCame,)
    content_negotiation_class = AnyAccept


class Content(Signed):
    """A file on its way in or out."""

    @extend_schema(operation_id="document_content", responses=BINARY, auth=[])
    def get(self, request: Request, link: str) -> StreamingHttpResponse:
        """The file as an attachment; `Range` gives a part of it. 403 `link_invalid`."""
        return _sent(request, content.part(link, inline=False, **_ranges(request)), SANDBOX)

    @extend_schema(
        operation_id="document_content_put",
        request={"application/octet-stream": OpenApiTypes.BINARY},
        responses={204: OpenApiResponse(description="It is there: confirm it.")},
        auth=[],
    )
    def put(self, request: Request, link: str) -> Response:
        """The whole file as the body, exactly as `documents/upload` said: else 413 or 422. 403 `link_invalid`."""
        length = _length(request)
        try:
            grant = content.check(link, length=length, content_type=request.content_type or "")
            content.receive(grant, _body(request), length=length or 0)
        except HubError:
            _drain(request)
            raise
        return Response(status=status.HTTP_204_NO_CONTENT)


class PreviewContent(Signed):
    """A file to be looked at."""

    @extend_schema(operation_id="document_preview_content", responses=BINARY, auth=[])
    def get(self, request: Request, link: str) -> HttpResponseBase:
        """Pictures and PDF, to be shown in a frame of a page that may call the API. 403 `link_invalid`."""
        framed = " ".join(["frame-ancestors 'self'", *settings.CORS_ALLOWED_ORIGINS])
        answer = _sent(request, content.part(link, inline=True, **_ranges(request)), f"{SANDBOX}; {framed}")
        answer.xframe_options_exempt = True  # type: ignore[attr-defined]  # the policy says who may
        return answer


def _ranges(request: Request) -> dict[str, str]:
    return {"range_header": request.headers.get("Range", ""), "if_range": request.headers.get("If-Range", "")}


def _sent(request: Request, part: content.Part, policy: str) -> StreamingHttpResponse:
    grant = part.grant
    answer = StreamingHttpResponse(
        part.chunks,
        status=status.HTTP_200_OK if part.is_whole else status.HTTP_206_PARTIAL_CONTENT,
        content_type=grant.content_type,
        headers={
            "Content-Length": str(part.end - part.start),
            "Content-Disposition": names.disposition(grant.file_name, inline=grant.inline),
            "Content-Security-Policy": policy,
            "X-Content-Type-Options": "nosniff",
            "Cross-Origin-Resource-Policy": "cross-origin",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "private, no-store",
            "Accept-Ranges": "bytes",
            "ETag": part.etag,
        },
    )
    if not part.is_whole:
        answer["Content-Range"] = f"bytes {part.start}-{part.end - 1}/{part.size}"
    return answer


def _length(request: Request) -> int | None:
    given = str(request.META.get("CONTENT_LENGTH") or "")
    return int(given) if given.isascii() and given.isdigit() and len(given) < 19 else None


def _body(request: Request) -> Iterator[bytes]:
    raw: HttpRequest = request._request
    while part := raw.read(CHUNK):
        yield part


def _drain(request: Request) -> None:
    left = DRAINED
    try:
        while left > 0 and (part := request._request.read(CHUNK)):
            left -= len(part)
    except OSError:  # its sender is gone
        return
