"""CLOUD_STORAGE against the simulator's Google Drive: the contract of every provider, and what is peculiar to Drive."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from core.errors import (
    CredentialsRejected,
    HubError,
    InvalidInput,
    NotConfigured,
    ProviderAuthError,
    ProviderError,
    ProviderRateLimited,
    ProviderRejected,
    ProviderUnavailable,
)
from integrations.providers.base import IntegrationProvider
from integrations.providers.drive import Drive
from integrations.tests import drives
from integrations.tests.conftest import ADA
from integrations.tests.drives import BIG, CLIENT, FILE_SCOPE, READONLY, drive, upload
from integrations.tests.provider_contract import Call, ProviderContract
from simulator.process import Simulator
from simulator.tests.drive_api import DOCUMENT, DriveTruth

truth = drives.truth


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
