"""One logged-in IMAP session: socket, TLS, log-in, commands, selected folder.

Stands on the standard library's `imaplib` for the line protocol and the SASL exchange, and sends commands itself: several
arguments imaplib cannot say (QRESYNC parameters, 8-bit folder names), and its own `select` and `uid` mix up answers.
Everything that goes wrong arrives as `core.errors`.
"""

from __future__ import annotations

import imaplib
import itertools
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from core import egress
from core.errors import HubError, ProviderAuthError, ProviderError, ProviderRejected, ProviderUnavailable, RemoteMissing
from email_sync.providers.imap import settings, wire
from email_sync.providers.imap.errors import ConnectionLost, login_refusal, refusal, words
from email_sync.providers.imap.folders import Listed, listed, wire_name
from email_sync.providers.imap.settings import Endpoint

CONNECT_SECONDS = 15.0
OPERATION_SECONDS = 60.0
LITERAL_LIMIT = 64 * 1024 * 1024
"""A server that announces more is not believed; bodies are asked for in smaller pieces."""
LINE_LIMIT = 16 * 1024 * 1024
"""A SEARCH answer is one line: two million UIDs."""

SEARCH_LIMIT = 5_000_000
_FIGURE = re.compile(rb"\s*(\d+)")
_GREETED_BYE = re.compile(r"\* BYE ([^\r\n']*)")

imaplib._MAXLINE = max(imaplib._MAXLINE, LINE_LIMIT)  # type: ignore[attr-defined]


