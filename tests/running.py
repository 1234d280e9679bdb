"""A product that runs: `manage.py up` in a process of its own, for tests that look at it from outside."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from config.env import PROJECT, VARIABLES
from tests import migrated
from workspaces.runtime.processes import dies_with_parent

WAIT_SECONDS = 120
POLL_SECONDS = 0.05


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Product:
    """A DATA_DIR and a port, and the `up` that runs on them at the moment. An embedded database begins migrated
    (`tests.migrated`), unless the product is to start `from_nothing`."""

    def __init__(self, folder: Path, *, from_nothing: bool = False, **settings: str) -> None:
        self.port = _free_port()
        bare = {name: value for name, value in os.environ.items() if name not in {v.name for v in VARIABLES}}
        self.environment = {**bare, "ENV_FILE": "", "DATA_DIR": str(folder), "PORT": str(self.port), **settings}
        self.environment["HOME"] = "/nonexistent"  # nothing may be kept there
        self.lines: list[str] = []
        self.process: subprocess.Popen[str]
        if not from_nothing and "DATABASE_URL" not in settings:
            migrated.put(folder)

    def start(self) -> None:
        self.lines = []
        self.process = self.command("up")
        threading.Thread(target=self._collect, args=(self.process,), daemon=True).start()

    def command(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "manage.py", *arguments],
            cwd=PROJECT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=dies_with_parent(signal.SIGTERM),
        )

    def _collect(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.lines.append(line.rstrip())

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    def get(self, path: str, token: str = "") -> tuple[int, str]:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}")
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def stream(self, path: str, token: str) -> http.client.HTTPResponse:
        """An answer that goes on: read its lines as they come."""
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        line.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        return line.getresponse()

    def wait_until(self, happened: Callable[[], bool]) -> bool:
        """Whether it happened in time, while the product ran."""
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            if happened():
                return True
            threading.Event().wait(POLL_SECONDS)
        return False

    def wait_until_ready(self) -> dict[str, Any]:
        """The answer of /readyz."""
        ready = self.wait_until(lambda: self.get("/readyz")[0] == 200)
        assert ready, f"not ready: {self.get('/readyz')}\n{self.output}"
        return dict(json.loads(self.get("/readyz")[1]))

    def children(self) -> dict[str, psutil.Process]:
        """By the word that tells them apart."""
        words = {
            "gunicorn": "web",
            "sync@%h": "sync",
            "quick@%h": "quick",
            "deliver@%h": "deliver",
            "beat": "beat",
            "-D": "postgres",
            "idle": "idle",
        }
        found = {}
        for child in psutil.Process(self.process.pid).children():
            with suppress(psutil.NoSuchProcess):  # a zombie too: it died and its parent has not looked yet
                line = child.cmdline()
                found |= {name: child for word, name in words.items() if word in line}
        return found

    def stop(self) -> float:
        """SIGTERM; how long it took."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=30)
        return time.monotonic() - began
