"""Looking at an object before a document may be it: its size, its hash, what it looks like, what the scanner says.

Read in parts, from where nobody can change it any more. What is found wrong is a `Problem` and no error: the
caller decides.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Protocol

from django.conf import settings

from core.errors import RemoteMissing
from documents import scanning, sniffing
from documents.models import Document, Stage
from documents.storage.base import Store, watched


@dataclass(frozen=True, slots=True)
class Problem:
    """Why it cannot be the document: a stable word, and words for people."""

    code: str
    words: str


@dataclass(frozen=True, slots=True)
class Found:
    """What the object is."""

    size: int
    sha256: str
    looks_like: str = ""
    problem: Problem | None = None


class Watch(Protocol):
    """Who wants to know how far it is. What it raises ends the work."""

    def begin(self, stage: Stage) -> None:
        """From here on bytes are of this stage."""

    def __call__(self, count: int) -> None:
        """So many more bytes were done."""


class Nobody:
    """A `Watch` for what nobody waits for."""

    def begin(self, stage: Stage) -> None:
        return

    def __call__(self, count: int) -> None:
        return


class Seen:
    """What goes by: how much it is, its hash, and how it begins."""

    def __init__(self) -> None:
        self.size, self.head, self._digest = 0, b"", hashlib.sha256()

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def add(self, part: bytes) -> None:
        self._digest.update(part)
        self.size += len(part)
        if len(self.head) < sniffing.HEAD:
            self.head += part[: sniffing.HEAD - len(self.head)]


def inspect(store: Store, key: str, document: Document, watch: Watch) -> Found:
    """RemoteMissing where it is not there; the store's own errors."""
    stat = store.stat(key)
    if stat is None:
        raise RemoteMissing
    if problem := _size_problem(document, stat.size):
        return Found(stat.size, "", problem=problem)
    # A store that knows the hash of the whole is asked for the beginning only: no gigabyte comes through here.
    seen = Seen()
    watch.begin(Stage.READING)
    for part in watched(store.read(key, end=min(sniffing.HEAD, stat.size) if stat.sha256 else None), watch):
        seen.add(part)
    size, sha256 = (stat.size, stat.sha256) if stat.sha256 else (seen.size, seen.sha256)
    return judge(store, key, document, head=seen.head, size=size, sha256=sha256, watch=watch)


def judge(
    store: Store, key: str, document: Document, *, head: bytes, size: int, sha256: str, watch: Watch | None = None
) -> Found:
    """An object whose size, hash and beginning are known: read again only by a scanner."""
    looks_like = sniffing.sniff(head)
    problem = (
        _size_problem(document, size)
        or _hash_problem(document, sha256)
        or _type_problem(document, looks_like)
        or _scanned(store, key, watch or Nobody())
    )
    return Found(size, sha256, looks_like, problem)


def _size_problem(document: Document, size: int) -> Problem | None:
    most = settings.DOCUMENT_MAX_BYTES
    if document.size is not None and size != document.size:
        return Problem("size_mismatch", f"{document.size:,} bytes were announced and {size:,} were uploaded.")
    if size > most:
        return Problem("too_large", f"A document has at most {most:,} bytes; this has {size:,}.")
    return None


def _hash_problem(document: Document, sha256: str) -> Problem | None:
    if document.sha256 and document.sha256 != sha256:
        return Problem("hash_mismatch", "The uploaded bytes have another SHA-256 than was announced.")
    return None


def _type_problem(document: Document, looks_like: str) -> Problem | None:
    if sniffing.agrees(document.content_type, looks_like):
        return None
    words = f"looks like {looks_like}" if looks_like else "does not look like it"
    return Problem("type_mismatch", f"It is said to be {document.content_type} and {words}.")


def _scanned(store: Store, key: str, watch: Watch) -> Problem | None:
    """Where a scanner is configured; its being away leaves the document as it is."""
    if not scanning.is_configured():
        return None
    watch.begin(Stage.SCANNING)
    finding = scanning.scan(watched(store.read(key), watch))
    return Problem("infected", f"The virus scanner found {finding.name}.") if finding.infected else None
