"""E-mail addresses as people and clients give them: strict reading, and the form in which two are compared.

Called by `composing` and by the services that match people. What mail itself says is read by `parsing.mailboxes`, which
refuses nothing; this refuses everything a mail server would.
"""

from __future__ import annotations

import re
import unicodedata

import idna

from core.errors import InvalidInput
from email_sync.parsing.mailboxes import addresses
from email_sync.records import Address

MAX_EMAIL, MAX_LOCAL, MAX_NAME = 254, 64, 200

_LOCAL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


def refuse_controls(text: str, field: str) -> None:
    """InvalidInput where `text` holds anything that could end a header line or is no character: control characters (CR,
    LF, NUL, U+0085 …), U+2028, U+2029, lone surrogates."""
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in text):
        raise InvalidInput(fields={field: ["Control characters are not allowed here."]})


def parse_address(text: str, field: str) -> Address:
    """ "anna@example.com" or "Anna <anna@example.com>", ready for the wire: the domain lower case and in its ASCII
    form. InvalidInput naming `field` for anything else."""
    refuse_controls(text, field)
    found = addresses(text) if len(text) <= MAX_EMAIL + MAX_NAME + 10 else ()
    bracketed = text.rstrip().endswith(">")
    if len(found) != 1 or not is_email(found[0].email) or not (bracketed or found[0].email == text.strip()):
        raise InvalidInput(fields={field: [f"{text[:100]!r} is not an email address."]})
    name = found[0].name
    refuse_controls(name, field)
    local, _, domain = found[0].email.rpartition("@")
    return Address(name, f"{local}@{ascii_domain(domain)}")


def is_email(email: str) -> bool:
    """Whether a mail server without SMTPUTF8 takes it: an ASCII local part, a host name with a dot (or localhost)."""
    local, _, domain = email.rpartition("@")
    if len(local) > MAX_LOCAL or not _LOCAL.fullmatch(local):
        return False
    ascii_form = ascii_domain(domain)
    labels = ascii_form.split(".")
    return (
        len(local) + 1 + len(ascii_form) <= MAX_EMAIL
        and all(_LABEL.fullmatch(label) for label in labels)
        and (ascii_form == "localhost" or (len(labels) > 1 and not labels[-1].isdigit()))
    )


def ascii_domain(domain: str) -> str:
    """A domain in lower case and in its ASCII (punycode) form; one that has none stays as it is, in lower case."""
    if domain.isascii():
        return domain.lower()
    try:
        return idna.encode(domain, uts46=True).decode("ascii").lower()
    except (idna.IDNAError, UnicodeError):
        return domain.lower()


def normalise(email: str) -> str:
    """The form in which addresses are compared: no white space around, case folded, domain in ASCII. "" stays ""."""
    local, at, domain = email.strip().rpartition("@")
    return f"{local.casefold()}{at}{ascii_domain(domain)}" if at else domain.casefold()


def domain_of(email: str) -> str:
    """The domain in its compared form, "" where there is none."""
    return normalise(email).rpartition("@")[2] if "@" in email else ""
