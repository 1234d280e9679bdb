"""What stands in front of Gmail's methods: token, scope, user, quota; and the batch endpoint."""

from __future__ import annotations

import pytest

from simulator.process import Simulator
from simulator.tests.factories import GmailApi, connect_google, message, raw_field, send

AUTH = "https://www.googleapis.com/auth/"


@pytest.fixture
def mailbox(simulator: Simulator) -> Simulator:
    simulator.create_account("google", "ada@hub.example")
    return simulator


def batch(api: GmailApi, *calls: str, headers: dict[str, str] | None = None) -> list[str]:
    """Sends request lines (or whole requests) as one batch; the parts of the answer."""
    parts = "".join(
        f"--b\r\nContent-Type: application/http\r\nContent-ID: <call+{number}>\r\n\r\n{call}\r\n\r\n"
        for number, call in enumerate(calls)
    )
    content = {"Content-Type": "multipart/mixed; boundary=b"} | (headers or {})
    body = f"{parts}--b--\r\n".encode()
    answer = send(api.simulator, "POST", "/batch/gmail/v1", token=api.token, headers=content, body=body)
    assert answer.status == 200, answer.body
    boundary = answer.headers["content-type"].partition("boundary=")[2]
    return answer.body.decode().split(f"--{boundary}")[1:-1]


@pytest.mark.parametrize("token", ["", "ya29.unknown"])
def test_call_without_a_living_token_is_401(mailbox: Simulator, token: str) -> None:
    answer = send(mailbox, "GET", "/gmail/v1/users/me/profile", token=token)
    assert answer.status == 401
    assert answer.json["error"]["status"] == "UNAUTHENTICATED"
    assert answer.reason == ("authError" if token else "required")
    assert answer.headers["www-authenticate"].startswith("Bearer realm=")


def test_call_beyond_the_granted_scope_is_403(mailbox: Simulator) -> None:
    reader = connect_google(mailbox, "ada@hub.example", f"{AUTH}gmail.readonly")
    assert reader.call("GET", "/messages").status == 200
    answer = reader.call("POST", "/messages/send", json={"raw": raw_field(message())})
    assert (answer.status, answer.reason) == (403, "insufficientPermissions")
    assert answer.json["error"]["details"][0]["reason"] == "ACCESS_TOKEN_SCOPE_INSUFFICIENT"
    assert mailbox.sent() == []
    writer = connect_google(mailbox, "ada@hub.example", f"{AUTH}gmail.send")
    assert writer.call("GET", "/messages").status == 403
    modifier = connect_google(mailbox, "ada@hub.example", f"{AUTH}gmail.modify")
    identity = modifier.deliver()["id"]
    assert modifier.call("DELETE", f"/messages/{identity}").status == 403


def test_call_with_the_metadata_scope_sees_no_content_even_beside_wider_scopes(mailbox: Simulator) -> None:
    api = connect_google(mailbox, "ada@hub.example", f"{AUTH}gmail.metadata {AUTH}gmail.modify")
    identity = api.deliver()["id"]
    assert api.call("GET", f"/messages/{identity}").reason == "forbidden"
    assert api.call("GET", f"/messages/{identity}", query={"format": "metadata"}).status == 200
    assert api.call("GET", "/messages", query={"q": "in:inbox"}).status == 403


def test_call_for_another_user_is_refused(mailbox: Simulator) -> None:
    api = connect_google(mailbox, "ada@hub.example")
    own = send(mailbox, "GET", "/gmail/v1/users/ada%40hub.example/profile", token=api.token)
    other = send(mailbox, "GET", "/gmail/v1/users/bob%40hub.example/profile", token=api.token)
    assert own.status == 200
    assert (other.status, other.reason) == (403, "forbidden")


def test_call_unknown_path_is_404(mailbox: Simulator) -> None:
    assert send(mailbox, "GET", "/gmail/v1/users/me/nothing").status == 404
    entry = mailbox.ledger()[-1]
    assert (entry["operation"], entry["target"], entry["status"]) == ("unknown", "/gmail/v1/users/me/nothing", 404)


@pytest.mark.parametrize("status", [403, 429])
def test_quota_refuses_beyond_the_minutes_units_and_refills(ada: GmailApi, status: int) -> None:
    identity = ada.deliver()["id"]
    ada.simulator.settings(gmail_quota_units_per_minute=60, gmail_quota_status=status)
    answers = [ada.call("GET", f"/messages/{identity}") for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 200, 200, status]
    assert answers[-1].reason == "rateLimitExceeded"
    assert [entry["units"] for entry in ada.simulator.ledger(operation="gmail.users.messages.get")] == [20, 20, 20, 0]
    ada.simulator.advance(61)
    assert ada.call("GET", f"/messages/{identity}").status == 200


def test_quota_is_per_user_and_prices_can_be_changed(simulator: Simulator, ada: GmailApi) -> None:
    simulator.create_account("google", "bob@hub.example")
    bob = connect_google(simulator, "bob@hub.example")
    simulator.settings(gmail_quota_units_per_minute=10, gmail_costs={"gmail.users.getProfile": 10})
    assert ada.call("GET", "/profile").status == 200
    assert ada.call("GET", "/profile").status == 403
    assert bob.call("GET", "/profile").status == 200


def test_batch_answers_each_part_in_order_with_its_own_status(ada: GmailApi) -> None:
    identity = ada.deliver()["id"]
    modify = (
        f"POST /gmail/v1/users/me/messages/{identity}/modify HTTP/1.1\r\nContent-Type: application/json\r\n\r\n"
        '{"removeLabelIds": ["UNREAD"]}'
    )
    found, missing, changed = batch(
        ada,
        f"GET /gmail/v1/users/me/messages/{identity}?format=minimal",
        "GET /gmail/v1/users/me/messages/00000000000000aa HTTP/1.1",
        modify,
    )
    assert "Content-ID: <response-call+0>" in found
    assert "HTTP/1.1 200 OK" in found
    assert identity in found
    assert "HTTP/1.1 404 Not Found" in missing
    assert "Content-ID: <response-call+1>" in missing
    assert "HTTP/1.1 200 OK" in changed
    assert ada.simulator.mailbox(ada.email)["messages"][0]["labels"] == ["INBOX"]


def test_batch_charges_and_records_every_part(ada: GmailApi) -> None:
    identity = ada.deliver()["id"]
    ada.simulator.settings(gmail_quota_units_per_minute=40)
    parts = batch(ada, *[f"GET /gmail/v1/users/me/messages/{identity}"] * 3)
    assert [("HTTP/1.1 200" in part) for part in parts] == [True, True, False]
    assert "rateLimitExceeded" in parts[2]
    entries = ada.simulator.ledger(operation="gmail.users.messages.get")
    assert [(entry["status"], entry["batch"]) for entry in entries] == [(200, True), (200, True), (403, True)]


def test_batch_part_fails_alone_under_a_fault(ada: GmailApi) -> None:
    ada.simulator.fault("status", operation="gmail.users.getProfile", status=429, skip=1, count=1)
    parts = batch(ada, *["GET /gmail/v1/users/me/profile"] * 3)
    assert [part.partition("HTTP/1.1 ")[2][:3] for part in parts] == ["200", "429", "200"]


def test_batch_of_more_than_a_hundred_is_refused(ada: GmailApi) -> None:
    calls = ["GET /gmail/v1/users/me/profile"] * 101
    with pytest.raises(AssertionError, match="100 calls"):
        batch(ada, *calls)
