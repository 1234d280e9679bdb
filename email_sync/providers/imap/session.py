"""An IMAP session: folders, the selected one, and reading it. Built on `connection`, used by the parts of a sync."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from core.errors import ProviderError, ProviderRejected, ProviderUnavailable, RemoteMissing
from email_sync.providers.imap import wire
from email_sync.providers.imap.connection import Connection, Reply
from email_sync.providers.imap.errors import refusal
from email_sync.providers.imap.folders import Listed, Namespaces, listed, namespaces, wire_name
from email_sync.providers.imap.settings import Endpoint

SEARCH_LIMIT = 5_000_000
_STATUS_ITEMS = "MESSAGES UIDNEXT UIDVALIDITY"


@dataclass(frozen=True, slots=True)
class Box:
    """A selected folder as the server described it."""

    folder_id: str
    writable: bool
    uidvalidity: int
    uidnext: int
    messages: int
    modseq: int
    """HIGHESTMODSEQ; 0 where the folder has none."""
    flags: frozenset[str] | None = None
    """PERMANENTFLAGS, lower case; None where the server did not say (then any, RFC 3501 7.1)."""
    changed: wire.Fetched = field(default_factory=wire.Fetched)
    vanished: wire.Ranges = field(default_factory=list)
    """What a QRESYNC select told."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What STATUS tells without selecting."""

    uidvalidity: int
    uidnext: int
    messages: int
    modseq: int


class Session(Connection):
    """A mailbox for the time of one provider object."""

    def __init__(self, to: Endpoint) -> None:
        super().__init__(to)
        self.box: Box | None = None
        self._folders: list[Listed] | None = None
        self._namespaces: Namespaces | None = None
        self._told: dict[str, Figures] = {}
        """Figures that came with the last LIST, each good for one question."""
        self._held: dict[str, int] = {}

    def _lost(self) -> None:
        super()._lost()
        self.box = None
        self._told = {}

    # --- folders ----------------------------------------------------------------------------------------------

    def folders(self, *, fresh: bool = False) -> list[Listed]:
        """What LIST tells, once per session unless `fresh`. Where the server can, the figures of all folders come along
        (LIST-STATUS, RFC 5819): a mailbox where nothing changed then costs one round trip. Not at Gmail, where every
        label is a folder and three are synced."""
        if self._folders is None or fresh:
            wanted = ["SPECIAL-USE"] if {"LIST-EXTENDED", "SPECIAL-USE"} <= self.capabilities else []
            if {"LIST-EXTENDED", "LIST-STATUS"} <= self.capabilities and self.condstore and not self.gmail:
                wanted.append(f"STATUS ({_STATUS_ITEMS} HIGHESTMODSEQ)")
            reply = self.demand("LIST", '""', '"*"', *([f"RETURN ({' '.join(wanted)})"] if wanted else []))
            self._folders = listed(reply.untagged.get("LIST", []), foreign=self.namespaces().foreign)
            figures = dict(_figures(reply))
            self._told = {e.folder.remote_id: figures[e.wire_name] for e in self._folders if e.wire_name in figures}
        return self._folders

    def namespaces(self) -> Namespaces:
        """Where the user's own folders are and where others' are (RFC 2342); asked once."""
        if self._namespaces is None:
            told = "NAMESPACE" in self.capabilities
            self._namespaces = namespaces(self.command("NAMESPACE").untagged.get("NAMESPACE", []) if told else [])
        return self._namespaces

    def wire_name(self, folder_id: str) -> bytes:
        """The folder's quoted name as the server knows it."""
        return wire.quote(wire_name(folder_id, self.folders))

    def examine(self, folder_id: str, *, since: tuple[int, int] | None = None) -> Box:
        """Select for reading, with fresh figures. `since` (uidvalidity, modseq) asks for what changed (QRESYNC)."""
        return self._select("EXAMINE", folder_id, since)

    def select(self, folder_id: str) -> Box:
        """Select for writing. ProviderRejected where the folder is read-only."""
        box = self._select("SELECT", folder_id, None)
        if not box.writable:
            raise ProviderRejected(f"The folder {folder_id} is read-only.")
        return box

    def on(self, folder_id: str) -> Box:
        """The selected folder, selecting it for reading where another one is."""
        if self.box is not None and self.box.folder_id == folder_id:
            return self.box
        return self.examine(folder_id)

    def _select(self, verb: str, folder_id: str, since: tuple[int, int] | None) -> Box:
        parameters: tuple[str, ...] = ()
        if since is not None:
            parameters = (f"(QRESYNC ({since[0]} {since[1]}))",)
        elif self.condstore and "CONDSTORE" not in self._enabled:
            parameters = ("(CONDSTORE)",)
        name = self.wire_name(folder_id)
        self.box = None
        self._told.pop(folder_id, None)
        reply = self.command(verb, name, *parameters)
        if not reply.ok:
            raise self._why_not(folder_id, reply)
        self.box = _box(folder_id, verb, reply, numbered=self.condstore)
        self._held[folder_id] = self.box.messages
        if self.box.messages and not self.box.uidnext:  # UIDNEXT is not required before RFC 9051
            self.box = replace(self.box, uidnext=max(self.search("ALL"), default=0) + 1)
        return self.box

    def _why_not(self, folder_id: str, reply: Reply) -> ProviderError:
        """Not every server says NONEXISTENT; whether the folder is listed tells."""
        error = refusal(reply.text, ProviderUnavailable)
        if isinstance(error, RemoteMissing) or any(e.folder.remote_id == folder_id for e in self.folders(fresh=True)):
            return error
        return RemoteMissing(f"The folder {folder_id} is gone.")

    def status(self, folder_id: str) -> Figures:
        """Figures without selecting; not for the selected folder (RFC 3501 6.3.10). All 0 where the answer is none."""
        if folder_id in self._told:
            return self._told.pop(folder_id)
        items = _STATUS_ITEMS + (" HIGHESTMODSEQ" if self.condstore else "")
        reply = self.command("STATUS", self.wire_name(folder_id), f"({items})")
        if not reply.ok:
            raise self._why_not(folder_id, reply)
        return next((figures for _, figures in _figures(reply)), Figures(0, 0, 0, 0))

    def held(self, folder_id: str) -> int:
        """How many messages a folder held when it was last selected, else what STATUS says."""
        if folder_id not in self._held:
            self._held[folder_id] = self.status(folder_id).messages
        return self._held[folder_id]

    # --- reading the selected folder --------------------------------------------------------------------------

    def search(self, criteria: str) -> list[int]:
        """UIDs of the selected folder, ascending. As ranges where the server can (RFC 4731)."""
        verb = "UID SEARCH RETURN (ALL)" if "ESEARCH" in self.capabilities else "UID SEARCH"
        reply = self.demand(verb, criteria)
        try:
            return sorted(set(_found(reply)))
        except wire.Garbled:
            raise ProviderUnavailable("The server's answer to SEARCH cannot be read.") from None

    def fetch(self, uids: str, items: str, modifier: str = "") -> wire.Fetched:
        """FETCH answers by UID; a refusal is raised as ProviderRejected unless its code says otherwise."""
        command = ("UID FETCH", uids, f"({items})", *((modifier,) if modifier else ()))
        reply = self.demand(*command, otherwise=ProviderRejected)
        return wire.fetched(reply.untagged.get("FETCH", []))


