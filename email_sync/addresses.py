"""E-mail addresses as people and clients give them: strict reading, and the form in which two are compared.

Called by `composing` and by the services of aliases, bounces and imports. What mail itself says is read by
`parsing.mailboxes`, which refuses nothing; this refuses everything a mail server would. Addresses are compared here as
one address is, letter by letter; as one person's, tags and dots left aside, by `entities.matching`.
"""

from __future__ import annotations

import re
import unicodedata

from core.addresses import ascii_domain, exact
from core.errors import InvalidInput
from email_sync.parsing.mailboxes import addresses
from email_sync.records import Address

MAX_EMAIL, MAX_LOCAL, MAX_NAME = 254, 64, 200

__all__ = ("ascii_domain", "domain_of", "exact", "is_email", "parse_address", "refuse_controls")

_LOCAL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
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
    bracketed = text.rstrip().endswith(">") and _QUOTED.sub("", text).count("<") == 1
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


def domain_of(email: str) -> str:
    """The domain in its compared form, "" where there is none."""
    return exact(email).rpartition("@")[2] if "@" in email else ""
