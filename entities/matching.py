"""When two spellings are one address, and which domains belong to nobody in particular.

`normalise` gives the key that mail is stored under and matches are made with, so both sides always agree: whoever
compares addresses of people compares these keys. Whether two are the very same address, tag and all, is another
question, that of whoever sends (`email_sync.addresses.exact`). Promised: a key is its own key, and what is no address
has none.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache, lru_cache
from pathlib import Path

import idna

MAX_KEY = 320
"""Of a local part (64) and a domain (255), RFC 5321 4.5.3.1; nothing longer is an address."""
DOTLESS = {"gmail.com": "gmail.com", "googlemail.com": "gmail.com"}
"""Where dots in the local part mean nothing and one mailbox has several domains
(support.google.com/mail/answer/7436150); domain → the one it counts as."""
FREE_MAIL = Path(__file__).with_name("free_mail.txt")

_DOMAIN = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*")
_UNFIT = re.compile(r"[\s@\x00-\x1f\x7f\ud800-\udfff]")


@lru_cache(maxsize=50_000)
def normalise(address: str) -> str:
    """The key of an address: case folded, the domain in ASCII, without "+tag", Gmail's dots and second domain.

    "" where it is no address. Tags are dropped everywhere: a server that takes `anna+x` for somebody else than `anna`
    is rarer than people who use tags (RFC 5233 leaves it to the server).
    """
    local, _, domain = address.strip().rpartition("@")
    domain = normalise_domain(domain)
    local = _local_part(local, dotless=domain in DOTLESS.values())
    key = f"{local}@{domain}"
    return key if local and domain and len(key) <= MAX_KEY else ""


def beginning(text: str) -> str:
    """What keys begin with whose addresses begin like this: `Cleo+ne` and `cleo+news@` are of `cleo@…`. Gmail's dots
    and an international domain are understood once the domain is whole."""
    local, at, domain = text.strip().partition("@")
    if at and (whole := normalise(f"{local}@{domain}")):
        return whole
    folded = _fold(local)
    person, tag, _ = folded.partition("+")
    if not person:  # "+x@example.com" is no tag of nobody
        person, tag = folded, ""
    return f"{person}@{domain.casefold()}" if at or tag else person


def domain_of(address: str) -> str:
    """The domain of an address in its compared form; "" where it is no address."""
    return normalise(address).rpartition("@")[2]


@lru_cache(maxsize=10_000)
def normalise_domain(domain: str) -> str:
    """A domain in lower case and ASCII (IDNA 2008 with UTS 46), without a dot at its end; "" where it is none."""
    name = domain.removesuffix(".")
    if not name.isascii():
        try:
            name = idna.encode(name, uts46=True).decode("ascii")
        except (idna.IDNAError, UnicodeError):
            return ""
    name = name.lower()
    return DOTLESS.get(name, name) if len(name) <= 253 and _DOMAIN.fullmatch(name) else ""


def _local_part(text: str, *, dotless: bool) -> str:
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = re.sub(r"\\(.)", r"\1", text[1:-1])  # "anna"@example.com is anna@example.com (RFC 5321 4.1.2)
    folded = text.casefold() if text.isascii() else _fold(text)
    person = folded.partition("+")[0] or folded  # "+x@example.com" is no tag of nobody
    person = person.replace(".", "") or person if dotless else person
    return "" if _UNFIT.search(person) else person


def _fold(text: str) -> str:
    """Case folded and composed, as Unicode's canonical caseless matching has it (3.13, D145)."""
    folded = unicodedata.normalize("NFD", text).casefold()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", folded).casefold())


def is_free_mail(domain: str) -> bool:
    """Whether anybody can have an address there, so that it says nothing about a company. `domain` is normalised."""
    listed, families = _free_mail()
    first, _, rest = domain.partition(".")
    return domain in listed or (first in families and 0 < len(rest) <= len("com.au"))


@cache
def _free_mail() -> tuple[frozenset[str], frozenset[str]]:
    """Domains of the list, and names that are free mail under every country's ending."""
    lines = [line.strip() for line in FREE_MAIL.read_text(encoding="ascii").splitlines()]
    entries = [line for line in lines if line and not line.startswith("#")]
    families = frozenset(entry.removesuffix(".*") for entry in entries if entry.endswith(".*"))
    return frozenset(entry for entry in entries if not entry.endswith(".*")), families
