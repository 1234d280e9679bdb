"""Search: what a user types becomes a safe tsquery and filters; what a message says becomes words.

Pure; `services.reading` asks with it, `services.store` writes with it. Both sides go through `fold`, so the words of a
query and of a document are the same: no accents, no case, addresses and punctuation split. A document is its words,
for the index, and its folded text, where words that must stand side by side are looked for (docs/adr/0046). Words
outside the body are in the index a second time, marked by their field ("Bada"): `from:` a word of every body would
otherwise read every mail.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time
from typing import Any

from core.errors import InvalidInput
from email_sync.records import ROLES

MAX_QUERY = 500
MAX_TERMS = 32
MAX_WORD = 64
"""Characters of a word that count, here and there. PostgreSQL refuses lexemes over 2 kB."""
MAX_SUBJECT, MAX_SENDER, MAX_RECIPIENTS, MAX_BODY = 4_000, 2_000, 60_000, 100_000
"""Bytes of folded text: together well under PostgreSQL's 1 MB for a tsvector."""
FIELDS = ("A", "B", "C")
"""Marks of subject, sender and recipients, in the order of a document's texts; the body follows and has none."""

FOLDER_WORDS = (*ROLES, "starred", "all")
_FLAGS = ("unread", "read", "starred")
_MARKS = {"subject": "A", "from": "B", "to": "C", "cc": "C"}

_FOREIGN = re.compile(r"[^\x00-\x7f]+")
MAX_REMEMBERED = 16
"""Characters of a run of letters that are not ASCII worth remembering."""
_TERM = re.compile(r'(?P<minus>-?)(?:(?P<field>[A-Za-z]+):)?(?:"(?P<phrase>[^"]*)"|(?P<word>[^\s"]+)|(?=\s|$))')


# --- folding ---------------------------------------------------------------------------------------------------------

_LETTERS = {
    "ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ð": "d", "đ": "d", "þ": "th", "ł": "l", "ı": "i", "ŋ": "ng", "ħ": "h",
    "ŧ": "t",
}  # fmt: skip
"""Letters that no decomposition takes apart, as people type them."""
_ALONE = (
    range(0x3040, 0x3100), range(0x3400, 0x4DC0), range(0x4E00, 0xA000), range(0x20000, 0x3134B), range(0x0E00, 0x0E80),
    range(0x0E80, 0x0F00), range(0x1000, 0x10A0), range(0x1780, 0x1800),
)  # fmt: skip
"""Kana, Han, Thai, Lao, Burmese, Khmer: written without blanks, so each character is a word and a search a phrase."""


class _Folding(dict[int, str]):
    """What becomes of each character, worked out when first met: itself, other letters, nothing, or a blank."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        if character in _LETTERS:
            folded = _LETTERS[character]
        elif any(code in block for block in _ALONE) and character.isalnum():
            folded = f" {character} "
        elif character.isalnum():
            folded = character
        else:
            folded = "" if unicodedata.category(character)[0] in "MC" and code > 127 else " "
        self[code] = folded
        return folded


_folding = _Folding()


def fold(text: str) -> str:
    """The words of `text` as they are compared: lower case, without accents, blanks between. Folding twice changes
    nothing."""
    return " ".join(_words(text))


def _words(text: str) -> list[str]:
    if not text.isascii():
        text = _FOREIGN.sub(_folded_run, text)
    words = (text.lower() if text.isascii() else text.casefold()).translate(_folding).split()
    if max(map(len, words), default=0) > MAX_WORD:
        words = [word[:MAX_WORD] for word in words]
    return words


def _folded_run(run: re.Match[str]) -> str:
    """What stands between two ASCII characters. Taken apart by itself: only marks change their order when a text is,
    none is ASCII, and all are dropped."""
    return _folded_letters(run[0]) if len(run[0]) <= MAX_REMEMBERED else _folded_letters.__wrapped__(run[0])


@functools.lru_cache(maxsize=4096)
def _folded_letters(run: str) -> str:
    """Remembered: a language has few such letters, and most of a text in a Latin one is ASCII already."""
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", run).casefold())
    return decomposed.translate(_folding)


@dataclass(frozen=True, slots=True)
class Document:
    """What a message is found by."""

    words: list[str]
    """Each once, in the order of their bytes; those of a field once more with its mark."""
    text: str
    """Subject, sender, recipients and body, a line each, blanks before and after each word."""


def document(subject: str, sender: str, recipients: str, body: str) -> Document:
    """Of a message's texts as they are."""
    given, line = _capped(body, MAX_BODY)
    words, lines = set(given), []
    limits = (MAX_SUBJECT, MAX_SENDER, MAX_RECIPIENTS)
    for mark, text, limit in zip(FIELDS, (subject, sender, recipients), limits, strict=True):
        own, its_line = _capped(text, limit)
        words.update(own)
        words.update([mark + word for word in own])  # no word of a text: folded ones have no capitals
        lines.append(its_line)
    return Document(sorted(words), " " + " \n ".join([*lines, line]) + " ")


def _capped(text: str, limit: int) -> tuple[list[str], str]:
    """Folded words, and the same as a line, cut at a word: folding may lengthen a text many times over."""
    words = _words(text[:limit])
    line = " ".join(words)
    if len(line) * 4 > limit and len(data := line.encode()) > limit:
        line = data[:limit].rpartition(b" ")[0].decode()
        words = line.split()
    return words, line


