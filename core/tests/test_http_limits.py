"""What a request costs at most, whatever the server does, and what every failure becomes."""

from __future__ import annotations

import gzip
import os
import socket
import tracemalloc

import pytest

from core import http
from core.errors import ProviderOutcomeUnknown, ProviderUnavailable, ProviderUnreached
from core.tests.conftest import Serve
from core.tests.servers import LoopbackServer, answer, at_most, failing, replying

pytestmark = pytest.mark.usefixtures("loopback")


# What it costs at most.


def test_request_gzip_answer_is_unpacked(serve: Serve) -> None:
    body = gzip.compress(b"first ") + gzip.compress(b"second")
    server = serve(replying(answer(200, body, content_encoding="gzip")))
    assert http.request("GET", server.url).content == b"first second"


def test_request_gzip_bomb_costs_its_cap_and_no_more(serve: Serve) -> None:
    bomb = gzip.compress(b"\0" * 200_000_000, 9)
    server = serve(replying(answer(200, bomb, content_encoding="gzip")))
    tracemalloc.start()
    with pytest.raises(ProviderUnavailable, match="larger than"):
        http.request("GET", server.url, max_bytes=1_000_000)
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "br", "zstd", "deflate", "gzip, gzip"])
def test_request_answer_falsely_packed_is_unavailable(serve: Serve, encoding: str) -> None:
    server = serve(replying(answer(200, b"not packed", content_encoding=encoding)))
    with pytest.raises(ProviderUnavailable):
        http.request("GET", server.url)


def test_request_gzip_answer_cut_short_is_unavailable(serve: Serve) -> None:
    server = serve(replying(answer(200, gzip.compress(os.urandom(500))[:-20], content_encoding="gzip")))
    with pytest.raises(ProviderUnavailable, match="ends in the middle"):
        http.request("GET", server.url)


def test_request_body_at_the_cap_is_taken_and_beyond_it_refused(serve: Serve) -> None:
    server = serve(replying(answer(200, b"x" * 1000)))
    assert len(http.request("GET", server.url, max_bytes=1000).content) == 1000
    with pytest.raises(ProviderUnavailable, match="larger than 999 bytes"):
        http.request("GET", server.url, max_bytes=999)


@pytest.mark.parametrize(("method", "kind"), [("GET", ProviderUnavailable), ("POST", ProviderOutcomeUnknown)])
def test_request_answer_too_large_carries_its_code(serve: Serve, method: str, kind: type[ProviderUnavailable]) -> None:
    server = serve(replying(answer(200, b"x" * 1000)))
    with pytest.raises(kind) as caught:
        http.request(method, server.url, max_bytes=999)
    assert (type(caught.value), caught.value.code) == (kind, http.TOO_LARGE)


def test_request_endless_body_is_cut_at_the_cap(serve: Serve) -> None:
    def endless(stream: socket.socket, _: bytes) -> None:
        stream.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            stream.sendall(b"x" * 65536)

    server = serve(endless)
    with at_most(5), pytest.raises(ProviderUnavailable, match="larger than"):
        http.request("GET", server.url, max_bytes=1_000_000)


def test_request_huge_headers_are_refused(serve: Serve) -> None:
    server = serve(failing(b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 10_000_000))
    with at_most(5), pytest.raises(ProviderUnavailable):
        http.request("GET", server.url)


@pytest.mark.parametrize(
    "opening",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
    ],
)
def test_request_dripping_answer_ends_at_the_total_deadline(serve: Serve, opening: bytes) -> None:
    def drip(stream: socket.socket, _: bytes) -> None:
        stream.sendall(opening)
        while not server.wait(0.02):
            stream.sendall(b"1")

    server = serve(drip)
    with at_most(3), pytest.raises(ProviderUnavailable, match="in time"):
        http.request("GET", server.url, timeout=0.4)


