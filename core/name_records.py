"""Records of the domain name system other than addresses, which `core.egress` looks up: the one place that asks for
them, with the machine's own resolver."""

from __future__ import annotations

from typing import Any

import dns.exception
import dns.resolver


def look_up(name: str, kind: str, *, seconds: float) -> list[Any]:
    """The records of `kind` ("SRV", "MX") as dnspython has them; none where there are none, the name is malformed or no
    answer came within `seconds`."""
    if seconds <= 0:
        return []
    try:
        return list(dns.resolver.resolve(name, kind, lifetime=seconds, search=False))
    except (dns.exception.DNSException, OSError, ValueError):
        return []
