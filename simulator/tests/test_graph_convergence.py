"""A client that merges what Graph's delta tells it, while the mailbox changes between any two pages, ends with what is
there."""

from __future__ import annotations

import random
from typing import Any

import pytest

from simulator.tests.factories import GraphApi, connect_graph

FOLDERS = ("inbox", "archive")


class Follower:
    """Keeps a copy of one folder, a page at a time."""

    def __init__(self, api: GraphApi, folder: str) -> None:
        self.api = api
        self.link = f"/me/mailFolders/{folder}/messages/delta?$select=subject,isRead"
        self.known: dict[str, dict[str, Any]] = {}

    def step(self) -> bool:
        """Whether this page ended a round."""
        page = self.api.get(self.link, prefer="odata.maxpagesize=3")
        for entry in page["value"]:
            if "@removed" in entry:
                self.known.pop(entry["id"], None)
            else:
                self.known[entry["id"]] = self.known.get(entry["id"], {}) | entry
        self.link = page.get("@odata.nextLink") or page["@odata.deltaLink"]
        return "@odata.deltaLink" in page

    def catch_up(self) -> None:
        """Ends the round under way, then walks a whole one."""
        for _ in range(2):
            while not self.step():
                pass


def truth(kim: GraphApi) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = kim.simulator.mailbox(kim.email, vendor="microsoft")["messages"]
    return messages


def disturb(kim: GraphApi, dice: random.Random) -> None:
    """One change behind the client's back."""
    choice, messages = dice.choice(["arrive", "arrive", "read", "move", "move", "remove"]), truth(kim)
    if choice == "arrive" or not messages:
        kim.deliver("New")
        return
    identity = dice.choice(messages)["immutable_id"]
    if choice == "read":
        kim.simulator.change(kim.email, identity, is_read=dice.random() < 0.5)
    elif choice == "move":
        kim.simulator.move(kim.email, identity, dice.choice(FOLDERS))
    else:
        kim.simulator.delete_message(kim.email, identity, vendor="microsoft")


@pytest.mark.parametrize("immutable", [True, False])
@pytest.mark.parametrize("unkind", [{}, {"graph_delta_repeats": True, "graph_delta_replays": 7}])
def test_delta_applied_page_by_page_ends_at_the_truth(kim: GraphApi, immutable: bool, unkind: dict[str, Any]) -> None:
    # With the bug of immutable ids nobody gets there by delta alone.
    kim.simulator.settings(graph_lost_item_bug=False, **unkind)
    api = connect_graph(kim.simulator, kim.email, immutable=immutable)
    fate, dice = random.Random(5), random.Random(6)
    followers = {folder: Follower(api, folder) for folder in FOLDERS}
    for _ in range(120):
        disturb(kim, fate)
        if dice.random() < 0.7:
            followers[dice.choice(FOLDERS)].step()
    for folder, follower in followers.items():
        follower.catch_up()
        name = "immutable_id" if immutable else "id"
        here = {item[name]: item["is_read"] for item in truth(kim) if item["folder"] == folder}
        assert {identity: entry["isRead"] for identity, entry in follower.known.items()} == here
        assert len(here) >= 5
