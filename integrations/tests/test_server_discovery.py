"""Finding the servers of an address: the order of the ways, and that nothing unsafe or malformed is proposed."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import dns.flags
import dns.message
import dns.rdatatype
import dns.resolver
import dns.rrset
import httpx
import pytest

from core import http
from core.errors import ProviderUnavailable
from integrations import autoconfig
from integrations.oauth.known_servers import LOCAL_PART, MailServer
from integrations.services import server_discovery
from integrations.tests.flows import ROOT
from workspaces.tests.fixtures import Actor

URL = f"{ROOT}connections/imap/servers"
DOCUMENT = b"""<?xml version="1.0"?><clientConfig version="1.1"><emailProvider id="doc.test">
<incomingServer type="pop3"><hostname>pop.doc.test</hostname>
<port>995</port><socketType>SSL</socketType></incomingServer>
<incomingServer type="imap"><hostname>open.doc.test</hostname>
<port>143</port><socketType>plain</socketType></incomingServer>
<incomingServer type="imap"><hostname>start.doc.test</hostname>
<port>143</port><socketType>STARTTLS</socketType></incomingServer>
<incomingServer type="imap"><hostname>mail.%EMAILDOMAIN%</hostname>
<port>993</port><socketType>SSL</socketType>
<username>%EMAILLOCALPART%</username></incomingServer>
<outgoingServer type="smtp"><hostname>out.doc.test</hostname>
<port>587</port><socketType>STARTTLS</socketType></outgoingServer>
</emailProvider></clientConfig>"""


class Names(threading.Thread):
    """A name server that knows `records`: (name, type) → texts. It remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.records: dict[tuple[str, str], list[str]] = {}
        self.asked: list[str] = []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]

    def run(self) -> None:
        while True:
            try:
                query, sender = self.socket.recvfrom(4096)
            except OSError:
                return
            asked = dns.message.from_wire(query)
            question = asked.question[0]
            name, kind = question.name.to_text(omit_final_dot=True), dns.rdatatype.to_text(question.rdtype)
            self.asked.append(name)
            answer = dns.message.make_response(asked)
            answer.flags |= dns.flags.RA
            if rows := self.records.get((name, kind)):
                answer.answer.append(dns.rrset.from_text_list(question.name, 60, "IN", kind, rows))
            self.socket.sendto(answer.to_wire(), sender)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    server = Names()
    server.start()
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers, resolver.port = ["127.0.0.1"], server.port
    monkeypatch.setattr(dns.resolver, "default_resolver", resolver)
    yield server
    server.socket.close()


