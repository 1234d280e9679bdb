"""Sending by SMTP submission (RFC 6409, 5321, 4954), one mail per connection, with an outcome that is never guessed.

Before the final dot nothing was taken: ProviderUnavailable. Once the dot left, only a reply says what happened; without
one the outcome is unknown.
"""

from __future__ import annotations

import base64
import re
import smtplib
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from core import egress
from core.errors import (
    ProviderAuthError,
    ProviderError,
    ProviderOutcomeUnknown,
    ProviderRateLimited,
    ProviderRejected,
    ProviderUnavailable,
)
from core.redaction import clean_words
from email_sync.providers.imap import settings
from email_sync.providers.imap.errors import BUSY_SECONDS
from email_sync.providers.imap.settings import Endpoint
from email_sync.records import OutgoingMail, SentMail

CONNECT_SECONDS = 15.0
OPERATION_SECONDS = 60.0
VERDICT_SECONDS = 180.0
"""For the reply to the final dot: servers scan the mail first (RFC 5321 4.5.3.2.6 grants them ten minutes)."""

_BUSY = re.compile(r"(?:^|\s)4\.7\.\d|(?i:too many|rate limit|throttl|greylist)")
_LOGIN_SWITCHED_OFF = re.compile(r"(?i)SmtpClientAuthentication is disabled|5\.7\.57\b")
_FILES_BY_ITSELF = re.compile(r"(?i)\bgsmtp\b|\boutlook\.com\b|\boffice365\.com\b")
"""Greetings of servers that put a copy into Sent themselves: Gmail, and Exchange Online."""
_LINE_END = re.compile(rb"\r\n|\r|\n")


class _Connection(smtplib.SMTP):
    """smtplib over a socket that `core.egress` opened. The greeting is kept: it tells who files by itself."""

    def __init__(self, to: Endpoint) -> None:
        self.endpoint = to
        self.greeting = ""
        # An address literal, as mail programs send it: getfqdn() would ask the name server about ourselves.
        super().__init__(local_hostname="[127.0.0.1]", timeout=CONNECT_SECONDS)
        status, words = self.connect(to.host, to.port)
        self.greeting = words.decode("utf-8", "replace")
        if status != 220:
            raise _refusal(status, words, ProviderUnavailable)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        to = self.endpoint
        found = egress.connect(host, port, timeout, opened_only=to.security == settings.PLAIN)
        if to.security == settings.TLS:
            found = egress.start_tls(found, host, timeout)
        found.settimeout(OPERATION_SECONDS)
        return found


@contextmanager
def connected(to: Endpoint) -> Iterator[_Connection]:
    """A logged-in connection. Whatever breaks before the caller hands a mail over is ProviderUnavailable."""
    connection: _Connection | None = None
    try:
        connection = _Connection(to)
        _prepare(connection)
        yield connection
    except smtplib.SMTPResponseException as error:
        raise _refusal(error.smtp_code, error.smtp_error, ProviderUnavailable) from error
    except (smtplib.SMTPException, OSError) as error:
        raise ProviderUnavailable(f"The connection to {to.host} broke.") from error
    finally:
        if connection is not None:
            _part(connection)


def check(to: Endpoint) -> None:
    """Log in and leave."""
    with connected(to):
        pass


def send(to: Endpoint, mail: OutgoingMail) -> SentMail:
    """Hand the mail over once; see `providers.base.MailProvider.send`."""
    with connected(to) as connection:
        options = _options(connection, mail)
        refused = _envelope(connection, mail, options)
        _data(connection, mail.mime)
        filed = bool(_FILES_BY_ITSELF.search(connection.greeting))
        return SentMail(message_id=mail.message_id, filed=filed, refused=tuple(refused))


# --- before the mail ------------------------------------------------------------------------------------------


def _prepare(connection: _Connection) -> None:
    """EHLO, STARTTLS, EHLO again (what was offered in the clear does not count), log-in."""
    connection.ehlo_or_helo_if_needed()
    if connection.endpoint.security == settings.STARTTLS:
        _start_tls(connection)
    _log_in(connection)


