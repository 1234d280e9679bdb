"""Fixtures of core's tests: loopback servers, a resolver that answers as told, loopback opened or not."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from core import egress
from core.tests.servers import LoopbackServer, Script

Serve = Callable[..., LoopbackServer]


@pytest.fixture
def closed(settings: Any) -> None:
    """No network opened: the state of a fresh installation."""
    settings.EGRESS_ALLOW_CIDRS = []


@pytest.fixture
def loopback(settings: Any) -> None:
    """Loopback opened by the operator."""
    settings.EGRESS_ALLOW_CIDRS = ["127.0.0.0/8", "::1/128"]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start servers that stop with the test."""
    with ExitStack() as stack:

        def start(script: Script, **options: Any) -> LoopbackServer:
            return stack.enter_context(LoopbackServer(script, **options))

        yield start


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Host name → addresses; a name that is not here does not exist. Literals resolve as on any machine."""
    table: dict[str, list[str]] = {}

    def resolver(host: str, port: int) -> Any:
        if host in table:
            return infos(*table[host], port=port)
        try:
            return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        except socket.gaierror:
            raise socket.gaierror(socket.EAI_NONAME, "unknown") from None

    monkeypatch.setattr(egress, "system_resolver", resolver)
    return table


def infos(*addresses: str, port: int = 443) -> list[egress.AddressInfo]:
    """What getaddrinfo would answer for these addresses."""
    found: list[egress.AddressInfo] = []
    for text in addresses:
        if ipaddress.ip_address(text.partition("%")[0]).version == 4:
            found.append((socket.AF_INET, socket.SOCK_STREAM, 6, "", (text, port)))
        else:
            found.append((socket.AF_INET6, socket.SOCK_STREAM, 6, "", (text, port, 0, 0)))
    return found
