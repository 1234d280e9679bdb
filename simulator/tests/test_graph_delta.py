"""Graph's delta per folder: rounds, partial updates, removals, moves, and everything that makes it hard."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.tests.factories import GraphApi, connect_graph

INBOX = "/me/mailFolders/inbox/messages/delta"
ARCHIVE = "/me/mailFolders/archive/messages/delta"


def ids(entries: list[dict[str, Any]]) -> list[str]:
    return [entry["id"] for entry in entries]


def deliver(kim: GraphApi, count: int) -> list[str]:
    """Immutable ids, oldest first."""
    return [kim.deliver(f"Mail {number}")["immutable_id"] for number in range(count)]


def test_delta_first_round_gives_everything_in_pages_and_ends_in_a_delta_link(kim: GraphApi) -> None:
    delivered = deliver(kim, 23)
    page = kim.get(f"{INBOX}?$select=subject,isRead")
    assert len(page["value"]) == 10
    assert page["@odata.nextLink"].startswith(f"{kim.simulator.base_url}/v1.0{INBOX}?$skiptoken=")
    assert set(page["value"][0]) == {"@odata.type", "@odata.etag", "id", "subject", "isRead"}
    entries, link = kim.round(f"{INBOX}?$select=subject")
    assert ids(entries) == delivered[::-1]
    assert kim.round(link)[0] == []


def test_delta_may_be_written_as_a_function_call(kim: GraphApi) -> None:
    delivered = deliver(kim, 12)
    entries, link = kim.round(f"{INBOX}()")
    assert ids(entries) == delivered[::-1]
    assert kim.round(link)[0] == []


def test_delta_page_size_follows_prefer(kim: GraphApi) -> None:
    deliver(kim, 5)
    answer = kim.call("GET", INBOX, prefer="odata.maxpagesize=3")
    assert len(answer.json["value"]) == 3
    assert answer.headers["preference-applied"] == "odata.maxpagesize=3"


def test_delta_changed_item_comes_with_what_changed_only(kim: GraphApi) -> None:
    (identity,) = deliver(kim, 1)
    _, link = kim.round(INBOX)
    kim.call("PATCH", f"/me/messages/{identity}", json={"isRead": True, "flag": {"flagStatus": "flagged"}})
    (entry,), after = kim.round(link)
    assert {name: value for name, value in entry.items() if not name.startswith("@")} == {
        "id": identity,
        "isRead": True,
        "flag": {"flagStatus": "flagged"},
    }
    assert kim.round(after)[0] == []
    assert ids(kim.round(link)[0]) == [identity], "a delta link may be used again"


def test_delta_parameters_of_the_first_request_are_baked_in(kim: GraphApi) -> None:
    deliver(kim, 1)
    _, link = kim.round(f"{INBOX}?$select=subject&changeType=created")
    (identity,) = deliver(kim, 1)
    kim.simulator.delete_message(kim.email, kim.deliver()["immutable_id"], vendor="microsoft")
    (entry,), _ = kim.round(link)
    assert (entry["id"], "isRead" in entry, "subject" in entry) == (identity, False, True)


def test_delta_removed_tells_moves_from_deleted_items(kim: GraphApi) -> None:
    moved, binned, purged = deliver(kim, 3)
    _, link = kim.round(INBOX)
    kim.post(f"/me/messages/{moved}/move", {"destinationId": "archive"})
    assert kim.call("DELETE", f"/me/messages/{binned}").status == 204
    assert kim.call("POST", f"/me/messages/{purged}/permanentDelete").status == 204
    entries, _ = kim.round(link)
    reasons = {entry["id"]: entry["@removed"]["reason"] for entry in entries}
    assert reasons == {moved: "deleted", binned: "changed", purged: "deleted"}
    assert ids(kim.round(ARCHIVE)[0]) == [moved]


def test_delta_change_during_the_first_round_shows_in_it(kim: GraphApi) -> None:
    delivered = deliver(kim, 12)
    page = kim.get(INBOX)
    kim.simulator.delete_message(kim.email, delivered[-1], vendor="microsoft")
    entries, _ = kim.round(page["@odata.nextLink"])
    assert {"id": delivered[-1], "@removed": {"reason": "deleted"}} in entries


def test_delta_with_immutable_ids_loses_what_left_and_came_back(kim: GraphApi) -> None:
    (identity,) = deliver(kim, 1)
    _, link = kim.round(INBOX)
    for place in ("archive", "inbox"):
        kim.post(f"/me/messages/{identity}/move", {"destinationId": place})
    entries, link = kim.round(link)
    assert [(entry["id"], "@removed" in entry) for entry in entries] == [(identity, True)]
    kim.call("PATCH", f"/me/messages/{identity}", json={"isRead": True})
    assert kim.round(link)[0] == []
    assert kim.get(f"/me/messages/{identity}")["parentFolderId"] == kim.get("/me/mailFolders/inbox")["id"]
    assert ids(kim.round(INBOX)[0]) == [identity]


def test_delta_without_the_bug_tells_that_it_is_back(kim: GraphApi) -> None:
    kim.simulator.settings(graph_lost_item_bug=False)
    (identity,) = deliver(kim, 1)
    _, link = kim.round(INBOX)
    for place in ("archive", "inbox"):
        kim.simulator.move(kim.email, identity, place)
    entries, _ = kim.round(link)
    assert [(entry["id"], "@removed" in entry) for entry in entries] == [(identity, False)]


def test_delta_with_mutable_ids_knows_a_returned_item_by_another_id(kim: GraphApi) -> None:
    api = connect_graph(kim.simulator, kim.email, immutable=False)
    deliver(kim, 1)
    (first,), link = api.round(INBOX)
    archived = api.post(f"/me/messages/{first['id']}/move", {"destinationId": "archive"})
    back = api.post(f"/me/messages/{archived['id']}/move", {"destinationId": "inbox"})
    assert len({first["id"], archived["id"], back["id"]}) == 3
    entries, _ = api.round(link)
    assert [(entry["id"], "@removed" in entry) for entry in entries] == [(first["id"], True), (back["id"], False)]


@pytest.mark.parametrize(("status", "code"), [(410, "syncStateNotFound"), (400, "resyncRequired")])
def test_delta_expired_is_refused_and_begins_again(kim: GraphApi, status: int, code: str) -> None:
    deliver(kim, 1)
    _, inbox = kim.round(INBOX)
    _, archive = kim.round(ARCHIVE)
    kim.simulator.expire_delta(kim.email, folder="inbox", status=status, code=code)
    answer = kim.call("GET", inbox)
    assert (answer.status, answer.json["error"]["code"]) == (status, code)
    assert ("location" in answer.headers) == (status == 410)
    assert kim.round(archive)[0] == []
    assert len(kim.round(answer.headers.get("location", INBOX))[0]) == 1
    kim.simulator.expire_delta(kim.email)
    assert kim.call("GET", archive).status == 410


def test_delta_empty_page_with_more_to_follow(kim: GraphApi) -> None:
    kim.simulator.settings(graph_delta_empty_pages=2)
    deliver(kim, 1)
    page = kim.get(INBOX)
    assert page["value"] == []
    assert "@odata.nextLink" in page
    _, link = kim.round(INBOX)
    deliver(kim, 1)
    assert kim.get(link)["value"] == []
    assert len(kim.round(link)[0]) == 1


def test_delta_repeats_and_replays_when_told_to(kim: GraphApi) -> None:
    deliver(kim, 2)
    kim.simulator.settings(graph_delta_repeats=True)
    entries, link = kim.round(INBOX)
    assert sorted(ids(entries)) == sorted(ids(entries[:2]) * 2)
    kim.simulator.settings(graph_delta_repeats=False, graph_delta_replays=5)
    assert len(kim.round(link)[0]) == 2


def test_delta_lags_behind_when_told_to(kim: GraphApi) -> None:
    _, link = kim.round(INBOX)
    kim.simulator.settings(graph_delta_lag_seconds=60.0)
    deliver(kim, 1)
    entries, link = kim.round(link)
    assert entries == []
    kim.simulator.advance(61)
    assert len(kim.round(link)[0]) == 1


def test_delta_lag_hides_new_mail_from_a_first_round_and_not_from_the_next(kim: GraphApi) -> None:
    kim.simulator.settings(graph_delta_lag_seconds=60.0)
    deliver(kim, 1)
    entries, link = kim.round(INBOX)
    assert entries == []
    kim.simulator.advance(61)
    assert len(kim.round(link)[0]) == 1


def test_delta_of_a_full_mailbox_is_refused_while_mail_can_be_read(kim: GraphApi) -> None:
    kim.simulator.settings(graph_full_mailboxes=[kim.email])
    assert kim.code("GET", INBOX) == (403, "ErrorQuotaExceeded")
    assert kim.code("GET", "/me/mailFolders/delta") == (403, "ErrorQuotaExceeded")
    assert kim.call("GET", "/me/messages").status == 200


@pytest.mark.parametrize("query", ["$search=x", "$filter=isRead eq true", "$orderby=subject", "$select=colour"])
def test_delta_refuses_what_it_cannot_track(kim: GraphApi, query: str) -> None:
    assert kim.call("GET", f"{INBOX}?{query.replace(' ', '%20')}").status == 400


def test_delta_filter_by_time_keeps_old_mail_out(kim: GraphApi) -> None:
    deliver(kim, 1)
    kim.simulator.deliver(kim.email, b"Subject: Old\r\n\r\n", internal_date=1_000_000_000_000, vendor="microsoft")
    entries, _ = kim.round(f"{INBOX}?$filter=receivedDateTime+ge+2020-01-01T00:00:00Z")
    assert [entry["subject"] for entry in entries] == ["Mail 0"]


def test_delta_of_a_folder_that_is_gone_is_404(kim: GraphApi) -> None:
    folder = kim.simulator.create_folder(kim.email, "Short-lived")
    _, link = kim.round(f"/me/mailFolders/{folder['id']}/messages/delta")
    kim.simulator.delete_folder(kim.email, folder["id"])
    assert kim.code("GET", link) == (404, "ErrorItemNotFound")


def test_delta_of_the_folder_tree_tells_new_renamed_and_gone_ones(kim: GraphApi) -> None:
    entries, link = kim.round("/me/mailFolders/delta")
    assert "Inbox" in {entry["displayName"] for entry in entries}
    kept = kim.simulator.create_folder(kim.email, "Customers")["id"]
    gone = kim.simulator.create_folder(kim.email, "Gone", parent=kept)["id"]
    kim.simulator.change_folder(kim.email, kept, name="Clients")
    kim.simulator.delete_folder(kim.email, gone)
    entries, _ = kim.round(link)
    assert {entry["id"]: entry.get("displayName") for entry in entries} == {kept: "Clients", gone: None}
