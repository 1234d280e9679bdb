"""users.messages.send: reads the message from JSON or upload, lets Gmail's rules work on it (From, Date, Message-ID,
thread), files it under SENT, notes it in the ledger and delivers it to the other accounts of the simulator."""

from __future__ import annotations

import hashlib
import json
from email.utils import formatdate, getaddresses, parseaddr
from typing import Any

from simulator.errors import google_error
from simulator.gmail.access import Call, Handler, not_found
from simulator.gmail.messages import outline
from simulator.google_access import invalid
from simulator.ledger import SentMail
from simulator.mailbox import StoredMessage
from simulator.mime import decode_base64url, encode_base64url, header_lines, read_facts, with_header, without_header
from simulator.wire import Request, multipart_of

MAX_BYTES = 36_700_160
RAW_MISSING = "'raw' RFC822 payload message string or uploading message via /upload/* URL required"


def read_upload(request: Request) -> tuple[dict[str, Any], bytes]:
    """JSON part and message of an upload: uploadType=media carries the message alone, multipart both."""
    kind = request.argument("uploadType")
    if kind == "media":
        return {}, request.body
    if kind != "multipart":
        raise invalid("Upload type not supported here; media and multipart are")
    try:
        (_, packed), (_, message) = multipart_of(request)
        metadata = json.loads(packed)
    except ValueError as error:
        raise invalid("Invalid multipart payload received.", "parseError") from error
    return metadata, message


def read_message(call: Call, message: dict[str, Any] | None = None) -> tuple[dict[str, Any], bytes]:
    """The Message resource of a request and its MIME bytes, from an upload or from `raw`."""
    if call.request.path.startswith("/upload/"):
        resource, raw = read_upload(call.request)
        return resource.get("message", resource), raw
    resource = call.body() if message is None else message
    text = resource.get("raw")
    if not isinstance(text, str) or not text:
        raise invalid(RAW_MISSING)
    try:
        return resource, decode_base64url(text)
    except ValueError as error:
        raise invalid("Invalid value at 'message.raw' (TYPE_BYTES), Base64 decoding failed") from error


def send_message(call: Call) -> dict[str, Any]:
    resource, raw = read_message(call)
    return outline(send(call, raw, str(resource.get("threadId") or "")))


def send(call: Call, raw: bytes, thread_id: str) -> StoredMessage:
    """Accepts a mail: everything that can be refused is refused before anything changes."""
    if len(raw) > MAX_BYTES:
        raise google_error(413, "Message too large", "uploadTooLarge")
    recipients = read_recipients(raw)
    if thread_id and thread_id not in call.mailbox.threads:
        raise not_found()
    raw = completed(call, raw)
    if thread_id and not call.mailbox.belongs_to(read_facts(raw), thread_id):
        thread_id = ""
    everyone = {address.lower() for addresses in recipients.values() for address in addresses}
    labels = {"SENT"} | ({"INBOX", "UNREAD"} if call.account.email in everyone else set())
    now = call.world.now()
    message = call.mailbox.add(raw, labels, int(now * 1000), thread_id, join=False)
    _note(call, message, recipients)
    if call.world.settings.delivers_between_accounts:
        _deliver(call, raw, everyone)
    return message


def read_recipients(raw: bytes) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {"to": [], "cc": [], "bcc": []}
    for name, value in header_lines(raw):
        if name not in found:
            continue
        addresses = [address for _, address in getaddresses([value])]
        if any("@" not in address.strip("@") or " " in address for address in addresses if address):
            raise invalid(f"Invalid {name.title()} header")
        found[name].extend(address for address in addresses if address)
    if not any(found.values()):
        raise invalid("Recipient address required")
    return found


def completed(call: Call, raw: bytes) -> bytes:
    """What Gmail puts right: a From that is not the account's, a missing Date, a missing Message-ID."""
    facts = read_facts(raw)
    own = {call.account.email, *(alias.lower() for alias in call.account.aliases)}
    if parseaddr(facts.sender)[1].lower() not in own:
        raw = with_header(raw, "From", f"{call.account.name} <{call.account.email}>")
    if not facts.date:
        raw = with_header(raw, "Date", formatdate(call.world.now()))
    if not facts.message_id or call.world.settings.gmail_rewrites_message_id:
        token = encode_base64url(call.mailbox.random.randbytes(24))
        raw = with_header(raw, "Message-ID", f"<CA{token}@mail.gmail.com>")
    return raw


def _note(call: Call, message: StoredMessage, recipients: dict[str, list[str]]) -> None:
    facts = message.facts
    call.world.ledger.sent.append(
        SentMail(
            call.world.ledger.next_seq(), call.world.now(), "google", call.account.email, call.request.operation,
            message.id, message.thread_id, facts.message_id, facts.sender, recipients["to"], recipients["cc"],
            recipients["bcc"], facts.subject, len(message.raw), hashlib.sha256(message.raw).hexdigest(), message.raw,
        )
    )  # fmt: skip
    call.changed("mail.sent", id=message.id, message_id=facts.message_id)


def _deliver(call: Call, raw: bytes, recipients: set[str]) -> None:
    """To the other Google accounts here, without Bcc, into the thread their own headers choose."""
    received = without_header(raw, "Bcc")
    for address in sorted(recipients - {call.account.email}):
        account = call.world.account("google", address)
        if account and account.mailbox:
            account.mailbox.add(received, {"INBOX", "UNREAD"}, int(call.world.now() * 1000))


HANDLERS: dict[str, Handler] = {"gmail.users.messages.send": send_message}
