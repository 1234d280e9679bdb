"""How gunicorn is told to serve (`config.web`), beside what the API promises."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from config import web
from config.env import PROJECT, VARIABLES
from core.api import refusals
from email_sync.search import MAX_QUERY


def test_request_line_holds_the_longest_search() -> None:
    line = f"GET /api/v1/integrations/email/inbox?folder=archive&limit=100&q={quote('😀' * MAX_QUERY)} HTTP/1.1\r\n"
    assert len(line) < web.limit_request_line


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """gunicorn as `up` starts it, before a database that is away: what it refuses itself needs none."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = int(probe.getsockname()[1])
    environment = {name: value for name, value in os.environ.items() if name not in {v.name for v in VARIABLES}} | {
        "ENV_FILE": "",
        "DATA_DIR": str(tmp_path_factory.mktemp("web")),
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
    }
    command = [sys.executable, "-m", "gunicorn", "config.wsgi:application", "--config", "python:config.web"]
    command += ["--bind", f"127.0.0.1:{free}", "--no-control-socket", "--workers", "1", "--log-level", "error"]
    process = subprocess.Popen(command, cwd=PROJECT, env=environment)
    deadline = time.monotonic() + 120
    while get(free, "/healthz")[0] == 0:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    yield free
    process.terminate()
    process.wait(timeout=20)


def get(port: int, path: str, headers: dict[str, str] | None = None) -> tuple[int, dict[str, str], bytes]:
    """Status, headers in lower case, body; status 0 where nobody answers."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        client.request("GET", path, headers=headers or {})
        answer = client.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    except ConnectionRefusedError:
        return 0, {}, b""
    finally:
        client.close()


@pytest.mark.parametrize(
    ("path", "headers", "status", "code"),
    [
        ("/api/integrations?x=" + "a" * 9_000, {}, 414, "uri_too_long"),
        ("/api/integrations?x=" + "a" * 300_000, {}, 414, "uri_too_long"),
        ("/api/integrations", {"X-Long": "a" * 300_000}, 431, "headers_too_large"),
        ("/api/integrations", {f"X-{number}": "a" for number in range(300)}, 431, "headers_too_large"),
        ("/api/integrations", {"Transfer-Encoding": "curious"}, 501, "not_implemented"),
    ],
    ids=["9 KB address", "300 KB address", "long header", "many headers", "odd coding"],
)
def test_what_the_server_refuses_itself_is_said_in_the_apis_shape(
    port: int, path: str, headers: dict[str, str], status: int, code: str
) -> None:
    answered, given, body = get(port, path, headers)
    error = json.loads(body)["error"]
    assert (answered, error["code"]) == (status, code)
    assert error["message"]
    assert b"aaaa" not in body
    assert given["content-type"] == "application/json"
    assert given["x-request-id"] == error["requestId"]


@pytest.mark.parametrize(
    "said", [b"nonsense\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET / HTTP/1.1\r\nbad header\r\n\r\n"]
)
def test_what_is_no_http_is_a_400_in_the_apis_shape(port: int, said: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as line:
        line.sendall(said)
        answer = http.client.HTTPResponse(line)
        answer.begin()
        error = json.loads(answer.read())["error"]
    assert (answer.status, error["code"]) == (400, "bad_request")


def test_longest_allowed_address_reaches_the_product(port: int) -> None:
    status, _, body = get(port, "/api/nothing?x=" + "a" * 8_000)
    assert (status, json.loads(body)["error"]["code"]) != (414, "uri_too_long")


def test_client_that_never_reads_nor_ends_is_let_go() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        began = time.monotonic()
        refusals.write(ours, 414, "URI Too Long", "quoted")
        assert time.monotonic() - began < refusals.LINGER_SECONDS + 1
        assert theirs.recv(9) == b"HTTP/1.1 "
