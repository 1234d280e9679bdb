"""A loopback server that answers as a test tells it to: Graph at its worst. For the tests of `providers.graph`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Self
from urllib.parse import unquote

from core.tests.servers import LoopbackServer
from email_sync.providers.base import MailAccount
from email_sync.providers.graph import Graph
from email_sync.records import RemoteFolder, Stream
from email_sync.tests.gmail_server import Answering, Asked, Reply

V1 = "/v1.0"
INBOX = Stream("in", RemoteFolder("in", "Inbox", "inbox"))


class GraphServer:
    """Answers by method and path below /v1.0; what no rule covers is Graph's 404. Remembers what it was asked; the
    parts of a batch are answered by the same rules."""

    def __init__(self) -> None:
        self.rules: dict[tuple[str, str], Answering] = {}
        self.asked: list[Asked] = []
        self.parts: list[dict[str, Any]] = []
        self.order: Callable[[list[Any]], list[Any]] = list
        self.server = LoopbackServer(self._script)
        self.url = self.server.url

    def on(self, method: str, path: str, reply: Reply | Answering) -> None:
        self.rules[method, path] = (lambda _: reply) if isinstance(reply, Reply) else reply

    def graph(self) -> Graph:
        """A provider that talks to this server."""
        return Graph(MailAccount("ada@contoso.test", "eyJ.secret", {"graphApiUrl": self.url}))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.server.stop()

    def _script(self, stream: Any, request: bytes) -> bool:
        asked = Asked.read(request)
        self.asked.append(asked)
        reply = self._batch(asked) if asked.path == f"{V1}/$batch" else self._answer(asked)
        if reply is not None:
            stream.sendall(reply.encode())
        return False

    def _answer(self, asked: Asked) -> Reply | None:
        answering = self.rules.get((asked.method, unquote(asked.path).removeprefix(V1)))
        return refusal(404, "ErrorItemNotFound") if answering is None else answering(asked)

    def _batch(self, asked: Asked) -> Reply | None:
        if ("POST", "/$batch") in self.rules:
            return self.rules["POST", "/$batch"](asked)
        answers = []
        for part in asked.json()["requests"]:
            self.parts.append(part)
            head = f"{part['method']} {V1}{part['url']} HTTP/1.1\r\n\r\n".encode()
            reply = self._answer(Asked.read(head + json.dumps(part.get("body", {})).encode()))
            if reply is not None:
                body = reply.body.decode() if isinstance(reply.body, bytes) else reply.body
                answers.append({"id": part["id"], "status": reply.status, "headers": reply.headers, "body": body})
        return Reply(200, {"responses": self.order(answers)})


def refusal(status: int, code: str, message: str = "No.", **headers: str) -> Reply:
    """Graph's error envelope."""
    inner = {"request-id": "c0ffee", "client-request-id": "d00d", "date": "2026-11-20T10:00:00"}
    return Reply(status, {"error": {"code": code, "message": message, "innerError": inner}}, headers)


def summary(remote_id: str, **fields: Any) -> dict[str, Any]:
    """A message as lists and changes show it."""
    return {
        "id": remote_id,
        "isRead": False,
        "flag": {"flagStatus": "notFlagged"},
        "isDraft": False,
        "parentFolderId": "in",
        "receivedDateTime": "2026-01-05T10:00:00Z",
        "conversationId": f"c{remote_id}",
    } | fields


def folder(folder_id: str, name: str = "", **fields: Any) -> dict[str, Any]:
    """A folder as lists show it."""
    return {
        "id": folder_id,
        "displayName": name or folder_id.title(),
        "childFolderCount": 0,
        "isHidden": False,
    } | fields


def mime(name: str) -> bytes:
    """A mail named `name`."""
    return f"Message-ID: <{name}@x.test>\r\nSubject: About {name}\r\n\r\nHello\r\n".encode()
