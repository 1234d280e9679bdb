"""/_control/drive: files put, changed and looked at behind the hub's back, the picker, storage, tokens without a
consent page, upload sessions."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from simulator.control import add_call
from simulator.drive.methods import DRIVE
from simulator.drive.store import FOLDER, DriveState, File, SharedDrive, resource
from simulator.grants import GOOGLE_CLIENT_ID
from simulator.mailbox_control import missing
from simulator.routing import Router
from simulator.state import World
from simulator.wire import Request, Response

CHANGEABLE = {"name", "trashed", "starred", "read_only", "abusive", "description", "mime_type", "parent"}


def register_control(router: Router, world: World) -> None:
    control = DriveControl(world)
    for method, path, handler in (
        ("GET", "/drive/{email}/files", control.files),
        ("POST", "/drive/{email}/files", control.put_file),
        ("PATCH", "/drive/{email}/files/{id}", control.change_file),
        ("DELETE", "/drive/{email}/files/{id}", control.delete_file),
        ("GET", "/drive/{email}/files/{id}/content", control.content),
        ("POST", "/drive/{email}/files/{id}/open", control.open_file),
        ("POST", "/drive/{email}/drives", control.shared_drive),
        ("POST", "/drive/{email}/storage", control.storage),
        ("POST", "/drive/{email}/tokens", control.tokens),
        ("POST", "/drive/{email}/expire-uploads", control.expire_uploads),
    ):
        add_call(router, method, path, handler)


class DriveControl:
    def __init__(self, world: World) -> None:
        self.world = world

    @property
    def state(self) -> DriveState:
        return self.world.part(DriveState)

    def files(self, request: Request) -> dict[str, Any]:
        """The truth of an account: id of its root, every file it reaches, sessions under way."""
        email = self._email(request)
        root = self.state.root(email, self.world.seed, self.world.now())
        found = [item for item in self.state.files.values() if item.id != root.id and self.state.reaches(item, email)]
        open_sessions = [item for item in self.state.sessions.values() if item.account == email and not item.done]
        return {
            "root": root.id,
            "files": [self._describe(item) for item in found],
            "uploads": [{"stored": len(item.data), "total": item.total} for item in open_sessions],
        }

    def put_file(self, request: Request) -> dict[str, Any]:
        """`name`, and if wanted `mime_type, parent, content_base64 | size, exports (type → base64), id, drive, client,
        read_only, abusive, count`: with a count that many, numbered; the last one's description."""
        email, body, now = self._email(request), request.json(), self.world.now()
        root = self.state.root(email, self.world.seed, now)
        count = int(body.get("count", 0))
        names = [f"{body['name']} {number:04d}" for number in range(1, count + 1)] or [str(body["name"])]
        parent = self.state.files[str(body.get("parent") or body.get("drive") or root.id)]
        for name in names:
            item = File(
                id=str(body.get("id") or self.state.new_id(self.world.seed)),
                name=name,
                mime_type=str(body.get("mime_type", "application/octet-stream")),
                parent=parent.id,
                owner="" if parent.drive else email,
                drive=parent.drive,
                created=now,
                modified=now,
                client=str(body.get("client", "")),
                content=_content(body),
                exports={kind: base64.b64decode(text) for kind, text in (body.get("exports") or {}).items()},
                read_only=bool(body.get("read_only")),
                abusive=bool(body.get("abusive")),
            )
            self.state.files[item.id] = item
        return self._describe(item)

    def change_file(self, request: Request) -> dict[str, Any]:
        item, body = self._file(request), request.json()
        for name, value in body.items():
            if name not in CHANGEABLE:
                raise ValueError(f"not changeable: {name}")
            setattr(item, name, value)
        item.modified = self.world.now()
        return self._describe(item)

    def delete_file(self, request: Request) -> dict[str, Any]:
        return {"removed": self.state.remove(self._file(request))}

    def content(self, request: Request) -> Response:
        return Response(200, self._file(request).content, {}, "application/octet-stream")

    def open_file(self, request: Request) -> dict[str, Any]:
        """The user chose it in the picker: from now on drive.file lets the app (`client_id`) see it."""
        item = self._file(request)
        item.opened_by.add(str(request.json().get("client_id", GOOGLE_CLIENT_ID)))
        return self._describe(item)

    def shared_drive(self, request: Request) -> dict[str, Any]:
        """A shared drive the account is a member of; its id is that of its top folder."""
        email, name = self._email(request), str(request.json()["name"])
        identity, now = self.state.new_id(self.world.seed, "0A"), self.world.now()
        self.state.drives[identity] = SharedDrive(identity, name, {email})
        self.state.files[identity] = File(identity, name, FOLDER, "", "", now, now, drive=identity)
        return {"id": identity, "name": name}

    def storage(self, request: Request) -> dict[str, Any]:
        email = self._email(request)
        self.state.limits[email] = int(request.json()["limit"])
        return {"limit": self.state.limits[email], "usage": self.state.usage(email)}

    def tokens(self, request: Request) -> dict[str, Any]:
        """What a consent would end in: `scopes` (default drive), `client_id`."""
        email, body = self._email(request), request.json()
        settings, now, authority = self.world.settings, self.world.now(), self.world.authority
        scopes = [str(scope) for scope in body.get("scopes") or [DRIVE]]
        grant = authority.consent("google", str(body.get("client_id", GOOGLE_CLIENT_ID)), email, scopes)
        life = settings.google_access_token_seconds
        access = authority.issue_access(grant, scopes, now + life, "ya29.a0")
        refresh = authority.issue_refresh(grant, scopes, float("inf"), "1//0")
        return {"access_token": access.token, "refresh_token": refresh.token, "expires_in": life}

    def expire_uploads(self, request: Request) -> dict[str, Any]:
        """Every session of the account is forgotten; how many that were."""
        email = self._email(request)
        mine = [key for key, session in self.state.sessions.items() if session.account == email]
        for key in mine:
            del self.state.sessions[key]
        return {"expired": len(mine)}

    def _email(self, request: Request) -> str:
        account = self.world.account("google", request.params["email"])
        if account is None:
            raise missing("google account")
        return account.email

    def _file(self, request: Request) -> File:
        item = self.state.files.get(request.params["id"])
        if item is None or not self.state.reaches(item, self._email(request)):
            raise missing("file")
        return item

    def _describe(self, item: File) -> dict[str, Any]:
        shown = resource(self.state, item, item.owner, item.client)
        facts = {"sha256": hashlib.sha256(item.content).hexdigest(), "bytes": len(item.content)}
        own = {"client": item.client, "opened_by": sorted(item.opened_by), "owner": item.owner}
        return {**shown, **facts, **own, "parent": item.parent}


def _content(body: dict[str, Any]) -> bytes:
    """The given bytes, or `size` bytes of a pattern that differs everywhere."""
    if "content_base64" in body:
        return base64.b64decode(body["content_base64"])
    size = int(body.get("size", 0))
    return b"".join(number.to_bytes(8, "big") for number in range(size // 8 + 1))[:size]
