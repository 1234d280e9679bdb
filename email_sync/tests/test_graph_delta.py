"""Graph's changes: what is believed, what is looked at first, and cursors that die (reference 3.3, 8.31–8.39)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from core.errors import CursorExpired, ProviderRejected, ProviderUnavailable, RemoteMissing
from email_sync.tests.gmail_server import Reply
from email_sync.tests.graph_server import INBOX, GraphServer, folder, refusal, summary

DELTA = "/me/mailFolders/in/messages/delta"


@pytest.fixture
def server(settings: Any) -> Iterator[GraphServer]:
    settings.EGRESS_ALLOW_CIDRS = ["127.0.0.0/8"]
    with GraphServer() as server:
        server.on("GET", "/me/mailFolders", Reply(200, {"value": [folder("in"), folder("other")]}))
        server.on("GET", "/me/mailFolders/inbox", Reply(200, {"id": "in"}))
        yield server


def link(server: GraphServer, token: str = "t") -> str:
    return f"{server.url}/v1.0{DELTA}?$deltatoken={token}"


def tells(server: GraphServer, *items: dict[str, Any], more: bool = False) -> None:
    kind = "@odata.nextLink" if more else "@odata.deltaLink"
    server.on("GET", DELTA, Reply(200, {"value": list(items), kind: link(server, "next")}))


def test_changes_name_states_and_where_to_go_on(server: GraphServer) -> None:
    tells(server, summary("a", isRead=True), summary("b", flag={"flagStatus": "flagged"}), more=True)
    page = server.graph().changes(INBOX, link(server))
    assert [(s.remote_id, s.is_read, s.is_starred) for s in page.updated] == [("a", True, False), ("b", False, True)]
    assert (page.more, page.cursor) == (True, link(server, "next"))


def test_changes_that_lead_in_a_circle_are_asked_for_again(server: GraphServer) -> None:
    tells(server, summary("a"), more=True)
    with pytest.raises(ProviderUnavailable, match="itself"):
        server.graph().changes(INBOX, link(server, "next"))


def test_changes_over_an_empty_page_go_on(server: GraphServer) -> None:
    tells(server, more=True)
    page = server.graph().changes(INBOX, link(server))
    assert (page.updated, page.removed, page.more) == ((), (), True)


def test_changes_that_say_removed_are_looked_at_first(server: GraphServer) -> None:
    """Gone, moved, and the trap of A→B→A (reference 8.33): still here."""
    removed = [{"id": name, "@removed": {"reason": "deleted"}} for name in ("gone", "moved", "back")]
    tells(server, *removed)
    server.on("GET", "/me/messages/moved", Reply(200, summary("moved", parentFolderId="other")))
    server.on("GET", "/me/messages/back", Reply(200, summary("back")))
    page = server.graph().changes(INBOX, link(server))
    assert page.removed == ("gone",)
    assert {state.remote_id: state.stream for state in page.updated} == {"moved": "other", "back": "in"}


def test_changes_to_a_folder_that_is_not_synced_are_removals(server: GraphServer) -> None:
    tells(server, {"id": "purged", "@removed": {"reason": "deleted"}})
    server.on("GET", "/me/messages/purged", Reply(200, summary("purged", parentFolderId="recoverable")))
    assert server.graph().changes(INBOX, link(server)).removed == ("purged",)


def test_changes_to_hidden_places_read_the_folders_again_once(server: GraphServer) -> None:
    names = [f"m{number}" for number in range(30)]
    tells(server, *({"id": name, "@removed": {"reason": "deleted"}} for name in names))
    for name in names:
        server.on("GET", f"/me/messages/{name}", Reply(200, summary(name, parentFolderId="recoverable")))
    graph = server.graph()
    graph.folders()
    server.asked.clear()
    assert set(graph.changes(INBOX, link(server)).removed) == set(names)
    assert len(server.asked) == 1 + 2 + 1


def test_changes_to_a_folder_made_since_are_moves(server: GraphServer) -> None:
    graph = server.graph()
    graph.folders()
    server.on("GET", "/me/mailFolders", Reply(200, {"value": [folder("in"), folder("fresh")]}))
    tells(server, {"id": "m", "@removed": {"reason": "changed"}})
    server.on("GET", "/me/messages/m", Reply(200, summary("m", parentFolderId="fresh")))
    [state] = graph.changes(INBOX, link(server)).updated
    assert state.folder_ids == ("fresh",)


@pytest.mark.parametrize("missing", ["isRead", "flag", "parentFolderId"])
def test_changes_in_part_are_completed_not_read_as_empty(server: GraphServer, missing: str) -> None:
    told = summary("a")
    del told[missing]
    tells(server, told)
    now = summary("a", isRead=True, flag={"flagStatus": "flagged"})
    server.on("GET", "/me/messages/a", Reply(200, now))
    [state] = server.graph().changes(INBOX, link(server)).updated
    assert (state.is_read, state.is_starred) == (True, True)


def test_changes_that_contradict_each_other_are_looked_at(server: GraphServer) -> None:
    tells(server, summary("a", isRead=True), summary("a", isRead=False), summary("b"), summary("b"))
    server.on("GET", "/me/messages/a", Reply(200, summary("a", isRead=True)))
    states = {state.remote_id: state.is_read for state in server.graph().changes(INBOX, link(server)).updated}
    assert states == {"a": True, "b": False}


def test_changes_of_new_mail_spare_the_fetch_a_question(server: GraphServer) -> None:
    tells(server, summary("a"))
    server.on("GET", "/me/messages/a/$value", Reply(200, b"Subject: x\r\n\r\nHello\r\n"))
    graph = server.graph()
    graph.changes(INBOX, link(server))
    assert [message.thread_remote_id for message in graph.fetch(INBOX, ["a"])] == ["ca"]
    assert [part["url"] for part in server.parts] == ["/me/messages/a/$value"]


@pytest.mark.parametrize(
    "reply",
    [
        refusal(410, "ErrorGone", Location="https://graph.microsoft.com/v1.0/x?$deltatoken="),
        refusal(400, "SyncStateNotFound"),
        refusal(404, "syncStateNotFound"),
        refusal(400, "syncStateInvalid"),
        refusal(409, "resyncRequired"),
        refusal(403, "ErrorQuotaExceeded"),
    ],
    ids=lambda reply: f"{reply.status}-{reply.body['error']['code']}",
)
def test_changes_whose_cursor_is_lost_expire(server: GraphServer, reply: Reply) -> None:
    server.on("GET", DELTA, reply)
    with pytest.raises(CursorExpired):
        server.graph().changes(INBOX, link(server))


def test_changes_of_a_folder_that_is_gone_say_so(server: GraphServer) -> None:
    server.on("GET", DELTA, refusal(404, "ErrorFolderNotFound"))
    with pytest.raises(RemoteMissing):
        server.graph().changes(INBOX, link(server))


@pytest.mark.parametrize("cursor", ["", "x", "untold", "https://graph.microsoft.com/v1.0/me/x", "http://[::1"])
def test_changes_with_a_cursor_of_another_server_expire_unasked(server: GraphServer, cursor: str) -> None:
    with pytest.raises(CursorExpired):
        server.graph().changes(INBOX, cursor)
    assert server.asked == []


def test_changes_without_a_link_expire_rather_than_begin_in_the_dark(server: GraphServer) -> None:
    server.on("GET", DELTA, Reply(200, {"value": []}))
    with pytest.raises(CursorExpired):
        server.graph().changes(INBOX, link(server))


def test_changes_that_are_no_list_are_asked_for_again(server: GraphServer) -> None:
    server.on("GET", DELTA, Reply(200, {"value": None, "@odata.deltaLink": link(server)}))
    with pytest.raises(ProviderUnavailable):
        server.graph().changes(INBOX, link(server))


def test_start_cursor_of_a_full_mailbox_is_one_that_compares_each_time(server: GraphServer) -> None:
    server.on("GET", DELTA, refusal(403, "ErrorQuotaExceeded"))
    graph = server.graph()
    cursor = graph.start_cursor(INBOX)
    with pytest.raises(CursorExpired):
        graph.changes(INBOX, cursor)


def test_start_cursor_refused_for_another_reason_says_it(server: GraphServer) -> None:
    server.on("GET", DELTA, refusal(403, "ErrorAccessDenied"))
    with pytest.raises(ProviderRejected) as rejected:
        server.graph().start_cursor(INBOX)
    assert rejected.value.code == "missing_scope"


def test_every_call_asks_for_immutable_ids(server: GraphServer) -> None:
    tells(server, {"id": "gone", "@removed": {"reason": "deleted"}})
    graph = server.graph()
    graph.folders()
    graph.start_cursor(INBOX)
    graph.changes(INBOX, link(server))
    preferences = [asked.headers["prefer"] for asked in server.asked]
    preferences += [part["headers"]["Prefer"] for part in server.parts]
    assert len(preferences) > 8
    assert all('IdType="ImmutableId"' in preference for preference in preferences)
