"""Files to the simulator's Google Drive and back: in chunks, through what breaks on the way, and what is refused."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest

from core.errors import (
    CredentialsRejected,
    HubError,
    InvalidInput,
    ProviderOutcomeUnknown,
    ProviderRateLimited,
    ProviderRejected,
    ProviderUnavailable,
    TooLarge,
)
from integrations.providers.drive import MOST_BYTES
from integrations.providers.drive.resumable import CHUNK_BYTES
from integrations.tests import drives
from integrations.tests.drives import BIG, drive, upload
from simulator.process import Simulator
from simulator.tests.drive_api import DOCUMENT, STEP, DriveTruth

truth = drives.truth


# Uploads


def test_upload_puts_the_bytes_into_the_root_folder(truth: DriveTruth) -> None:
    root = truth.folder("Root")
    made = upload(drive(truth, root=root), b"words", contentType="text/plain")
    assert (made["fileName"], made["contentType"], made["size"]) == ("a.txt", "text/plain", 5)
    [stored] = [item for item in truth.look()["files"] if item["id"] == made["id"]]
    assert (stored["parent"], truth.content(made["id"])) == (root, b"words")


def test_upload_of_nothing_makes_an_empty_file(truth: DriveTruth) -> None:
    made = upload(drive(truth), b"")
    assert (made["size"], truth.content(made["id"])) == (0, b"")


def test_upload_goes_in_chunks(simulator: Simulator, truth: DriveTruth) -> None:
    made = upload(drive(truth), BIG)
    assert truth.content(made["id"]) == BIG
    chunks = [entry["effect"]["stored"] for entry in simulator.ledger(operation="drive.upload", status=308)]
    assert chunks == [CHUNK_BYTES, 2 * CHUNK_BYTES]


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "close", "count": 2},
        {"kind": "close", "effect": True, "count": 1},
        {"kind": "close", "effect": True, "skip": 2, "count": 1},
        {"kind": "close", "skip": 1, "count": 2},
        {"kind": "status", "status": 503, "skip": 1, "count": 2},
        {"kind": "status", "status": 500, "effect": True, "skip": 2, "count": 3},
        {"kind": "truncate", "skip": 2, "count": 1},
    ],
    ids=["first", "first-stored", "last-stored", "second", "503", "last-stored-500", "answer-cut"],
)
def test_upload_goes_on_where_a_chunk_broke(simulator: Simulator, truth: DriveTruth, fault: dict[str, Any]) -> None:
    simulator.fault(**{"operation": "drive.upload", **fault})
    made = upload(drive(truth), BIG)
    assert hashlib.sha256(truth.content(made["id"])).digest() == hashlib.sha256(BIG).digest()
    assert truth.names() == ["a.txt"]


def test_upload_of_which_only_a_part_of_each_chunk_is_kept(simulator: Simulator, truth: DriveTruth) -> None:
    simulator.settings(drive_chunk_keeps_bytes=7 * STEP)
    made = upload(drive(truth), BIG)
    assert truth.content(made["id"]) == BIG


def test_upload_whose_session_was_forgotten_begins_anew_once(simulator: Simulator, truth: DriveTruth) -> None:
    simulator.fault("status", operation="drive.upload", status=404, count=1)
    made = upload(drive(truth), BIG)
    assert truth.content(made["id"]) == BIG
    assert truth.names() == ["a.txt"]


def test_upload_that_is_never_taken_says_that_nothing_was_stored(simulator: Simulator, truth: DriveTruth) -> None:
    simulator.fault("status", operation="drive.upload", status=503, skip=1)
    with pytest.raises(ProviderUnavailable, match="Nothing was stored") as caught:
        upload(drive(truth), BIG)
    assert not isinstance(caught.value, ProviderOutcomeUnknown)
    assert truth.names() == []


def test_upload_of_unknown_outcome_is_repeated_without_doubling(simulator: Simulator, truth: DriveTruth) -> None:
    rule = simulator.fault("close", operation="drive.upload", effect=True)
    with pytest.raises(ProviderOutcomeUnknown) as caught:
        upload(drive(truth))
    identity = str(caught.value.extra["fileId"])
    simulator.remove_fault(rule)
    made = upload(drive(truth), fileId=identity)
    assert (made["id"], made["size"]) == (identity, 5)
    assert truth.names() == ["a.txt"]


def test_upload_under_an_id_of_another_file_is_refused(truth: DriveTruth) -> None:
    provider = drive(truth)
    first = upload(provider)
    with pytest.raises(ProviderRejected, match="Another file"):
        upload(provider, b"other words", fileId=first["id"])


def test_upload_finished_by_a_twin_meanwhile_is_that_file(simulator: Simulator, truth: DriveTruth) -> None:
    """The session was forgotten after the file was made: the id says so."""
    simulator.fault("status", operation="drive.upload", status=404, effect=True, count=1)
    made = upload(drive(truth))
    assert truth.names() == ["a.txt"]
    assert truth.content(made["id"]) == b"words"


def test_upload_into_a_full_drive_is_refused_in_its_words(truth: DriveTruth) -> None:
    truth.storage(3)
    with pytest.raises(ProviderRejected, match="storage quota has been exceeded"):
        upload(drive(truth))


def test_upload_into_a_folder_of_a_shared_drive(truth: DriveTruth) -> None:
    shared = truth.shared_drive("Team")
    made = upload(drive(truth, root=shared))
    assert truth.content(made["id"]) == b"words"


@pytest.mark.parametrize("kind", ["text", "text/html\r\nX: y", "application/vnd.google-apps.document"])
def test_upload_of_a_type_that_is_none_of_bytes_is_refused(truth: DriveTruth, kind: str) -> None:
    with pytest.raises(InvalidInput):
        upload(drive(truth), contentType=kind)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"kind": "status", "status": 401}, CredentialsRejected),
        ({"kind": "status", "status": 429}, ProviderRateLimited),
        ({"kind": "status", "status": 503}, ProviderUnavailable),
        ({"kind": "close"}, ProviderUnavailable),
        ({"kind": "garbage"}, ProviderUnavailable),
    ],
    ids=["401", "429", "503", "close", "garbage"],
)
def test_upload_whose_beginning_fails_stores_nothing(
    simulator: Simulator, truth: DriveTruth, fault: dict[str, Any], kind: type[HubError]
) -> None:
    simulator.fault(**{"operation": "drive.files.create", **fault})
    with pytest.raises(kind) as caught:
        upload(drive(truth))
    assert not isinstance(caught.value, ProviderOutcomeUnknown)
    assert truth.look()["uploads"] == []


def test_upload_whose_session_leads_elsewhere_sends_nothing_there(simulator: Simulator, truth: DriveTruth) -> None:
    simulator.fault(
        "status", operation="drive.files.create", status=200, headers={"Location": "http://127.0.0.1:1/upload"}, body={}
    )  # fmt: skip
    with pytest.raises(ProviderUnavailable, match="no address"):
        upload(drive(truth))


# Downloads


@pytest.mark.parametrize("content", [b"", b"words", BIG], ids=["empty", "small", "big"])
def test_download_gives_every_byte(truth: DriveTruth, content: bytes) -> None:
    item = truth.put("a.bin", content, mime_type="text/csv")
    got = drive(truth).perform("download", {"fileId": item["id"]})
    assert base64.b64decode(got["contentBase64"]) == content
    assert (got["fileName"], got["contentType"], got["size"]) == ("a.bin", "text/csv", len(content))


def test_download_asks_for_ranges(simulator: Simulator, truth: DriveTruth) -> None:
    item = truth.put("a.bin", BIG)
    drive(truth).perform("download", {"fileId": item["id"]})
    statuses = [entry["status"] for entry in simulator.ledger(operation="drive.files.get", target="alt=media")]
    assert statuses == [206, 206, 206]


def test_download_of_a_docs_file_exports_it(truth: DriveTruth) -> None:
    item = truth.put("Plan", b"plan", mime_type=DOCUMENT)
    got = drive(truth).perform("download", {"fileId": item["id"]})
    assert got["contentType"] == "application/pdf"
    assert base64.b64decode(got["contentBase64"]).startswith(b"%PDF")
    text = drive(truth).perform("download", {"fileId": item["id"], "exportAs": "text/plain"})
    assert base64.b64decode(text["contentBase64"]) == b"plan"


def test_download_refuses_what_is_too_large_a_folder_or_suspicious(truth: DriveTruth) -> None:
    provider = drive(truth)
    big, folder = truth.put("big", size=MOST_BYTES + 1), truth.folder("Folder")
    bad = truth.put("bad.exe", b"x", abusive=True)
    with pytest.raises(TooLarge, match=str(MOST_BYTES)):
        provider.perform("download", {"fileId": big["id"]})
    with pytest.raises(ProviderRejected, match="folder"):
        provider.perform("download", {"fileId": folder})
    with pytest.raises(ProviderRejected, match="malware"):
        provider.perform("download", {"fileId": bad["id"]})


def test_download_of_an_export_that_is_too_large_says_so(simulator: Simulator, truth: DriveTruth) -> None:
    simulator.settings(drive_export_bytes=3)
    item = truth.put("Plan", b"plan", mime_type=DOCUMENT)
    with pytest.raises(ProviderRejected, match="too large to be exported"):
        drive(truth).perform("download", {"fileId": item["id"]})


def test_download_of_a_file_that_changed_on_the_way_is_not_given(simulator: Simulator, truth: DriveTruth) -> None:
    item = truth.put("a.bin", b"words")
    simulator.fault("merge", operation="drive.files.get", body={"md5Checksum": "0" * 32}, count=1)
    with pytest.raises(ProviderUnavailable, match="changed"):
        drive(truth).perform("download", {"fileId": item["id"]})
