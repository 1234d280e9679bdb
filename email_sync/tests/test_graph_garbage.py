"""Graph answering with JSON of any form: every call ends in a value or in an error the engine knows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import override_settings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import ProviderError
from email_sync.providers.graph import Graph
from email_sync.tests.contract import outgoing
from email_sync.tests.gmail_server import ANYTHING, Asked, Reply
from email_sync.tests.graph_server import INBOX, GraphServer

NAMES = (
    "value",
    "id",
    "isRead",
    "flag",
    "flagStatus",
    "parentFolderId",
    "receivedDateTime",
    "conversationId",
    "status",
)
NAMES += ("@odata.nextLink", "@odata.deltaLink", "@odata.count", "@removed", "responses", "headers", "body", "error")
NAMES += (
    "displayName",
    "childFolderCount",
    "uploadUrl",
    "proxyAddresses",
    "mail",
    "code",
    "innerError",
    "from",
    "name",
)
WORDS = st.sampled_from(["in", "0", "1", "2026-01-05T10:00:00Z", "2026-99-05T10:00:00Z", "http://[x", "", "SMTP:a@b"])
INNER = st.dictionaries(st.sampled_from(NAMES), ANYTHING | WORDS, max_size=5)
OBJECTS = st.dictionaries(st.sampled_from(NAMES), ANYTHING | WORDS | INNER | st.lists(INNER, max_size=3), max_size=8)

CALLS: dict[str, Callable[[Graph, str], object]] = {
    "folders": lambda graph, link: graph.streams(graph.folders()),
    "start": lambda graph, link: graph.start_cursor(INBOX),
    "list": lambda graph, link: graph.list_ids(INBOX, "", 5),
    "states": lambda graph, link: list(graph.states(INBOX)),
    "changes": lambda graph, link: graph.changes(INBOX, link),
    "fetch": lambda graph, link: list(graph.fetch(INBOX, ["in", "b"])),
    "archive": lambda graph, link: graph.set_archived("in", True),
    "flags": lambda graph, link: graph.set_flags(["in"], read=True),
    "find": lambda graph, link: graph.find_sent("a@x.test"),
    "draft": lambda graph, link: graph.save_draft(outgoing("a", "ada@x.test"), "old"),
    "aliases": lambda graph, link: graph.aliases(),
    "matching": lambda graph, link: graph.matching_ids(INBOX, ["a@x.test"], 5),
}


@pytest.fixture(scope="module")
def server() -> Iterator[GraphServer]:
    with override_settings(EGRESS_ALLOW_CIDRS=["127.0.0.0/8"]), GraphServer() as server:
        yield server


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(body=OBJECTS, status=st.sampled_from([200, 201, 202, 400, 403, 404, 503]), batched=st.booleans())
def test_any_answer_is_a_value_or_a_provider_error(
    server: GraphServer, body: dict[str, Any], status: int, batched: bool
) -> None:
    answer: Callable[[Asked], Reply] = lambda _: Reply(status, body)  # noqa: E731
    server.rules = _Everything(answer, batched)
    for call in CALLS.values():
        try:
            call(server.graph(), f"{server.url}/v1.0/link")
        except ProviderError:
            continue


class _Everything(dict[tuple[str, str], Any]):
    """Rules with one answer to everything; a batch is still a batch where `batched`."""

    def __init__(self, answer: Any, batched: bool) -> None:
        self.answer, self.batched = answer, batched

    def get(self, key: Any, default: Any = None) -> Any:
        return self.answer

    def __contains__(self, key: object) -> bool:
        return not self.batched

    def __missing__(self, key: Any) -> Any:
        return self.answer
