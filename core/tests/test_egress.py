"""Where connections may go: the deny table in every spelling, mixed and changing answers, what messages tell."""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from hypothesis import given
from hypothesis import strategies as st

from core import egress
from core.errors import EgressRefused, ProviderUnavailable
from core.tests.conftest import Serve, infos
from core.tests.servers import answer

INSIDE_V4 = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.100.100.200", "100.127.255.255",
    "127.0.0.1", "127.0.0.53", "127.1.2.3", "127.255.255.254", "168.63.129.16", "169.254.0.1", "169.254.169.254",
    "169.254.170.2", "172.16.0.1", "172.31.255.255", "192.0.0.8", "192.0.0.192", "192.0.2.1", "192.31.196.1",
    "192.52.193.1", "192.88.99.1", "192.168.0.1", "192.168.255.255", "192.175.48.1", "198.18.0.1", "198.19.255.255",
    "198.51.100.7", "203.0.113.9", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
]  # fmt: skip
INSIDE_V6 = [
    "::", "::1", "::2", "::ffff:0:127.0.0.1", "64:ff9b:1::1", "64:ff9b:1:7f00:0:1::", "100::1", "100:0:0:1::1",
    "1::1", "2001::1", "2001:0:7f00:1::", "2001:2::1", "2001:10::1", "2001:20::1", "2001:db8::1", "2002::1",
    "2620:4f:8000::1", "3ffe::1", "3fff::1", "3fff:fff:ffff::1", "4000::1", "5f00::1", "8000::1", "c000::1",
    "e000::1", "fc00::1", "fd00:ec2::254", "fd20:ce::254", "fdff::1", "fe80::1", "fe80::1%eth0", "febf::1",
    "fec0::1", "feff::1", "ff01::1", "ff02::1", "ff05::2", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
]  # fmt: skip
PUBLIC = [
    "1.1.1.1", "8.8.8.8", "9.9.9.9", "93.184.216.34", "100.63.255.255", "100.128.0.1", "11.0.0.1", "126.255.255.255",
    "128.0.0.1", "168.63.129.15", "168.63.129.17", "169.253.255.255", "169.255.0.1", "172.15.255.255", "172.32.0.1",
    "191.255.255.255", "192.0.1.1", "192.167.255.255", "192.169.0.1", "198.17.255.255", "198.20.0.1", "223.255.255.255",
    "2606:4700:4700::1111", "2001:4860:4860::8888", "2a00:1450:4001::1", "2620:fe::fe", "3ffd::1", "3fff:1000::1",
    "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "64:ff9b::0808:0808",
]  # fmt: skip


def wrapped(text: str) -> Iterator[str]:
    """Every IPv6 form that carries this IPv4 address."""
    number = int(ipaddress.IPv4Address(text))
    high, low = f"{number >> 16:x}", f"{number & 0xFFFF:x}"
    inverted = number ^ 0xFFFF_FFFF
    yield f"::ffff:{text}"
    yield f"::ffff:{high}:{low}"
    yield f"::{text}"
    yield f"64:ff9b::{text}"
    yield f"64:ff9b:1::{high}:{low}"
    yield f"2002:{high}:{low}::1"
    yield f"2001:0:{high}:{low}::1"
    yield f"2001::{inverted >> 16:x}:{inverted & 0xFFFF:x}"
    yield f"2a00:1450:1:1:0:5efe:{high}:{low}"
    yield f"2a00:1450:1:1:200:5efe:{high}:{low}"


REFUSED = sorted({*INSIDE_V4, *INSIDE_V6, *(form for text in INSIDE_V4 for form in wrapped(text))})
LITERALS = [
    "127.0.0.1", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7F.1", "0177.0.0.1", "0177.0.0.01", "0x7f.0.0.0x1",
    "017700000001", "127.0.0.1.", "0", "0.0.0.0", "[::1]", "::1", "[::ffff:127.0.0.1]", "[0:0:0:0:0:0:0:1]",
    "::ffff:7f00:1", "169.254.169.254", "2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "169.16689662", "10.1",
    "0xa.1", "012.0.0.1", "192.168.257", "3232235777", "0xc0a80101", "1684301000", "0x64.100.100.200",
    "\uff11\uff12\uff17.0.0.1", "127\u30020\u30020\u30021", "\u2460\u2461\u2466.\u24ea.\u24ea.\u2460",
]  # fmt: skip


def resolved(*addresses: str, host: str = "mail.example.com") -> list[egress.Address]:
    return egress.resolve(host, 993, resolver=lambda _, port: infos(*addresses, port=port))


