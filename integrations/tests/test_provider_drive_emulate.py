"""Drive against somebody else's imitation of Google (emulate 0.11.2), for what that has: lists and content.

It knows no `about`, no generated ids and no resumable uploads, and takes every token (reference providers-workspace
16), so check and upload are tried against our own simulator only.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from integrations.providers.drive import Drive
from integrations.services.oauth_flow import redirect_uri
from integrations.tests import emulate

pytestmark = [
    pytest.mark.services,
    pytest.mark.skipif(emulate.program() is None, reason="needs `npm install -g emulate@0.11.2`, or EMULATE_BIN"),
]
CONTENT = b"words\r\nand bytes \x00\xff" * 100


@pytest.fixture(scope="module")
def google(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("emulate")
    with emulate.running(folder, {vendor: redirect_uri(vendor) for vendor in ("google", "microsoft")}) as bases:
        yield bases["google"]


@pytest.fixture
def drive(google: str, settings: Any) -> Drive:
    settings.GOOGLE_DRIVE_API_URL = google
    settings.EGRESS_ALLOW_CIDRS = ["127.0.0.0/8"]
    return Drive(config={}, credentials={"accessToken": "any", "refreshToken": "any"})


def put(google: str, name: str, parent: str, content: bytes) -> str:
    """A file made there by its own multipart upload; its id."""
    metadata = json.dumps({"name": name, "parents": [parent], "mimeType": "application/octet-stream"})
    head = f"--b\r\nContent-Type: application/json\r\n\r\n{metadata}\r\n"
    head += "--b\r\nContent-Type: application/octet-stream\r\n\r\n"
    answer = httpx.post(
        f"{google}/upload/drive/v3/files?uploadType=multipart",
        content=head.encode() + content + b"\r\n--b--",
        headers={"Authorization": "Bearer any", "Content-Type": "multipart/related; boundary=b"},
    )
    return str(answer.raise_for_status().json()["id"])


def folder_at(google: str, name: str) -> str:
    body = {"name": name, "mimeType": "application/vnd.google-apps.folder"}
    answer = httpx.post(f"{google}/drive/v3/files", json=body, headers={"Authorization": "Bearer any"})
    return str(answer.raise_for_status().json()["id"])


def test_list_shows_what_is_in_a_folder(google: str, drive: Drive) -> None:
    folder = folder_at(google, "Customers")
    made = put(google, "contract.bin", folder, CONTENT)
    put(google, "elsewhere.bin", folder_at(google, "Others"), CONTENT)
    listed = drive.perform("list_files", {"folderId": folder})
    assert [(item["id"], item["fileName"]) for item in listed["files"]] == [(made, "contract.bin")]


def test_download_gives_the_bytes(google: str, drive: Drive) -> None:
    made = put(google, "contract.bin", folder_at(google, "Customers"), CONTENT)
    got = drive.perform("download", {"fileId": made})
    assert base64.b64decode(got["contentBase64"]) == CONTENT