class _Transport(imaplib.IMAP4):
    """imaplib over a socket that `core.egress` opened."""

    def __init__(self, to: Endpoint) -> None:
        self.endpoint = to
        super().__init__(to.host, to.port, CONNECT_SECONDS)

    def _create_socket(self, timeout: float | None) -> socket.socket:
        to = self.endpoint
        plain = to.security == settings.PLAIN
        found = egress.connect(to.host, to.port, CONNECT_SECONDS, opened_only=plain)
        if to.security == settings.TLS:
            found = egress.start_tls(found, to.host, CONNECT_SECONDS)
        found.settimeout(OPERATION_SECONDS)
        return found

    def read(self, size: int) -> bytes:
        if size > LITERAL_LIMIT:
            raise self.abort("literal over the limit")
        return super().read(size)


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to one command: the tagged status, its text, and what came untagged, by type."""

    status: str
    text: bytes
    untagged: dict[str, list[wire.Piece]] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return self.status == "OK"

    def line(self, name: str) -> bytes:
        """The last untagged line of that type, b"" where there was none."""
        pieces = self.untagged.get(name, [])
        return pieces[-1] if pieces and isinstance(pieces[-1], bytes) else b""

    def number(self, name: str) -> int:
        """A figure like UIDNEXT or EXISTS; 0 where the server gave none. imaplib's match of a response code is greedy:
        more may follow."""
        found = _FIGURE.match(self.line(name))
        return int(found[1]) if found else 0


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


class Session:
    """A connection for the time of one provider object. Opens on first use, again after a loss."""

    def __init__(self, to: Endpoint) -> None:
        self.endpoint = to
        self.box: Box | None = None
        self._imap: _Transport | None = None
        self._capabilities: frozenset[str] = frozenset()
        self._enabled: frozenset[str] = frozenset()
        self._folders: list[Listed] | None = None

    # --- opening and closing ----------------------------------------------------------------------------------

    @property
    def capabilities(self) -> frozenset[str]:
        """Upper case, as told after log-in."""
        self._transport()
        return self._capabilities

    @property
    def qresync(self) -> bool:
        """True where the server reports expunges (RFC 7162 3.2)."""
        return "QRESYNC" in self.capabilities and "QRESYNC" in self._enabled

    @property
    def condstore(self) -> bool:
        """True where the server numbers changes of flags (RFC 7162 3.1)."""
        return not self.capabilities.isdisjoint({"CONDSTORE", "QRESYNC"})

    @property
    def gmail(self) -> bool:
        """True where all mail is one folder and the others are labels."""
        return "X-GM-EXT-1" in self.capabilities

    def close(self) -> None:
        """Log out; never raises."""
        imap, self._imap, self.box = self._imap, None, None
        if imap is None:
            return
        try:
            imap.sock.settimeout(5.0)
            imap.logout()
        except (imaplib.IMAP4.error, OSError):
            _hang_up(imap)

    def reopen(self) -> None:
        """A fresh connection after a loss."""
        self._drop()
        self._transport()

    def _drop(self) -> None:
        imap, self._imap, self.box = self._imap, None, None
        self._capabilities = frozenset()
        if imap is not None:
            _hang_up(imap)

    def _transport(self) -> _Transport:
        if self._imap is None:
            with self._speaking():
                self._imap = _Transport(self.endpoint)
                self._log_in(self._imap)
        return self._imap

    def _log_in(self, imap: _Transport) -> None:
        if imap.state != "NONAUTH":  # PREAUTH: nobody has checked whose mailbox this is, and STARTTLS cannot follow
            raise ProviderRejected("The server did not ask for a log-in.")
        if self.endpoint.security == settings.STARTTLS:
            self._start_tls(imap)
        if self.endpoint.access_token:
            self._authenticate_oauth(imap)
        else:
            self._authenticate_password(imap)
        self._learn()

    def _start_tls(self, imap: _Transport) -> None:
        """imaplib refuses where STARTTLS is not offered, throws away what was read before the handshake (the injection
        of CVE-2011-0411), and asks for the capabilities again."""
        try:
            imap.starttls(egress.tls_context())
        except ssl.SSLCertVerificationError as error:
            host = self.endpoint.host
            raise ProviderUnavailable(f"The certificate of {host} is not valid: {error.verify_message}.") from error
        except imaplib.IMAP4.abort as error:
            if "TLS not supported" in str(error):
                raise ProviderRejected("The server does not offer STARTTLS.") from error
            raise

    def _authenticate_oauth(self, imap: _Transport) -> None:
        """The server explains a refusal in a further challenge, which must be answered before it says NO."""
        answers = iter((settings.oauth_response(self.endpoint),))
        self._authenticate(
            imap, self.endpoint.auth.upper(), lambda: next(answers, settings.oauth_surrender(self.endpoint))
        )

    def _authenticate_password(self, imap: _Transport) -> None:
        to = self.endpoint
        if "AUTH=PLAIN" in imap.capabilities:
            secret = f"\0{to.username}\0{to.password}".encode()
            self._authenticate(imap, "PLAIN", lambda: secret)
            return
        if "LOGINDISABLED" in imap.capabilities:
            raise ProviderRejected("The server refuses log-in on this connection; use TLS.")
        try:
            reply = self.command("LOGIN", wire.quote(to.username), wire.quote(to.password))
        except ValueError:
            raise ProviderAuthError("A user name or password cannot hold a line end.") from None
        if not reply.ok:
            raise login_refusal(reply.text)

    def _authenticate(self, imap: _Transport, mechanism: str, answer: Callable[[], bytes]) -> None:
        try:
            imap.authenticate(mechanism, lambda _: answer())
        except imaplib.IMAP4.abort:
            raise
        except imaplib.IMAP4.error as error:
            raise login_refusal(str(error)) from None

    def _learn(self) -> None:
        """Capabilities change with log-in (RFC 3501 6.2.2). CONDSTORE is enabled before any SELECT: some servers show
        HIGHESTMODSEQ only then. 163.com selects nothing for a client that has not sent ID (RFC 2971)."""
        reply = self.command("CAPABILITY")
        self._capabilities = frozenset(reply.line("CAPABILITY").decode("ascii", "replace").upper().split())
        if "ID" in self._capabilities:
            self.command("ID", '("name" "Patchbay")')
        wanted = [name for name in ("CONDSTORE", "QRESYNC") if name in self._capabilities]
        self._enabled = frozenset()
        if wanted and "ENABLE" in self._capabilities:
            reply = self.command("ENABLE", *wanted)
            self._enabled = frozenset(reply.line("ENABLED").decode("ascii", "replace").upper().split())

    # --- commands ---------------------------------------------------------------------------------------------

    def command(self, *arguments: str | bytes, literal: bytes | None = None) -> Reply:
        """Send one command and read to its tagged answer, whatever that is. Raises only where the connection fails."""
        imap = self._transport()
        with self._speaking():
            # Untagged leftovers belong to earlier commands; only a BYE still means something.
            imap.untagged_responses = {k: v for k, v in imap.untagged_responses.items() if k == "BYE"}
            tag: bytes = imap._new_tag()
            line = b" ".join([tag, *(a.encode("ascii") if isinstance(a, str) else a for a in arguments)])
            if literal is not None:
                line += b" {%d}" % len(literal)
            imap.send(line + b"\r\n")
            if literal is not None and self._invited(imap, tag):
                imap.send(literal + b"\r\n")
            status, data = imap._get_tagged_response(tag)
        return Reply(status, data[0] or b"", dict(imap.untagged_responses))

    @staticmethod
    def _invited(imap: _Transport, tag: bytes) -> bool:
        """Wait for the continuation; False where the server answered with NO or BAD instead."""
        while imap._get_response() is not None:
            if imap.tagged_commands[tag] is not None:
                return False
        return True

    def demand(
        self,
        *arguments: str | bytes,
        literal: bytes | None = None,
        otherwise: type[ProviderError] = ProviderUnavailable,
    ) -> Reply:
        """A command that must succeed; a NO or BAD is raised by its code, or as `otherwise`."""
        reply = self.command(*arguments, literal=literal)
        if not reply.ok:
            raise refusal(reply.text, otherwise)
        return reply

    @contextmanager
    def _speaking(self) -> Iterator[None]:
        """Failures of the connection end it; the next use opens another."""
        try:
            yield
        except HubError:
            self._forget_if_new()
            raise
        except imaplib.IMAP4.error as error:
            said = self._last_words(error)
            self._drop()
            raise ConnectionLost(said or f"The server {self.endpoint.host} closed the connection.") from error
        except TimeoutError as error:
            self._drop()
            raise ProviderUnavailable(f"The server {self.endpoint.host} did not answer in time.") from error
        except OSError as error:
            self._drop()
            raise ConnectionLost(f"The connection to {self.endpoint.host} broke.") from error

    def _last_words(self, error: imaplib.IMAP4.error) -> str:
        """What a BYE said. Other text of the error may quote mail and is kept to ourselves."""
        greeted = _GREETED_BYE.search(str(error))
        bye = self._imap.untagged_responses.get("BYE") if self._imap else None
        last = bye[-1] if bye else (greeted[1] if greeted else "")
        return "" if isinstance(last, tuple) else words(last)

    def _forget_if_new(self) -> None:
        """A session that never logged in is of no use."""
        if not self._capabilities:
            self._drop()

    # --- folders ----------------------------------------------------------------------------------------------

    def folders(self, *, fresh: bool = False) -> list[Listed]:
        """What LIST tells, once per session unless `fresh`."""
        if self._folders is None or fresh:
            extended = {"LIST-EXTENDED", "SPECIAL-USE"} <= self.capabilities
            asked = ('""', '"*"', "RETURN (SPECIAL-USE)") if extended else ('""', '"*"')
            reply = self.demand("LIST", *asked)
            self._folders = listed(reply.untagged.get("LIST", []))
        return self._folders

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
        reply = self.command(verb, name, *parameters)
        if not reply.ok:
            raise self._why_not(folder_id, reply)
        self.box = _box(folder_id, verb, reply, numbered=self.condstore)
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
        """Figures without selecting; not for the selected folder (RFC 3501 6.3.10)."""
        items = "MESSAGES UIDNEXT UIDVALIDITY" + (" HIGHESTMODSEQ" if self.condstore else "")
        reply = self.command("STATUS", self.wire_name(folder_id), f"({items})")
        if not reply.ok:
            raise self._why_not(folder_id, reply)
        try:
            values = wire.tokens(reply.untagged.get("STATUS", []))
            given = wire.pairs(values[-1] if values and isinstance(values[-1], list) else [])
            names = ("UIDVALIDITY", "UIDNEXT", "MESSAGES", "HIGHESTMODSEQ")
            return Figures(*(wire.number(given.get(name)) for name in names))
        except wire.Garbled:
            return Figures(0, 0, 0, 0)

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
        yield from (int(uid) for uid in (line.split() if isinstance(line, bytes) else ()) if uid.isdigit())
    for line in reply.untagged.get("ESEARCH", []):
        values = wire.tokens([line])
        uids = [value for name, value in itertools.pairwise(values) if name == b"ALL"]
        found = wire.ranges(uids[0].decode("ascii", "replace")) if uids and isinstance(uids[0], bytes) else []
        if wire.size(found) > SEARCH_LIMIT:
            raise wire.Garbled
        yield from wire.expand(found)


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


def _hang_up(imap: _Transport) -> None:
    try:
        imap.shutdown()
    except OSError:
        imap.sock.close()
