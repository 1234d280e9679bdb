"""WebDAV requests and their multistatus answers (RFC 4918), through `core.http` alone.

Promised: XML of a server is parsed without entities and document types; the password goes to the host it was given
for, and to hosts that this one names beside itself (iCloud's calendars are on another host than its log-in), never from
https to http.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote, unquote, urljoin, urlsplit
from xml.etree.ElementTree import Element, ParseError
from xml.sax.saxutils import escape

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from core.errors import ProviderRejected, ProviderUnavailable
from core.http import Response, raise_for_provider, request

DAV, CALDAV = "DAV:", "urn:ietf:params:xml:ns:caldav"
CALENDARSERVER, APPLE = "http://calendarserver.org/ns/", "http://apple.com/ns/ical/"
NAMESPACES = f'xmlns:d="{DAV}" xmlns:c="{CALDAV}" xmlns:s="{CALENDARSERVER}" xmlns:a="{APPLE}"'
PREFIXES = {DAV: "d", CALDAV: "c", CALENDARSERVER: "s", APPLE: "a"}
WHO = "The calendar server"
MAX_BYTES = 64 * 1024 * 1024
TIMEOUT = 60.0
MAX_REDIRECTS = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SAFE = "/~!$&'()*+,;=:@"


def prop(*names: tuple[str, str]) -> str:
    """The <prop> element that asks for these."""
    return "<d:prop>" + "".join(f"<{PREFIXES[space]}:{name}/>" for space, name in names) + "</d:prop>"


def remote_id_of(href: str) -> str:
    """A resource's path in one spelling: servers answer absolute URLs, paths, and paths encoded in other ways."""
    path = urlsplit(href.strip()).path if "://" in href else href.strip()
    parts = [quote(unquote(part), safe=_SAFE.replace("/", "")) for part in path.split("/")]
    return "/".join(parts)


def same_place(one: str, other: str) -> bool:
    """A collection with and without the slash at its end."""
    return one.rstrip("/") == other.rstrip("/")


@dataclass(frozen=True, slots=True)
class Member:
    """One <response> of a multistatus."""

    remote_id: str
    status: int
    """Of the whole resource: 200 where only its properties have one."""
    properties: dict[str, Element] = field(default_factory=dict)
    """Those that were found, by tag."""

    @property
    def etag(self) -> str:
        return self.text(DAV, "getetag").strip()

    def text(self, space: str, name: str) -> str:
        """ "" where the server did not give it."""
        found = self.properties.get(f"{{{space}}}{name}")
        return (found.text or "") if found is not None else ""

    def children(self, space: str, name: str) -> Sequence[Element]:
        """What a property holds."""
        found = self.properties.get(f"{{{space}}}{name}")
        return list(found) if found is not None else []

    def hrefs(self, space: str, name: str) -> Iterator[str]:
        """The addresses a property names."""
        for child in self.children(space, name):
            if child.tag == f"{{{DAV}}}href" and child.text:
                yield child.text.strip()


@dataclass(frozen=True, slots=True)
class Answer:
    """A multistatus."""

    members: tuple[Member, ...]
    sync_token: str = ""
    is_truncated: bool = False
    """The server says that there is more (507 for the request itself, RFC 6578 3.6)."""


class Dav:
    """A server and a log-in."""

    def __init__(self, url: str, username: str, password: str) -> None:
        self.base = url
        self.at = url
        """Where paths are looked up: the server of the calendars, once that is known."""
        token = base64.b64encode(f"{username}:{password}".encode()).decode()
        self.headers = {"Authorization": f"Basic {token}"}

    def propfind(self, url: str, body: str, *, depth: int) -> Answer:
        """The properties of a resource, and of its members (depth 1)."""
        document = f'<?xml version="1.0" encoding="utf-8"?><d:propfind {NAMESPACES}>{body}</d:propfind>'
        return self.read(raise_for_provider(self.send("PROPFIND", url, document, depth=depth), WHO))

    def report(self, url: str, document: str, *, depth: int) -> Answer:
        """What a report answers."""
        return self.read(raise_for_provider(self.send("REPORT", url, document, depth=depth), WHO))

    def send(self, method: str, url: str, document: str, *, depth: int) -> Response:
        """Ask, following redirects of the same server. The answer whatever its status."""
        headers = {"Depth": str(depth), "Content-Type": "application/xml; charset=utf-8"}
        return self.call(method, url, headers, document.encode())

    def call(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None) -> Response:
        """Ask with these headers and bytes. Every method here may be repeated: a PUT says what it is to replace."""
        target = self.absolute(url)
        for _ in range(MAX_REDIRECTS):
            response = request(
                method, target, headers={**self.headers, **headers}, content=body, idempotent=True,
                max_bytes=MAX_BYTES, timeout=TIMEOUT,
            )  # fmt: skip
            location = response.headers.get("location")
            if response.status not in REDIRECTS or not location:
                return response
            target = self.absolute(urljoin(target, location))
        raise ProviderRejected(f"{WHO} redirects in a circle.")

    def absolute(self, url: str) -> str:
        """The address of what the server names, where the password may go."""
        target = urljoin(self.at, url)
        ours, theirs = urlsplit(self.base), urlsplit(target)
        if theirs.scheme not in ("http", "https") or (ours.scheme == "https" and theirs.scheme != "https"):
            raise ProviderRejected(f"{WHO} leads to an address that is not encrypted.")
        if not _are_neighbours(ours.hostname or "", theirs.hostname or ""):
            raise ProviderRejected(f"{WHO} leads to another server, {theirs.hostname}. Connect that one instead.")
        return target

    def read(self, response: Response) -> Answer:
        """The multistatus in an answer; ProviderUnavailable where it holds something else."""
        try:
            root = fromstring(response.content, forbid_dtd=True)
        except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
            raise ProviderUnavailable(f"{WHO} answered with something that is not XML.") from error
        if root.tag != f"{{{DAV}}}multistatus":
            raise ProviderUnavailable(f"{WHO} answered with another document than was asked for.")
        members = [_member(one) for one in root.findall(f"{{{DAV}}}response")]
        truncated = any(member.status == 507 for member in members)
        token = (root.findtext(f"{{{DAV}}}sync-token") or "").strip()
        return Answer(tuple(one for one in members if one.status != 507), token, truncated)


def _are_neighbours(ours: str, theirs: str) -> bool:
    """The same host, or two hosts of one domain of at least three labels ("caldav.icloud.com", "p12-caldav…")."""
    if ours == theirs:
        return True
    domain = ours.partition(".")[2]
    return domain.count(".") >= 1 and theirs.partition(".")[2] == domain and not ours.replace(".", "").isdigit()


def _member(response: Element) -> Member:
    href = response.findtext(f"{{{DAV}}}href") or ""
    found: dict[str, Element] = {}
    for part in response.findall(f"{{{DAV}}}propstat"):
        if _status(part) == 200:
            for one in part.findall(f"{{{DAV}}}prop"):
                found |= {child.tag: child for child in one}
    return Member(remote_id_of(href), _status(response), found)


def _status(element: Element) -> int:
    """Of "HTTP/1.1 404 Not Found"; 200 where there is none."""
    parts = (element.findtext(f"{{{DAV}}}status") or "").split()
    return int(parts[1]) if len(parts) > 1 and parts[1].isdigit() else 200


def xml_text(text: str) -> str:
    """Escaped, for the inside of an element."""
    return escape(text)
