"""The Drive methods that exist here: HTTP method, path, the scopes of which one is needed, the price in quota units.
Method, path and scopes are those of Google's discovery document (a test compares them); prices are those of a project
created since May 2026 (get 5, list 100, download 200, create and update 50, others 5)."""

from __future__ import annotations

from dataclasses import dataclass

PREFIX = "https://www.googleapis.com/auth/"
DRIVE = PREFIX + "drive"
APPDATA = PREFIX + "drive.appdata"
FILE = PREFIX + "drive.file"
MEET = PREFIX + "drive.meet.readonly"
METADATA = PREFIX + "drive.metadata"
METADATA_READONLY = PREFIX + "drive.metadata.readonly"
PHOTOS = PREFIX + "drive.photos.readonly"
READONLY = PREFIX + "drive.readonly"
SCRIPTS = PREFIX + "drive.scripts"

WRITE = (DRIVE, APPDATA, FILE)
EXPORT = (DRIVE, FILE, MEET, READONLY)
UPDATE = (DRIVE, APPDATA, FILE, METADATA, SCRIPTS)
READ = (DRIVE, APPDATA, FILE, MEET, METADATA, METADATA_READONLY, PHOTOS, READONLY)
ABOUT = (DRIVE, APPDATA, FILE, METADATA, METADATA_READONLY, PHOTOS, READONLY)
CONTENT = (DRIVE, APPDATA, FILE, MEET, PHOTOS, READONLY)
"""What alt=media needs: the metadata scopes do not open content."""
DOWNLOAD_UNITS = 200


@dataclass(frozen=True)
class Method:
    http: str
    path: str
    scopes: tuple[str, ...]
    units: int


METHODS = {
    "drive.about.get": Method("GET", "/drive/v3/about", ABOUT, 5),
    "drive.files.list": Method("GET", "/drive/v3/files", READ, 100),
    "drive.files.get": Method("GET", "/drive/v3/files/{fileId}", READ, 5),
    "drive.files.export": Method("GET", "/drive/v3/files/{fileId}/export", EXPORT, DOWNLOAD_UNITS),
    "drive.files.generateIds": Method("GET", "/drive/v3/files/generateIds", WRITE, 5),
    "drive.files.create": Method("POST", "/drive/v3/files", WRITE, 50),
    "drive.files.update": Method("PATCH", "/drive/v3/files/{fileId}", UPDATE, 50),
    "drive.files.delete": Method("DELETE", "/drive/v3/files/{fileId}", WRITE, 5),
}
UPLOADS = ("drive.files.create", "drive.files.update")
"""Methods that also take content, under /upload."""
