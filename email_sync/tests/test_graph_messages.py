"""Graph's mail as records: batches that come in pieces, listings that hold still, what Exchange cannot give as MIME."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from core.errors import CursorExpired, ProviderAuthError, ProviderError, ProviderRateLimited, ProviderUnavailable
from core.metering import Unmetered
from email_sync.parsing.message import parse
from email_sync.providers.base import MailAccount
from email_sync.providers.graph import Graph, api, provider
from email_sync.providers.graph.messages import outline
from email_sync.tests.gmail_server import Asked, Reply
from email_sync.tests.graph_server import INBOX, GraphServer, mime, refusal, summary
from integrations.providers.graph.answers import Json

MESSAGES = "/me/mailFolders/in/messages"


@pytest.fixture
def server(settings: Any) -> Iterator[GraphServer]:
    settings.EGRESS_ALLOW_CIDRS = ["127.0.0.0/8"]
    with GraphServer() as server:
        yield server


def stored(server: GraphServer, *names: str, **fields: Any) -> None:
    for name in names:
        server.on("GET", f"/me/messages/{name}", Reply(200, summary(name, **fields)))
        server.on("GET", f"/me/messages/{name}/$value", Reply(200, mime(name)))


def fetched(graph: Graph, *names: str) -> tuple[list[str], ProviderError | None]:
    got: list[str] = []
    try:
        for message in graph.fetch(INBOX, names):
            got.append(message.state.remote_id)
    except ProviderError as error:
        return got, error
    return got, None


def test_fetch_takes_answers_in_any_order_and_leaves_out_what_is_gone(server: GraphServer) -> None:
    stored(server, "a", "b", "c")
    server.order = lambda answers: list(reversed(answers))
    messages = {m.state.remote_id: m.raw for m in server.graph().fetch(INBOX, ["a", "gone", "b", "c"])}
    assert messages == {name: mime(name) for name in "abc"}


@pytest.mark.parametrize(
    "encode", [base64.b64encode, base64.urlsafe_b64encode, base64.encodebytes, lambda raw: raw], ids=range(4)
)
def test_fetch_reads_mime_inside_a_batch_as_base64_and_as_it_is(server: GraphServer, encode: Any) -> None:
    raw = mime("a") + "Grüße und ßßß???>>>\r\n".encode()
    server.on("GET", "/me/messages/a", Reply(200, summary("a")))
    server.on("GET", "/me/messages/a/$value", Reply(200, encode(raw)))
    assert [message.raw for message in server.graph().fetch(INBOX, ["a"])] == [raw]


def test_fetch_throttled_in_part_yields_the_rest_and_waits_the_longest(server: GraphServer) -> None:
    stored(server, "a", "b", "c", "d")
    for name, seconds in (("b", "3"), ("c", "11")):
        limited = refusal(429, "ApplicationThrottled", **{"Retry-After": seconds})
        server.on("GET", f"/me/messages/{name}/$value", limited)
    got, error = fetched(server.graph(), "a", "b", "c", "d")
    assert got == ["a", "d"]
    assert isinstance(error, ProviderRateLimited)
    assert error.retry_after == 11


def test_fetch_refused_the_credential_in_part_says_that_above_all(server: GraphServer) -> None:
    stored(server, "a", "b", "c")
    server.on("GET", "/me/messages/a/$value", refusal(429, "x"))
    server.on("GET", "/me/messages/b/$value", refusal(401, "InvalidAuthenticationToken"))
    got, error = fetched(server.graph(), "a", "b", "c")
    assert got == ["c"]
    assert isinstance(error, ProviderAuthError)


def test_fetch_whose_batch_lost_a_part_asks_to_come_again(server: GraphServer) -> None:
    stored(server, "a", "b")
    server.on("GET", "/me/messages/b/$value", lambda _: None)
    got, error = fetched(server.graph(), "a", "b")
    assert got == ["a"]
    assert isinstance(error, ProviderUnavailable)


@pytest.mark.parametrize("body", [b"<html>", {"responses": []}, {"value": []}, []])
def test_fetch_answered_with_no_batch_asks_to_come_again(server: GraphServer, body: Any) -> None:
    server.on("POST", "/$batch", Reply(200, body))
    got, error = fetched(server.graph(), "a")
    assert got == []
    assert isinstance(error, ProviderUnavailable)


def test_fetch_of_forty_one_is_three_batches(server: GraphServer) -> None:
    names = [f"m{number}" for number in range(41)]
    stored(server, *names)
    server.on("GET", MESSAGES, Reply(200, {"value": [summary(name) for name in names]}))
    graph = server.graph()
    graph.list_ids(INBOX, "", 100)
    got, error = fetched(graph, *names)
    assert (got, error) == (names, None)
    assert [asked.path for asked in server.asked] == [f"/v1.0{MESSAGES}", *["/v1.0/$batch"] * 3]


FORM: dict[str, Any] = {
    "internetMessageId": "<odd@x.test>",
    "internetMessageHeaders": [
        {"name": "References", "value": "<parent@x.test>"},
        {"name": "Content-Type", "value": "multipart/mixed; boundary=x"},
        {"name": "X-Broken", "value": "a\r\nBcc: b"},
    ],
    "subject": "Grüße",
    "from": {"emailAddress": {"name": 'Ünal, "Bob"', "address": "bob@x.test"}},
    "toRecipients": [{"emailAddress": {"address": "ada@x.test"}}, {}],
    "sentDateTime": "2026-01-05T09:59:58Z",
    "body": {"contentType": "html", "content": "<p>Hällo</p>"},
}


@pytest.mark.parametrize("code", ["ErrorMimeContentConversionFailed", "ErrorItemCorrupt"])
def test_fetch_of_what_has_no_mime_brings_an_outline(server: GraphServer, code: str) -> None:
    stored(server, "a", "b")
    server.on("GET", "/me/messages/a/$value", refusal(500, code))
    server.on("GET", "/me/messages/a", Reply(200, summary("a") | FORM))
    messages = {message.state.remote_id: message for message in server.graph().fetch(INBOX, ["a", "b"])}
    assert set(messages) == {"a", "b"}
    parsed = parse(messages["a"].raw or b"", truncated=messages["a"].truncated)
    assert (parsed.message_id, parsed.references, parsed.subject) == ("odd@x.test", ("parent@x.test",), "Grüße")
    assert (parsed.sender.email, parsed.sender.name) == ("bob@x.test", "Ünal, Bob")
    assert [address.email for address in parsed.to] == ["ada@x.test"]
    assert parsed.text == "Hällo"
    assert parsed.bcc == ()
    assert parsed.sent_at == datetime(2026, 1, 5, 9, 59, 58, tzinfo=UTC)
    assert parsed.defect


@pytest.mark.parametrize("item", [{}, {"body": 5, "from": [], "internetMessageHeaders": [1, {"name": ":"}]}])
def test_outline_of_garbage_is_a_mail_all_the_same(item: Json) -> None:
    assert parse(outline(item)).subject == ""


def test_fetch_of_giant_mail_holds_up_no_other(server: GraphServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api.MailApi, "max_answer_bytes", 20_000)
    monkeypatch.setattr(api, "MAX_MAIL_BYTES", 30_000)
    stored(server, "a", "large", "giant", "b")
    server.on("GET", "/me/messages/large/$value", Reply(200, mime("large") + b"x" * 25_000))
    server.on("GET", "/me/messages/giant/$value", Reply(200, mime("giant") + b"x" * 40_000))
    messages = {
        message.state.remote_id: message for message in server.graph().fetch(INBOX, ["a", "large", "giant", "b"])
    }
    assert {name for name, message in messages.items() if message.truncated} == {"giant"}
    assert set(messages) == {"a", "large", "giant", "b"}
    assert messages["large"].size > 25_000


class Counting(Unmetered):
    """A meter that says what was paid, and how many requests were under way at most."""

    def __init__(self) -> None:
        self.spent: list[int] = []
        self.weights: list[int] = []
        self.open = self.most = 0

    def spend(self, units: int) -> None:
        self.spent.append(units)

    @contextmanager
    def slot(self, weight: int = 1) -> Iterator[None]:
        self.weights.append(weight)
        self.open += weight
        self.most = max(self.most, self.open)
        yield
        self.open -= weight


def test_every_request_is_paid_for_and_a_batch_as_the_sum_of_its_parts(server: GraphServer) -> None:
    names = [f"m{number}" for number in range(25)]
    stored(server, *names)
    server.on("GET", MESSAGES, Reply(200, {"value": [summary(name) for name in names]}))
    meter = Counting()
    graph = Graph(MailAccount("ada@contoso.test", "eyJ.secret", {"graphApiUrl": server.url}, meter=meter))
    graph.list_ids(INBOX, "", 100)
    assert len(list(graph.fetch(INBOX, names))) == 25
    graph.set_flags(names[:3], read=True)
    assert meter.spent == [1, 20, 5, 3]
    assert meter.weights == [1, 4, 4, 3]
    assert (meter.most, meter.open) == (4, 0)


# --- listing ---------------------------------------------------------------------------------------------------------


class Folder:
    """A folder that answers `$filter`, `$skip` and `$top` as Exchange does; times are kept finer than shown."""

    def __init__(self, times: list[float]) -> None:
        self.messages = [(f"m{place}", time) for place, time in enumerate(times)]

    def __call__(self, asked: Asked) -> Reply:
        found = sorted(self.messages, key=lambda message: -message[1])
        if bound := asked.query.get("$filter", [""])[0].partition("receivedDateTime lt ")[2]:
            found = [m for m in found if m[1] < datetime.fromisoformat(bound.replace("Z", "+00:00")).timestamp()]
        skip, top = (int(asked.query.get(name, ["0"])[0]) for name in ("$skip", "$top"))
        page = found[skip : skip + top]
        more = {"@odata.nextLink": "http://127.0.0.1/never"} if len(found) > skip + top else {}
        items = [
            summary(name, receivedDateTime=f"{datetime.fromtimestamp(int(time), UTC):%Y-%m-%dT%H:%M:%SZ}")
            for name, time in page
        ]
        return Reply(200, {"value": items, "@odata.count": len(found)} | more)


def walk(server: GraphServer, limit: int, between: Any = lambda: None) -> list[str]:
    seen: list[str] = []
    token = ""
    while True:
        page = server.graph().list_ids(INBOX, token, limit)
        seen += page.remote_ids
        token = page.next_token
        between()
        if not token:
            return seen


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 50])
@pytest.mark.parametrize("times", [[9, 8, 7, 6, 5, 4, 3], [5.9, 5.5, 5.5, 5.1, 5.0, 4.9, 4.9, 4.1, 1], [7] * 9])
def test_listing_names_each_message_once_whatever_shares_a_second(
    server: GraphServer, times: list[float], limit: int
) -> None:
    box = Folder(times)
    server.on("GET", MESSAGES, box)
    assert walk(server, limit) == [name for name, _ in box.messages]


@pytest.mark.parametrize("spread", [1.0, 0.3, 0.0])
def test_listing_while_mail_leaves_the_folder_skips_nobody(server: GraphServer, spread: float) -> None:
    """Also where many were received in one second."""
    box = Folder([100 - number * spread for number in range(40)])
    server.on("GET", MESSAGES, box)
    stays = {name for name, _ in box.messages[10:]}

    def archive_one() -> None:
        if len(box.messages) > 30:
            del box.messages[0]

    assert stays <= set(walk(server, 4, archive_one))


def test_listing_of_a_second_most_of_which_goes_at_once_begins_it_again(server: GraphServer) -> None:
    box = Folder([100.0] * 300)
    server.on("GET", MESSAGES, box)
    stays = {name for name, _ in box.messages[190:]}

    def empty() -> None:
        del box.messages[: max(0, len(box.messages) - 110)]

    assert stays <= set(walk(server, 100, empty))


def test_listing_that_never_gets_on_is_asked_for_again(server: GraphServer) -> None:
    more = {"@odata.nextLink": f"{server.url}/v1.0/more"}
    server.on("GET", MESSAGES, Reply(200, {"value": [summary("a"), summary("b")]} | more))
    graph = server.graph()
    token = graph.list_ids(INBOX, "", 2).next_token
    with pytest.raises(ProviderUnavailable, match="over and over"):
        graph.list_ids(INBOX, token, 2)


def test_listing_tells_the_total_once(server: GraphServer) -> None:
    server.on("GET", MESSAGES, Folder([3, 2, 1]))
    graph = server.graph()
    first = graph.list_ids(INBOX, "", 2)
    assert first.total == 3
    since = datetime(2026, 1, 1, tzinfo=UTC)
    graph.list_ids(INBOX, "", 2, since=since)
    assert server.asked[-1].query["$filter"] == ["receivedDateTime ge 2026-01-01T00:00:00Z"]


@pytest.mark.parametrize("token", ["x", "1", "1+", "1+2", "-1+2+", "1+2+3"])
def test_listing_with_a_token_that_is_none_begins_again(server: GraphServer, token: str) -> None:
    with pytest.raises(CursorExpired):
        server.graph().list_ids(INBOX, token, 5)


def test_states_are_those_of_the_listing(server: GraphServer) -> None:
    server.on("GET", MESSAGES, Reply(200, {"value": [summary("a", isRead=True), summary("b", isDraft=True)]}))
    [[first, second]] = server.graph().states(INBOX)
    assert (first.is_read, first.roles, first.folder_ids) == (True, {"inbox"}, ("in",))
    assert second.roles == {"inbox"}


def test_matching_ids_are_the_newest_of_all_addresses(server: GraphServer) -> None:
    def search(asked: Asked) -> Reply:
        name = asked.query["$search"][0].strip('"').removeprefix("participants:").partition("@")[0]
        hours = {"eve": "09", "bob": "11"}[name]
        return Reply(200, {"value": [{"id": name, "receivedDateTime": f"2026-01-05T{hours}:00:00Z"}]})

    server.on("GET", MESSAGES, search)
    addresses = ["eve@x.test", "bob@x.test", 'no" OR from:"a@x.test']
    assert server.graph().matching_ids(INBOX, addresses, 5) == ("bob", "eve")


def test_pages_that_were_listed_before_the_first_is_fetched_cost_one_request_a_message(server: GraphServer) -> None:
    """A first sync lists ahead (docs/adr/0042)."""
    pages = [[f"{page}{number}" for number in range(3)] for page in "abc"]
    names = [name for page in pages for name in page]
    stored(server, *names)
    graph = server.graph()
    for page in pages:
        server.on("GET", MESSAGES, Reply(200, {"value": [summary(name) for name in page]}))
        assert graph.list_ids(INBOX, "", 100).remote_ids == tuple(page)
    for page in pages:
        assert fetched(graph, *page) == (page, None)
    assert [part["url"] for part in server.parts] == [f"/me/messages/{name}/$value" for name in names]


def test_summaries_of_what_is_never_fetched_are_forgotten(server: GraphServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider, "REMEMBERED", 4)
    stored(server, *"abcdef")
    graph = server.graph()
    for page in ("ab", "cd", "ef"):
        server.on("GET", MESSAGES, Reply(200, {"value": [summary(name) for name in page]}))
        graph.list_ids(INBOX, "", 100)
    got, error = fetched(graph, *"abcdef")
    assert (sorted(got), error) == ([*"abcdef"], None)
    looked = [part["url"].split("?")[0] for part in server.parts if not part["url"].endswith("$value")]
    assert looked == ["/me/messages/a", "/me/messages/b"]
