"""A mail ready for the wire from plain values: `compose` gives the frozen bytes and the envelope.

Called by `services.sending`, once per mail; the bytes then stay the same on every attempt. The headers are written
here and not by the standard library, whose writers have let line breaks through more than once (CVE-2024-6923,
CVE-2026-1299) and break long names: every header is ASCII, folded, and made only from checked values. Bcc is never in
the bytes.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from urllib.parse import quote

from core.errors import InvalidInput, TooLarge
from email_sync.addresses import MAX_NAME, domain_of, parse_address, refuse_controls
from email_sync.parsing import markup
from email_sync.parsing.attachments import safe_file_name
from email_sync.parsing.text import clean
from email_sync.records import OWN_ID_HEADER, Address, OutgoingMail
from email_sync.threading import base_subject

MAX_BYTES = 36_700_160
"""Gmail's limit, and Dovecot's and many others' (reference 2.2, 4.3): where a provider names no other."""
MAX_RECIPIENTS = 500
MAX_SUBJECT = 998
KEPT_REFERENCES = 10
"""At each end, where a thread has more (reference 4.3)."""

_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]*")
_MESSAGE_ID = re.compile(r"[!-;=?-~]{1,250}")
_CONTENT_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,100}/[A-Za-z0-9!#$&^_.+-]{1,100}")
_PLAIN_FILE_NAME = re.compile(r"[A-Za-z0-9 ._()+,&-]{1,60}")
_CONTENT_ID = re.compile(r"[!-;=?-~]{1,200}")
_LONG_WORD = re.compile(r"\S{71}")
_LINE = 76


@dataclass(frozen=True, slots=True)
class OutgoingAttachment:
    """A file to go along."""

    file_name: str
    content_type: str
    content: bytes = field(repr=False)
    content_id: str = ""
    """Where the HTML shows it ("cid:"), without angle brackets; "" for a file beside the text."""


def compose(
    *,
    sender: Address,
    to: Sequence[str] = (),
    cc: Sequence[str] = (),
    bcc: Sequence[str] = (),
    subject: str = "",
    text: str = "",
    html: str = "",
    attachments: Sequence[OutgoingAttachment] = (),
    in_reply_to: str = "",
    references: Sequence[str] = (),
    thread_remote_id: str = "",
    message_id: str = "",
    date: datetime | None = None,
    max_bytes: int = MAX_BYTES,
    draft: bool = False,
) -> OutgoingMail:
    """The mail. Addresses are "a@b.c" or "Name <a@b.c>"; `references` is the chain that leads to `in_reply_to`. A
    `draft` may have no recipient yet. InvalidInput, naming the API's field, for a bad address, no recipient, a control
    character; TooLarge where the whole is over `max_bytes`."""
    people = {name: _people(given, name) for name, given in (("to", to), ("cc", cc), ("bcc", bcc))}
    recipients = tuple(dict.fromkeys(address.email for group in people.values() for address in group))
    _check(sender, subject, recipients, draft=draft)
    sender = Address(sender.name, parse_address(sender.email, "fromEmail").email)
    own_id = message_id or f"{secrets.token_hex(16)}@{domain_of(sender.email)}"
    headers = [
        f"From: {_mailbox(sender)}",
        *_recipient_headers(people["to"], people["cc"]),
        f"Subject: {_unstructured(subject.strip())}".rstrip(),
        f"Date: {format_datetime(date or datetime.now(UTC))}",
        f"Message-ID: <{own_id}>",
        f"{OWN_ID_HEADER}: <{own_id}>",
        *_reply_headers(in_reply_to, references),
        "MIME-Version: 1.0",
    ]
    refuse_larger(sum(len(item.content) for item in attachments) * 4 // 3, max_bytes)  # base64, before it is made
    mime = "\r\n".join(headers).encode("ascii") + b"\r\n" + _content(text, html, attachments)
    refuse_larger(len(mime), max_bytes)
    return OutgoingMail(
        message_id=own_id,
        sender=sender.email,
        recipients=recipients,
        mime=mime,
        bcc=tuple(address.email for address in people["bcc"]),
        thread_remote_id=thread_remote_id,
        to=tuple(address.email for address in people["to"]),
        cc=tuple(address.email for address in people["cc"]),
    )


def refuse_larger(size: int, limit: int) -> None:
    """TooLarge where a mail of `size` bytes is over the provider's limit."""
    if size > limit:
        words = f"The mail would be {size / 1e6:.1f} MB; the provider takes at most {limit / 1e6:.1f} MB."
        raise TooLarge(words, extra={"limit": limit})


def forward_subject(subject: str, original_subject: str) -> str:
    """The subject of a mail passed on: the given one, else the original's with "Fwd: " once."""
    return subject.strip() or f"Fwd: {base_subject(original_subject)}".strip()


def reply_subject(subject: str, parent_subject: str) -> str:
    """The subject of an answer: the given one, else the parent's, with "Re: " once."""
    return f"Re: {base_subject(subject.strip() or parent_subject)}".strip()


def reply_references(references: Sequence[str], in_reply_to: Sequence[str]) -> tuple[str, ...]:
    """The chain above a parent: its References, or its In-Reply-To where that is exactly one id (RFC 5322 3.6.4)."""
    if references:
        return tuple(references)
    return tuple(in_reply_to) if len(in_reply_to) == 1 else ()


# --- checks ----------------------------------------------------------------------------------------------------------


def _people(given: Sequence[str], name: str) -> tuple[Address, ...]:
    if len(given) > MAX_RECIPIENTS:
        raise InvalidInput(fields={name: [f"At most {MAX_RECIPIENTS} recipients."]})
    return tuple(parse_address(text, name) for text in given)


def _check(sender: Address, subject: str, recipients: Sequence[str], *, draft: bool) -> None:
    refuse_controls(sender.name, "fromName")
    if len(sender.name) > MAX_NAME:
        raise InvalidInput(fields={"fromName": [f"At most {MAX_NAME} characters."]})
    refuse_controls(subject, "subject")
    if len(subject) > MAX_SUBJECT:
        raise InvalidInput(fields={"subject": [f"At most {MAX_SUBJECT} characters."]})
    if not recipients and not draft:
        raise InvalidInput(fields={"to": ["Name at least one recipient."]})
    if len(recipients) > MAX_RECIPIENTS:
        raise InvalidInput(fields={"to": [f"At most {MAX_RECIPIENTS} recipients."]})


# --- headers ---------------------------------------------------------------------------------------------------------


def _recipient_headers(to: Sequence[Address], cc: Sequence[Address]) -> Iterator[str]:
    if to:
        yield "To: " + ",\r\n ".join(map(_mailbox, to))
    if cc:
        yield "Cc: " + ",\r\n ".join(map(_mailbox, cc))
    if not to and not cc:
        yield "To: undisclosed-recipients:;"


def _mailbox(address: Address) -> str:
    name = address.name.strip()
    if not name:
        return address.email
    if not name.isascii() or "=?" in name or len(name) > 60:
        return f"{_encoded_words(name)} <{address.email}>"
    if not _ATOMS.fullmatch(name) or "  " in name:
        name = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"{name} <{address.email}>"


def _unstructured(text: str) -> str:
    """Text as a header value: as it is and folded at blanks where that is exact, in encoded words otherwise."""
    if not text.isascii() or "=?" in text or "  " in text or _LONG_WORD.search(text):
        return _encoded_words(text)
    lines = [""]
    for word in text.split(" "):
        if lines[-1] and len(lines[-1]) + 1 + len(word) > _LINE - len("Subject: "):
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}" if lines[-1] else word
    return "\r\n ".join(lines)


def _encoded_words(text: str) -> str:
    """RFC 2047: words of at most 75 characters, none split inside a character."""
    words, chunk = [], b""
    for character in text:
        data = character.encode()
        if len(chunk) + len(data) > 39:
            words.append(chunk)
            chunk = b""
        chunk += data
    words.append(chunk)
    return "\r\n ".join(f"=?utf-8?b?{base64.b64encode(word).decode('ascii')}?=" for word in words)


def _reply_headers(in_reply_to: str, references: Sequence[str]) -> Iterator[str]:
    """The ids come from other people's mail: one that could not stand in a header is left out."""
    if not _MESSAGE_ID.fullmatch(in_reply_to):
        return
    chain = [item for item in dict.fromkeys([*references, in_reply_to]) if _MESSAGE_ID.fullmatch(item)]
    if len(chain) > 2 * KEPT_REFERENCES:
        chain = chain[:KEPT_REFERENCES] + chain[-KEPT_REFERENCES:]
    yield f"In-Reply-To: <{in_reply_to}>"
    yield "References: " + "\r\n ".join(f"<{item}>" for item in chain)


# --- bodies ----------------------------------------------------------------------------------------------------------


def _content(text: str, html: str, attachments: Sequence[OutgoingAttachment]) -> bytes:
    """The part headers and the body: text, with HTML and what it shows as its alternative, with files behind."""
    shown = [item for item in attachments if html and _CONTENT_ID.fullmatch(item.content_id)]
    beside = [item for item in attachments if item not in shown]
    body = _text_part(text or (markup.to_text(html) if html else ""), "plain")
    if html:
        page = _text_part(html, "html")
        if shown:
            page = _multipart("related", [page, *(_file_part(item, "inline") for item in shown)])
        body = _multipart("alternative", [body, page])
    if beside:
        body = _multipart("mixed", [body, *(_file_part(item, "attachment") for item in beside)])
    return body


def _text_part(text: str, subtype: str) -> bytes:
    """7 bit where that says it all, else whichever of quoted-printable and base64 is shorter."""
    text = clean(text).replace("\r\n", "\n").replace("\r", "\n").rstrip("\n") + "\n"
    data = text.encode()
    if text.isascii() and all(len(line) <= _LINE + 2 for line in text.split("\n")):
        encoding, body = "7bit", data
    else:
        quoted = binascii.b2a_qp(data, istext=True)
        coded = base64.encodebytes(data.replace(b"\n", b"\r\n"))
        encoding, body = ("quoted-printable", quoted) if len(quoted) <= len(coded) else ("base64", coded)
    charset = "us-ascii" if encoding == "7bit" else "utf-8"
    return _part(
        f"Content-Type: text/{subtype}; charset={charset}",
        f"Content-Transfer-Encoding: {encoding}",
        body=body.replace(b"\n", b"\r\n"),
    )


def _file_part(attachment: OutgoingAttachment, disposition: str) -> bytes:
    refuse_controls(attachment.file_name, "fileName")
    content_type = media_type(attachment.content_type or "application/octet-stream")
    if content_type.startswith(("multipart/", "message/")):  # must not be base64 (RFC 2046 5.1, 5.2.1)
        content_type = "application/octet-stream"
    return _part(
        f"Content-Type: {content_type}",
        *([f"Content-ID: <{attachment.content_id}>"] if disposition == "inline" else []),
        f"Content-Disposition: {disposition};\r\n {_file_name(safe_file_name(attachment.file_name) or 'attachment')}",
        "Content-Transfer-Encoding: base64",
        body=base64.encodebytes(attachment.content).replace(b"\n", b"\r\n"),
    )


def media_type(text: str) -> str:
    """In lower case; InvalidInput where it is none."""
    lowered = text.lower()
    if not _CONTENT_TYPE.fullmatch(lowered):
        raise InvalidInput(fields={"contentType": [f"{lowered[:100]!r} is not a media type."]})
    return lowered


def _file_name(name: str) -> str:
    """The parameter: plain where it can be, else RFC 2231 with continuations."""
    if _PLAIN_FILE_NAME.fullmatch(name):
        return f'filename="{name}"'
    coded = quote(name, safe="")
    pieces = [coded[start : start + 54] for start in range(0, len(coded), 54)]
    if len(pieces) == 1:
        return f"filename*=utf-8''{coded}"
    first, *others = pieces
    lines = [f"filename*0*=utf-8''{first}", *(f"filename*{n}*={piece}" for n, piece in enumerate(others, start=1))]
    return ";\r\n ".join(lines)


def _multipart(subtype: str, parts: Sequence[bytes]) -> bytes:
    boundary = f"=_{secrets.token_hex(16)}"
    delimiter = f"--{boundary}\r\n".encode()
    body = b"".join(delimiter + part.removesuffix(b"\r\n") + b"\r\n" for part in parts)
    return _part(
        f'Content-Type: multipart/{subtype};\r\n boundary="{boundary}"', body=body + f"--{boundary}--\r\n".encode()
    )


def _part(*headers: str, body: bytes) -> bytes:
    return "\r\n".join(headers).encode("ascii") + b"\r\n\r\n" + body
