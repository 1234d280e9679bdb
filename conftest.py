"""The whole suite's surroundings, set while this file is imported: before Django reads its settings.

A PostgreSQL of our own in a temporary folder (or the server that TEST_DATABASE_URL names; TEST_REDIS_URL likewise),
none of the developer's settings, and no network but the loopback. `DJANGO_SETTINGS_MODULE` is set here and not in
pytest.ini, because pytest-django would read the settings before any conftest.
"""

from __future__ import annotations

import atexit
import importlib.util
import ipaddress
import os
import shutil
import socket
import tempfile
from pathlib import Path
from typing import Any

import django
import pytest

from tests.bare import forget_the_developers_settings
from workspaces.runtime.embedded import EmbeddedServer


def _surroundings() -> None:
    folder = Path(tempfile.mkdtemp(prefix="patchbay-test-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ["DATA_DIR"] = str(folder)
    os.environ["DATABASE_URL"] = os.environ.get("TEST_DATABASE_URL") or _own_server(folder)
    if redis_url := os.environ.get("TEST_REDIS_URL"):
        os.environ["REDIS_URL"] = os.environ["CELERY_BROKER_URL"] = redis_url


def _own_server(folder: Path) -> str:
    server = EmbeddedServer(folder, durable=False, dies_with_parent=True)
    server.use()
    return server.url


forget_the_developers_settings()
_surroundings()
django.setup()

pytest_plugins = [name for name in ("workspaces.tests.fixtures",) if importlib.util.find_spec(name)]


class OutsideWorld(RuntimeError):
    """A test tried to leave the machine."""


def _is_loopback(address: Any) -> bool:
    host = str(address[0]).partition("%")[0]
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host in ("localhost", "")


@pytest.fixture(autouse=True, scope="session")
def _loopback_only() -> Any:
    """Every TCP and UDP connection of Python code must stay on this machine."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex"):
            patch.setattr(socket.socket, name, _guarded(getattr(socket.socket, name)))
        yield


def _guarded(connect: Any) -> Any:
    def checked(self: socket.socket, address: Any) -> Any:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_loopback(address):
            raise OutsideWorld(f"A test tried to reach {address[0]}: the network is off, except the loopback.")
        return connect(self, address)

    return checked
