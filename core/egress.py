"""Where outgoing connections may go: resolve once, judge every address, connect to a judged one.

Every socket the product opens towards an address that a user, a provider or a setting named comes from `connect` here:
HTTP through `core.http`, IMAP and SMTP directly. The text of a host is never judged (`127.1`, `0x7f000001` and
`[::ffff:127.0.0.1]` are one machine); only what the resolver made of it is, and that same answer is connected to, so a
name that changes its mind between check and use (DNS rebinding) changes nothing.

The deny table is ours because `ipaddress.is_global` lets NAT64 and 6to4 forms of loopback, site-local, multicast and
the Azure wire server through (reference reliability.md 0.3). Operators open networks with `EGRESS_ALLOW_CIDRS`.
Promised: no message tells what is behind a refused name, and a mixed answer is refused as a whole.
"""

from __future__ import annotations

import functools
import ipaddress
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import certifi
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from core.errors import EgressRefused, ProviderUnavailable

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
AddressInfo = tuple[Any, Any, int, str, tuple[Any, ...]]
Resolver = Callable[[str, int], Sequence[AddressInfo]]
"""Answers like `socket.getaddrinfo`: (family, type, protocol, canonical name, socket address)."""

DENY_TABLE: tuple[tuple[str, str], ...] = (
    ("0.0.0.0/8", "this network, RFC 791"),
    ("10.0.0.0/8", "private, RFC 1918"),
    ("100.64.0.0/10", "carrier-grade NAT and a cloud metadata service, RFC 6598"),
    ("127.0.0.0/8", "loopback, RFC 1122"),
    # A metadata service behind a public-looking address:
    # learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16
    ("168.63.129.16/32", "cloud wire server"),
    ("169.254.0.0/16", "link-local and cloud metadata, RFC 3927"),
    ("172.16.0.0/12", "private, RFC 1918"),
    ("192.0.0.0/24", "protocol assignments, RFC 6890"),
    ("192.0.2.0/24", "documentation, RFC 5737"),
    ("192.31.196.0/24", "AS112, RFC 7535"),
    ("192.52.193.0/24", "multicast tunnelling, RFC 7450"),
    ("192.88.99.0/24", "6to4 relays, RFC 7526"),
    ("192.168.0.0/16", "private, RFC 1918"),
    ("192.175.48.0/24", "AS112, RFC 7534"),
    ("198.18.0.0/15", "benchmarks, RFC 2544"),
    ("198.51.100.0/24", "documentation, RFC 5737"),
    ("203.0.113.0/24", "documentation, RFC 5737"),
    ("224.0.0.0/4", "multicast, RFC 5771"),
    ("240.0.0.0/4", "reserved and broadcast, RFC 1112 and RFC 919"),
    ("::/96", "unspecified, loopback and IPv4-compatible, RFC 4291"),
    ("64:ff9b:1::/48", "local NAT64, RFC 8215"),
    ("100::/64", "discard, RFC 6666"),
    ("2001::/23", "Teredo, benchmarks, ORCHID, RFC 2928"),
    ("2001:db8::/32", "documentation, RFC 3849"),
    ("2002::/16", "6to4, RFC 3056"),
    ("2620:4f:8000::/48", "AS112, RFC 7534"),
    ("3ffe::/16", "6bone, returned, RFC 3701"),
    ("3fff::/20", "documentation, RFC 9637"),
    ("5f00::/16", "segment routing, RFC 9602"),
    ("fc00::/7", "unique local and cloud metadata, RFC 4193"),
    ("fe80::/10", "link-local, RFC 4291"),
    ("fec0::/10", "site-local, RFC 3879"),
    ("ff00::/8", "multicast, RFC 4291"),
    ("::/3", "not global unicast, RFC 4291 2.4"),
    ("4000::/2", "not global unicast, RFC 4291 2.4"),
    ("8000::/1", "not global unicast, RFC 4291 2.4"),
)
"""As the registries stood in November 2026."""
_DENIED: tuple[IPNetwork, ...] = tuple(ipaddress.ip_network(network) for network, _ in DENY_TABLE)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: what DNS64 answers for a host that only has IPv4
_LOCAL_NAT64 = ipaddress.IPv6Network("64:ff9b:1::/48")
_COMPATIBLE = ipaddress.IPv6Network("::/96")
_ISATAP = (0x0000_5EFE, 0x0200_5EFE)  # RFC 5214 6.1: interface identifiers that carry an IPv4 address

LOOKUP_SECONDS = 10.0
MAX_HOST_LENGTH = 253
_NOT_IN_A_HOST = re.compile(r"[\x00-\x20\x7f/\\@?#%\[\]]")


@dataclass(frozen=True)
class Address:
    """One checked address. `opened` says that EGRESS_ALLOW_CIDRS names its network (plain text may be spoken there)."""

    family: int
    ip: str
    port: int
    opened: bool
    sockaddr: tuple[Any, ...]


def resolve(
    host: str, port: int, *, resolver: Resolver | None = None, timeout: float = LOOKUP_SECONDS
) -> list[Address]:
    """The addresses of `host` (a name or an IP literal, with or without brackets), all judged, in the resolver's order.

    EgressRefused where the host or port is malformed or any address is denied; ProviderUnavailable where the name is
    not found or the name server does not answer within `timeout` seconds.
    """
    host = _clean_host(host)
    if not 1 <= port <= 65535:
        raise EgressRefused(f"{port} is not a port; use 1 to 65535.")
    allowed = allowed_networks()
    addresses: dict[str, Address] = {}
    for family, _, _, _, sockaddr in _look_up(host, port, resolver or system_resolver, timeout):
        verdict = _judge(str(sockaddr[0]), allowed)
        if verdict is None:
            raise EgressRefused(
                f"{host} is not an address that may be reached from here. "
                "If it should be, add its network to EGRESS_ALLOW_CIDRS."
            )
        address = Address(int(family), str(sockaddr[0]), port, verdict, sockaddr)
        addresses.setdefault(address.ip, address)
    if not addresses:
        raise ProviderUnavailable(f"The server {host} could not be found.")
    return list(addresses.values())