def _start_tls(connection: _Connection) -> None:
    if not connection.has_extn("starttls"):
        raise ProviderRejected("The server does not offer STARTTLS.")
    # smtplib checks the certificate against `_host`, and forgets what EHLO said and what was read before the handshake.
    connection._host = connection.endpoint.host  # type: ignore[attr-defined]
    try:
        connection.starttls(context=egress.tls_context())
    except ssl.SSLCertVerificationError as error:
        host = connection.endpoint.host
        raise ProviderUnavailable(f"The certificate of {host} is not valid: {error.verify_message}.") from error
    connection.ehlo()


def _log_in(connection: _Connection) -> None:
    """A server that offers no log-in is used without; it says itself if that will not do."""
    to = connection.endpoint
    offered = set(connection.esmtp_features.get("auth", "").upper().replace("=", " ").split())
    if not offered or not (to.password or to.access_token):
        return
    if to.access_token:
        _command_auth(connection, to.auth.upper(), [settings.oauth_response(to)], settings.oauth_surrender(to))
    elif "PLAIN" in offered:
        _command_auth(connection, "PLAIN", [f"\0{to.username}\0{to.password}".encode()])
    elif "LOGIN" in offered:
        _command_auth(connection, "LOGIN", [to.username.encode(), to.password.encode()])
    else:
        ways = clean_words(" ".join(sorted(offered)))
        raise ProviderRejected(f"The server offers no way to log in that we know: {ways}.")


def _command_auth(connection: _Connection, mechanism: str, answers: Sequence[bytes], surrender: bytes = b"") -> None:
    """One SASL exchange. smtplib's own cannot send passwords that are not ASCII, and hangs on XOAUTH2's explanation."""
    initial = "" if mechanism == "LOGIN" else " " + _encoded(answers[0])
    rest = list(answers) if mechanism == "LOGIN" else [surrender]
    status, words = connection.docmd("AUTH", mechanism + initial)
    while status == 334 and rest:
        status, words = connection.docmd(_encoded(rest.pop(0)))
    if status not in (235, 503):  # 503: already authenticated
        raise _auth_refusal(status, connection.endpoint.without_secrets(words.decode("utf-8", "replace")))


def _encoded(answer: bytes) -> str:
    return base64.b64encode(answer).decode("ascii")


def _auth_refusal(status: int, words: str) -> ProviderError:
    if 400 <= status < 500:
        return _refusal(status, words, ProviderUnavailable)
    said = clean_words(words)
    if _LOGIN_SWITCHED_OFF.search(said):  # an administrator's switch; another password would not help
        return ProviderRejected(said)
    return ProviderAuthError(said)


# --- the mail -------------------------------------------------------------------------------------------------


def _options(connection: _Connection, mail: OutgoingMail) -> list[str]:
    """Parameters of MAIL FROM. ProviderRejected where the mail is over the server's limit."""
    options: list[str] = []
    limit = connection.esmtp_features.get("size", "")
    if connection.has_extn("size"):
        if limit.isdigit() and 0 < int(limit) < len(mail.mime):
            sizes = f"{len(mail.mime) / 1e6:.1f} MB; the server takes at most {int(limit) / 1e6:.1f} MB"
            raise ProviderRejected(f"The mail is too large: {sizes}.", code="message_too_large")
        options.append(f"size={len(mail.mime)}")
    if connection.has_extn("8bitmime") and not mail.mime.isascii():
        options.append("body=8bitmime")
    header = mail.mime.partition(b"\r\n\r\n")[0]
    local_parts = (address.rpartition("@")[0] for address in (mail.sender, *mail.recipients))
    if connection.has_extn("smtputf8") and not (header.isascii() and all(part.isascii() for part in local_parts)):
        options.append("smtputf8")
    return options


