"""The program itself: start, ready file, seeding from the command line, stop; and that it needs nothing of ours."""

from __future__ import annotations

import ast
import json
import socket
import subprocess
import sys
from pathlib import Path

from simulator.process import ROOT, Simulator, read_base_url, running, start, stop

PACKAGE = ROOT / "simulator"


def test_running_starts_seeds_and_stops() -> None:
    with running(seed_messages=20) as simulator:
        assert [account["messages"] for account in simulator.accounts() if account["vendor"] == "google"] == [20, 20]
        address = simulator.base_url.removeprefix("http://").split(":")
    with socket.socket() as probe:
        assert probe.connect_ex((address[0], int(address[1]))) != 0


def test_child_leaves_when_its_parent_lets_go_of_it() -> None:
    process = start()
    try:
        read_base_url(process)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(10) == 0
    finally:
        stop(process)


def test_ready_file_holds_the_base_url(tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    command = [sys.executable, "-m", "simulator", "--ready-file", str(ready)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
    try:
        base_url = read_base_url(process)
        told = {"base_url": base_url, "control_url": f"{base_url}/_control", "pid": process.pid}
        assert json.loads(ready.read_text()) == told
        assert Simulator(base_url).health()["ok"] is True
    finally:
        stop(process)
    assert process.returncode == 0


def test_package_imports_only_itself_and_the_standard_library() -> None:
    allowed = sys.stdlib_module_names | {"simulator"}
    for path in [*PACKAGE.glob("*.py"), *(PACKAGE / "gmail").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                assert {name.name.partition(".")[0] for name in node.names} <= allowed, path
            elif isinstance(node, ast.ImportFrom):
                assert (node.module or "").partition(".")[0] in allowed, path


def test_connection_is_kept_for_many_requests(simulator: Simulator) -> None:
    host, port = simulator.base_url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        request = b"GET /_control/health HTTP/1.1\r\nHost: x\r\n\r\n"
        connection.sendall(request * 3)
        answer = b""
        while answer.count(b"HTTP/1.1 200 OK") < 3:
            answer += connection.recv(65_536)


def test_chunked_request_body_is_read(simulator: Simulator) -> None:
    host, port = simulator.base_url.removeprefix("http://").split(":")
    body = b'{"advance": 5}'
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    head = b"POST /_control/clock HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(head + chunks)
        with connection.makefile("rb") as stream:
            assert stream.readline() == b"HTTP/1.1 200 OK\r\n"
