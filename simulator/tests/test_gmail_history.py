"""history.list: what a poller sees, and when it is told that its cursor is too old."""

from __future__ import annotations

from typing import Any

from simulator.process import Simulator
from simulator.tests.factories import GmailApi, connect_google, message, raw_field


def history(api: GmailApi, start: str, **query: Any) -> list[dict[str, Any]]:
    return list(api.get("/history", startHistoryId=start, **query).get("history", []))


def test_history_tells_each_change_in_order_with_typed_arrays(ada: GmailApi) -> None:
    start = ada.get("/profile")["historyId"]
    identity = ada.deliver()["id"]
    ada.post(f"/messages/{identity}/modify", {"addLabelIds": ["STARRED"], "removeLabelIds": ["UNREAD"]})
    ada.simulator.delete_message(ada.email, identity)
    records = history(ada, start)
    ids = [int(record["id"]) for record in records]
    assert ids == sorted(set(ids))
    added, changed, deleted = records
    assert added["messagesAdded"][0]["message"] == {
        "id": identity,
        "threadId": identity,
        "labelIds": ["INBOX", "UNREAD"],
    }
    assert changed["labelsAdded"][0]["labelIds"] == ["STARRED"]
    assert changed["labelsRemoved"][0]["labelIds"] == ["UNREAD"]
    assert deleted["messagesDeleted"][0]["message"]["id"] == identity
    assert all(record["messages"] == [{"id": identity, "threadId": identity}] for record in records)


def test_history_ids_are_strings_with_gaps_and_may_exceed_signed_64_bit(simulator: Simulator) -> None:
    simulator.create_account("google", "big@hub.example", history_start=2**63 + 5)
    api = connect_google(simulator, "big@hub.example")
    start = api.get("/profile")["historyId"]
    assert int(start) == 2**63 + 5
    for _ in range(20):
        api.deliver()
    end = int(api.get("/profile")["historyId"])
    assert end - int(start) > 20
    assert len(history(api, start)) == 20


def test_history_without_change_has_no_history_key(ada: GmailApi) -> None:
    start = ada.get("/profile")["historyId"]
    assert ada.get("/history", startHistoryId=start) == {"historyId": start}


def test_history_pages_to_the_end(ada: GmailApi) -> None:
    start = ada.get("/profile")["historyId"]
    ids = [ada.deliver()["id"] for _ in range(7)]
    found, token = [], ""
    while True:
        page = ada.get("/history", startHistoryId=start, maxResults=3, **({"pageToken": token} if token else {}))
        found += [record["messagesAdded"][0]["message"]["id"] for record in page["history"]]
        token = page.get("nextPageToken", "")
        if not token:
            break
    assert found == ids


def test_history_filters_by_type_and_hides_the_loss_of_the_label_filtered_by(ada: GmailApi) -> None:
    start = ada.get("/profile")["historyId"]
    identity = ada.deliver()["id"]
    ada.simulator.relabel(ada.email, identity, remove=["INBOX"])
    assert len(history(ada, start, historyTypes="messageAdded")) == 1
    assert len(history(ada, start, labelId="INBOX")) == 1
    assert len(history(ada, start, labelId="UNREAD")) == 2
    assert ada.call("GET", "/history", query={"startHistoryId": start, "historyTypes": "nonsense"}).status == 400


def test_history_too_old_unknown_or_malformed_start_is_refused(ada: GmailApi) -> None:
    start = ada.get("/profile")["historyId"]
    ada.deliver()
    ada.simulator.expire_history(ada.email)
    answer = ada.call("GET", "/history", query={"startHistoryId": start})
    assert (answer.status, answer.reason) == (404, "notFound")
    now = ada.get("/profile")["historyId"]
    assert ada.call("GET", "/history", query={"startHistoryId": now}).status == 200
    assert ada.call("GET", "/history", query={"startHistoryId": str(int(now) + 1)}).status == 404
    assert ada.call("GET", "/history", query={"startHistoryId": "abc"}).status == 400
    assert ada.call("GET", "/history").status == 400


def test_history_of_a_replaced_draft_is_a_new_and_a_deleted_message(ada: GmailApi) -> None:
    draft = ada.post("/drafts", {"message": {"raw": raw_field(message("One"))}})
    start = ada.get("/profile")["historyId"]
    body = {"message": {"raw": raw_field(message("Two"))}}
    changed = ada.call("PUT", f"/drafts/{draft['id']}", json=body).json
    assert changed["id"] == draft["id"]
    assert changed["message"]["id"] != draft["message"]["id"]
    added, deleted = history(ada, start)
    assert added["messagesAdded"][0]["message"]["id"] == changed["message"]["id"]
    assert deleted["messagesDeleted"][0]["message"]["id"] == draft["message"]["id"]


def test_history_of_a_label_rename_is_silent(ada: GmailApi) -> None:
    label = ada.post("/labels", {"name": "Before"})
    start = ada.get("/profile")["historyId"]
    assert ada.call("PATCH", f"/labels/{label['id']}", json={"name": "After"}).json["name"] == "After"
    assert history(ada, start) == []
