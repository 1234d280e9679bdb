"""A caller of the stand-in's Drive, and Drive's control calls as methods: also for tests of the hub."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from simulator.process import Simulator
from simulator.tests.factories import Answer, send

SCOPE = "https://www.googleapis.com/auth/drive"
FOLDER = "application/vnd.google-apps.folder"
DOCUMENT = "application/vnd.google-apps.document"
STEP = 256 * 1024


@dataclass
class DriveTruth:
    """What only the control API may: one account's files behind everybody's back."""

    simulator: Simulator
    email: str

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        return self.simulator.control(method, f"/drive/{quote(self.email)}/{path}", body)

    def tokens(self, *scopes: str, client_id: str = "") -> dict[str, Any]:
        """`access_token`, `refresh_token`, `expires_in`; whole-drive scope unless named."""
        given = {"scopes": list(scopes)} | ({"client_id": client_id} if client_id else {})
        answer: dict[str, Any] = self._call("POST", "tokens", given)
        return answer

    def look(self) -> dict[str, Any]:
        """`root`, `files`, `uploads`."""
        answer: dict[str, Any] = self._call("GET", "files")
        return answer

    @property
    def root(self) -> str:
        return str(self.look()["root"])

    def names(self) -> list[str]:
        return sorted(item["name"] for item in self.look()["files"])

    def put(self, name: str, content: bytes = b"", **more: Any) -> dict[str, Any]:
        """A file; `mime_type, parent, size, exports (type → bytes), id, drive, client, read_only, abusive, count`."""
        packed = {kind: base64.b64encode(data).decode() for kind, data in more.pop("exports", {}).items()}
        body = {"name": name, "exports": packed} | more
        if "size" not in more:
            body["content_base64"] = base64.b64encode(content).decode()
        answer: dict[str, Any] = self._call("POST", "files", body)
        return answer

    def folder(self, name: str, **more: Any) -> str:
        """Its id."""
        return str(self.put(name, mime_type=FOLDER, **more)["id"])

    def change(self, identity: str, **changes: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self._call("PATCH", f"files/{identity}", changes)
        return answer

    def remove(self, identity: str) -> None:
        self._call("DELETE", f"files/{identity}")

    def content(self, identity: str) -> bytes:
        return self.simulator.request("GET", f"/_control/drive/{quote(self.email)}/files/{identity}/content")[2]

    def pick(self, identity: str, **more: Any) -> None:
        """The user chooses it in the picker."""
        self._call("POST", f"files/{identity}/open", more)

    def shared_drive(self, name: str) -> str:
        """Its id, which is also its top folder's."""
        return str(self._call("POST", "drives", {"name": name})["id"])

    def storage(self, limit: int) -> None:
        self._call("POST", "storage", {"limit": limit})

    def expire_uploads(self) -> int:
        return int(self._call("POST", "expire-uploads")["expired"])


@dataclass
class DriveApi:
    """Calls with one token."""

    simulator: Simulator
    truth: DriveTruth
    token: str

    def call(self, method: str, path: str, *, base: str = "/drive/v3", **more: Any) -> Answer:
        query = more.pop("query", None)
        suffix = f"?{urlencode(query)}" if query else ""
        return send(self.simulator, method, f"{base}{path}{suffix}", token=self.token, **more)

    def get(self, path: str, **query: Any) -> Any:
        answer = self.call("GET", path, query=query)
        assert answer.status == 200, answer.body
        return answer.json

    def list(self, q: str = "", **query: Any) -> Any:
        return self.get("/files", **({"q": q} if q else {}), **query)

    def create(self, metadata: dict[str, Any], **query: Any) -> Any:
        answer = self.call("POST", "/files", json=metadata, query=query)
        assert answer.status == 200, answer.body
        return answer.json

    def generate_id(self) -> str:
        return str(self.get("/files/generateIds", count=1)["ids"][0])

    def multipart(self, metadata: dict[str, Any], content: bytes, kind: str = "text/plain") -> Answer:
        head = b"--b\r\nContent-Type: application/json\r\n\r\n" + json.dumps(metadata).encode()
        body = head + f"\r\n--b\r\nContent-Type: {kind}\r\n\r\n".encode() + content + b"\r\n--b--"
        headers = {"Content-Type": "multipart/related; boundary=b"}
        return self.call("POST", "/files?uploadType=multipart", base="/upload/drive/v3", headers=headers, body=body)

    def begin(self, metadata: dict[str, Any], total: int | None = None, kind: str = "application/pdf") -> Answer:
        """Begins a resumable upload."""
        headers = {"X-Upload-Content-Type": kind} | ({} if total is None else {"X-Upload-Content-Length": str(total)})
        path = "/files?uploadType=resumable"
        return self.call("POST", path, base="/upload/drive/v3", headers=headers, json=metadata)

    def session(self, metadata: dict[str, Any], total: int | None = None) -> str:
        """The path of a session that was begun."""
        answer = self.begin(metadata, total)
        assert answer.status == 200, answer.body
        return answer.headers["location"].removeprefix(self.simulator.base_url)

    def put(self, session: str, content: bytes, content_range: str = "") -> Answer:
        """To a session: without a token."""
        headers = {"Content-Range": content_range} if content_range else {}
        return send(self.simulator, "PUT", session, headers=headers, body=content)


def drive_of(simulator: Simulator, email: str, *scopes: str) -> DriveApi:
    """A connected caller of an account's Drive."""
    truth = DriveTruth(simulator, email)
    return DriveApi(simulator, truth, truth.tokens(*(scopes or (SCOPE,)))["access_token"])
