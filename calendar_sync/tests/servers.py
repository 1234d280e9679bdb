"""Radicale and xandikos, real CalDAV servers that differ, as programs on the loopback; and a plain client of theirs."""

from __future__ import annotations

import base64
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from types import TracebackType
from typing import ClassVar

from core.ids import uuid7

USER, PASSWORD = "ada@contract.test", "a password"
MKCALENDAR = """<?xml version="1.0"?><c:mkcalendar xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:caldav"><d:set>
<d:prop><d:displayname>{name}</d:displayname></d:prop></d:set></c:mkcalendar>"""


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Server:
    """One running server. Its user has a home with no calendars but those that a test makes."""

    name: ClassVar[str]
    refuses: ClassVar[frozenset[str]] = frozenset()
    """What it answers 400 to, of `meetings.DRESSES`."""
    folder: Path
    port: int = field(default_factory=free_port)
    made: list[str] = field(default_factory=list)
    """Calendars that a test made."""
    patience: float = 20
    """Seconds that an answer may take."""

    def command(self) -> list[str]:
        """What starts it."""
        raise NotImplementedError

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    home: ClassVar[str]

    def __enter__(self) -> Server:
        self.folder.mkdir(parents=True)
        return self.start()

    def start(self) -> Server:
        """Also again, over what it kept."""
        with (self.folder / "log").open("wb") as log:
            self._process = subprocess.Popen(self.command(), stdout=log, stderr=log, cwd=self.folder)
        for _ in range(300):
            try:
                self.ask("GET", "/.well-known/caldav")
                return self
            except OSError:
                assert self._process.poll() is None, (self.folder / "log").read_text()
                time.sleep(0.1)
        raise TimeoutError(f"{self.name} does not answer")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """It goes away; its folder stays."""
        self._process.terminate()
        self._process.wait(30)

    def ask(self, method: str, path: str, body: str = "", **headers: str) -> tuple[int, bytes]:
        """A request with the log-in; status and body."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=self.patience)
        token = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        lines = {"Authorization": f"Basic {token}", **{name.replace("_", "-"): text for name, text in headers.items()}}
        try:
            connection.request(method, path, body.encode(), lines)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    # --- what a test does there -----------------------------------------------------------------------------------

    def make_calendar(self, name: str = "Work", path: str = "") -> str:
        """A new calendar; its path."""
        path = path or f"{self.home}{uuid7().hex}/"
        status, body = self.ask("MKCALENDAR", path, MKCALENDAR.format(name=name), Content_Type="application/xml")
        assert status == 201, body
        self.made.append(path)
        return path

    def put(self, calendar: str, ics: str, name: str = "") -> str:
        """Store a resource; its path."""
        path = f"{calendar}{name or uuid7().hex}.ics"
        status, body = self.ask("PUT", path, ics, Content_Type="text/calendar; charset=utf-8")
        assert status in (200, 201, 204), (status, body)
        return path

    def delete(self, path: str) -> None:
        """Remove a resource or a calendar."""
        status, body = self.ask("DELETE", path)
        assert status in (200, 204), (status, body)


class Radicale(Server):
    name = "radicale"
    refuses = frozenset({"periods"})  # "PERIOD not supported by used vobject=0.9.9"
    home = f"/{USER}/"

    def command(self) -> list[str]:
        (self.folder / "users").write_text(f"{USER}:{PASSWORD}\n")
        (self.folder / "config").write_text(
            f"[server]\nhosts = 127.0.0.1:{self.port}\n"
            f"[auth]\ntype = htpasswd\nhtpasswd_filename = {self.folder}/users\nhtpasswd_encryption = plain\n"
            f"delay = 0\n[storage]\nfilesystem_folder = {self.folder}/data\n"
        )
        return [sys.executable, "-m", "radicale", "--config", str(self.folder / "config")]


class Xandikos(Server):
    """It asks for no password."""

    name = "xandikos"
    home = "/ada/calendars/"

    def command(self) -> list[str]:
        return [
            sys.executable, "-m", "xandikos.web", "-d", str(self.folder / "data"), "--autocreate",
            "--current-user-principal", "/ada/", "-l", "127.0.0.1", "-p", str(self.port), "--no-detect-systemd",
            "--state-dir", str(self.folder / "state"),
        ]  # fmt: skip


SERVERS = {"radicale": Radicale, "xandikos": Xandikos}