def test_request_server_that_never_reads_ends_at_the_total_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, at_most(3):
        port = listener.getsockname()[1]
        with pytest.raises(ProviderOutcomeUnknown):
            http.request("POST", f"http://127.0.0.1:{port}/", content=b"x" * 50_000_000, timeout=0.5)


# What failures become.


CUT = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this"
BROKEN = {
    "closed at once": b"",
    "half a status line": b"HTTP/1.1 2",
    "half the headers": b"HTTP/1.1 200 OK\r\nX-A: b\r\n",
    "half the body": CUT,
    "half a chunk": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n10\r\nabc",
    "no HTTP": b"220 mail.example.com ESMTP\r\n",
    "wrong chunk": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nabc\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
}


@pytest.mark.parametrize("sent", BROKEN.values(), ids=BROKEN.keys())
def test_request_broken_answer_to_a_get_is_unavailable(serve: Serve, sent: bytes) -> None:
    server = serve(failing(sent))
    with pytest.raises(ProviderUnavailable) as caught:
        http.request("GET", server.url)
    assert type(caught.value) is ProviderUnavailable


def test_request_that_left_on_a_connection_that_died_is_not_said_to_have_stayed(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answers_once(stream: socket.socket, _: bytes) -> bool:
        if len(server.requests) > 1:
            return False
        stream.sendall(answer())
        return True

    def nobody_there(*_: object, **__: object) -> socket.socket:
        raise ProviderUnavailable("gone")

    server = serve(answers_once)
    http.request("POST", server.url, json={}, idempotent=True)
    monkeypatch.setattr("core.egress.connect", nobody_there)
    with pytest.raises(ProviderUnavailable) as lost:
        http.request("POST", server.url, json={}, idempotent=True)
    assert type(lost.value) is ProviderUnavailable
    assert len(server.requests) == 2


@pytest.mark.parametrize("sent", BROKEN.values(), ids=BROKEN.keys())
def test_request_broken_answer_to_a_post_leaves_the_outcome_unknown(serve: Serve, sent: bytes) -> None:
    server = serve(failing(sent))
    with pytest.raises(ProviderOutcomeUnknown):
        http.request("POST", server.url, json={"send": "once"})
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("method", "idempotent", "expected"),
    [
        ("GET", None, ProviderUnavailable),
        ("HEAD", None, ProviderUnavailable),
        ("PUT", None, ProviderUnavailable),
        ("DELETE", None, ProviderUnavailable),
        ("OPTIONS", None, ProviderUnavailable),
        ("POST", True, ProviderUnavailable),
        ("POST", None, ProviderOutcomeUnknown),
        ("PATCH", None, ProviderOutcomeUnknown),
        ("PUT", False, ProviderOutcomeUnknown),
    ],
)
def test_request_silent_server_outcome_follows_idempotency(
    serve: Serve, method: str, idempotent: bool | None, expected: type[Exception]
) -> None:
    server: LoopbackServer = serve(lambda *_: server.wait(10) and None)
    with at_most(3), pytest.raises(ProviderUnavailable) as caught:
        http.request(method, server.url, timeout=0.3, idempotent=idempotent)
    assert type(caught.value) is expected
    assert len(server.requests) == 1


def test_request_closed_port_is_surely_not_reached() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with pytest.raises(ProviderUnavailable, match=f"did not answer on port {port}") as caught:
        http.request("POST", f"http://127.0.0.1:{port}/", json={})
    assert type(caught.value) is ProviderUnreached


def test_request_unknown_name_is_surely_not_reached(names: dict[str, list[str]]) -> None:
    with pytest.raises(ProviderUnavailable, match=r"nowhere\.example could not be found") as caught:
        http.request("POST", "https://nowhere.example/", json={})
    assert type(caught.value) is ProviderUnreached


def test_request_early_refusal_while_the_body_is_still_sent_is_an_answer(serve: Serve) -> None:
    server = serve(replying(answer(413, b"too large")))
    assert http.request("POST", server.url, content=b"x" * 100).status == 413
