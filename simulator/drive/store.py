"""What Drive remembers: files of every account and shared drive, ids that were generated but not used yet, uploads
under way. A file is content and metadata in one; folders are files of a type. Kept in `World.part(DriveState)`."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

FOLDER = "application/vnd.google-apps.folder"
APPS = "application/vnd.google-apps."
EXPORTS = {
    f"{APPS}document": ("application/pdf", "text/plain", "text/markdown", "application/zip",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    f"{APPS}spreadsheet": ("application/pdf", "text/csv", "application/zip",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    f"{APPS}presentation": ("application/pdf", "text/plain",
        "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
    f"{APPS}drawing": ("application/pdf", "image/png", "image/svg+xml", "image/jpeg"),
}  # fmt: skip
"""Docs Editors type → what it can be exported to."""
STORAGE_BYTES = 15 * 1024**3


@dataclass
class File:
    """`owner` is an address, or empty in a shared drive (`drive`). `client` is the app that made it, `opened_by` those
    it was picked for: all that drive.file lets them see."""

    id: str
    name: str
    mime_type: str
    parent: str
    owner: str
    created: float
    modified: float
    drive: str = ""
    client: str = ""
    opened_by: set[str] = field(default_factory=set)
    content: bytes = b""
    exports: dict[str, bytes] = field(default_factory=dict)
    """Type → content, over the generated ones."""
    trashed: bool = False
    starred: bool = False
    description: str = ""
    read_only: bool = False
    """The account may look, not change: shared by somebody who gave no more."""
    abusive: bool = False
    properties: dict[str, str] = field(default_factory=dict)
    app_properties: dict[str, str] = field(default_factory=dict)
    version: int = 1

    @property
    def is_folder(self) -> bool:
        return self.mime_type == FOLDER

    @property
    def binary(self) -> bool:
        """Whether it has bytes of its own, as opposed to folders, shortcuts and Docs Editors files."""
        return not self.mime_type.startswith(APPS)

    def export(self, mime_type: str) -> bytes | None:
        """Its content as another type; None when that is not offered."""
        if mime_type in self.exports:
            return self.exports[mime_type]
        if mime_type not in EXPORTS.get(self.mime_type, ()):
            return None
        lead = b"%PDF-1.4\n" if mime_type == "application/pdf" else b""
        return lead + (self.content or self.name.encode())


@dataclass
class SharedDrive:
    id: str
    name: str
    members: set[str]


@dataclass
class Session:
    """A resumable upload. `total` is -1 while nobody said how much will come; `file_id` empty for a new file."""

    id: str
    account: str
    client: str
    target: str
    """Path and query it was begun with: the session's own address."""
    metadata: dict[str, Any]
    mime_type: str
    total: int
    expires_at: float
    file_id: str = ""
    data: bytearray = field(default_factory=bytearray)
    done: str = ""
    """Id of the file it became."""


