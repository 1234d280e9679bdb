"""The one door out: what leaves, where it may go, which connection it takes, what the log says."""

from __future__ import annotations

import json
import logging
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from core import egress, http
from core.errors import (
    EgressRefused,
    InvalidInput,
    ProviderUnavailable,
)
from core.http import transport
from core.tests.conftest import Serve
from core.tests.servers import answer, replying
from core.tests.test_egress import LITERALS, REFUSED

pytestmark = pytest.mark.usefixtures("loopback")


# What leaves.


def test_request_json_is_sent_compact_with_length_type_and_bearer(serve: Serve) -> None:
    server = serve(replying(answer(201, b'{"id":1}', content_type="application/json")))
    response = http.request(
        "post", f"{server.url}/a?x=1", json={"ä": [1, None]}, params={"y": "ü &", "z": None}, bearer="t0ken"
    )
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert (response.status, response.json()) == (201, {"id": 1})
    assert head.startswith((b"POST /a?x=1&y=%C3%BC%20%26 HTTP/1.1\r\n", b"POST /a?x=1&y=%C3%BC+%26 HTTP/1.1\r\n"))
    assert b"authorization: Bearer t0ken" in head
    assert b"content-type: application/json" in head
    assert f"host: 127.0.0.1:{server.port}".encode() in head.lower()
    assert body.decode() == '{"ä":[1,null]}'


def test_request_form_and_raw_bodies_are_sent_as_given(serve: Serve) -> None:
    server = serve(replying(answer()))
    http.request("POST", server.url, data={"grant_type": "refresh_token", "empty": None, "n": 1, "bad": "\ud800"})
    http.request("PUT", server.url, content=b"\x00raw", headers={"Content-Type": "message/rfc822"})
    assert server.requests[0].endswith(b"\r\n\r\ngrant_type=refresh_token&n=1&bad=%3F")
    assert b"application/x-www-form-urlencoded" in server.requests[0]
    assert server.requests[1].endswith(b"\r\n\r\n\x00raw")


def test_request_header_that_would_break_its_line_is_refused(serve: Serve) -> None:
    server = serve(replying(answer()))
    for headers in (
        {"X-A": "a\r\nX-B: b"},
        {"X A": "a"},
        {"X-A": "ü"},
        {"Host": "other"},
        {"Transfer-Encoding": "chunked"},
    ):
        with pytest.raises(InvalidInput):
            http.request("GET", server.url, headers=headers)
    with pytest.raises(InvalidInput):
        http.request("GET", server.url, bearer="a\nb")
    assert server.connections == 0


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "//example.com/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "gopher://x/",
        "http://",
        "https:///x",
        "http://user:pass@example.com/",
        "http://user@example.com/",
        "http://example.com:0/",
        "http://[::1",
        "http://\ud800/",
    ],
)
def test_request_malformed_url_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput):
        http.request("GET", url)


def test_request_ignores_proxies_of_the_environment(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy, server = serve(replying(answer(502))), serve(replying(answer()))
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "https_proxy"):
        monkeypatch.setenv(name, proxy.url)
    assert http.request("GET", server.url).status == 200
    assert proxy.connections == 0


def test_request_keeps_no_cookies_between_requests(serve: Serve) -> None:
    server = serve(replying(answer(set_cookie="session=of-another-workspace; Path=/")))
    http.request("GET", server.url)
    http.request("GET", server.url)
    assert b"cookie" not in server.requests[1].lower()


# Where it may go.


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "127.1",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "0",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "127.0.0.1.",
        "127\u30020\u30020\u30021",
    ],
)
def test_request_inside_address_never_connects(serve: Serve, settings: Any, host: str) -> None:
    server = serve(replying(answer()))
    settings.EGRESS_ALLOW_CIDRS = []
    with pytest.raises((EgressRefused, InvalidInput, ProviderUnavailable)):
        http.request("GET", f"http://{host}:{server.port}/")
    assert server.connections == 0