@pytest.fixture(autouse=True)
def documents(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """What the web has, by address; nothing else is reached."""
    there: dict[str, bytes] = {}

    def request(method: str, url: str, **bounds: Any) -> http.Response:
        assert 0 < bounds["timeout"] <= server_discovery.HTTP_SECONDS
        assert bounds["max_bytes"] == server_discovery.MAX_DOCUMENT
        if url not in there:
            raise ProviderUnavailable("Not reached.")
        return http.Response(200, httpx.Headers(), there[url], url, idempotent=True)

    monkeypatch.setattr(http, "request", request)
    return there


def test_well_known_domain_is_answered_without_asking_anybody(member: Actor, names: Names) -> None:
    found = member.client.get(URL, {"email": "Ada@ICloud.com"}).json()
    assert found["foundBy"] == "known"
    assert found["imap"] == {
        "host": "imap.mail.me.com", "port": 993, "security": "tls", "username": "Ada@ICloud.com",
    }  # fmt: skip
    assert found["smtp"]["security"] == "starttls"
    assert found["caldav"]["url"] == "https://caldav.icloud.com/"
    assert "app password" in found["help"]
    assert names.asked == []


def test_consent_is_proposed_where_no_form_would_work(member: Actor, names: Names) -> None:
    found = member.client.get(URL, {"email": "ada@gmail.com"}).json()
    assert (found["signIn"], found["imap"], found["smtp"], found["caldav"]) == ("google", None, None, None)


def test_records_of_the_domain_are_read_in_the_order_of_their_priority(member: Actor, names: Names) -> None:
    names.records = {
        ("_imaps._tcp.rec.test", "SRV"): ["20 0 993 second.rec.test.", "10 0 9993 First.rec.test."],
        ("_submissions._tcp.rec.test", "SRV"): ["0 0 0 ."],
        ("_submission._tcp.rec.test", "SRV"): ["0 1 587 out.rec.test."],
        ("_caldavs._tcp.rec.test", "SRV"): ["0 1 8443 dav.rec.test."],
    }
    found = member.client.get(URL, {"email": "ada@rec.test"}).json()
    assert found["foundBy"] == "srv"
    assert (found["imap"]["host"], found["imap"]["port"]) == ("first.rec.test", 9993)
    assert (found["smtp"]["host"], found["smtp"]["security"]) == ("out.rec.test", "starttls")
    assert found["caldav"]["url"] == "https://dav.rec.test:8443/.well-known/caldav"


@pytest.mark.parametrize("target", ["localhost.", r"bad\032host.rec.test.", "-a.rec.test."])
def test_record_that_names_no_host_is_nothing(member: Actor, names: Names, target: str) -> None:
    names.records = {("_imaps._tcp.rec.test", "SRV"): [f"0 0 993 {target}"]}
    assert member.client.get(URL, {"email": "ada@rec.test"}).json()["foundBy"] is None


def test_document_of_the_domain_is_read_where_there_are_no_records(
    member: Actor, names: Names, documents: dict[str, bytes]
) -> None:
    documents["https://autoconfig.doc.test/mail/config-v1.1.xml?emailaddress=ada%2Bb@doc.test"] = DOCUMENT
    found = member.client.get(URL, {"email": "ada+b@doc.test"}).json()
    assert found["foundBy"] == "autoconfig"
    assert found["imap"] == {"host": "mail.doc.test", "port": 993, "security": "tls", "username": "ada+b"}
    assert found["smtp"]["port"] == 587


def test_second_address_is_asked_where_the_first_has_rubbish(
    member: Actor, names: Names, documents: dict[str, bytes]
) -> None:
    documents["https://autoconfig.doc.test/mail/config-v1.1.xml?emailaddress=ada@doc.test"] = b"<html>"
    documents["https://doc.test/.well-known/autoconfig/mail/config-v1.1.xml"] = DOCUMENT
    assert member.client.get(URL, {"email": "ada@doc.test"}).json()["foundBy"] == "autoconfig"


def test_exchanger_says_who_keeps_the_mail(member: Actor, names: Names) -> None:
    names.records = {("own.test", "MX"): ["10 backup.else.test.", "5 ASPMX.L.GOOGLE.COM."]}
    found = member.client.get(URL, {"email": "ada@own.test"}).json()
    assert (found["foundBy"], found["signIn"]) == ("mx", "google")


def test_exchanger_that_only_looks_alike_is_nobody(member: Actor, names: Names) -> None:
    names.records = {("own.test", "MX"): ["5 notgoogle.com."]}
    assert member.client.get(URL, {"email": "ada@own.test"}).json()["foundBy"] is None


def test_nothing_found_is_no_error(member: Actor, names: Names) -> None:
    found = member.client.get(URL, {"email": "ada@nowhere.test"})
    assert found.status_code == 200
    assert found.json() == {
        "email": "ada@nowhere.test", "foundBy": None, "signIn": None, "imap": None, "smtp": None, "caldav": None,
        "help": "",
    }  # fmt: skip


def test_name_server_that_is_silent_costs_a_bounded_time(
    member: Actor, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_discovery, "SECONDS", 0.0)
    assert member.client.get(URL, {"email": "ada@rec.test"}).json()["foundBy"] is None
    assert names.asked == []


@pytest.mark.parametrize("email", ["", "ada", "@rec.test", "ada@", "a b@rec.test", "ada@rec.test\r\nX: y"])
def test_what_is_no_address_is_400(member: Actor, names: Names, email: str) -> None:
    answer = member.client.get(URL, {"email": email})
    assert answer.status_code == 400
    assert "email" in answer.json()["error"]["fields"]
    assert names.asked == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe\x00",
        b"<clientConfig/>",
        b'<!DOCTYPE x [<!ENTITY a "b">]><clientConfig>&a;</clientConfig>',
        DOCUMENT.replace(b"SSL", b"plain").replace(b"STARTTLS", b"plain"),
        DOCUMENT.replace(b"<port>993</port>", b"<port>99999</port>").replace(b"<port>143</port>", b"<port>x</port>"),
        DOCUMENT.replace(b"mail.%EMAILDOMAIN%", b"a b").replace(b"start.doc.test", b"../x"),
    ],
)
def test_document_that_names_no_safe_server_is_nothing(content: bytes) -> None:
    assert autoconfig.read(content, "doc.test") is None


def test_document_prefers_what_is_encrypted_from_the_first_byte() -> None:
    found = autoconfig.read(DOCUMENT, "doc.test")
    assert found is not None
    assert found.imap == MailServer("mail.doc.test", 993, "tls")
    assert found.username == LOCAL_PART