@dataclass
class DriveState:
    files: dict[str, File] = field(default_factory=dict)
    roots: dict[str, str] = field(default_factory=dict)
    """Address → id of My Drive."""
    drives: dict[str, SharedDrive] = field(default_factory=dict)
    generated: dict[str, set[str]] = field(default_factory=dict)
    """Address → ids from generateIds that no file has yet."""
    sessions: dict[str, Session] = field(default_factory=dict)
    limits: dict[str, int] = field(default_factory=dict)
    """Address → bytes it may store."""
    day: tuple[int, int] = (0, 0)
    """The day of the clock and how many requests it had."""
    serial: int = 0

    def new_id(self, seed: int, prefix: str = "1") -> str:
        """33 characters, as Drive's."""
        self.serial += 1
        digest = hashlib.sha256(f"drive/{seed}/{self.serial}".encode()).hexdigest()
        return f"{prefix}{digest}"[:33] if prefix == "1" else f"{prefix}{digest}"[:19]

    def root(self, email: str, seed: int, now: float) -> File:
        """My Drive of an account, made when it is first looked at."""
        if email not in self.roots:
            identity = self.new_id(seed, "0A")
            self.roots[email] = identity
            self.files[identity] = File(identity, "My Drive", FOLDER, "", email, now, now)
        return self.files[self.roots[email]]

    def children(self, parent: str) -> list[File]:
        return [item for item in self.files.values() if item.parent == parent]

    def descendants(self, item: File) -> Iterator[File]:
        """Everything under a folder, the folder not included."""
        for child in self.children(item.id):
            yield child
            yield from self.descendants(child)

    def in_trash(self, item: File) -> bool:
        """Trashed itself, or inside something that is."""
        while True:
            if item.trashed:
                return True
            if item.parent not in self.files:
                return False
            item = self.files[item.parent]

    def remove(self, item: File) -> int:
        """For good, with all that is inside; how many that were."""
        gone = [item, *self.descendants(item)]
        for one in gone:
            self.files.pop(one.id, None)
        return len(gone)

    def reaches(self, item: File, email: str) -> bool:
        """Whether the account may see it at all."""
        if item.drive:
            return item.drive in self.drives and email in self.drives[item.drive].members
        return item.owner == email or item.read_only

    def usage(self, email: str) -> int:
        return sum(len(item.content) for item in self.files.values() if item.owner == email)

    def limit(self, email: str) -> int:
        return self.limits.get(email, STORAGE_BYTES)


def stamp(moment: float) -> str:
    """RFC 3339 with milliseconds, as Drive writes it."""
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment))
    return f"{whole}.{int(moment * 1000) % 1000:03d}Z"


def resource(state: DriveState, item: File, email: str, client: str) -> dict[str, Any]:
    """The whole File resource; `fields` cuts it down later. `size` is a string and only where there are bytes."""
    writable = not item.read_only
    shown: dict[str, Any] = {
        "kind": "drive#file",
        "id": item.id,
        "name": item.name,
        "mimeType": item.mime_type,
        "description": item.description,
        "starred": item.starred,
        "trashed": state.in_trash(item),
        "explicitlyTrashed": item.trashed,
        "spaces": ["drive"],
        "version": str(item.version),
        "createdTime": stamp(item.created),
        "modifiedTime": stamp(item.modified),
        "ownedByMe": item.owner == email,
        "shared": bool(item.drive) or item.read_only,
        "isAppAuthorized": client == item.client or client in item.opened_by,
        "webViewLink": f"https://drive.google.com/file/d/{item.id}/view?usp=drivesdk",
        "capabilities": {
            "canAddChildren": item.is_folder and writable,
            "canDelete": item.owner == email,
            "canDownload": item.binary or bool(EXPORTS.get(item.mime_type)),
            "canEdit": writable,
            "canListChildren": item.is_folder,
            "canRename": writable,
            "canTrash": writable,
        },
    }
    if item.parent:
        shown["parents"] = [item.parent]
    if item.drive:
        shown |= {"driveId": item.drive, "teamDriveId": item.drive}
    if item.properties:
        shown["properties"] = item.properties
    if item.app_properties and client == item.client:
        shown["appProperties"] = item.app_properties
    return shown | (_content_facts(item) if item.binary else {})


def _content_facts(item: File) -> dict[str, Any]:
    extension = item.name.rpartition(".")[2] if "." in item.name else ""
    return {
        "size": str(len(item.content)),
        "quotaBytesUsed": str(len(item.content)),
        "md5Checksum": hashlib.md5(item.content, usedforsecurity=False).hexdigest(),
        "sha1Checksum": hashlib.sha1(item.content, usedforsecurity=False).hexdigest(),
        "sha256Checksum": hashlib.sha256(item.content).hexdigest(),
        "originalFilename": item.name,
        "fileExtension": extension,
        "fullFileExtension": extension,
        "headRevisionId": f"0B{item.id[-12:]}{item.version}",
        "webContentLink": f"https://drive.google.com/uc?id={item.id}&export=download",
    }
