"""Google's own Python client against the stand-in: a reader of the protocol that we did not write."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import urlsplit

import httplib2
import pytest
from googleapiclient.discovery import build
from googleapiclient.errors import HttpError
from googleapiclient.http import MediaInMemoryUpload

from simulator.process import Simulator
from simulator.tests.factories import GmailApi, message, raw_field

MAIL = message("From the vendor's client", From="ada@hub.example", To="bob@else.example")


class ToSimulator(httplib2.Http):
    """Sends every request to the simulator instead of Google (batches and uploads have addresses of their own, which
    no option of the client changes) and adds the access token."""

    def __init__(self, base_url: str, token: str) -> None:
        super().__init__()
        self.base_url, self.token = base_url, token

    def request(self, uri: str, method: str = "GET", body: Any = None, headers: Any = None, **more: Any) -> Any:
        parts = urlsplit(uri)
        headers = {**(headers or {}), "Authorization": f"Bearer {self.token}"}
        return super().request(f"{self.base_url}{parts.path}?{parts.query}", method, body, headers, **more)


@pytest.fixture
def users(simulator: Simulator, ada: GmailApi) -> Any:
    return build("gmail", "v1", http=ToSimulator(simulator.base_url, ada.token), static_discovery=True)


def test_vendor_client_lists_all_pages_and_reads_raw(simulator: Simulator, ada: GmailApi, users: Any) -> None:
    simulator.seed(ada.email, 130)
    messages = users.users().messages()
    found, request = [], messages.list(userId="me", maxResults=50, includeSpamTrash=True)
    while request is not None:
        answer = request.execute()
        found += [item["id"] for item in answer["messages"]]
        request = messages.list_next(request, answer)
    truth = simulator.mailbox(ada.email)["messages"]
    assert found == [item["id"] for item in truth]
    raw = messages.get(userId="me", id=found[0], format="raw").execute()["raw"]
    assert base64.urlsafe_b64decode(raw + "==") == simulator.raw(ada.email, found[0])


def test_vendor_client_batch_gets_each_answer(ada: GmailApi, users: Any) -> None:
    ids = [ada.deliver(f"Number {number}")["id"] for number in range(3)]
    answers: dict[str, Any] = {}

    def keep(name: str, answer: Any, error: Exception | None) -> None:
        answers[name] = error or answer["id"]

    batch = users.new_batch_http_request(callback=keep)
    for identity in [*ids, "00000000000000aa"]:
        batch.add(users.users().messages().get(userId="me", id=identity, format="minimal"), request_id=identity)
    batch.execute()
    assert [answers[identity] for identity in ids] == ids
    assert answers["00000000000000aa"].status_code == 404


def test_vendor_client_sends_modifies_and_reads_history(simulator: Simulator, ada: GmailApi, users: Any) -> None:
    start = users.users().getProfile(userId="me").execute()["historyId"]
    sent = users.users().messages().send(userId="me", body={"raw": raw_field(MAIL)}).execute()
    users.users().messages().modify(userId="me", id=sent["id"], body={"addLabelIds": ["STARRED"]}).execute()
    users.users().messages().batchModify(
        userId="me", body={"ids": [sent["id"]], "removeLabelIds": ["STARRED"]}
    ).execute()
    records = users.users().history().list(userId="me", startHistoryId=start).execute()["history"]
    assert [next(key for key in record if key not in ("id", "messages")) for record in records] == [
        "messagesAdded",
        "labelsAdded",
        "labelsRemoved",
    ]
    assert len(simulator.sent()) == 1


def test_vendor_client_uploads_with_media_and_metadata(simulator: Simulator, users: Any) -> None:
    media = MediaInMemoryUpload(MAIL, mimetype="message/rfc822")
    users.users().messages().send(userId="me", media_body=media).execute()
    users.users().messages().send(userId="me", body={}, media_body=media).execute()
    assert [mail["subject"] for mail in simulator.sent()] == ["From the vendor's client"] * 2


def test_vendor_client_understands_the_errors(simulator: Simulator, users: Any) -> None:
    with pytest.raises(HttpError) as missing:
        users.users().messages().get(userId="me", id="00000000000000aa").execute()
    assert missing.value.reason == "Requested entity was not found."
    simulator.fault("status", status=429)
    with pytest.raises(HttpError) as limited:
        users.users().getProfile(userId="me").execute()
    assert limited.value.status_code == 429
    assert limited.value.error_details[0]["reason"] == "rateLimitExceeded"