def _found(reply: Reply) -> Iterator[int]:
    for line in reply.untagged.get("SEARCH", []):
        yield from (int(uid) for uid in (line.split() if isinstance(line, bytes) else ()) if wire.is_number(uid))
    for line in reply.untagged.get("ESEARCH", []):
        values = wire.tokens([line])
        uids = [value for name, value in itertools.pairwise(values) if name == b"ALL"]
        found = wire.ranges(uids[0].decode("ascii", "replace")) if uids and isinstance(uids[0], bytes) else []
        if wire.size(found) > SEARCH_LIMIT:
            raise wire.Garbled
        yield from wire.expand(found)


def _figures(reply: Reply) -> Iterator[tuple[bytes, Figures]]:
    """The STATUS answers of a reply by the server's name of the folder."""
    for pieces in wire.responses(reply.untagged.get("STATUS", [])):
        try:
            name, given = wire.tokens(pieces)
            fields = wire.pairs(given if isinstance(given, list) else [])
            wanted = ("UIDVALIDITY", "UIDNEXT", "MESSAGES", "HIGHESTMODSEQ")
            figures = Figures(*(wire.number(fields.get(item)) for item in wanted))
        except (wire.Garbled, ValueError):
            continue
        if isinstance(name, bytes):
            yield name, figures


def _box(folder_id: str, verb: str, reply: Reply, *, numbered: bool) -> Box:
    return Box(
        folder_id=folder_id,
        writable=verb == "SELECT" and "READ-ONLY" not in reply.untagged,
        uidvalidity=reply.number("UIDVALIDITY"),
        uidnext=reply.number("UIDNEXT"),
        messages=reply.number("EXISTS"),
        modseq=reply.number("HIGHESTMODSEQ") if numbered and "NOMODSEQ" not in reply.untagged else 0,
        flags=_permanent_flags(reply),
        changed=wire.fetched(reply.untagged.get("FETCH", [])),
        vanished=_vanished(reply),
    )


def _permanent_flags(reply: Reply) -> frozenset[str] | None:
    try:
        return wire.words(wire.tokens([reply.line("PERMANENTFLAGS")])[0])
    except (wire.Garbled, IndexError):
        return None


def _vanished(reply: Reply) -> wire.Ranges:
    try:
        lines = [line for line in reply.untagged.get("VANISHED", []) if isinstance(line, bytes)]
        return [pair for line in lines for pair in wire.ranges(line.split()[-1].decode("ascii", "replace"))]
    except (wire.Garbled, IndexError):
        raise ProviderUnavailable("The server's answer to SELECT cannot be read.") from None
