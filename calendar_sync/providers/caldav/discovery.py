"""Where a server keeps somebody's calendars (RFC 6764, RFC 5397, RFC 4791 6.2.1), and the bodies of our reports."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urljoin, urlsplit

from calendar_sync.providers.caldav.dav import (
    CALDAV,
    DAV,
    NAMESPACES,
    Answer,
    Dav,
    Member,
    prop,
    remote_id_of,
    same_place,
    xml_text,
)
from core.errors import ProviderRejected, ProviderUnavailable, RemoteMissing

WELL_KNOWN = "/.well-known/caldav"
WHO_AM_I = prop((DAV, "current-user-principal"), (DAV, "resourcetype"), (CALDAV, "calendar-home-set"))
NOTHING = "There is no calendar server at this address, or it shows no calendars for this log-in."


def homes(dav: Dav, url: str) -> list[str]:
    """The addresses of the collections that hold calendars. The address given may be a server's, a principal's, a
    home's or a single calendar's. ProviderRejected where there is nothing of the kind."""
    refused: ProviderRejected | RemoteMissing | None = None
    for candidate in (url, urljoin(url, WELL_KNOWN)):
        try:
            answer = dav.propfind(candidate, WHO_AM_I, depth=0)
        except ProviderUnavailable:
            if candidate != url:
                raise
            continue
        except (ProviderRejected, RemoteMissing) as error:
            refused = error
            continue
        if found := _homes(dav, candidate, answer):
            return found
    raise ProviderRejected(NOTHING, code="connection_failed") from refused


def _homes(dav: Dav, url: str, answer: Answer) -> list[str]:
    member = _own(answer, url)
    if member is None:
        return []
    kinds = {child.tag for child in member.children(DAV, "resourcetype")}
    if f"{{{CALDAV}}}calendar" in kinds:
        return [member.remote_id]
    if direct := list(member.hrefs(CALDAV, "calendar-home-set")):
        return direct
    for principal in member.hrefs(DAV, "current-user-principal"):
        found = dav.propfind(principal, WHO_AM_I, depth=0)
        of_principal = _own(found, principal)
        if of_principal and (listed := list(of_principal.hrefs(CALDAV, "calendar-home-set"))):
            return listed
    return []


def _own(answer: Answer, url: str) -> Member | None:
    """The member that is the address itself; the only one where the server calls it otherwise."""
    path = remote_id_of(urlsplit(url).path)
    own = [member for member in answer.members if same_place(member.remote_id, path)]
    return next(iter(own or answer.members), None)


def sync_collection(token: str) -> str:
    """What changed since a token. Without a limit: some servers cut there and do not say so (reference 5.2)."""
    return (
        f'<?xml version="1.0" encoding="utf-8"?><d:sync-collection {NAMESPACES}>'
        f"<d:sync-token>{xml_text(token)}</d:sync-token><d:sync-level>1</d:sync-level>"
        f"{prop((DAV, 'getetag'))}</d:sync-collection>"
    )


def multiget(remote_ids: Iterable[str]) -> str:
    """These resources, whole."""
    hrefs = "".join(f"<d:href>{xml_text(remote_id)}</d:href>" for remote_id in remote_ids)
    wanted = prop((DAV, "getetag"), (CALDAV, "calendar-data"))
    return (
        f'<?xml version="1.0" encoding="utf-8"?><c:calendar-multiget {NAMESPACES}>{wanted}{hrefs}</c:calendar-multiget>'
    )