def _wire_address(connection: _Connection, address: str) -> str | None:
    """The address for the envelope, its domain as punycode; None where only SMTPUTF8 (RFC 6531) could carry it."""
    local, _, domain = address.rpartition("@")
    if not address.isprintable() or any(character in address for character in "<> "):
        return None
    try:
        plain = domain if domain.isascii() else domain.encode("idna").decode("ascii")
    except UnicodeError:
        return None
    if local.isascii() or connection.has_extn("smtputf8"):
        return f"{local}@{plain}"
    return None


def _envelope(connection: _Connection, mail: OutgoingMail, options: Sequence[str]) -> list[str]:
    """MAIL FROM and RCPT TO; the recipients refused. Raises where the sender or every recipient is."""
    sender = _wire_address(connection, mail.sender)
    if sender is None:
        raise ProviderRejected(f"The server cannot carry the sender address {clean_words(mail.sender)}.")
    if "smtputf8" in options:
        connection.command_encoding = "utf-8"
    status, words = connection.mail(sender, options)
    if not _positive(status):
        raise _refusal(status, words, ProviderRejected)
    refusals = {address: error for address in mail.recipients if (error := _recipient(connection, address))}
    if len(refusals) == len(set(mail.recipients)):
        raise _worst(list(refusals.values()))
    return list(refusals)


def _recipient(connection: _Connection, address: str) -> ProviderError | None:
    """None where the server takes the recipient."""
    text = _wire_address(connection, address)
    if text is None:
        return ProviderRejected(f"The server cannot carry the address {clean_words(address)}.")
    status, words = connection.rcpt(text)
    if status == 421:  # the server is leaving; nothing was taken
        raise _refusal(status, words, ProviderUnavailable)
    return None if _positive(status) else _refusal(status, words, ProviderRejected)


def _worst(errors: Sequence[ProviderError]) -> ProviderError:
    """Nobody was accepted: where one refusal is for now, trying again may help."""
    passing = [error for error in errors if not isinstance(error, ProviderRejected)]
    return (passing or list(errors) or [ProviderRejected("The mail has no recipient.")])[0]


def _data(connection: _Connection, mime: bytes) -> None:
    """The mail itself. The dot is sent by itself, so that it is known whether it left."""
    status, words = connection.docmd("DATA")
    if status != 354:
        raise _refusal(status, words, ProviderRejected)
    lines = _LINE_END.sub(b"\r\n", mime)
    stuffed = re.sub(rb"(?m)^\.", b"..", lines)
    connection.send(stuffed if stuffed.endswith(b"\r\n") else stuffed + b"\r\n")
    try:
        if connection.sock is not None:
            connection.sock.settimeout(VERDICT_SECONDS)
        connection.send(b".\r\n")
        status, words = connection.getreply()
    except (smtplib.SMTPException, OSError) as error:
        raise ProviderOutcomeUnknown() from error
    if _positive(status):
        return
    if 400 <= status < 600:
        raise _refusal(status, words, ProviderRejected)
    raise ProviderOutcomeUnknown()


# --- the answers ----------------------------------------------------------------------------------------------


def _positive(status: int) -> bool:
    """The first digit decides, also of a code nobody has heard of (RFC 5321 4.3.2)."""
    return 200 <= status < 300


def _refusal(status: int, words: bytes | str, otherwise: type[ProviderError]) -> ProviderError:
    """A reply that is not the hoped-for one (RFC 5321 4.2.1): 4xx for now, 5xx for good."""
    text = words.decode("utf-8", "replace") if isinstance(words, bytes) else words
    said = clean_words(text) or f"The server answered {status}."
    if 400 <= status < 500:
        busy = _BUSY.search(said)
        return ProviderRateLimited(said, retry_after=BUSY_SECONDS) if busy else ProviderUnavailable(said)
    if status == 530:  # authentication required (RFC 4954 6)
        return ProviderAuthError(said)
    if 500 <= status < 600:
        return ProviderRejected(said)
    return otherwise(said)


def _part(connection: _Connection) -> None:
    """QUIT where the line still stands; the outcome is settled, so nothing said now matters."""
    try:
        if connection.sock is not None:
            connection.sock.settimeout(5.0)
            connection.quit()
    except (smtplib.SMTPException, OSError):
        connection.close()
