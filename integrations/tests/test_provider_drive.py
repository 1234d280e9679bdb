"""CLOUD_STORAGE against the simulator's Google Drive: the contract of every provider, and what is peculiar to Drive."""

from __future__ import annotations

import base64
import hashlib
from typing import Any, ClassVar

import pytest

from core.errors import (
    CredentialsRejected,
    HubError,
    InvalidInput,
    NotConfigured,
    ProviderAuthError,
    ProviderError,
    ProviderOutcomeUnknown,
    ProviderRateLimited,
    ProviderRejected,
    ProviderUnavailable,
    TooLarge,
)
from integrations.providers.base import IntegrationProvider
from integrations.providers.drive import MOST_BYTES, Drive
from integrations.providers.drive.resumable import CHUNK_BYTES
from integrations.tests.conftest import ADA
from integrations.tests.provider_contract import Call, ProviderContract
from simulator.process import Simulator
from simulator.tests.drive_api import DOCUMENT, STEP, DriveTruth

FILE_SCOPE = "https://www.googleapis.com/auth/drive.file"
READONLY = "https://www.googleapis.com/auth/drive.readonly"
CLIENT = {"clientId": "own-client", "clientSecret": "GOCSPX-canary-own"}
BIG = bytes(range(256)) * (2 * CHUNK_BYTES // 256) + b"tail"


@pytest.fixture
def truth(simulator: Simulator) -> DriveTruth:
    return DriveTruth(simulator, ADA)


def drive(truth: DriveTruth, *scopes: str, root: str = "", **credentials: str) -> Drive:
    """A provider with a token as it is: nobody refreshes it here."""
    tokens = truth.tokens(*scopes)
    given = {"accessToken": tokens["access_token"], "refreshToken": tokens["refresh_token"], **credentials}
    return Drive(config={"rootFolderId": root} if root else {}, credentials=given)


def upload(provider: Drive, content: bytes = b"words", **given: Any) -> Any:
    packed = base64.b64encode(content).decode()
    return provider.perform("upload", {"fileName": "a.txt", "contentBase64": packed, **given})


class TestDriveContract(ProviderContract):
    """Each call at each of the requests it makes."""

    calls: ClassVar[tuple[Call, ...]] = (
        Call("check", "drive.about.get"),
        Call("check", "drive.files.get"),
        Call("list_files", "drive.files.get"),
        Call("list_files", "drive.files.list"),
        Call("upload", "drive.files.generateIds", {"fileName": "a", "contentBase64": "YWI="}),
        Call("download", "drive.files.get", {"fileId": "a-file"}),
        Call("download", "drive.files.export", {"fileId": "a-document"}),
    )

    def make(self, simulator: Simulator, **credentials: str) -> IntegrationProvider:
        truth = DriveTruth(simulator, ADA)
        if not truth.names():
            truth.folder("Root", id="a-folder")
            truth.put("a.txt", b"words", id="a-file", parent="a-folder")
            truth.put("Plan", b"plan", id="a-document", parent="a-folder", mime_type=DOCUMENT)
        simulator.create_client("google", CLIENT["clientId"], CLIENT["clientSecret"])
        self.made = drive(truth, root="a-folder", **CLIENT, **credentials)
        return self.made

    def refused(self, simulator: Simulator, call: Call, kind: type[HubError]) -> HubError:
        """The tokens are no canaries: the simulator makes them."""
        error = super().refused(simulator, call, kind)
        said = f"{error.message} {error.extra} {error.fields}"
        assert not any(str(value) in said for value in self.made.credentials.values())
        return error


# Check


def test_check_says_whose_drive_it_is_and_what_is_left(truth: DriveTruth) -> None:
    truth.storage(1000)
    root = truth.folder("Customers")
    truth.put("a", b"12345", parent=root)
    checked = drive(truth, root=root).check()
    assert checked.message == f"Connected to the Drive of {ADA}."
    assert checked.details == {"account": ADA, "storage": {"limit": 1000, "usage": 5}, "folder": "Customers"}
    assert not checked.limited


def test_check_makes_nothing(simulator: Simulator, truth: DriveTruth) -> None:
    drive(truth).check()
    assert truth.names() == []
    assert [entry["effect"] for entry in simulator.ledger() if entry["effect"]] == []


def test_check_of_a_token_that_may_only_read_is_limited(truth: DriveTruth) -> None:
    checked = drive(truth, READONLY).check()
    assert checked.limited
    assert "not uploaded" in checked.message


def test_check_of_a_folder_that_takes_nothing_is_limited(truth: DriveTruth) -> None:
    checked = drive(truth, root=truth.folder("Theirs", read_only=True)).check()
    assert checked.limited
    assert "may not add files" in checked.message


def test_check_of_a_folder_that_was_not_opened_to_the_client_is_refused(truth: DriveTruth) -> None:
    root = truth.folder("Customers")
    with pytest.raises(ProviderRejected, match="not given access"):
        drive(truth, FILE_SCOPE, root=root).check()
    truth.pick(root)
    assert not drive(truth, FILE_SCOPE, root=root).check().limited


def test_check_of_a_root_that_is_no_folder_or_in_the_trash_is_refused(truth: DriveTruth) -> None:
    file, folder = truth.put("a.txt")["id"], truth.folder("Old")
    truth.change(folder, trashed=True)
    with pytest.raises(ProviderRejected, match="not a folder"):
        drive(truth, root=file).check()
    with pytest.raises(ProviderRejected, match="trash"):
        drive(truth, root=folder).check()


def test_check_with_narrow_access_needs_no_sight_of_my_drive(truth: DriveTruth) -> None:
    assert not drive(truth, FILE_SCOPE).check().limited


# Lists


def test_list_shows_a_folder_page_by_page_folders_first(truth: DriveTruth) -> None:
    root = truth.folder("Root")
    truth.put("file", b"12", count=5, parent=root, mime_type="text/plain")
    truth.folder("Zebra", parent=root)
    gone = truth.put("gone", parent=root)
    truth.change(gone["id"], trashed=True)
    truth.put("elsewhere")
    provider = drive(truth, root=root)
    first = provider.perform("list_files", {"limit": 4})
    second = provider.perform("list_files", {"limit": 4, "pageToken": first["nextPageToken"]})
    shown = [*first["files"], *second["files"]]
    assert [item["fileName"] for item in shown] == ["Zebra", *[f"file {number:04d}" for number in range(1, 6)]]
    assert second["nextPageToken"] is None
    assert (shown[0]["isFolder"], shown[0]["size"]) == (True, None)
    assert (shown[1]["contentType"], shown[1]["size"]) == ("text/plain", 2)


@pytest.mark.parametrize(
    ("q", "found"),
    [
        ("O'Hara", ["O'Hara plan"]),
        ("pl O'H", ["O'Hara plan"]),
        ("back\\slash", ["back\\slash"]),
        ("' or '", []),
        ("zz", []),
    ],
)
def test_list_finds_words_of_names_whatever_they_hold(truth: DriveTruth, q: str, found: list[str]) -> None:
    for name in ("O'Hara plan", "back\\slash", "other"):
        truth.put(name)
    assert [item["fileName"] for item in drive(truth).perform("list_files", {"q": q})["files"]] == found


def test_list_of_a_folder_in_a_shared_drive_asks_that_drive(truth: DriveTruth) -> None:
    shared = truth.shared_drive("Team")
    truth.put("theirs.txt", drive=shared)
    assert [item["fileName"] for item in drive(truth, root=shared).perform("list_files", {})["files"]] == ["theirs.txt"]


def test_list_of_another_folder_than_the_root(truth: DriveTruth) -> None:
    root = truth.folder("Root")
    inner = truth.folder("Inner", parent=root)
    truth.put("deep", parent=inner)
    listed = drive(truth, root=root).perform("list_files", {"folderId": inner})
    assert [item["fileName"] for item in listed["files"]] == ["deep"]


@pytest.mark.parametrize("name", ["folderId", "fileId"])
def test_ids_that_are_none_never_reach_a_path(simulator: Simulator, truth: DriveTruth, name: str) -> None:
    action = {"folderId": "list_files", "fileId": "download"}[name]
    with pytest.raises(InvalidInput) as caught:
        drive(truth).perform(action, {name: "../about?x="})
    assert name in caught.value.fields
    assert simulator.ledger(vendor="google") == []


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


# Refusals


@pytest.mark.parametrize(("status", "name"), [(403, "userRateLimitExceeded"), (429, "rateLimitExceeded")])
def test_call_beyond_the_quota_waits(simulator: Simulator, truth: DriveTruth, status: int, name: str) -> None:
    simulator.settings(drive_quota_units_per_minute=1, drive_quota_status=status)
    with pytest.raises(ProviderRateLimited) as caught:
        drive(truth).perform("list_files", {})
    assert caught.value.retry_after == 60


def test_call_beyond_the_days_quota_is_refused_for_good(simulator: Simulator, truth: DriveTruth) -> None:
    provider = drive(truth)
    provider.check()
    simulator.settings(drive_daily_limit=1)
    with pytest.raises(ProviderRejected, match="Daily Limit"):
        provider.perform("list_files", {})


def test_call_with_a_scope_that_is_too_narrow_is_no_matter_of_the_key(truth: DriveTruth) -> None:
    with pytest.raises(ProviderRejected, match="insufficient authentication scopes") as caught:
        upload(drive(truth, READONLY))
    assert not isinstance(caught.value, CredentialsRejected)


@pytest.mark.parametrize("call", TestDriveContract.calls, ids=lambda call: f"{call.name}-{call.operation}")
def test_call_without_an_answer_in_time_is_unavailable(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch, call: Call
) -> None:
    monkeypatch.setattr(Drive, "timeout", 0.3)
    contract = TestDriveContract()
    simulator.fault("hang", operation=call.operation, seconds=1.0)
    contract.refused(simulator, call, ProviderUnavailable)


def test_upload_of_which_a_chunk_got_no_answer_in_time_goes_on(
    simulator: Simulator, truth: DriveTruth, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Drive, "timeout", 0.5)
    simulator.fault("hang", operation="drive.upload", seconds=1.0, effect=True, skip=1, count=1)
    made = upload(drive(truth), BIG)
    assert truth.content(made["id"]) == BIG


# Refreshing


def test_refresh_brings_another_token(simulator: Simulator, truth: DriveTruth) -> None:
    given = drive(truth).credentials
    answer = Drive.refresh(given)
    assert answer.access_token not in ("", given["accessToken"])
    assert (answer.refresh_token, answer.expires_in) == ("", 3599)


def test_refresh_with_a_client_of_ones_own(simulator: Simulator, truth: DriveTruth) -> None:
    simulator.create_client("google", CLIENT["clientId"], CLIENT["clientSecret"])
    tokens = truth.tokens(client_id=CLIENT["clientId"])
    assert Drive.refresh({"refreshToken": tokens["refresh_token"], **CLIENT}).access_token
    with pytest.raises(ProviderError) as caught:
        Drive.refresh({"refreshToken": tokens["refresh_token"]})
    assert caught.value.code == "client_rejected"


def test_refresh_of_a_revoked_grant_is_dead(simulator: Simulator, truth: DriveTruth) -> None:
    given = drive(truth).credentials
    simulator.revoke(vendor="google", email=ADA)
    with pytest.raises(ProviderAuthError, match="expired or revoked"):
        Drive.refresh(given)


def test_refresh_without_a_client_says_what_to_set(truth: DriveTruth, settings: Any) -> None:
    settings.GOOGLE_CLIENT_ID = ""
    with pytest.raises(NotConfigured, match="GOOGLE_CLIENT_ID"):
        Drive.refresh({"refreshToken": "x"})


@pytest.mark.parametrize(
    ("config", "credentials", "field"),
    [
        ({}, {"clientId": "a"}, "credentials.clientSecret"),
        ({}, {"clientSecret": "a"}, "credentials.clientId"),
        ({"rootFolderId": "https://drive.google.com/x"}, {}, "config.rootFolderId"),
    ],
)
def test_form_names_what_is_wrong(config: dict[str, str], credentials: dict[str, str], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Drive.validate(config=config, credentials=credentials)
    assert list(caught.value.fields) == [field]
