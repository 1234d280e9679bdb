"""A Google Drive in the simulator, and the provider that reaches it."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from integrations.providers.drive import Drive
from integrations.providers.drive.resumable import CHUNK_BYTES
from integrations.tests.conftest import ADA
from simulator.process import Simulator
from simulator.tests.drive_api import DriveTruth

FILE_SCOPE = "https://www.googleapis.com/auth/drive.file"
READONLY = "https://www.googleapis.com/auth/drive.readonly"
CLIENT = {"clientId": "own-client", "clientSecret": "GOCSPX-canary-own"}
BIG = bytes(range(256)) * (2 * CHUNK_BYTES // 256) + b"tail"


@pytest.fixture
def truth(simulator: Simulator) -> DriveTruth:
    """Ada's Drive, as it really is."""
    return DriveTruth(simulator, ADA)


def drive(truth: DriveTruth, *scopes: str, root: str = "", **credentials: str) -> Drive:
    """A provider with a token as it is: nobody refreshes it here."""
    tokens = truth.tokens(*scopes)
    given = {"accessToken": tokens["access_token"], "refreshToken": tokens["refresh_token"], **credentials}
    return Drive(config={"rootFolderId": root} if root else {}, credentials=given)


def upload(provider: Drive, content: bytes = b"words", **given: Any) -> Any:
    """By the action that the API calls."""
    packed = base64.b64encode(content).decode()
    return provider.perform("upload", {"fileName": "a.txt", "contentBase64": packed, **given})
