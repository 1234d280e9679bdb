"""Content going up to the stand-in's Drive: three protocols, and what resumable ones must survive."""

from __future__ import annotations

import hashlib
import http.client

import pytest

from simulator.process import Simulator
from simulator.tests.drive_api import STEP, DriveApi, drive_of

ADA = "ada@hub.example"
BYTES = bytes(range(256)) * (3 * STEP // 256) + b"tail"


@pytest.fixture
def drive(simulator: Simulator) -> DriveApi:
    simulator.create_account("google", ADA, name="Ada Lovelace")
    return drive_of(simulator, ADA)


def ranged(start: int, end: int, total: int | str = len(BYTES)) -> str:
    """Half open, as Python's."""
    return f"bytes {start}-{end - 1}/{total}"


def test_multipart_makes_a_file_with_metadata_and_content(drive: DriveApi) -> None:
    answer = drive.multipart({"name": "a.txt", "parents": [drive.truth.root]}, b"two\r\nlines", "text/plain")
    assert answer.json["mimeType"] == "text/plain"
    assert drive.truth.content(answer.json["id"]) == b"two\r\nlines"


def test_media_makes_an_untitled_file(drive: DriveApi) -> None:
    answer = drive.call(
        "POST", "/files?uploadType=media", base="/upload/drive/v3", body=b"x", headers={"Content-Type": "text/csv"}
    )
    assert (answer.json["name"], answer.json["mimeType"]) == ("Untitled", "text/csv")


def test_small_protocols_end_at_five_mebibytes(simulator: Simulator, drive: DriveApi) -> None:
    simulator.settings(drive_small_upload_bytes=10)
    assert drive.multipart({"name": "a"}, b"x" * 10).status == 200
    assert drive.multipart({"name": "b"}, b"x" * 11).status == 413
    assert drive.truth.names() == ["a"]


def test_multipart_that_is_none_is_refused(drive: DriveApi) -> None:
    answer = drive.call("POST", "/files?uploadType=multipart", base="/upload/drive/v3", body=b"x")
    assert (answer.status, answer.reason) == (400, "badContent")


def test_resumable_in_chunks_makes_one_file(simulator: Simulator, drive: DriveApi) -> None:
    session = drive.session({"name": "big.pdf"}, len(BYTES))
    first = drive.put(session, BYTES[:STEP], ranged(0, STEP))
    assert (first.status, first.headers["range"]) == (308, f"bytes=0-{STEP - 1}")
    assert drive.put(session, BYTES[STEP : 3 * STEP], ranged(STEP, 3 * STEP)).status == 308
    assert drive.truth.names() == []
    last = drive.put(session, BYTES[3 * STEP :], ranged(3 * STEP, len(BYTES)))
    assert (last.status, last.json["mimeType"]) == (200, "application/pdf")
    [item] = drive.truth.look()["files"]
    assert item["sha256"] == hashlib.sha256(BYTES).hexdigest()
    assert item["client"]
    created = [entry for entry in simulator.ledger() if (entry["effect"] or {}).get("kind") == "drive.file.created"]
    assert [entry["account"] for entry in created] == [ADA]


def test_resumable_status_tells_what_is_there(drive: DriveApi) -> None:
    session = drive.session({"name": "big.pdf"}, len(BYTES))
    nothing = drive.put(session, b"", f"bytes */{len(BYTES)}")
    assert nothing.status == 308
    assert "range" not in nothing.headers
    drive.put(session, BYTES[:STEP], ranged(0, STEP))
    assert drive.put(session, b"", "bytes */*").headers["range"] == f"bytes=0-{STEP - 1}"
    drive.put(session, BYTES[STEP:], ranged(STEP, len(BYTES)))
    assert drive.put(session, b"", f"bytes */{len(BYTES)}").json["name"] == "big.pdf"


def test_resumable_in_one_put_without_a_range(drive: DriveApi) -> None:
    session = drive.session({"name": "a"})
    assert drive.put(session, b"all of it").status == 200
    [item] = drive.truth.look()["files"]
    assert item["bytes"] == 9


def test_resumable_of_nothing_makes_an_empty_file(drive: DriveApi) -> None:
    session = drive.session({"name": "empty"}, 0)
    assert drive.put(session, b"").status == 200
    [item] = drive.truth.look()["files"]
    assert (item["size"], item["bytes"]) == ("0", 0)


def test_resumable_with_a_total_told_at_the_end(drive: DriveApi) -> None:
    session = drive.session({"name": "a"})
    assert drive.put(session, BYTES[:STEP], ranged(0, STEP, "*")).status == 308
    assert drive.put(session, b"rest", ranged(STEP, STEP + 4, STEP + 4)).status == 200


def test_resumable_bytes_sent_twice_are_taken_once(drive: DriveApi) -> None:
    session = drive.session({"name": "a"}, len(BYTES))
    drive.put(session, BYTES[: 2 * STEP], ranged(0, 2 * STEP))
    assert drive.put(session, BYTES[STEP:], ranged(STEP, len(BYTES))).status == 200
    [item] = drive.truth.look()["files"]
    assert item["sha256"] == hashlib.sha256(BYTES).hexdigest()


@pytest.mark.parametrize(
    ("body", "content_range", "words"),
    [
        (BYTES[STEP : 2 * STEP], ranged(STEP, 2 * STEP), "exceeds already uploaded size"),
        (BYTES[:STEP], ranged(0, STEP - 1), "according to the Content-Range header"),
        (BYTES[:1000], ranged(0, 1000), "required to be equal or greater than 262144"),
        (BYTES[:STEP], ranged(0, STEP, 7 * STEP), "total size differs"),
        (BYTES[:STEP], "octets 0-3/4", "parse"),
    ],
    ids=["gap", "length", "small", "total", "malformed"],
)
def test_resumable_chunk_that_does_not_fit_is_refused(
    drive: DriveApi, body: bytes, content_range: str, words: str
) -> None:
    session = drive.session({"name": "a"}, len(BYTES))
    answer = drive.put(session, body, content_range)
    assert (answer.status, answer.headers["content-type"]) == (400, "text/plain; charset=utf-8")
    assert words in answer.body.decode()
    assert drive.truth.look()["uploads"] == [{"stored": 0, "total": len(BYTES)}]


def test_resumable_chunk_beside_the_step_is_kept_to_the_step(drive: DriveApi) -> None:
    session = drive.session({"name": "a"}, len(BYTES))
    assert drive.put(session, BYTES[: STEP + 5], ranged(0, STEP + 5)).headers["range"] == f"bytes=0-{STEP - 1}"


def test_resumable_chunk_of_which_only_a_part_was_kept(simulator: Simulator, drive: DriveApi) -> None:
    simulator.settings(drive_chunk_keeps_bytes=STEP)
    session = drive.session({"name": "a"}, len(BYTES))
    assert drive.put(session, BYTES[: 3 * STEP], ranged(0, 3 * STEP)).headers["range"] == f"bytes=0-{STEP - 1}"


def test_resumable_session_that_expired_is_not_found(simulator: Simulator, drive: DriveApi) -> None:
    session = drive.session({"name": "a"}, len(BYTES))
    simulator.advance(8 * 86_400)
    assert drive.put(session, b"", "bytes */*").status == 404
    other = drive_of(simulator, ADA).session({"name": "a"}, len(BYTES))
    assert drive.truth.expire_uploads() == 2
    assert drive.put(other, b"", "bytes */*").status == 404


def test_resumable_needs_no_token_but_its_beginning_does(drive: DriveApi) -> None:
    session = drive.session({"name": "a"}, 3)
    stranger = DriveApi(drive.simulator, drive.truth, "")
    assert stranger.begin({"name": "b"}, 3).status == 401
    assert stranger.put(session, b"abc").status == 200


def test_resumable_with_a_given_id_is_refused_the_second_time(drive: DriveApi) -> None:
    identity = drive.generate_id()
    late = drive.session({"id": identity, "name": "a"}, 3)
    assert drive.put(drive.session({"id": identity, "name": "a"}, 3), b"abc").status == 200
    again = drive.begin({"id": identity, "name": "a"}, 3)
    assert (again.status, again.reason) == (409, "fileIdInUse")
    assert drive.put(late, b"abc").status == 409
    assert drive.truth.names() == ["a"]


def test_resumable_update_replaces_the_content(drive: DriveApi) -> None:
    item = drive.truth.put("a.txt", b"old")
    headers = {"X-Upload-Content-Length": "3"}
    begun = drive.call(
        "PATCH", f"/files/{item['id']}?uploadType=resumable", base="/upload/drive/v3", json={"name": "b.txt"},
        headers=headers,
    )  # fmt: skip
    session = begun.headers["location"].removeprefix(drive.simulator.base_url)
    assert drive.put(session, b"new").json["name"] == "b.txt"
    assert drive.truth.content(item["id"]) == b"new"


def test_resumable_chunk_that_nobody_heard_of_was_stored(simulator: Simulator, drive: DriveApi) -> None:
    session = drive.session({"name": "a"}, len(BYTES))
    simulator.fault("close", operation="drive.upload", effect=True, count=1)
    with pytest.raises(http.client.RemoteDisconnected):
        drive.put(session, BYTES[:STEP], ranged(0, STEP))
    assert drive.put(session, b"", "bytes */*").headers["range"] == f"bytes=0-{STEP - 1}"
