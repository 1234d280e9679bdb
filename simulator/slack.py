"""Slack: auth.test, conversations.list and chat.postMessage under /api/, incoming webhooks under /services/.

A workspace stands ready after every reset (`SlackWorkspace`): one bot, one webhook, a few channels; the control API
changes them and shows every message with whom it pinged. Nearly every refusal of the Web API is 200 with `ok: false`;
webhooks refuse with real statuses and plain text (reference workspace 6).
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from simulator import control
from simulator.errors import TYPICAL, Refusal
from simulator.routing import Router
from simulator.slack_text import Unfit, check_blocks, pinged, readable, shortened
from simulator.state import World
from simulator.wire import Request, Response, json_response

VENDOR = "slack"
BOT_TOKEN = "xoxb-simulator-bot"
HOOK_PATH = "/services/T0HUB0001/B0HUB0001/SimulatorHookSecret00001"
SCOPES = ["chat:write", "channels:read", "groups:read"]
PERMALINK = "https://northwind.slack.com/"
WORDS = {
    401: "invalid_auth",
    403: "no_permission",
    404: "unknown_method",
    429: "ratelimited",
    503: "service_unavailable",
}
HOOK_WORDS = {400: "invalid_payload", 403: "action_prohibited", 404: "no_service", 410: "channel_is_archived"}
HOOK_WORDS |= {429: "rate_limited", 500: "rollup_error"}


@dataclass
class Channel:
    """`tokens` and `counted_at` are what is left of its burst, and since when."""

    id: str
    name: str
    private: bool = False
    archived: bool = False
    member: bool = True
    """Whether the bot is in it."""
    tokens: float = -1.0
    counted_at: float = 0.0


@dataclass
class Bot:
    token: str
    scopes: list[str] = field(default_factory=lambda: list(SCOPES))
    error: str = ""
    """What every call of it is refused with: token_revoked, account_inactive, token_expired, …"""
    id: str = "B0HUB0001"
    user_id: str = "U0HUB0001"
    user: str = "hub"


@dataclass
class Hook:
    """An incoming webhook of an app: bound to one channel. `error` is what it is refused with: no_service, …"""

    path: str
    channel: str
    error: str = ""


@dataclass(frozen=True)
class Message:
    """A message as it stands in a channel. `pings` are the mentions in it that notify people: `<!channel>`, `<@U1>`."""

    ts: str
    channel: str
    text: str
    blocks: list[Any]
    thread_ts: str
    via: str
    pings: list[str]


def _channels() -> dict[str, Channel]:
    made = [Channel("C0GENERAL1", "general"), Channel("C0ALERTS01", "alerts"), Channel("C0OUTSIDE1", "random")]
    made += [Channel("C0ARCHIVE1", "old-news", archived=True), Channel("C0PRIVATE1", "board", private=True)]
    made[2].member = made[4].member = False
    return {channel.id: channel for channel in made}


@dataclass
class SlackWorkspace:
    """The part of the world that is kept here."""

    bots: dict[str, Bot] = field(default_factory=lambda: {BOT_TOKEN: Bot(BOT_TOKEN)})
    channels: dict[str, Channel] = field(default_factory=_channels)
    hooks: dict[str, Hook] = field(default_factory=lambda: {HOOK_PATH: Hook(HOOK_PATH, "C0ALERTS01")})
    messages: list[Message] = field(default_factory=list)
    messages_per_second: float = 1.0
    """Per channel, by whichever way; 0: no limit."""
    burst: int = 20
    """How many may come at once after a silence."""

    def channel(self, name: str) -> Channel | None:
        """By id; public ones by name too, with or without the sign."""
        plain = name.removeprefix("#")
        named = (item for item in self.channels.values() if item.name == plain and not item.private)
        return self.channels.get(name) or next(named, None)


def register(router: Router, world: World) -> None:
    slack = Slack(world)
    TYPICAL[VENDOR] = typical
    for method in ("auth.test", "chat.postMessage", "conversations.list"):
        handler = {"auth.test": slack.auth_test, "chat.postMessage": slack.post_message}.get(
            method, slack.conversations
        )
        for http in ("GET", "POST"):
            router.add(http, f"/api/{method}", VENDOR, f"slack.{method}", handler)
    router.add("POST", "/services/{team}/{bot}/{secret}", VENDOR, "slack.webhook", slack.webhook)
    for http, path, call in slack.calls():
        control.add_call(router, http, f"/slack{path}", call)


def typical(operation: str, status: int, reason: str) -> Response:
    if operation == "slack.webhook":
        return hook_answer(status, reason or HOOK_WORDS.get(status, "server_error"))
    return json_response({"ok": False, "error": reason or WORDS.get(status, "internal_error")}, status)


def refused(error: str, **more: Any) -> Refusal:
    """200, and no."""
    return Refusal(json_response({"ok": False, "error": error} | more))


def hook_answer(status: int, words: str) -> Response:
    return Response(status, words.encode(), {}, "text/plain; charset=utf-8")


class Slack:
    def __init__(self, world: World) -> None:
        self.world = world

    @property
    def workspace(self) -> SlackWorkspace:
        return self.world.part(SlackWorkspace)

    # The Web API

    def auth_test(self, request: Request) -> Response:
        bot = self._bot(request)
        facts = {"url": PERMALINK, "team": "Northwind", "user": bot.user, "team_id": "T0HUB0001"}
        return self._fine(bot, facts | {"user_id": bot.user_id, "bot_id": bot.id, "is_enterprise_install": False})

    def conversations(self, request: Request) -> Response:
        """A page of channels; archived ones are left out after the page is cut, so that a page may be short."""
        bot, given = self._bot(request), self._arguments(request)
        types = str(given.get("types") or "public_channel").split(",")
        self._need(bot, *(["groups:read"] if "private_channel" in types else []), *(
            ["channels:read"] if "public_channel" in types else []))  # fmt: skip
        limit = _whole(given.get("limit"), 100)
        if not 1 <= limit <= 1000:
            raise refused("invalid_limit")
        kinds = {"public_channel": False, "private_channel": True}
        wanted = {kinds[kind] for kind in types if kind in kinds}
        # Of private channels a bot sees those it is in.
        found = [item for item in self.workspace.channels.values() if item.private in wanted]
        found = [item for item in found if item.member or not item.private]
        start = self._start(found, str(given.get("cursor") or ""))
        page, rest = found[start : start + limit], found[start + limit :]
        cursor = base64.b64encode(f"team:{rest[0].id}".encode()).decode() if rest else ""
        skip = str(given.get("exclude_archived", "")).lower() in ("true", "1")
        shown = [_channel(item) for item in page if not (skip and item.archived)]
        return self._fine(bot, {"channels": shown, "response_metadata": {"next_cursor": cursor}})

    def post_message(self, request: Request) -> Response:
        bot, given = self._bot(request), self._arguments(request)
        self._need(bot, "chat:write")
        if not given.get("channel"):
            detail = "[ERROR] missing required field: channel"
            raise refused("invalid_arguments", response_metadata={"messages": [detail]})
        channel = self._open_channel(bot, str(given["channel"]))
        text, blocks = str(given.get("text") or ""), self._blocks(given)
        if not text and not blocks and not given.get("attachments"):
            raise refused("no_text")
        message = self._file(request, channel, text, blocks, str(given.get("thread_ts") or ""), "bot")
        said: dict[str, Any] = {
            "type": "message",
            "user": bot.user_id,
            "bot_id": bot.id,
            "ts": message.ts,
            "text": message.text,
        }
        said |= {"blocks": blocks} if blocks else {}
        said |= {"thread_ts": message.thread_ts} if message.thread_ts else {}
        answer = {"channel": channel.id, "ts": message.ts, "message": said}
        return self._fine(bot, answer | self._warnings(request, text))

    def _bot(self, request: Request) -> Bot:
        token = request.bearer() or (request.form.get("token", "") if not _is_json(request) else "")
        if not token:
            raise refused("not_authed")
        bot = self.workspace.bots.get(token)
        if bot is None:
            raise refused("invalid_auth")
        request.account = bot.id
        if bot.error:
            raise refused(bot.error)
        return bot

    def _need(self, bot: Bot, *scopes: str) -> None:
        missing = [scope for scope in scopes if scope not in bot.scopes]
        if missing:
            raise refused("missing_scope", needed=",".join(missing), provided=",".join(bot.scopes))

    def _fine(self, bot: Bot, facts: dict[str, Any]) -> Response:
        return json_response({"ok": True} | facts, headers={"x-oauth-scopes": ",".join(bot.scopes)})

    def _arguments(self, request: Request) -> dict[str, Any]:
        query = {name: values[0] for name, values in request.query.items()}
        if not request.body or not _is_json(request):
            return query | request.form
        try:
            return query | request.json()
        except ValueError as error:
            raise refused("json_not_object" if "object" in str(error) else "invalid_json") from error

    def _start(self, found: list[Channel], cursor: str) -> int:
        if not cursor:
            return 0
        try:
            wanted = base64.b64decode(cursor, validate=True).decode().removeprefix("team:")
            return [item.id for item in found].index(wanted)
        except ValueError as error:
            raise refused("invalid_cursor") from error

    def _open_channel(self, bot: Bot, name: str) -> Channel:
        """A channel this bot may write to now; a private one it is not in does not exist for it."""
        channel = self.workspace.channel(name)
        if channel is None or (channel.private and not channel.member):
            raise refused("channel_not_found")
        if channel.archived:
            raise refused("is_archived")
        if not channel.member and "chat:write.public" not in bot.scopes:
            raise refused("not_in_channel")
        wait = self._spend(channel)
        if wait:
            answer = json_response({"ok": False, "error": "ratelimited"}, 429, {"Retry-After": str(wait)})
            raise Refusal(answer)
        return channel

    def _blocks(self, given: dict[str, Any]) -> list[Any]:
        try:
            return check_blocks(given.get("blocks"))
        except Unfit as unfit:
            raise refused(unfit.error, response_metadata={"messages": [f"[ERROR] {unfit.detail}"]}) from unfit

    def _warnings(self, request: Request, text: str) -> dict[str, Any]:
        found = ["message_truncated"] if shortened(text) != text else []
        if _is_json(request) and "charset" not in request.headers.get("content-type", ""):
            found.append("missing_charset")
        return {"warning": ",".join(found), "response_metadata": {"warnings": found}} if found else {}

    # Incoming webhooks

    def webhook(self, request: Request) -> Response:
        """An app's webhook: one channel, whatever `channel` says; 200 and `ok`, without a ts."""
        workspace = self.workspace
        hook = workspace.hooks.get(request.path)
        if hook is None:
            known = any(path.split("/")[2] == request.params["team"] for path in workspace.hooks)
            return hook_answer(404, "no_service" if known else "no_team")
        request.account = hook.path.split("/")[3]
        if hook.error:
            status = {"channel_is_archived": 410, "action_prohibited": 403, "invalid_token": 403}.get(hook.error, 404)
            return hook_answer(status, hook.error)
        channel = workspace.channels.get(hook.channel)
        if channel is None or channel.archived:
            return hook_answer(404, "channel_not_found") if channel is None else hook_answer(410, "channel_is_archived")
        return self._post_by_hook(request, channel)

    def _post_by_hook(self, request: Request, channel: Channel) -> Response:
        try:
            given = json.loads(request.body if _is_json(request) else request.form.get("payload", ""))
            blocks = check_blocks(given.get("blocks"))
        except (ValueError, AttributeError, Unfit):
            return hook_answer(400, "invalid_payload")
        if not given.get("text") and not blocks and not given.get("attachments"):
            return hook_answer(400, "no_text")
        if len(given.get("attachments") or []) > 100:
            return hook_answer(400, "too_many_attachments")
        wait = self._spend(channel)
        if wait:
            answer = hook_answer(429, "rate_limited")
            answer.headers["Retry-After"] = str(wait)
            return answer
        thread = str(given.get("thread_ts") or "")
        self._file(request, channel, str(given.get("text") or ""), blocks, thread, "webhook")
        return hook_answer(200, "ok")

    # What both do

    def _spend(self, channel: Channel) -> int:
        """Takes one message of the channel's allowance; else how many seconds to wait."""
        workspace, now = self.workspace, self.world.now()
        if not workspace.messages_per_second:
            return 0
        if channel.tokens < 0:
            channel.tokens, channel.counted_at = float(workspace.burst), now
        grown = channel.tokens + (now - channel.counted_at) * workspace.messages_per_second
        channel.tokens, channel.counted_at = min(float(workspace.burst), grown), now
        if channel.tokens < 1:
            return math.ceil((1 - channel.tokens) / workspace.messages_per_second)
        channel.tokens -= 1
        return 0

    def _file(
        self, request: Request, channel: Channel, text: str, blocks: list[Any], thread_ts: str, via: str
    ) -> Message:
        messages = self.workspace.messages
        ts = f"{int(self.world.now())}.{len(messages) + 1:06d}"
        cut = shortened(text)
        message = Message(ts, channel.id, cut, blocks, thread_ts, via, pinged([cut, *readable(blocks)]))
        messages.append(message)
        request.effect = {"kind": "message.posted", "channel": channel.id, "ts": ts, "via": via}
        return message

    # The control API

    def calls(self) -> list[tuple[str, str, Callable[[Request], object]]]:
        return [
            ("GET", "", self.show),
            ("PATCH", "", self.change),
            ("PUT", "/bots/{token}", self.put_bot),
            ("PUT", "/channels/{id}", self.put_channel),
            ("PUT", "/hooks", self.put_hook),
            ("GET", "/messages", self.list_messages),
        ]

    def show(self, request: Request) -> dict[str, Any]:
        """The whole workspace, tokens and webhook paths included, without the messages."""
        return {name: value for name, value in asdict(self.workspace).items() if name != "messages"}

    def change(self, request: Request) -> dict[str, Any]:
        """`messages_per_second` (0: no limit), `burst`; every channel begins a new count."""
        given, workspace = request.json(), self.workspace
        workspace.messages_per_second = float(given.pop("messages_per_second", workspace.messages_per_second))
        workspace.burst = int(given.pop("burst", workspace.burst))
        if given:
            raise ValueError(f"no such setting: {', '.join(given)}")
        for channel in workspace.channels.values():
            channel.tokens = -1.0
        return self.show(request)

    def put_bot(self, request: Request) -> dict[str, Any]:
        """`scopes?`, `error?`: a bot as it is from now on."""
        bot = Bot(request.params["token"], **request.json())
        self.workspace.bots[bot.token] = bot
        return asdict(bot)

    def put_channel(self, request: Request) -> dict[str, Any]:
        """`name`, `private?`, `archived?`, `member?`: a channel as it is from now on."""
        channel = Channel(request.params["id"], **request.json())
        self.workspace.channels[channel.id] = channel
        return asdict(channel)

    def put_hook(self, request: Request) -> dict[str, Any]:
        """`path`, `channel`, `error?`: a webhook as it is from now on."""
        hook = Hook(**request.json())
        self.workspace.hooks[hook.path] = hook
        return asdict(hook)

    def list_messages(self, request: Request) -> dict[str, Any]:
        """Every message posted, oldest first."""
        return {"messages": [asdict(message) for message in self.workspace.messages]}


def _channel(item: Channel) -> dict[str, Any]:
    facts = {"id": item.id, "name": item.name, "is_channel": not item.private, "is_private": item.private}
    return facts | {"is_archived": item.archived, "is_member": item.member, "is_general": item.name == "general"}


def _is_json(request: Request) -> bool:
    return "json" in request.headers.get("content-type", "").lower()


def _whole(value: Any, default: int) -> int:
    try:
        return default if value in (None, "") else int(value)
    except (TypeError, ValueError) as error:
        raise refused("invalid_arguments") from error