def test_request_over_a_thousand_inside_urls_never_connect(
    serve: Serve, names: dict[str, list[str]], settings: Any
) -> None:
    server = serve(replying(answer()))
    settings.EGRESS_ALLOW_CIDRS = []
    hosts = [*LITERALS, *(f"[{text}]" if ":" in text else text for text in REFUSED)]
    names["inside.example"] = ["127.0.0.1"]
    names["mixed.example"] = ["8.8.8.8", "127.0.0.1"]
    urls = [
        f"{scheme}://{host}:{port}/x"
        for host in (*hosts, "inside.example", "mixed.example")
        for scheme in ("http", "https")
        for port in (server.port, 80)
    ]
    assert len(urls) > 1000
    for url in urls:
        with pytest.raises((EgressRefused, InvalidInput, ProviderUnavailable)):
            http.request("GET", url)
    assert server.connections == 0


def test_request_narrowed_setting_does_not_reuse_an_older_connection(serve: Serve, settings: Any) -> None:
    server = serve(replying(answer()))
    http.request("GET", server.url)
    settings.EGRESS_ALLOW_CIDRS = []
    with pytest.raises(EgressRefused):
        http.request("GET", server.url)
    assert len(server.requests) == 1


def test_request_name_that_changes_its_answer_reaches_the_checked_address_under_its_name(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked, other = serve(replying(answer())), serve(replying(answer()))
    ports = iter([checked.port, other.port])
    lookup = egress.system_resolver
    monkeypatch.setattr(egress, "system_resolver", lambda host, _: lookup("127.0.0.1", next(ports)))
    http.request("GET", f"http://flip.example:{checked.port}/")
    assert b"host: flip.example" in checked.requests[0].lower()
    assert other.connections == 0


@pytest.mark.parametrize(
    "secret",
    [
        {"bearer": "t"},
        {"headers": {"X-Api-Key": "k"}},
        {"headers": {"Authorization": "Basic x"}},
        {"data": {"client_secret": "s"}},
        {"params": {"refresh_token": "r"}},
        {"json": {"password": "p"}},
        {"secret_url": True},
    ],
)
def test_request_secret_over_plain_http_needs_an_opened_network(
    serve: Serve, names: dict[str, list[str]], settings: Any, monkeypatch: pytest.MonkeyPatch, secret: dict[str, Any]
) -> None:
    server = serve(replying(answer()))
    assert http.request("POST", server.url, **secret).status == 200
    monkeypatch.setattr(egress, "_DENIED", ())  # so that loopback stands for a public address that nobody opened
    settings.EGRESS_ALLOW_CIDRS = []
    assert http.request("POST", server.url, json={"text": "public words"}).status == 200
    with pytest.raises(EgressRefused, match="TLS"):
        http.request("POST", server.url, **secret)
    assert len(server.requests) == 2


def test_request_plain_connection_made_without_a_secret_is_not_reused_for_one(
    serve: Serve, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(replying(answer()))
    monkeypatch.setattr(egress, "_DENIED", ())
    settings.EGRESS_ALLOW_CIDRS = []
    http.request("GET", server.url)
    with pytest.raises(EgressRefused):
        http.request("GET", server.url, bearer="t")
    assert all(b"authorization" not in sent.lower() for sent in server.requests)


# Redirects.


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE"])
def test_request_redirect_to_another_origin_is_not_followed_and_leaks_nothing(
    serve: Serve, status: int, method: str
) -> None:
    canary = serve(replying(answer()))
    for location in (f"{canary.url}/take", f"//127.0.0.1:{canary.port}/take", f"http://localhost:{canary.port}/"):
        server = serve(replying(answer(status, location=location)))
        response = http.request(method, server.url, bearer="t0ken", params={"key": "k3y"})
        assert response.status == status
    assert canary.connections == 0


def test_request_redirect_within_the_origin_is_followed_for_get(serve: Serve) -> None:
    server = serve(replying(answer(302, location="/b?x=1#part"), answer(307, location="c"), answer(200, b"here")))
    response = http.request("GET", f"{server.url}/a", bearer="t0ken")
    assert (response.status, response.content, response.url) == (200, b"here", f"{server.url}/c")
    assert [sent.split(b" ")[1] for sent in server.requests] == [b"/a", b"/b?x=1", b"/c"]
    assert all(b"Bearer t0ken" in sent for sent in server.requests)


def test_request_redirect_of_a_post_is_given_back(serve: Serve) -> None:
    server = serve(replying(answer(303, location="/done"), answer()))
    assert http.request("POST", f"{server.url}/a", json={}).status == 303
    assert len(server.requests) == 1


def test_request_endless_redirects_stop_after_three(serve: Serve) -> None:
    server = serve(replying(answer(302, location="/again")))
    assert http.request("GET", server.url).status == 302
    assert len(server.requests) == 4


def test_request_redirect_to_nonsense_is_given_back(serve: Serve) -> None:
    for location in ("http://[", "javascript:alert(1)", "file:///etc/passwd", ""):
        server = serve(replying(answer(302, location=location)))
        assert http.request("GET", server.url).status == 302


# Connections.


def test_request_idempotent_requests_share_a_connection(serve: Serve) -> None:
    server = serve(replying(answer(200, b"x")))
    for _ in range(5):
        http.request("GET", server.url)
    assert (len(server.requests), server.connections) == (5, 1)


def test_request_that_may_not_be_repeated_gets_a_connection_of_its_own(serve: Serve) -> None:
    server = serve(replying(answer()))
    http.request("GET", server.url)
    http.request("POST", server.url, json={})
    assert server.connections == 2


def test_request_pooled_connection_that_died_is_replaced_for_a_get(serve: Serve) -> None:
    served = 0

    def dies_on_second(stream: socket.socket, _: bytes) -> bool:
        nonlocal served
        served += 1
        if served == 2:
            return False
        stream.sendall(answer(200, b"fine"))
        return True

    server = serve(dies_on_second)
    assert http.request("GET", server.url).content == b"fine"
    assert http.request("GET", server.url).content == b"fine"
    assert (len(server.requests), server.connections) == (3, 2)


def test_request_from_many_threads_each_get_their_own_answer(serve: Serve) -> None:
    def echo(stream: socket.socket, sent: bytes) -> bool:
        stream.sendall(answer(200, sent.split(b" ")[1]))
        return True

    server = serve(echo)
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda n: http.request("GET", f"{server.url}/{n}").text, range(200)))
    assert found == [f"/{n}" for n in range(200)]


