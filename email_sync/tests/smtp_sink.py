"""An SMTP server that keeps what it is given, and fails on demand: refusals, lost answers, log-ins. Runs in a
thread."""

from __future__ import annotations

import base64
import re
import socket
import warnings
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session


class SmtpSink:
    """Listens on a free loopback port. `received` holds (envelope recipients, bytes) in order."""

    def __init__(
        self, *, users: dict[str, str] | None = None, tokens: dict[str, str] | None = None, **options: Any
    ) -> None:
        self.users = users or {}
        self.tokens = tokens or {}
        """Access token → user name, for XOAUTH2 and OAUTHBEARER."""
        self.received: list[tuple[frozenset[str], bytes]] = []
        self.senders: list[tuple[str, tuple[str, ...]]] = []
        """(MAIL FROM, its parameters) of every mail received."""
        self.logged_in: list[str] = []
        self.refusals: dict[str, str] = {}
        """Recipient, "MAIL" or "DATA" → the reply it gets."""
        self.drop_at = ""
        """"MAIL", "RCPT" or "DATA": the connection ends there. At DATA the mail is kept first."""
        self.port = free_port()
        self._controller = _Controller(self, **options)

    def start(self) -> SmtpSink:
        self._controller.start()
        return self

    def stop(self) -> None:
        self._controller.stop()

    def __enter__(self) -> SmtpSink:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def free_port() -> int:
    """A loopback port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class _Controller(Controller):
    def __init__(self, sink: SmtpSink, *, hostname: str = "sink.contract.test", **options: Any) -> None:
        wants_login = bool(sink.users or sink.tokens)
        login = {"auth_required": wants_login, "auth_require_tls": False, "authenticator": _authenticator(sink)}
        if not wants_login:
            login["auth_exclude_mechanism"] = ["LOGIN", "PLAIN", "XOAUTH2", "OAUTHBEARER"]
        warnings.filterwarnings("ignore", "Requiring AUTH while not requiring TLS")
        super().__init__(
            _Handler(sink), hostname="127.0.0.1", port=sink.port, server_hostname=hostname, **{**login, **options}
        )

    def factory(self) -> SMTP:
        return _Server(self.handler, **self.SMTP_kwargs)


class _Server(SMTP):
    """Also drops the line in the middle of a mail: after 354, before the final dot. Takes the AUTH= that a relay
    adds."""

    async def smtp_MAIL(self, arg: str | None) -> None:
        await super().smtp_MAIL(re.sub(r" AUTH=\S+", "", arg or ""))

    async def smtp_DATA(self, arg: str) -> None:
        if self.event_handler.sink.drop_at == "354":
            await self.push("354 Go on")
            await self._reader.readline()
            self.transport.abort()
            return
        await super().smtp_DATA(arg)


def _authenticator(sink: SmtpSink) -> Any:
    def check(server: SMTP, session: Session, envelope: Envelope, mechanism: str, given: Any) -> AuthResult:
        user, password = given.login.decode(), given.password.decode()
        right = bool(password) and sink.users.get(user) == password
        if right:
            sink.logged_in.append(f"{mechanism} {user}")
        return AuthResult(success=right, handled=False)

    return check


class _Handler:
    def __init__(self, sink: SmtpSink) -> None:
        self.sink = sink

    async def auth_XOAUTH2(self, server: SMTP, args: list[str]) -> AuthResult:
        return await self._oauth(server, args, "user=")

    async def auth_OAUTHBEARER(self, server: SMTP, args: list[str]) -> AuthResult:
        return await self._oauth(server, args, "n,a=")

    async def _oauth(self, server: SMTP, args: list[str], lead: str) -> AuthResult:
        """As Gmail does it: a refusal is explained in a challenge, and only the client's answer brings the 535."""
        fields = base64.b64decode(args[1]).decode().split("\x01")
        user = fields[0].removeprefix(lead).rstrip(",")
        token = next((f.removeprefix("auth=Bearer ") for f in fields if f.startswith("auth=Bearer ")), "")
        if self.sink.tokens.get(token) == user:
            self.sink.logged_in.append(f"{args[0]} {user}")
            return AuthResult(success=True, auth_data=user)
        await server.challenge_auth('{"status":"401","schemes":"bearer"}', log_client_response=False)
        return AuthResult(success=False, handled=False, message="535 5.7.8 Username and Password not accepted")

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.sink.drop_at == "MAIL":
            server.transport.abort()
        if refusal := self.sink.refusals.get("MAIL"):
            return refusal
        envelope.mail_from, envelope.mail_options = address, options
        return "250 OK"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.sink.drop_at == "RCPT":
            server.transport.abort()
        if refusal := self.sink.refusals.get(address):
            return refusal
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if refusal := self.sink.refusals.get("DATA"):
            return refusal
        self.sink.received.append((frozenset(envelope.rcpt_tos), envelope.original_content or b""))
        self.sink.senders.append((envelope.mail_from or "", tuple(envelope.mail_options)))
        if self.sink.drop_at == "DATA":
            server.transport.abort()
        return "250 OK queued"
