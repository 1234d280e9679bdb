"""A tiny API for the tests of `core.api`: every way to fail, one echo, one list, one Django view without DRF."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.http import require_GET
from drf_spectacular.utils import extend_schema
from rest_framework import exceptions, serializers
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core import errors
from core.api import pagination
from core.api.parsers import StrictJSONParser
from core.api.serializers import CamelSerializer, IsoDateTimeField, valid

FAILURES: dict[str, Exception] = {
    "invalid": errors.InvalidInput(fields={"to": ["Needs an address."]}),
    "missing": errors.NotFound(),
    "refused": errors.PermissionRefused(),
    "conflict": errors.Conflict("It changed.", extra={"current": {"id": "1"}}),
    "unset": errors.NotConfigured(),
    "egress": errors.EgressRefused(),
    "rejected": errors.ProviderRejected("The mailbox is full."),
    "away": errors.ProviderUnavailable(),
    "limited": errors.ProviderRateLimited(retry_after=12.2),
    "busy": errors.ServiceBusy(retry_after=0.1),
    "drf-validation": exceptions.ValidationError({"imap": {"port": ["Too large."]}, "to": [{}, {"email": ["Bad."]}]}),
    "drf-general": exceptions.ValidationError("Nothing to do."),
    "drf-parse": exceptions.ParseError("Broken."),
    "drf-anonymous": exceptions.NotAuthenticated(),
    "drf-token": exceptions.AuthenticationFailed("The token is over.", code="token_expired"),
    "drf-denied": exceptions.PermissionDenied(),
    "drf-missing": exceptions.NotFound("secret detail"),
    "drf-throttled": exceptions.Throttled(wait=3.4),
    "http404": Http404("secret detail"),
    "denied": PermissionDenied("secret detail"),
    "database": OperationalError("FATAL: password authentication failed for user secret"),
    "interface": InterfaceError("connection already closed"),
    "bug": KeyError("secret detail"),
}


class Open(APIView):
    """No authentication, no permission, no throttle."""

    authentication_classes: list[Any] = []
    permission_classes: list[Any] = []
    throttle_classes: list[Any] = []
    parser_classes = [StrictJSONParser]


class Fail(Open):
    @extend_schema(exclude=True)
    def get(self, request: Request, how: str) -> Response:
        raise FAILURES[how]


class Server(CamelSerializer):
    host_name = serializers.CharField()
    port = serializers.IntegerField(required=False)


class Thing(CamelSerializer):
    """A thing."""

    id = serializers.UUIDField(read_only=True)
    full_name = serializers.CharField(max_length=10)
    sent_at = IsoDateTimeField(required=False, allow_null=True)
    config = serializers.JSONField(required=False)
    mail_server = Server(required=False)
    spare_servers = Server(many=True, required=False)
    shout = serializers.SerializerMethodField()
    first_word = serializers.SerializerMethodField()

    def get_shout(self, thing: dict[str, Any]) -> str:
        return str(thing["full_name"]).upper()

    def get_first_word(self, thing: dict[str, Any]) -> str:
        return str(thing["full_name"]).split()[0]

    def validate_full_name(self, value: str) -> str:
        if value == "nobody":
            raise serializers.ValidationError("Nobody is no name.")
        return value.strip()

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs.get("full_name") == "late" and "sent_at" in attrs:
            raise serializers.ValidationError({"sent_at": ["Late has no time."]})
        return attrs


class Echo(Open):
    @extend_schema(request=Thing, responses={201: Thing})
    def post(self, request: Request) -> Response:
        """Checked and shown again."""
        checked = valid(Thing, request.data).validated_data
        return Response({"inside": sorted(checked), "outside": Thing({"id": None, **checked}).data}, status=201)


class Raw(Open):
    @extend_schema(exclude=True)
    def post(self, request: Request) -> Response:
        return Response({"data": request.data})


class Numbers(Open):
    @extend_schema(parameters=[pagination.PageParameters], responses=pagination.paged_shape(Server))
    def get(self, request: Request, until: int) -> Response:
        """A list of numbers."""
        query = pagination.read_page(request.query_params)
        return Response(pagination.paged_query(pagination.paginate(range(until), query), query, str))


class WhoeverAsks(BaseAuthentication):
    """Takes token and workspace from headers."""

    def authenticate(self, request: Request) -> Any:
        token = SimpleNamespace(pk=request.headers["X-Token"], workspace_id=request.headers["X-Workspace"])
        return None, token


class Limited(APIView):
    authentication_classes = [WhoeverAsks]
    permission_classes: list[Any] = []

    @extend_schema(exclude=True)
    def get(self, request: Request) -> Response:
        return Response({})


@require_GET
def plain(request: HttpRequest) -> HttpResponse:
    return HttpResponse("<p>a page</p>")


def broken(request: HttpRequest) -> HttpResponse:
    raise ValueError("secret detail")


def without_database(get_response: Any) -> Any:
    """A middleware that meets a database that is away, before any view."""

    def answer(request: HttpRequest) -> HttpResponse:
        raise OperationalError("FATAL: the database system is starting up")

    return answer


urlpatterns = [
    path("api/fail/<str:how>", Fail.as_view()),
    path("api/echo", Echo.as_view()),
    path("api/raw", Raw.as_view()),
    path("api/numbers/<int:until>", Numbers.as_view()),
    path("api/limited", Limited.as_view()),
    path("api/plain", plain),
    path("api/broken", broken),
    path("page", plain),
    path("admin/page", plain),
]

handler400 = "core.api.errors.bad_request"
handler403 = "core.api.errors.permission_denied"
handler404 = "core.api.errors.not_found"
handler500 = "core.api.errors.server_error"