def test_table_of_spellings_is_large_enough() -> None:
    assert len(REFUSED) + len(LITERALS) >= 300


@pytest.mark.parametrize("address", REFUSED)
def test_resolve_inside_address_is_refused(closed: None, address: str) -> None:
    with pytest.raises(EgressRefused):
        resolved(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_resolve_public_address_is_given(closed: None, address: str) -> None:
    found = resolved(address)
    assert [(item.ip, item.port, item.opened) for item in found] == [(address, 993, False)]


@pytest.mark.parametrize("host", LITERALS)
def test_resolve_literal_spelling_of_an_inside_address_never_succeeds(closed: None, host: str) -> None:
    with pytest.raises((EgressRefused, ProviderUnavailable)):
        egress.resolve(host, 443)


@pytest.mark.parametrize(
    "host", ["127.1", "2130706433", "0x7f000001", "0177.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "0"]
)
def test_resolve_spelling_the_machine_understands_is_refused_by_address(closed: None, host: str) -> None:
    with pytest.raises(EgressRefused):
        egress.resolve(host, 443)


@pytest.mark.parametrize(
    "host",
    ["", " ", "a b", "a\x00b", "a\nb", "user@host", "host/path", "a\\b", "a?b", "a#b", "127.0.0.1%25lo", "fe80::1%lo",
     "[::1", "::1]", "x" * 254, "127.0.0.1\t", "\x7f"],
)  # fmt: skip
def test_resolve_malformed_host_is_refused(closed: None, host: str) -> None:
    with pytest.raises(EgressRefused):
        egress.resolve(host, 443)


@pytest.mark.parametrize("port", [0, -1, 65536, 99999])
def test_resolve_port_out_of_range_is_refused(closed: None, port: int) -> None:
    with pytest.raises(EgressRefused, match="is not a port"):
        egress.resolve("8.8.8.8", port)


@pytest.mark.parametrize("answers", [("8.8.8.8", "127.0.0.1"), ("10.0.0.1", "8.8.8.8"), ("8.8.8.8", "::1"),
                                     ("2606:4700:4700::1111", "fd00::1", "8.8.8.8")])  # fmt: skip
def test_resolve_mixed_answer_is_refused_as_a_whole(closed: None, answers: tuple[str, ...]) -> None:
    with pytest.raises(EgressRefused):
        resolved(*answers)


def test_resolve_answer_that_is_no_address_is_refused(closed: None) -> None:
    with pytest.raises(EgressRefused):
        egress.resolve("x.example", 1, resolver=lambda *_: [(0, 0, 0, "", ("nonsense", 1))])


def test_resolve_repeated_answers_are_given_once_in_order(closed: None) -> None:
    assert [item.ip for item in resolved("9.9.9.9", "8.8.8.8", "9.9.9.9")] == ["9.9.9.9", "8.8.8.8"]


def test_resolve_refusal_names_host_and_setting_but_not_the_address(closed: None) -> None:
    with pytest.raises(EgressRefused) as caught:
        resolved("10.20.30.40", host="intranet.example.com")
    assert "intranet.example.com" in caught.value.message
    assert "EGRESS_ALLOW_CIDRS" in caught.value.message
    assert "10.20.30.40" not in caught.value.message


def test_resolve_unknown_name_says_it_could_not_be_found(closed: None) -> None:
    def unknown(host: str, port: int) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with pytest.raises(ProviderUnavailable, match=r"The server mail\.example\.com could not be found\."):
        egress.resolve("mail.example.com", 993, resolver=unknown)


@pytest.mark.parametrize("host", ["a..b", "x" * 64 + ".example", ".example"])
def test_resolve_name_dns_cannot_hold_says_it_could_not_be_found(closed: None, host: str) -> None:
    with pytest.raises(ProviderUnavailable, match="could not be found"):
        egress.resolve(host, 993)


def test_resolve_silent_name_server_ends_within_the_time_limit(closed: None, serve: Serve) -> None:
    server = serve(lambda *_: None)

    def silent(host: str, port: int) -> Any:
        server.wait(10)
        return infos("8.8.8.8")

    started = time.monotonic()
    with pytest.raises(ProviderUnavailable, match="in time"):
        egress.resolve("slow.example", 443, resolver=silent, timeout=0.1)
    assert time.monotonic() - started < 5


def test_resolve_opened_network_is_given_and_marked(settings: Any) -> None:
    settings.EGRESS_ALLOW_CIDRS = ["10.1.0.0/16", " fd00::/8 ", ""]
    assert [item.opened for item in resolved("10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3", "fd00::7")] == [
        True
    ] * 4
    assert [item.opened for item in resolved("8.8.8.8", "10.1.2.3")] == [False, True]
    with pytest.raises(EgressRefused):
        resolved("10.2.0.1")


def test_resolve_opened_tunnel_still_judges_what_it_carries(settings: Any) -> None:
    settings.EGRESS_ALLOW_CIDRS = ["2002::/16", "2001::/32", "64:ff9b:1::/48"]
    for address in ("2002:7f00:1::1", "2001:0:7f00:1::1", "64:ff9b:1::7f00:1"):
        with pytest.raises(EgressRefused):
            resolved(address)
    assert resolved("2002:808:808::1")


def test_resolve_setting_is_read_at_every_call(settings: Any) -> None:
    settings.EGRESS_ALLOW_CIDRS = ["127.0.0.0/8"]
    assert resolved("127.0.0.1")
    settings.EGRESS_ALLOW_CIDRS = []
    with pytest.raises(EgressRefused):
        resolved("127.0.0.1")


def test_resolve_malformed_setting_fails_closed(settings: Any) -> None:
    settings.EGRESS_ALLOW_CIDRS = ["127.0.0.0/8", "everything"]
    with pytest.raises(ImproperlyConfigured, match="EGRESS_ALLOW_CIDRS"):
        resolved("8.8.8.8")


@given(st.ip_addresses(v=6))
def test_resolve_ipv6_outside_global_unicast_is_refused(address: ipaddress.IPv6Address) -> None:
    inside = address in ipaddress.ip_network("2000::/3") or address.ipv4_mapped is not None
    if inside or address in ipaddress.ip_network("64:ff9b::/96"):
        return
    assert egress._judge(str(address), ()) is None


@given(st.ip_addresses(v=4))
def test_resolve_mapped_and_translated_forms_agree_with_the_plain_address(address: ipaddress.IPv4Address) -> None:
    plain = egress._judge(str(address), ())
    assert egress._judge(f"::ffff:{address}", ()) == plain
    assert egress._judge(f"64:ff9b::{address}", ()) == plain


def test_connect_name_that_changes_its_answer_reaches_the_checked_address(loopback: None, serve: Serve) -> None:
    checked, other = serve(lambda *_: None), serve(lambda *_: None)
    asked: list[str] = []

    def rebinding(host: str, port: int) -> Any:
        asked.append(host)
        return infos("127.0.0.1", port=checked.port if len(asked) == 1 else other.port)

    with egress.connect("flip.example", checked.port, 5, resolver=rebinding) as sock:
        assert sock.getpeername() == ("127.0.0.1", checked.port)
    assert asked == ["flip.example"]
    assert other.connections == 0


def test_connect_refused_name_opens_no_connection(closed: None, serve: Serve) -> None:
    server = serve(lambda *_: None)
    for host in ("127.0.0.1", "localhost", "127.1", "[::ffff:127.0.0.1]"):
        with pytest.raises(EgressRefused):
            egress.connect(host, server.port, 5)
    assert server.connections == 0


def test_connect_tries_the_next_address_where_one_is_dead(loopback: None, serve: Serve) -> None:
    server = serve(lambda stream, _: stream.sendall(answer()))
    with egress.connect(
        "two.example", server.port, 5, resolver=lambda _, port: infos("127.0.0.2", "127.0.0.1", port=port)
    ) as sock:
        assert sock.getpeername()[0] == "127.0.0.1"
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.gettimeout() == 5


def test_connect_closed_port_says_which_server_and_port_did_not_answer(loopback: None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with pytest.raises(ProviderUnavailable, match=rf"The server here\.example did not answer on port {port}\."):
        egress.connect("here.example", port, 2, resolver=lambda _, port: infos("127.0.0.1", port=port))


def test_connect_silent_address_ends_within_the_time_limit(loopback: None) -> None:
    with socket.socket() as full:  # a listener with a full queue drops further connections
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        waiting = [socket.socket() for _ in range(3)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", port))
        started = time.monotonic()
        with pytest.raises(ProviderUnavailable, match="did not answer"):
            egress.connect("127.0.0.1", port, 0.3)
        assert time.monotonic() - started < 5
        for sock in waiting:
            sock.close()


def test_connect_plain_text_only_into_opened_networks(settings: Any, serve: Serve) -> None:
    server = serve(lambda *_: None)
    settings.EGRESS_ALLOW_CIDRS = ["127.0.0.0/8"]
    egress.connect("127.0.0.1", server.port, 5, opened_only=True).close()
    with pytest.raises(EgressRefused, match="over TLS"):
        egress.connect("public.example", 80, 5, opened_only=True, resolver=lambda *_: infos("8.8.8.8", "127.0.0.1"))
