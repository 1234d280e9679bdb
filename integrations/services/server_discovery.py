"""Finding the mail servers of an address, so that nobody has to know them: `connections/imap/servers` and the console.

In this order, and the first that knows is believed: the table of well-known ones, the domain's SRV records (RFC 6186,
8314, 6764), its own autoconfig over HTTPS, its mail exchanger. All of it ends within SECONDS. What is found is a
proposal: nobody logs in to it before its user has seen it (RFC 6186 6), and nothing found in the open is proposed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from django.core.exceptions import ValidationError

from core import http, name_records
from core.addresses import ascii_domain
from core.errors import HubError, InvalidInput
from integrations import autoconfig
from integrations.fields import Field, check
from integrations.oauth.known_servers import ADDRESS, BY_DOMAIN, BY_EXCHANGER, LOCAL_PART, KnownServers, MailServer

SECONDS = 10.0
DNS_SECONDS = 3.0
HTTP_SECONDS = 4.0
MAX_DOCUMENT = 64 * 1024
EMAIL = Field("email", "E-mail address", kind="email")
IMAP_RECORDS = (("_imaps._tcp", "tls"), ("_imap._tcp", "starttls"))
SMTP_RECORDS = (("_submissions._tcp", "tls"), ("_submission._tcp", "starttls"))


@dataclass(frozen=True, slots=True)
class Discovered:
    """A proposal for the form. `source`: "known", "srv", "autoconfig", "mx", or "" where nothing was found."""

    email: str
    servers: KnownServers
    username: str
    source: str


def discover(email: object) -> Discovered:
    """InvalidInput where that is no address. Trouble of the network is nothing found: the form is filled by hand."""
    given = _address(email)
    local, _, spelt = given.rpartition("@")
    domain = ascii_domain(spelt)
    deadline = time.monotonic() + SECONDS
    ways: tuple[tuple[str, Callable[[], KnownServers | None]], ...] = (
        ("known", lambda: BY_DOMAIN.get(domain)),
        ("srv", lambda: _by_records(domain, deadline)),
        ("autoconfig", lambda: _by_document(given, domain, deadline)),
        ("mx", lambda: _by_exchanger(domain, deadline)),
    )
    for source, ask in ways:
        if found := ask():
            name = found.username.replace(ADDRESS, given).replace(LOCAL_PART, local)
            return Discovered(given, found, name, source)
    return Discovered(given, KnownServers(), given, "")


def _address(email: object) -> str:
    try:
        return str(check(EMAIL, email))
    except ValidationError as error:
        problem = " ".join(error.messages)
    except ValueError as error:
        problem = str(error)
    raise InvalidInput("That is no e-mail address.", fields={"email": [problem]})


# --- records of the domain ----------------------------------------------------------------------------------------


def _by_records(domain: str, deadline: float) -> KnownServers | None:
    imap = _service(domain, IMAP_RECORDS, deadline)
    if imap is None:
        return None
    found = KnownServers(imap, _service(domain, SMTP_RECORDS, deadline))
    calendars = _service(domain, (("_caldavs._tcp", "tls"),), deadline)
    if calendars is not None:
        port = "" if calendars.port == 443 else f":{calendars.port}"
        found = replace(found, caldav_url=f"https://{calendars.host}{port}/.well-known/caldav")
    return found


def _service(domain: str, records: tuple[tuple[str, str], ...], deadline: float) -> MailServer | None:
    for name, security in records:
        rows = sorted(_look_up(f"{name}.{domain}", "SRV", deadline), key=lambda row: (row.priority, -row.weight))
        for row in rows:
            host = row.target.to_text(omit_final_dot=True)
            if autoconfig.HOST.fullmatch(host) and row.port:  # "." says that there is no such service
                return MailServer(host.lower(), row.port, security)
    return None


def _by_exchanger(domain: str, deadline: float) -> KnownServers | None:
    for row in sorted(_look_up(domain, "MX", deadline), key=lambda row: row.preference):
        host = row.exchange.to_text(omit_final_dot=True).lower()
        for suffix, servers in BY_EXCHANGER.items():
            if host.endswith(f".{suffix}"):
                return servers
    return None


def _look_up(name: str, kind: str, deadline: float) -> list[Any]:
    return name_records.look_up(name, kind, seconds=min(DNS_SECONDS, deadline - time.monotonic()))


# --- the domain's own document -------------------------------------------------------------------------------------


def _by_document(email: str, domain: str, deadline: float) -> KnownServers | None:
    address = quote(email, safe="@")
    for url in (
        f"https://autoconfig.{domain}/mail/config-v1.1.xml?emailaddress={address}",
        f"https://{domain}/.well-known/autoconfig/mail/config-v1.1.xml",
    ):
        left = min(HTTP_SECONDS, deadline - time.monotonic())
        if left <= 0:
            return None
        try:
            answer = http.request("GET", url, timeout=left, max_bytes=MAX_DOCUMENT)
        except HubError:
            continue
        if answer.ok and (found := autoconfig.read(answer.content, domain)):
            return found
    return None
