"""A loopback server that answers as a test tells it to: Gmail at its worst. For the tests of `providers.gmail`."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from hypothesis import strategies as st

from core.tests.servers import LoopbackServer, answer
from email_sync.providers.base import MailAccount
from email_sync.providers.gmail import Gmail

USER = "/gmail/v1/users/me"


@dataclass(frozen=True)
class Reply:
    """One answer. `body` is JSON unless it is bytes."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)

    def encode(self) -> bytes:
        """The answer as it goes over the wire."""
        content = self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()
        return answer(
            self.status, content, **({"content_type": "application/json", "connection": "close"} | self.headers)
        )


@dataclass(frozen=True)
class Asked:
    """One request as the server saw it."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes

    @classmethod
    def read(cls, request: bytes) -> Asked:
        """From the bytes of a request."""
        head, _, body = request.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return cls(method, urlsplit(target).path, parse_qs(urlsplit(target).query), headers, body)

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    def calls(self) -> list[str]:
        """The targets of a batch's calls."""
        return [line.split(" ")[1] for line in self.body.decode().splitlines() if line.startswith("GET ")]


Answering = Callable[[Asked], Reply | None]
"""None closes the connection without an answer."""


class GmailServer:
    """Answers by path; what no rule covers is Google's 404. Remembers what it was asked."""

    def __init__(self) -> None:
        self.rules: dict[tuple[str, str], Answering] = {}
        self.asked: list[Asked] = []
        self.server = LoopbackServer(self._script)

    def on(self, method: str, path: str, reply: Reply | Answering) -> None:
        """`path` is below the user, or absolute where it does not begin with the user's."""
        self.rules[method, path] = (lambda _: reply) if isinstance(reply, Reply) else reply

    def gmail(self) -> Gmail:
        """A provider that talks to this server."""
        return Gmail(MailAccount("ada@gmail.test", "ya29.secret", {"gmailApiUrl": self.server.url}))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.server.stop()

    def _script(self, stream: Any, request: bytes) -> bool:
        asked = Asked.read(request)
        self.asked.append(asked)
        answering = self.rules.get((asked.method, asked.path.removeprefix(USER)))
        reply = refusal(404, "notFound", "Requested entity was not found.") if answering is None else answering(asked)
        if reply is not None:
            stream.sendall(reply.encode())
        return False


def refusal(status: int, reason: str, message: str = "No.", **headers: str) -> Reply:
    """Google's error in its old form, which Gmail still gives."""
    errors = [{"domain": "global", "reason": reason, "message": message}]
    return Reply(status, {"error": {"code": status, "message": message, "errors": errors}}, headers)


def batch_reply(asked: Asked, replies: dict[str, Reply], *, order: Callable[[list[str]], list[str]] = list) -> Reply:
    """A batch answer with a reply for each id asked for; ids without one are left out."""
    ids = [target.rpartition("/")[2].partition("?")[0] for target in asked.calls()]
    parts = []
    for remote_id in order([remote_id for remote_id in ids if remote_id in replies]):
        head = f"--batch_x\r\nContent-Type: application/http\r\nContent-ID: <response-{ids.index(remote_id)}>\r\n\r\n"
        parts.append(head.encode() + replies[remote_id].encode() + b"\r\n")
    headers = {"content_type": "multipart/mixed; boundary=batch_x"}
    return Reply(200, b"".join([*parts, b"--batch_x--\r\n"]), headers)


def message(remote_id: str, **fields: Any) -> dict[str, Any]:
    """A message in Gmail's full form: one text part."""
    headers = {"Message-ID": f"<{remote_id}@x.test>", "Subject": f"About {remote_id}", "From": "Bob <bob@x.test>"}
    headers |= {"Content-Type": "text/plain; charset=UTF-8"}
    payload = {
        "partId": "",
        "mimeType": "text/plain",
        "filename": "",
        "headers": [{"name": name, "value": value} for name, value in headers.items()],
        "body": {"size": 5, "data": encoded(b"Hello")},
    }
    return {
        "id": remote_id,
        "threadId": f"t{remote_id}",
        "labelIds": ["UNREAD", "INBOX"],
        "internalDate": "1767607200000",
        "sizeEstimate": 1234,
        "historyId": "77",
        "payload": payload,
    } | fields


def encoded(data: bytes) -> str:
    """base64url without padding, as Gmail may give it."""
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


NAMES = ("id", "threadId", "labelIds", "internalDate", "sizeEstimate", "payload", "partId", "mimeType", "filename")
NAMES += ("headers", "name", "value", "body", "data", "attachmentId", "size", "parts", "history", "historyId")
NAMES += ("messagesAdded", "messagesDeleted", "labelsAdded", "labelsRemoved", "message", "nextPageToken")
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)
LEAVES |= st.sampled_from(
    ["text/plain", "text/html", "multipart/mixed", "SGVsbG8", "INBOX", "12", "=", "a\u0000b", "\ud800"]
)
ANYTHING = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES), inner), max_leaves=30
)
OBJECTS = st.dictionaries(st.sampled_from(NAMES), ANYTHING)
"""JSON objects that look like Gmail's and are not."""
