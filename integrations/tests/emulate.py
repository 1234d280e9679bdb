"""`emulate` 0.11.2 from npm: somebody else's imitation of Google's and Microsoft's OAuth and of other vendors, so that
our own simulator is not the only judge. Its consent has one page, a form per user, and no scopes of its own (reference
mail-calendar 9.1)."""

from __future__ import annotations

import html
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from urllib.parse import urlencode, urljoin, urlsplit

import httpx

START_SECONDS = 30
EMAIL = "ada@hub.example"
SEED = """
google:
  users: [{email: ada@hub.example, name: Ada Lovelace}]
  oauth_clients:
    - {client_id: hub, client_secret: secret, name: Hub, redirect_uris: ["%(google)s"]}
microsoft:
  users: [{email: ada@hub.example, name: Ada Lovelace}]
  oauth_clients:
    - {client_id: hub, client_secret: secret, name: Hub, redirect_uris: ["%(microsoft)s"]}
"""


def program() -> str | None:
    """Where it is: EMULATE_BIN, or on the PATH."""
    return os.environ.get("EMULATE_BIN") or shutil.which("emulate")


def running(folder: Path, redirects: dict[str, str]) -> AbstractContextManager[dict[str, str]]:
    """Google and Microsoft: base URL by vendor while it runs."""
    return serving(folder, ("google", "microsoft"), SEED % redirects)


@contextmanager
def serving(folder: Path, services: tuple[str, ...], seed: str) -> Iterator[dict[str, str]]:
    """One or two of its services with this seed: base URL by service while it runs."""
    file = folder / "seed.yaml"
    file.write_text(seed)
    port = _two_free_ports()
    command = [str(program()), "start", "--service", ",".join(services), "--port", str(port), "--seed", str(file)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        _wait(port + len(services) - 1)
        yield {service: f"http://127.0.0.1:{port + place}" for place, service in enumerate(services)}
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(10)


def consent(url: str, email: str = EMAIL) -> str:
    """Choose the user on its page; the URL the browser is sent back to."""
    page = httpx.get(url).raise_for_status().text
    for form in re.findall(r"<form.*?</form>", page, re.DOTALL):
        if email in html.unescape(form):
            fields = {name: html.unescape(value) for name, value in _hidden(form)}
            action = re.search(r'action="([^"]*)"', form)
            answer = httpx.post(
                urljoin(url, html.unescape(action[1]) if action else urlsplit(url).path),
                content=urlencode(fields),
                headers={"content-type": "application/x-www-form-urlencoded"},
            )
            return answer.headers["location"]
    raise LookupError(f"no form for {email} on the consent page")


def _hidden(form: str) -> Iterator[tuple[str, str]]:
    for tag in re.findall(r"<input[^>]*>", form):
        attributes = dict(re.findall(r'(\w+)="([^"]*)"', tag))
        if "name" in attributes:
            yield attributes["name"], attributes.get("value", "")


def _two_free_ports() -> int:
    """It takes the port it is given for the first service and the next one for the second."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return port


def _wait(port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise TimeoutError(f"emulate did not listen on {port}")
