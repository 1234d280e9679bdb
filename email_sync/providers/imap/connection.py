"""One logged-in IMAP connection: socket, TLS, log-in, commands and their answers.

Stands on the standard library's `imaplib` for the line protocol and the SASL exchange, and sends commands itself:
imaplib cannot say QRESYNC parameters or 8-bit folder names, and its `select` and `uid` mix up answers.
Everything that goes wrong arrives as `core.errors`.
"""

from __future__ import annotations

import imaplib
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, Any, cast

from core import egress
from core.errors import HubError, ProviderAuthError, ProviderError, ProviderRejected, ProviderUnavailable
from email_sync.providers.imap import settings, wire
from email_sync.providers.imap.errors import ConnectionLost, login_refusal, refusal, words
from email_sync.providers.imap.settings import Endpoint

CONNECT_SECONDS = 15.0
OPERATION_SECONDS = 45.0
"""Of silence."""
COMMAND_SECONDS = 150.0
"""Of one command, however steadily its answer drips."""
LITERAL_LIMIT = 64 * 1024 * 1024
"""A server that announces more is not believed; bodies are asked for in smaller pieces."""
LINE_LIMIT = 16 * 1024 * 1024
"""A SEARCH answer is one line: two million UIDs."""
ANSWER_LIMIT = 256 * 1024 * 1024
"""All that one command may bring: nothing we ask for is near it."""

READ_AHEAD = 256 * 1024
"""Bytes taken from the socket at a time: each look at it costs as much as reading a small message."""

_FIGURE = re.compile(rb"\s*(\d+)")
_GREETED_BYE = re.compile(r"\* BYE ([^\r\n']*)")

imaplib._MAXLINE = max(imaplib._MAXLINE, LINE_LIMIT)  # type: ignore[attr-defined]


class _Transport(imaplib.IMAP4):
    """imaplib over a socket that `core.egress` opened."""

    def __init__(self, to: Endpoint) -> None:
        self.endpoint = to
        self.budget = ANSWER_LIMIT
        super().__init__(to.host, to.port, CONNECT_SECONDS)

    def _create_socket(self, timeout: float | None) -> socket.socket:
        to = self.endpoint
        plain = to.security == settings.PLAIN
        found = egress.connect(to.host, to.port, CONNECT_SECONDS, opened_only=plain)
        if to.security == settings.TLS:
            found = egress.start_tls(found, to.host, CONNECT_SECONDS)
        found.settimeout(CONNECT_SECONDS)  # until logged in: a server that accepts and says nothing is given up soon
        return found

    def open(self, *arguments: Any) -> None:
        super().open(*arguments)
        self.read_ahead()

    def read_ahead(self) -> None:
        """From a fresh stream, of which nothing was read: read more at a time than imaplib does."""
        self.file.close()
        self.file = cast("IO[bytes]", self.sock.makefile("rb", READ_AHEAD))

    def read(self, size: int) -> bytes:
        if size > LITERAL_LIMIT:
            raise self.abort("literal over the limit")
        self._spend(size)
        return super().read(size)

    def readline(self) -> bytes:
        line = super().readline()
        self._spend(len(line))
        return line

    def _spend(self, size: int) -> None:
        self.budget -= size
        if self.budget < 0:
            raise self.abort("answer over the limit")


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