def test_request_after_a_fork_uses_no_connection_of_the_parent(serve: Serve) -> None:
    server = serve(replying(answer()))
    http.request("GET", server.url)
    assert transport._pool.cache_info().currsize > 0
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover - runs in the child
        os.write(writing, str(transport._pool.cache_info().currsize).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 10) == b"0"
    os.close(reading)
    os.close(writing)
    http.request("GET", server.url)
    assert server.connections == 1


# The log.


def test_request_log_has_one_line_without_query_body_or_headers(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    server = serve(replying(answer(200, b'{"access_token":"s3cret-out"}', set_cookie="sid=s3cret-cookie")))
    with caplog.at_level(logging.DEBUG):
        http.request(
            "POST",
            f"{server.url}/token%0aforged?code=s3cret-code",
            data={"refresh_token": "s3cret-in"},
            bearer="s3cret-b",
        )
    lines = [record.getMessage() for record in caplog.records if record.name == "patchbay.http"]
    assert len(lines) == 1
    assert lines[0].startswith(f"POST {server.url}/token%0aforged 200 ")
    assert "s3cret" not in caplog.text


def test_request_log_of_a_secret_url_has_no_path(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    server = serve(replying(answer()))
    with caplog.at_level(logging.DEBUG):
        http.request("POST", f"{server.url}/services/T0/B0/hook-secret", json={}, secret_url=True)
    assert f"POST {server.url}/*** 200" in caplog.text
    assert "hook-secret" not in caplog.text


def test_request_log_tells_of_failures_too(caplog: pytest.LogCaptureFixture, names: dict[str, list[str]]) -> None:
    with caplog.at_level(logging.INFO), pytest.raises(ProviderUnavailable):
        http.request("GET", "https://nowhere.example/path")
    assert "GET https://nowhere.example/path failed" in caplog.text


def test_request_json_echo_survives_a_round_trip(serve: Serve) -> None:
    server = serve(lambda stream, sent: stream.sendall(answer(200, sent.partition(b"\r\n\r\n")[2])))
    value = {"text": "grüße 🌍\u2028", "n": [1.5, True, None], "deep": {"a": {"b": []}}}
    assert http.request("POST", server.url, json=value).json() == json.loads(json.dumps(value))
