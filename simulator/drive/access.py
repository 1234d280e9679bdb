"""What stands in front of every Drive method: token, scope, quota, and which files this app may see. Behind it the
`fields` mask with Drive's small default. Refusals in Drive's words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from simulator.drive.methods import DOWNLOAD_UNITS, FILE, READ, Method
from simulator.drive.store import DriveState, File, resource
from simulator.errors import Refusal, google_error
from simulator.google_access import check_scopes, flag, living_token
from simulator.partial import parse_mask
from simulator.state import World
from simulator.wire import Request, Response, json_response

DEFAULT_FIELDS = {
    "drive#file": "kind,id,name,mimeType",
    "drive#fileList": "kind,nextPageToken,incompleteSearch,files(kind,id,name,mimeType)",
}
WIDE = set(READ) - {FILE}


@dataclass
class Call:
    """A Drive call that has passed every check. `narrow`: the token opens only what this app made or was given."""

    world: World
    request: Request
    email: str
    client: str
    narrow: bool

    @property
    def state(self) -> DriveState:
        return self.world.part(DriveState)

    def root(self) -> File:
        return self.state.root(self.email, self.world.seed, self.world.now())

    def sees(self, item: File) -> bool:
        """By ownership and sharing, and under drive.file by who made it or had it picked."""
        if not self.state.reaches(item, self.email):
            return False
        return not self.narrow or self.client == item.client or self.client in item.opened_by

    def find(self, identity: str) -> File | None:
        """A file this call may see, whichever drive it is in; `root` is My Drive."""
        item = self.root() if identity == "root" else self.state.files.get(identity)
        return item if item is not None and self.sees(item) else None

    def file(self) -> File:
        """The file the path names. One in a shared drive is not there for a caller that does not support those."""
        identity = self.request.params["fileId"]
        item = self.find(identity)
        if item is None or (item.drive and not self.all_drives()):
            raise not_found(identity)
        return item

    def writable(self) -> File:
        """The same, for a change."""
        item = self.file()
        if item.read_only:
            raise insufficient(item.id)
        return item

    def all_drives(self) -> bool:
        return flag(self.request, "supportsAllDrives") or flag(self.request, "supportsTeamDrives")

    def show(self, item: File) -> dict[str, Any]:
        return resource(self.state, item, self.email, self.client)

    def body(self) -> dict[str, Any]:
        try:
            return self.request.json()
        except ValueError as error:
            raise parse_error() from error

    def changed(self, kind: str, **facts: Any) -> None:
        """Notes the effect for the ledger."""
        self.request.effect = {"kind": kind, **facts}


Handler = Callable[[Call], object]


class Access:
    """A route's handler: checks, then the resource's own function, then the answer as JSON."""

    def __init__(self, world: World, operation: str, method: Method, handler: Handler) -> None:
        self.world, self.operation, self.method, self.handler = world, operation, method, handler

    def __call__(self, request: Request) -> Response:
        token = living_token(self.world, request)
        check_scopes(token, self.method.scopes, self.operation)
        account = self.world.account("google", token.grant.account)
        if account is None:
            raise google_error(403, "The user is not a Drive user.", "forbidden")
        self._charge(request)
        narrow = not WIDE & set(token.scopes)
        value = self.handler(Call(self.world, request, account.email, token.grant.client_id, narrow))
        return answer(request, value)

    def _charge(self, request: Request) -> None:
        settings, now = self.world.settings, self.world.now()
        request.units = DOWNLOAD_UNITS if request.argument("alt") == "media" else self.method.units
        state = self.world.part(DriveState)
        day, count = state.day
        state.day = (int(now // 86400), count + 1 if day == int(now // 86400) else 1)
        if settings.drive_daily_limit and state.day[1] > settings.drive_daily_limit:
            raise google_error(403, "Daily Limit Exceeded", "dailyLimitExceeded")
        limit = settings.drive_quota_units_per_minute
        if limit and not self.world.quota.take(f"drive/{request.account}", request.units, limit, now):
            request.units = 0
            raise quota_refusal(settings.drive_quota_status)


def answer(request: Request, value: object) -> Response:
    """A handler's value as an answer: bytes already made, nothing, or JSON cut to `fields` (default: four of them)."""
    if isinstance(value, Response):
        return value
    if not isinstance(value, dict):
        return Response(204)
    text = request.argument("fields") or DEFAULT_FIELDS.get(value["kind"], "")
    return json_response(read_fields(text, value))


def read_fields(text: str, value: dict[str, Any]) -> Any:
    if not text:
        return value
    try:
        return parse_mask(text).apply(value)
    except ValueError as error:
        raise invalid(f"Invalid field selection {text}", "fields", "invalidParameter") from error


def quota_refusal(status: int) -> Refusal:
    if status == 429:
        return google_error(429, "Rate Limit Exceeded", "rateLimitExceeded")
    return google_error(
        403,
        "User Rate Limit Exceeded. Rate of requests for user exceed configured project quota, you may consider "
        "re-evaluating expected per-user traffic to the API and adjust project quota limits accordingly.",
        "userRateLimitExceeded",
    )


def invalid(message: str, parameter: str, reason: str = "invalid") -> Refusal:
    return google_error(400, message, reason, parameter=parameter)


def not_found(identity: str) -> Refusal:
    """Also what an app without access is told."""
    return google_error(404, f"File not found: {identity}.", "notFound", parameter="fileId")


def insufficient(identity: str) -> Refusal:
    message = f"The user does not have sufficient permissions for file {identity}."
    return google_error(403, message, "insufficientFilePermissions")


def parse_error() -> Refusal:
    return google_error(400, "Parse Error", "parseError")
