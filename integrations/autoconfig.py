"""What a domain says of its own mail servers, in Mozilla's format of autoconfig
(wiki.mozilla.org/Thunderbird:Autoconfiguration:ConfigFileFormat).

Only IMAP and SMTP over TLS are taken. The text comes from a stranger: no entities, no DTD, hosts and ports are checked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from integrations.oauth.known_servers import ADDRESS, LOCAL_PART, KnownServers, MailServer

SECURITY = {"SSL": "tls", "STARTTLS": "starttls"}
HOST = re.compile(r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)+", re.I)


def read(content: bytes, domain: str) -> KnownServers | None:
    """None where it is no such document, or names no server that can be logged in to safely."""
    try:
        root = fromstring(content, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError):
        return None
    incoming = _safest(_servers(root, "incomingServer", "imap", domain))
    outgoing = _safest(_servers(root, "outgoingServer", "smtp", domain))
    if incoming is None:
        return None
    server, username = incoming
    return KnownServers(server, outgoing[0] if outgoing else None, username=username)


def _servers(root: Element, tag: str, kind: str, domain: str) -> Iterator[tuple[MailServer, str]]:
    for element in root.iter(tag):
        host = _text(element, "hostname").replace("%EMAILDOMAIN%", domain)
        port, security = _text(element, "port"), SECURITY.get(_text(element, "socketType"))
        username = _text(element, "username")
        if element.get("type") != kind or security is None or not HOST.fullmatch(host):
            continue
        if port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65_536:
            known = username if username in (ADDRESS, LOCAL_PART) else ADDRESS
            yield MailServer(host.lower(), int(port), security), known


def _safest(found: Iterator[tuple[MailServer, str]]) -> tuple[MailServer, str] | None:
    """TLS from the first byte before STARTTLS (RFC 8314 3), else in the document's order."""
    return min(found, key=lambda one: one[0].security != "tls", default=None)


def _text(element: Element, tag: str) -> str:
    return (element.findtext(tag) or "").strip()