class Connection:
    """Commands and answers. Opens on first use, again after a loss."""

    def __init__(self, to: Endpoint) -> None:
        self.endpoint = to
        self._imap: _Transport | None = None
        self._capabilities: frozenset[str] = frozenset()
        self._enabled: frozenset[str] = frozenset()

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
        imap, self._imap = self._imap, None
        self._lost()
        if imap is None:
            return
        try:
            imap.sock.settimeout(5.0)
            imap.logout()
        except (imaplib.IMAP4.error, OSError):
            _hang_up(imap)

    def hand_over(self) -> socket.socket:
        """The socket of the logged-in connection, for whoever speaks over it from now on; this object has none then.
        What the server said and nobody read is lost."""
        imap, self._imap = self._transport(), None
        self._lost()
        imap.file.close()  # a reader of its own; the socket stays open
        return imap.sock

    def reopen(self) -> None:
        """A fresh connection after a loss."""
        self._drop()
        self._transport()

    def _drop(self) -> None:
        imap, self._imap = self._imap, None
        self._lost()
        if imap is not None:
            _hang_up(imap)

    def _lost(self) -> None:
        """Forget what was true of the connection that ended."""
        self._capabilities = self._enabled = frozenset()

    def _transport(self) -> _Transport:
        if self._imap is None:
            with self._speaking():
                self._imap = _Transport(self.endpoint)
                self._log_in(self._imap)
                self._imap.sock.settimeout(OPERATION_SECONDS)
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
        self._learn(imap)

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
            raise login_refusal(to.without_secrets(reply.text.decode("utf-8", "replace")))

    def _authenticate(self, imap: _Transport, mechanism: str, answer: Callable[[], bytes]) -> None:
        try:
            imap.authenticate(mechanism, lambda _: answer())
        except imaplib.IMAP4.abort:
            raise
        except imaplib.IMAP4.error as error:
            raise login_refusal(self.endpoint.without_secrets(str(error))) from None

    def _learn(self, imap: _Transport) -> None:
        """Capabilities change with log-in (RFC 3501 6.2.2). CONDSTORE is enabled before any SELECT: some servers show
        HIGHESTMODSEQ only then. 163.com selects nothing for a client that has not sent ID (RFC 2971)."""
        told = imap.untagged_responses.get("CAPABILITY", [b""])[-1]  # most servers tell with the log-in's answer
        line = told if isinstance(told, bytes) and told else self.command("CAPABILITY").line("CAPABILITY")
        self._capabilities = frozenset(line.decode("ascii", "replace").upper().split())
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
            imap.budget = ANSWER_LIMIT
            tag: bytes = imap._new_tag()
            line = b" ".join([tag, *(a.encode("ascii") if isinstance(a, str) else a for a in arguments)])
            if literal is not None:
                line += b" {%d}" % len(literal)
            imap.send(line + b"\r\n")
            if literal is not None and self._invited(imap, tag):
                imap.send(literal + b"\r\n")
            with _bounded(imap):
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
        except (imaplib.IMAP4.error, ValueError) as error:  # ValueError: a literal's size of thousands of digits
            said = self._last_words(error)
            self._drop()
            raise ConnectionLost(said or f"The server {self.endpoint.host} closed the connection.") from error
        except TimeoutError as error:
            self._drop()
            raise ProviderUnavailable(f"The server {self.endpoint.host} did not answer in time.") from error
        except OSError as error:
            self._drop()
            raise ConnectionLost(f"The connection to {self.endpoint.host} broke.") from error

    def _last_words(self, error: Exception) -> str:
        """What a BYE said. Other text of the error may quote mail and is kept to ourselves."""
        greeted = _GREETED_BYE.search(str(error))
        bye = self._imap.untagged_responses.get("BYE") if self._imap else None
        last = bye[-1] if bye else (greeted[1] if greeted else "")
        return "" if isinstance(last, tuple) else words(last)

    def _forget_if_new(self) -> None:
        """A session that never logged in is of no use."""
        if not self._capabilities:
            self._drop()


@contextmanager
def _bounded(imap: _Transport) -> Iterator[None]:
    """The socket is shut down under a reader whose answer takes too long in all: timeouts of sockets begin anew with
    every byte."""
    timer = threading.Timer(COMMAND_SECONDS, socket.socket.shutdown, (imap.sock, socket.SHUT_RDWR))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _hang_up(imap: _Transport) -> None:
    try:
        imap.shutdown()
    except OSError:
        imap.sock.close()
