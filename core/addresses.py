"""The form in which two spellings of one e-mail address are compared, letter by letter.

Called by who asks whether a mail went to, or may go to, this very address. Who a person is, whatever they add to their
address, `entities.matching` says.
"""

from __future__ import annotations

import idna


def ascii_domain(domain: str) -> str:
    """A domain in lower case and in its ASCII (punycode) form; one that has none stays as it is, in lower case."""
    if domain.isascii():
        return domain.lower()
    try:
        return idna.encode(domain, uts46=True).decode("ascii").lower()
    except (idna.IDNAError, UnicodeError):
        return domain.lower()


def exact(email: str) -> str:
    """The form in which one address is told from another: no white space around, case folded, domain in ASCII. "" stays
    "". For what a mailbox may send as and where a mail went: `ada+bills` is not `ada` there."""
    local, at, domain = email.strip().rpartition("@")
    return f"{local.casefold()}{at}{ascii_domain(domain)}" if at else domain.casefold()