# --- queries ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Words:
    """Words that must (or must not) stand side by side, anywhere or in one field."""

    words: tuple[str, ...]
    field: str = ""
    """Its mark, or "" for anywhere."""
    prefix: bool = False
    """The last word may go on."""
    negated: bool = False

    @property
    def is_phrase(self) -> bool:
        """The words alone do not decide: the text is to be asked too."""
        return len(self.words) > 1

    @property
    def phrase(self) -> str:
        """As it stands in a document's text, or in a field's line of it."""
        return f" {' '.join(self.words)}{'' if self.prefix else ' '}"

    def tsquery(self) -> str:
        """Of the words alone; "" for a phrase that must not be there, whose words may. Only folded words get here:
        letters and digits, so nothing needs escaping but is quoted all the same."""
        if self.negated and self.is_phrase:
            return ""
        joined = " & ".join(f"'{self.field}{word}'" for word in self.words) + (":*" if self.prefix else "")
        return f"!{joined}" if self.negated else joined


@dataclass(frozen=True, slots=True)
class Query:
    """A parsed search. Filters that were not given are None or ""."""

    terms: tuple[Words, ...] = ()
    before: datetime | None = None
    """Received before this instant."""
    after: datetime | None = None
    """Received at or after this instant."""
    has_attachments: bool | None = None
    is_read: bool | None = None
    is_starred: bool | None = None
    folder: str = ""
    """One of FOLDER_WORDS."""

    def tsquery(self) -> str:
        """For `%s::tsquery`, which keeps capitals: the words of all terms; "" where none can be asked for."""
        return " & ".join(filter(None, (term.tsquery() for term in self.terms)))

    @property
    def phrases(self) -> tuple[Words, ...]:
        """The terms for which the text must be asked too."""
        return tuple(term for term in self.terms if term.is_phrase)

    @property
    def has_a_positive_term(self) -> bool:
        """Something must be there: not only words that must not."""
        return any(not term.negated for term in self.terms)

    @property
    def begins_with_a_word(self) -> bool:
        """A whole word must be there, so that an index can begin with its hits."""
        return any(not term.negated and (term.is_phrase or not term.prefix) for term in self.terms)


def parse_query(text: str) -> Query:
    """What a user typed: words, "phrases", prefix*, -not, from: to: cc: subject: before: after: has:attachment
    is:unread|read|starred in:folder. InvalidInput (field q) where it makes no sense; an unknown `word:` is text."""
    if len(text) > MAX_QUERY:
        raise _refused(f"A search has at most {MAX_QUERY} characters.")
    if text.count('"') % 2:
        raise _refused("A quotation mark is not closed.")
    matches = list(_TERM.finditer(text))
    if len(matches) > MAX_TERMS:
        raise _refused(f"A search has at most {MAX_TERMS} terms.")
    query = Query()
    for match in matches:
        query = _with_term(query, match)
    return query


def _refused(message: str) -> InvalidInput:
    return InvalidInput(fields={"q": [message]})


def _with_term(query: Query, match: re.Match[str]) -> Query:
    field = (match["field"] or "").lower()
    value = match["word"] or match["phrase"] or ""
    negated = bool(match["minus"])
    if field in ("before", "after"):
        return _with_date(query, field, value, negated=negated)
    if field == "in":
        return _with_folder(query, value, negated=negated)
    if field in ("is", "has"):
        return _with_flag(query, field, value, negated=negated)
    is_prefix = bool(match["word"]) and value.endswith("*")
    if field not in _MARKS and field:
        value = f"{field} {value}"
    folded = tuple(fold(value).split())
    if not folded and field in _MARKS:
        raise _refused(f"{field}: needs a word.")
    if not folded:
        return query
    term = Words(folded, _MARKS.get(field, ""), prefix=is_prefix, negated=negated)
    return replace(query, terms=(*query.terms, term))


def _with_date(query: Query, field: str, value: str, *, negated: bool) -> Query:
    if negated:
        raise _refused(f"{field}: cannot be negated.")
    try:
        day = date.fromisoformat(value.replace("/", "-"))
    except ValueError:
        raise _refused(f"{field}: needs a date such as 2026-03-31.") from None
    start = datetime.combine(day, time(), UTC)
    return _with_filter(query, field, field, start)


def _with_folder(query: Query, value: str, *, negated: bool) -> Query:
    if negated:
        raise _refused("in: cannot be negated.")
    if value.lower() not in FOLDER_WORDS:
        raise _refused(f"in: is one of {', '.join(FOLDER_WORDS)}.")
    return _with_filter(query, "in", "folder", value.lower())


def _with_flag(query: Query, field: str, value: str, *, negated: bool) -> Query:
    if field == "has":
        if value.lower() not in ("attachment", "attachments"):
            raise _refused("has: is only attachment.")
        return _with_filter(query, field, "has_attachments", not negated)
    flag = value.lower()
    if flag not in _FLAGS:
        raise _refused(f"is: is one of {', '.join(_FLAGS)}.")
    if flag == "starred":
        return _with_filter(query, field, "is_starred", not negated)
    return _with_filter(query, field, "is_read", (flag == "read") is not negated)


def _with_filter(query: Query, operator: str, name: str, value: Any) -> Query:
    """Refused where it was given before and otherwise: what is shown for the last of two is not what was asked."""
    if getattr(query, name) not in (None, "", value):
        raise _refused(f"{operator}: is given twice and says different things.")
    return replace(query, **{name: value})