def connect(
    host: str, port: int, timeout: float, *, resolver: Resolver | None = None, opened_only: bool = False
) -> socket.socket:
    """A socket connected to a checked address of `host`, within `timeout` seconds in all; TCP_NODELAY is set.

    Resolves once and tries each address in turn. The socket keeps `timeout` for reading and writing. `opened_only`
    refuses every host outside EGRESS_ALLOW_CIDRS: for conversations in plain text that carry a secret.
    """
    deadline = time.monotonic() + timeout
    addresses = resolve(host, port, resolver=resolver, timeout=min(timeout, LOOKUP_SECONDS))
    if opened_only and not all(address.opened for address in addresses):
        raise EgressRefused(
            f"{host} may only be reached over TLS. To allow plain text, add its network to EGRESS_ALLOW_CIDRS."
        )
    for index, address in enumerate(addresses):
        share = (deadline - time.monotonic()) / (len(addresses) - index)
        found = _open(address, share)
        if found is not None:
            found.settimeout(timeout)
            return found
    raise ProviderUnavailable(f"The server {_clean_host(host)} did not answer on port {port}.")


def start_tls(sock: socket.socket, host: str, timeout: float, *, alpn: str = "") -> ssl.SSLSocket:
    """`sock` under TLS, its certificate checked against `host`; ProviderUnavailable, and the socket closed, if not."""
    try:
        sock.settimeout(max(timeout, 0.001))
        return tls_context(alpn).wrap_socket(sock, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        sock.close()
        raise ProviderUnavailable(f"The certificate of {host} is not valid: {error.verify_message}.") from error
    except (OSError, ValueError) as error:
        sock.close()
        raise ProviderUnavailable(f"The server {host} did not complete a TLS handshake.") from error


@functools.cache
def tls_context(alpn: str = "") -> ssl.SSLContext:
    """The one way certificates are checked: the bundled authorities, and the machine's own for private ones."""
    context = ssl.create_default_context(cafile=certifi.where())
    context.load_default_certs()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if alpn:
        context.set_alpn_protocols([alpn])
    return context


def allowed_networks() -> tuple[IPNetwork, ...]:
    """`settings.EGRESS_ALLOW_CIDRS` as networks, read on every call."""
    return _parse_networks(tuple(settings.EGRESS_ALLOW_CIDRS))


def system_resolver(host: str, port: int) -> Sequence[AddressInfo]:
    """The machine's own resolver, asked once for IPv4 and IPv6."""
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)


@functools.lru_cache(maxsize=16)
def _parse_networks(names: tuple[str, ...]) -> tuple[IPNetwork, ...]:
    try:
        return tuple(ipaddress.ip_network(name.strip(), strict=False) for name in names if name.strip())
    except ValueError as error:
        raise ImproperlyConfigured(f"EGRESS_ALLOW_CIDRS: {error}") from error


def _clean_host(host: str) -> str:
    cleaned = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not cleaned or len(cleaned) > MAX_HOST_LENGTH or _NOT_IN_A_HOST.search(cleaned):
        raise EgressRefused("The host name is not valid.")
    return cleaned


def _look_up(host: str, port: int, resolver: Resolver, timeout: float) -> Sequence[AddressInfo]:
    """Ask in a thread: getaddrinfo takes no time limit, and a silent name server holds it for half a minute."""
    answers: list[Sequence[AddressInfo]] = []
    failures: list[Exception] = []

    def ask() -> None:
        try:
            answers.append(resolver(host, port))
        except (OSError, UnicodeError) as error:  # UnicodeError: a label that is empty or too long for IDNA
            failures.append(error)

    thread = threading.Thread(target=ask, name="egress-lookup", daemon=True)
    thread.start()
    thread.join(max(timeout, 0.0))
    if answers:
        return answers[0]
    if failures:
        raise ProviderUnavailable(f"The server {host} could not be found.") from failures[0]
    raise ProviderUnavailable(f"The server {host} could not be looked up in time.")


def _judge(text: str, allowed: Iterable[IPNetwork]) -> bool | None:
    """None: refused. Else whether the operator opened it, as opposed to its being public."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    opened = True
    for part in _parts(address):
        if any(part in network for network in allowed):
            continue
        if any(part in network for network in _DENIED):
            return None
        opened = False
    return opened


def _parts(address: IPAddress) -> list[IPAddress]:
    """What has to be judged: the address and each IPv4 address in it. A mere translation counts as what it wraps."""
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    low = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    if address.ipv4_mapped is not None or address in _NAT64:
        return [low]
    parts: list[IPAddress] = [address]
    if address.sixtofour is not None:
        parts.append(address.sixtofour)
    if address.teredo is not None:
        parts.extend(address.teredo)
    isatap = int(address) >> 32 & 0xFFFF_FFFF in _ISATAP
    if address in _LOCAL_NAT64 or isatap or (address in _COMPATIBLE and int(address) > 1):
        parts.append(low)
    return parts


def _open(address: Address, timeout: float) -> socket.socket | None:
    """Connected, or None where this address does not answer; the next one may."""
    if timeout <= 0:
        return None
    found = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        found.settimeout(timeout)
        found.connect(address.sockaddr)
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError:
        found.close()
        return None
    return found
