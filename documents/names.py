"""What a client calls its file, made fit to be shown, stored and sent in a header.

Called before anything is stored. Promised: a name that comes out has 1 to 255 characters, no control character, nothing
that turns the direction of text around, no path, and is no path either ("..").
"""

from __future__ import annotations

import re
import unicodedata
from fnmatch import fnmatchcase
from urllib.parse import quote

from core.errors import InvalidInput

MAX_NAME = 255
MAX_CONTENT_TYPE = 255
_JOINERS = "\u200c\u200d"
"""Persian words and emoji are written with them."""
_WORD = r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}"
_MEDIA_TYPE = re.compile(rf"({_WORD}/{_WORD})\s*(;.*)?\Z", re.DOTALL)
"""RFC 6838 4.2; parameters are left out."""
_ASCII_UNSAFE = re.compile(r'[^\x20-\x7e]|["\\%]')


def clean(given: str) -> str:
    """The last part of a path, without what cannot be seen. InvalidInput (fileName) where nothing is left, or too
    much."""
    last = re.split(r"[/\\]", unicodedata.normalize("NFC", given))[-1]
    seen = "".join(character for character in last if not _hidden(character))
    name = re.sub(r"\s+", " ", seen).strip()
    if not name.strip(". "):
        raise InvalidInput(fields={"fileName": ["This is not the name of a file."]})
    if len(name) > MAX_NAME:
        raise InvalidInput(fields={"fileName": [f"A file name has at most {MAX_NAME} characters."]})
    return name


def _hidden(character: str) -> bool:
    """Control characters, marks of direction and other formatting, line ends, private and unassigned code points."""
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") and character not in _JOINERS


def content_type(given: str) -> str:
    """In lower case, without parameters. InvalidInput (contentType) where it is none."""
    found = _MEDIA_TYPE.match(given.strip())
    if found is None or len(found[1]) > MAX_CONTENT_TYPE:
        raise InvalidInput(fields={"contentType": ["Give a content type such as application/pdf."]})
    return found[1].lower()


def is_allowed(kind: str, patterns: list[str]) -> bool:
    """Whether a content type is one of `application/pdf`, `image/*`, …; all are where there is no pattern."""
    return not patterns or any(fnmatchcase(kind, pattern) for pattern in patterns)


def disposition(file_name: str, *, inline: bool = False) -> str:
    """A Content-Disposition (RFC 6266): a name in ASCII for whoever knows no better, and the true one (RFC 5987)."""
    plain = unicodedata.normalize("NFKD", file_name).encode("ascii", "ignore").decode()
    plain = _ASCII_UNSAFE.sub("_", plain).strip() or "file"
    exact = quote(file_name, safe="!#$&+-.^_`|~")
    return f"{'inline' if inline else 'attachment'}; filename=\"{plain}\"; filename*=UTF-8''{exact}"
