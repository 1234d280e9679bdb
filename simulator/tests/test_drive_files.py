"""Drive's files: search, pages, masks, content, exports, ids, moves, trash, shared drives, scopes, quotas."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.process import Simulator
from simulator.tests.drive_api import DOCUMENT, FOLDER, DriveApi, drive_of
from simulator.tests.factories import send, trade

ADA = "ada@hub.example"
FILE_SCOPE = "https://www.googleapis.com/auth/drive.file"
READONLY = "https://www.googleapis.com/auth/drive.readonly"


@pytest.fixture
def drive(simulator: Simulator) -> DriveApi:
    simulator.create_account("google", ADA, name="Ada Lovelace")
    return drive_of(simulator, ADA)


def refusal(answer: Any) -> tuple[int, str]:
    return answer.status, answer.reason


# About, masks


def test_about_without_fields_is_refused(drive: DriveApi) -> None:
    answer = drive.call("GET", "/about")
    assert refusal(answer) == (400, "required")
    assert answer.json["error"]["errors"][0]["location"] == "fields"


def test_about_shows_only_the_fields_asked_for(drive: DriveApi) -> None:
    drive.truth.put("a", b"12345")
    told = drive.get("/about", fields="user(emailAddress),storageQuota/usage")
    assert told == {"user": {"emailAddress": ADA}, "storageQuota": {"usage": "5"}}


def test_get_without_fields_tells_four(drive: DriveApi) -> None:
    item = drive.truth.put("a.txt", b"x", mime_type="text/plain")
    answer = drive.get(f"/files/{item['id']}")
    assert answer == {"kind": "drive#file", "id": item["id"], "name": "a.txt", "mimeType": "text/plain"}


def test_size_is_text_and_absent_for_folders(drive: DriveApi) -> None:
    drive.truth.put("a", b"123")
    drive.truth.folder("b")
    listed = drive.list(fields="files(name,size)", orderBy="name")["files"]
    assert listed == [{"name": "a", "size": "3"}, {"name": "b"}]


def test_fields_that_are_no_mask_are_refused(drive: DriveApi) -> None:
    assert refusal(drive.call("GET", "/files?fields=files(")) == (400, "invalidParameter")


# Lists


def test_list_of_a_folder_leaves_out_the_trash_when_asked(drive: DriveApi) -> None:
    folder = drive.truth.folder("Folder")
    kept = drive.truth.put("kept", parent=folder)
    gone = drive.truth.put("gone", parent=folder)
    drive.truth.change(gone["id"], trashed=True)
    both = drive.list(f"'{folder}' in parents")["files"]
    assert {item["id"] for item in both} == {kept["id"], gone["id"]}
    [only] = drive.list(f"'{folder}' in parents and trashed = false")["files"]
    assert only["id"] == kept["id"]


def test_list_pages_through_everything_once(drive: DriveApi) -> None:
    drive.truth.put("file", count=23)
    seen: list[str] = []
    token = ""
    for _ in range(3):
        page = drive.list(pageSize=10, orderBy="name", **({"pageToken": token} if token else {}))
        seen += [item["name"] for item in page["files"]]
        token = page.get("nextPageToken", "")
    assert token == ""
    assert seen == [f"file {number:04d}" for number in range(1, 24)]


def test_page_token_of_another_query_is_refused(drive: DriveApi) -> None:
    drive.truth.put("file", count=3)
    token = drive.list(pageSize=1)["nextPageToken"]
    assert refusal(drive.call("GET", "/files", query={"pageToken": token, "q": "trashed=false"})) == (400, "invalid")
    assert drive.call("GET", "/files", query={"pageToken": "nonsense"}).status == 400


@pytest.mark.parametrize("size", ["0", "1001", "x"])
def test_page_size_out_of_range_is_refused(drive: DriveApi, size: str) -> None:
    assert refusal(drive.call("GET", "/files", query={"pageSize": size})) == (400, "invalidParameter")


@pytest.mark.parametrize(
    ("q", "found"),
    [
        ("name = 'Ada\\'s plan'", ["Ada's plan"]),
        ("name = 'C:\\\\temp'", ["C:\\temp"]),
        ("name contains 'pl'", ["Ada's plan"]),
        ("name contains 'lan'", []),
        ("not name contains 'pl' and mimeType != 'application/vnd.google-apps.folder'", ["C:\\temp"]),
        ("(name = 'nothing' or starred = true) and trashed = false", ["C:\\temp"]),
        ("mimeType='application/vnd.google-apps.folder'", ["Folder"]),
        ("modifiedTime > '2020-01-01T00:00:00' and name='Folder'", ["Folder"]),
        ("modifiedTime < '2020-01-01T00:00:00'", []),
    ],
)
def test_query_finds(drive: DriveApi, q: str, found: list[str]) -> None:
    for name, more in (("Ada's plan", {}), ("C:\\temp", {}), ("Folder", {"mime_type": FOLDER})):
        item = drive.truth.put(name, **more)
        if name == "C:\\temp":
            drive.truth.change(item["id"], starred=True)
    assert [item["name"] for item in drive.list(q)["files"]] == found


@pytest.mark.parametrize(
    "q",
    [
        "name = 'Ada's plan'",
        "name",
        "name = ",
        "size > 3",
        "'root' in owners",
        "name ~ 'x'",
        "(name='a'",
        "name='a' name='b'",
    ],
)
def test_query_that_is_none_is_refused(drive: DriveApi, q: str) -> None:
    answer = drive.call("GET", "/files", query={"q": q})
    assert refusal(answer) == (400, "invalid")
    assert answer.json["error"]["errors"][0]["location"] == "q"


def test_list_of_an_unknown_folder_is_not_found(drive: DriveApi) -> None:
    assert refusal(drive.call("GET", "/files", query={"q": "'nope' in parents"})) == (404, "notFound")


# Content


def test_media_gives_the_bytes_whole_and_in_part(drive: DriveApi) -> None:
    item = drive.truth.put("a.bin", b"0123456789")
    path = f"/files/{item['id']}?alt=media"
    assert drive.call("GET", path).body == b"0123456789"
    part = drive.call("GET", path, headers={"Range": "bytes=2-4"})
    assert (part.status, part.body, part.headers["content-range"]) == (206, b"234", "bytes 2-4/10")
    assert drive.call("GET", path, headers={"Range": "bytes=8-"}).body == b"89"
    assert drive.call("GET", path, headers={"Range": "bytes=-3"}).body == b"789"


@pytest.mark.parametrize(("content", "asked"), [(b"", "bytes=0-9"), (b"", "bytes=0-"), (b"abc", "bytes=3-")])
def test_media_of_a_range_beyond_the_end_cannot_be_satisfied(drive: DriveApi, content: bytes, asked: str) -> None:
    item = drive.truth.put("a.bin", content)
    answer = drive.call("GET", f"/files/{item['id']}?alt=media", headers={"Range": asked})
    assert (answer.status, answer.headers["content-range"]) == (416, f"bytes */{len(content)}")


def test_media_of_a_docs_file_is_refused_and_export_gives_it(drive: DriveApi) -> None:
    item = drive.truth.put("Plan", b"words", mime_type=DOCUMENT)
    assert refusal(drive.call("GET", f"/files/{item['id']}?alt=media")) == (403, "fileNotDownloadable")
    answer = drive.call("GET", f"/files/{item['id']}/export", query={"mimeType": "text/plain"})
    assert (answer.body, answer.headers["content-type"]) == (b"words", "text/plain")


def test_export_refuses_what_it_cannot_do(simulator: Simulator, drive: DriveApi) -> None:
    simulator.settings(drive_export_bytes=100)
    big = drive.truth.put("Plan", mime_type=DOCUMENT, exports={"application/pdf": b"x" * 101})
    plain = drive.truth.put("a.txt", b"x")
    export = f"/files/{big['id']}/export"
    assert refusal(drive.call("GET", export, query={"mimeType": "application/pdf"})) == (403, "exportSizeLimitExceeded")
    assert refusal(drive.call("GET", export, query={"mimeType": "image/gif"})) == (400, "badRequest")
    assert refusal(drive.call("GET", export)) == (400, "required")
    other = drive.call("GET", f"/files/{plain['id']}/export", query={"mimeType": "application/pdf"})
    assert refusal(other) == (403, "fileNotExportable")


def test_media_of_an_abusive_file_needs_a_word(drive: DriveApi) -> None:
    item = drive.truth.put("bad.exe", b"x", abusive=True)
    assert refusal(drive.call("GET", f"/files/{item['id']}?alt=media")) == (403, "cannotDownloadAbusiveFile")
    assert drive.call("GET", f"/files/{item['id']}?alt=media&acknowledgeAbuse=true").body == b"x"


# Ids, changes


def test_create_with_a_generated_id_works_once(simulator: Simulator, drive: DriveApi) -> None:
    identity = drive.generate_id()
    assert drive.create({"id": identity, "name": "a"})["id"] == identity
    again = drive.call("POST", "/files", json={"id": identity, "name": "a"})
    assert refusal(again) == (409, "fileIdInUse")
    assert drive.truth.names() == ["a"]
    [effect] = [item["effect"] for item in simulator.ledger(operation="drive.files.create") if item["effect"]]
    assert (effect["kind"], effect["id"]) == ("drive.file.created", identity)


def test_create_with_an_invented_id_is_refused(drive: DriveApi) -> None:
    assert refusal(drive.call("POST", "/files", json={"id": "invented", "name": "a"})) == (400, "invalid")


def test_create_under_what_is_no_folder_is_refused(drive: DriveApi) -> None:
    item = drive.truth.put("a.txt")
    body = {"name": "b", "parents": [item["id"]]}
    assert refusal(drive.call("POST", "/files", json=body)) == (403, "parentNotAFolder")
    assert refusal(drive.call("POST", "/files", json={"name": "b", "parents": ["nope"]})) == (404, "notFound")


def test_update_renames_moves_and_trashes(drive: DriveApi) -> None:
    folder = drive.truth.folder("Folder")
    item = drive.truth.put("a.txt")
    path = f"/files/{item['id']}"
    query = {"addParents": folder, "removeParents": drive.truth.root, "fields": "name,parents,trashed"}
    moved = drive.call("PATCH", path, json={"name": "b.txt"}, query=query)
    assert moved.json == {"name": "b.txt", "parents": [folder], "trashed": False}
    drive.call("PATCH", f"/files/{folder}", json={"trashed": True})
    inside = drive.get(path, fields="trashed,explicitlyTrashed")
    assert inside == {"trashed": True, "explicitlyTrashed": False}


def test_update_of_parents_by_the_body_or_to_a_second_one_is_refused(drive: DriveApi) -> None:
    folder, item = drive.truth.folder("Folder"), drive.truth.put("a.txt")
    path = f"/files/{item['id']}"
    assert refusal(drive.call("PATCH", path, json={"parents": [folder]})) == (403, "fieldNotWritable")
    second = drive.call("PATCH", path, json={}, query={"addParents": folder})
    assert refusal(second) == (403, "cannotAddParent")


def test_delete_takes_a_folder_with_all_inside(drive: DriveApi) -> None:
    folder = drive.truth.folder("Folder")
    inner = drive.truth.folder("Inner", parent=folder)
    drive.truth.put("a.txt", parent=inner)
    assert drive.call("DELETE", f"/files/{folder}").status == 204
    assert drive.truth.names() == []
    assert refusal(drive.call("DELETE", f"/files/{folder}")) == (404, "notFound")


def test_change_of_a_file_that_is_only_shown_is_refused(drive: DriveApi) -> None:
    item = drive.truth.put("theirs", read_only=True)
    path = f"/files/{item['id']}"
    assert refusal(drive.call("PATCH", path, json={"name": "mine"})) == (403, "insufficientFilePermissions")
    assert refusal(drive.call("DELETE", path)) == (403, "insufficientFilePermissions")
    assert drive.get(path, fields="capabilities/canEdit") == {"capabilities": {"canEdit": False}}


# Who sees what


def test_shared_drive_is_there_only_for_callers_that_support_it(drive: DriveApi) -> None:
    shared = drive.truth.shared_drive("Team")
    item = drive.truth.put("a.txt", drive=shared)
    path = f"/files/{item['id']}"
    assert refusal(drive.call("GET", path)) == (404, "notFound")
    told = drive.get(path, supportsAllDrives="true", fields="driveId,parents")
    assert told == {"driveId": shared, "parents": [shared]}
    assert drive.list()["files"] == []
    both = {"supportsAllDrives": "true", "includeItemsFromAllDrives": "true"}
    [found] = drive.list(f"'{shared}' in parents", corpora="drive", driveId=shared, **both)["files"]
    assert found["id"] == item["id"]
    assert len(drive.list(**both)["files"]) == 1
    assert drive.call("GET", "/files", query={"corpora": "drive", **both}).status == 400
    assert drive.call("GET", "/files", query={"includeItemsFromAllDrives": "true"}).status == 403


def test_other_accounts_files_are_not_found(simulator: Simulator, drive: DriveApi) -> None:
    simulator.create_account("google", "bob@hub.example")
    item = drive_of(simulator, "bob@hub.example").truth.put("secret.txt", b"x")
    assert refusal(drive.call("GET", f"/files/{item['id']}")) == (404, "notFound")
    assert drive.list()["files"] == []


def test_narrow_scope_sees_what_the_app_made_or_was_given(simulator: Simulator, drive: DriveApi) -> None:
    narrow = drive_of(simulator, ADA, FILE_SCOPE)
    folder = drive.truth.folder("Folder")
    assert refusal(narrow.call("GET", f"/files/{folder}")) == (404, "notFound")
    assert refusal(narrow.call("GET", "/files", query={"q": f"'{folder}' in parents"})) == (404, "notFound")
    assert refusal(narrow.call("POST", "/files", json={"name": "a", "parents": [folder]})) == (404, "notFound")
    own = narrow.create({"name": "own"})
    assert [item["id"] for item in narrow.list()["files"]] == [own["id"]]
    drive.truth.pick(folder)
    assert narrow.create({"name": "a", "parents": [folder]}, fields="parents") == {"parents": [folder]}


def test_readonly_scope_may_not_create_and_metadata_scope_may_not_download(
    simulator: Simulator, drive: DriveApi
) -> None:
    item = drive.truth.put("a.txt", b"x")
    reader = drive_of(simulator, ADA, READONLY)
    assert reader.call("GET", f"/files/{item['id']}?alt=media").body == b"x"
    assert refusal(reader.call("POST", "/files", json={"name": "b"})) == (403, "insufficientPermissions")
    looker = drive_of(simulator, ADA, "https://www.googleapis.com/auth/drive.metadata.readonly")
    assert looker.get(f"/files/{item['id']}")["name"] == "a.txt"
    assert refusal(looker.call("GET", f"/files/{item['id']}?alt=media")) == (403, "insufficientPermissions")


def test_no_token_and_a_dead_one_are_told_apart(simulator: Simulator, drive: DriveApi) -> None:
    assert send(simulator, "GET", "/drive/v3/files").reason == "required"
    simulator.expire_tokens()
    answer = drive.call("GET", "/files")
    assert refusal(answer) == (401, "authError")
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


# Limits


@pytest.mark.parametrize(("status", "reason"), [(403, "userRateLimitExceeded"), (429, "rateLimitExceeded")])
def test_quota_of_a_minute_refuses_and_refills(simulator: Simulator, drive: DriveApi, status: int, reason: str) -> None:
    simulator.settings(drive_quota_units_per_minute=200, drive_quota_status=status)
    drive.list()
    drive.list()
    answer = drive.call("GET", "/files")
    assert refusal(answer) == (status, reason)
    assert answer.json["error"]["errors"][0]["domain"] == "usageLimits"
    simulator.advance(61)
    drive.list()


def test_quota_of_a_day_refuses_until_the_next(simulator: Simulator, drive: DriveApi) -> None:
    simulator.settings(drive_daily_limit=2, google_access_token_seconds=2 * 86_400)
    drive = drive_of(simulator, ADA)
    drive.list()
    drive.list()
    assert refusal(drive.call("GET", "/files")) == (403, "dailyLimitExceeded")
    simulator.advance(86_400)
    drive.list()


def test_storage_that_is_full_refuses_content(drive: DriveApi) -> None:
    drive.truth.storage(10)
    assert refusal(drive.multipart({"name": "a"}, b"x" * 11)) == (403, "storageQuotaExceeded")
    assert refusal(drive.begin({"name": "a"}, 11)) == (403, "storageQuotaExceeded")
    assert drive.truth.names() == []


# Tokens


def test_refresh_with_rotation_ends_the_old_refresh_token(simulator: Simulator, drive: DriveApi) -> None:
    simulator.settings(google_rotates_refresh_tokens=True)
    first = drive.truth.tokens()["refresh_token"]
    second = trade(simulator, "google", refresh_token=first).json["refresh_token"]
    assert second != first
    again = trade(simulator, "google", refresh_token=first)
    assert (again.status, again.json["error"]) == (400, "invalid_grant")
    assert trade(simulator, "google", refresh_token=second).status == 200


def test_refresh_without_rotation_brings_no_refresh_token(simulator: Simulator, drive: DriveApi) -> None:
    answer = trade(simulator, "google", refresh_token=drive.truth.tokens()["refresh_token"])
    assert "refresh_token" not in answer.json
