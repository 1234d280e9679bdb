"""The whole suite's surroundings, set while this file is imported: before Django reads its settings.

A PostgreSQL of our own in a temporary folder (or the server that TEST_DATABASE_URL names; TEST_REDIS_URL likewise),
none of the developer's settings, and no network but the loopback. Where pytest-xdist spreads the suite over processes,
each has its own server, folder and Redis database. `DJANGO_SETTINGS_MODULE` is set here and not in pytest.ini, because
pytest-django would read the settings before any conftest.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import sys
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import django
import pytest
from django.conf import settings
from django.db import connection
from django.test import TransactionTestCase

from tests import emptying, migrated, scratch
from tests.bare import forget_the_developers_settings
from tests.real_servers import MARK, modules, runs_again
from workspaces.runtime.embedded import EmbeddedServer

FOLDER = scratch.own_folder()


def _surroundings() -> None:
    os.environ["DATA_DIR"] = str(FOLDER)
    if _only_spreads():
        os.environ["DATABASE_URL"] = "postgresql://nobody@127.0.0.1:1/none"
        return
    os.environ["DATABASE_URL"] = os.environ.get("TEST_DATABASE_URL") or _own_server()
    if redis_url := os.environ.get("TEST_REDIS_URL"):
        own = _own_redis(redis_url)
        os.environ["TEST_REDIS_URL"] = os.environ["REDIS_URL"] = os.environ["CELERY_BROKER_URL"] = own


def _only_spreads() -> bool:
    """This process hands tests to others and runs none itself."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        return False
    words = re.search(r" (?:-n|--numprocesses)[ =]?(\S+)", " " + " ".join(sys.argv[1:]))
    return words is not None and words[1] != "0"


def _own_redis(url: str) -> str:
    """The database of that number, counted down by the number of this process ("gw1")."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"/{(int(parts.path.strip('/') or 0) - number) % 16}"))


def _own_server() -> str:
    migrated.put(FOLDER)
    server = EmbeddedServer(FOLDER, durable=False, dies_with_parent=True)
    server.use()
    return server.url


def _begin_migrated() -> None:
    """The database of tests is a copy of a migrated one: of our own server's, or of what the real one has for it."""
    test = connection.settings_dict["TEST"]
    if not os.environ.get("TEST_DATABASE_URL"):
        test["TEMPLATE"] = "postgres"
    elif template := os.environ.get(migrated.TEMPLATE):
        test["TEMPLATE"], test["NAME"] = template, f"test_{template}"  # a run's own: others use the server too


if settings.configured:
    raise RuntimeError("The settings were read before their surroundings were made: tests would use somebody's data.")
forget_the_developers_settings()
_surroundings()
django.setup()
_begin_migrated()
TransactionTestCase._fixture_teardown = emptying.after_a_test
# Each test client is a web server of its own, and without this each of them lists all static files before it answers.
settings.WHITENOISE_AUTOREFRESH = True
if _only_spreads():
    del os.environ["DJANGO_SETTINGS_MODULE"]  # the processes it starts would read the settings before their conftest

pytest_plugins = ["workspaces.tests.fixtures"]


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """`tmp_path` lies in our own folder (`tests.scratch`); the processes of xdist are given theirs in it."""
    if config.option.basetemp is None:
        config.option.basetemp = str(FOLDER / "tmp")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Says which tests of the database `make test-services` runs too, and that it finds what is marked for it."""
    module = item.nodeid.partition("::")[0]
    mark = item.get_closest_marker("django_db")
    if runs_again(module, None if mark is None else mark.kwargs):
        item.add_marker(MARK)
    elif item.get_closest_marker("services") is None:
        return
    if module not in modules():
        raise pytest.UsageError(f"{item.nodeid} is for `make test-services`, which does not look there.")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What looks at the whole product first: those files take longest, and a process that began one last would work on
    alone at the end. (pytest-django has put what needs no database last, and products are among it.)"""
    items.sort(key=lambda item: not item.nodeid.startswith("tests/"))


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


@pytest.fixture(autouse=True)
def _one_long_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests are counted per minute, and the first of a minute asks the cache: no test that counts queries may depend
    on when it runs."""
    monkeypatch.setattr("core.api.throttling.WINDOW", 366 * 86_400)
