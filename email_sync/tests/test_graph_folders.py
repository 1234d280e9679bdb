"""Graph's folder tree: roles by well-known names, nesting, what is left out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from core.errors import ProviderRateLimited, ProviderRejected, ProviderUnavailable
from email_sync.records import ARCHIVE, INBOX, SPAM, TRASH
from email_sync.tests.gmail_server import Reply
from email_sync.tests.graph_server import GraphServer, folder, refusal


@pytest.fixture
def server(settings: Any) -> Iterator[GraphServer]:
    settings.EGRESS_ALLOW_CIDRS = ["127.0.0.0/8"]
    with GraphServer() as server:
        for name, folder_id in (("inbox", "in"), ("archive", "ar"), ("deleteditems", "del"), ("junkemail", "jk")):
            server.on("GET", f"/me/mailFolders/{name}", Reply(200, {"id": folder_id}))
        yield server


def listed(server: GraphServer, *folders: dict[str, Any], path: str = "/me/mailFolders", **page: Any) -> None:
    server.on("GET", path, Reply(200, {"value": list(folders)} | page))


def test_folders_take_their_roles_from_well_known_names_not_from_display_names(server: GraphServer) -> None:
    listed(server, folder("in", "Posteingang"), folder("x", "Inbox"), folder("ar", "Archiv"))
    found = {it.remote_id: (it.name, it.role) for it in server.graph().folders()}
    assert found == {"in": ("Posteingang", INBOX), "x": ("Inbox", ""), "ar": ("Archiv", ARCHIVE)}


def test_folders_of_every_depth_are_found_over_pages(server: GraphServer) -> None:
    link = f"{server.url}/v1.0/more"
    listed(server, folder("in", childFolderCount=1), **{"@odata.nextLink": link})
    listed(server, folder("second"), path="/more")
    listed(server, folder("deep", "Clients", childFolderCount=1), path="/me/mailFolders/in/childFolders")
    listed(server, folder("deeper", "Ünal"), path="/me/mailFolders/deep/childFolders")
    names = {it.remote_id: it.name for it in server.graph().folders()}
    assert names == {"in": "In", "second": "Second", "deep": "In/Clients", "deeper": "In/Clients/Ünal"}


def test_folders_below_trash_and_spam_are_trash_and_spam(server: GraphServer) -> None:
    listed(
        server, folder("del", childFolderCount=1), folder("jk", childFolderCount=1), folder("in", childFolderCount=1)
    )
    for above in ("del", "jk", "in"):
        listed(server, folder(f"{above}-child"), path=f"/me/mailFolders/{above}/childFolders")
    roles = {it.remote_id: it.role for it in server.graph().folders()}
    assert (roles["del-child"], roles["jk-child"], roles["in-child"]) == (TRASH, SPAM, "")


def test_hidden_and_search_folders_are_left_out(server: GraphServer) -> None:
    searching = folder("s") | {"@odata.type": "#microsoft.graph.mailSearchFolder"}
    listed(server, folder("in"), folder("h", isHidden=True), searching)
    assert [it.remote_id for it in server.graph().folders()] == ["in"]


def test_folder_that_goes_while_its_children_are_asked_for_stops_nothing(server: GraphServer) -> None:
    listed(server, folder("in"), folder("gone", childFolderCount=3))
    assert [it.remote_id for it in server.graph().folders()] == ["in", "gone"]


def test_folder_tree_without_an_end_ends(server: GraphServer) -> None:
    listed(server, folder("in", childFolderCount=1))
    listed(server, folder("in", childFolderCount=1), path="/me/mailFolders/in/childFolders")
    assert [it.remote_id for it in server.graph().folders()] == ["in"]


def test_folders_whose_pages_lead_in_a_circle_are_asked_for_again(server: GraphServer) -> None:
    circle = {"@odata.nextLink": f"{server.url}/v1.0/more"}
    listed(server, folder("in"), **circle)
    listed(server, folder("second"), path="/more", **circle)
    with pytest.raises(ProviderUnavailable, match="itself"):
        server.graph().folders()


def test_folders_behind_a_link_to_another_server_are_not_asked_for(server: GraphServer) -> None:
    listed(server, folder("in"), **{"@odata.nextLink": "https://evil.test/v1.0/me/mailFolders"})
    with pytest.raises(ProviderUnavailable, match="another server"):
        server.graph().folders()


def test_folders_of_an_account_without_a_mailbox_say_so(server: GraphServer) -> None:
    server.on("GET", "/me/mailFolders", refusal(404, "MailboxNotEnabledForRESTAPI"))
    with pytest.raises(ProviderRejected) as rejected:
        server.graph().folders()
    assert rejected.value.code == "mailbox_unavailable"


def test_folders_throttled_inside_the_batch_wait_as_long_as_asked(server: GraphServer) -> None:
    listed(server, folder("in"))
    limited = refusal(429, "ApplicationThrottled", **{"Retry-After": "17"})
    server.on("GET", "/me/mailFolders/sentitems", limited)
    with pytest.raises(ProviderRateLimited) as limit:
        server.graph().folders()
    assert limit.value.retry_after == 17


def test_streams_are_inbox_first_and_spam_last(server: GraphServer) -> None:
    listed(server, folder("jk"), folder("own"), folder("del"), folder("ar"), folder("in"))
    graph = server.graph()
    assert [stream.key for stream in graph.streams(graph.folders())] == ["in", "ar", "own", "del", "jk"]
