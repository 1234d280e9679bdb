"""What every store of documents is: keys and plain values in, frozen records out.

A store knows no database, has no retry loop and logs no content; it reads its settings and nothing else. One instance
serves all threads of a process. It raises `core.errors`: ProviderUnavailable where it is down (the caller answers 503
and loses nothing), NotConfigured where a setting is missing, ProviderError where it answers what it should not.

Glossary: a *key* names an object and is made by the server (`documents.keys`); it begins with the workspace's id. A
client uploads to an *upload key*; confirming promotes the object to its *final key*, which no upload URL was ever made
for, so an old URL cannot change a document.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar

CHUNK = 256 * 1024
"""How much of an object is in memory at a time."""
Going = Callable[[int], None]
"""Told how many bytes were done, again and again; whatever it raises ends the work, and nothing of it stays."""


def unwatched(_: int) -> None:
    """A `Going` for what nobody waits for."""


def watched(chunks: Iterable[bytes], going: Going) -> Iterator[bytes]:
    """The same, told to `going`."""
    for chunk in chunks:
        going(len(chunk))
        yield chunk


@dataclass(frozen=True, slots=True)
class Upload:
    """What a client sends its bytes with. The URL is a capability: `repr` does not show it."""

    method: str
    """"PUT" (the body is the file) or "POST" (a form: `fields` first, the file last, named "file")."""
    url: str = field(repr=False)
    expires_at: datetime
    headers: Mapping[str, str] = field(default_factory=dict)
    """To be sent exactly so."""
    fields: Mapping[str, str] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Part:
    """A part of an upload that has arrived."""

    number: int
    """From 1."""
    size: int
    etag: str
    """What the store wants to hear again when the parts are joined."""


@dataclass(frozen=True, slots=True)
class Download:
    """Where an object can be had until then."""

    url: str = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Stat:
    """What a store says of an object."""

    size: int
    content_type: str
    """As it was uploaded; "" where the store keeps none. Never believed."""
    sha256: str
    """In hexadecimal, lower case, of the whole object; "" where the store does not know it and it has to be read."""
    modified_at: datetime
    etag: str = ""


class Store(ABC):
    """One place for objects."""

    key: ClassVar[str]
    """The value of DOCUMENT_STORAGE; the registry checks it."""
    is_public: ClassVar[bool] = False
    """Clients speak to another server than the product, at `public_endpoint`."""

    @property
    @abstractmethod
    def public_endpoint(self) -> str:
        """The origin that upload and download URLs begin with."""

    @abstractmethod
    def upload(
        self, key: str, *, content_type: str, size: int | None, sha256: str, max_bytes: int, expires_at: datetime
    ) -> Upload:
        """A way to send one object to `key`, an upload key. Where `size` is known the store refuses any other length,
        else anything longer than `max_bytes`; it refuses another content type, and other bytes where `sha256` (in
        hexadecimal) is not "". Makes no call."""

    @abstractmethod
    def stat(self, key: str) -> Stat | None:
        """None where there is no such object."""

    @abstractmethod
    def read(self, key: str, *, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """The bytes from `start` up to and without `end`, in parts of at most `CHUNK`. RemoteMissing, at the first
        part, where there is no such object."""

    @abstractmethod
    def write(self, key: str, chunks: Iterable[bytes], *, content_type: str) -> None:
        """Write an object of the server's own, whole or not at all; memory stays flat. Replaces."""

    @abstractmethod
    def promote(self, upload_key: str, key: str, *, size: int | None = None, going: Going = unwatched) -> None:
        """What is uploaded now becomes `key` too, whole or not at all, and can no longer be changed there: a copy, or
        another name for the same bytes. `key` is a new one each time, and it is there that the caller looks at the
        content. The uploaded object may stay: the caller deletes it. `size` is what was announced, in bytes.
        `going` hears of what takes more than one request. RemoteMissing where nothing was uploaded."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Gone; also where it was not there."""

    @abstractmethod
    def download(
        self, key: str, *, file_name: str, content_type: str, inline: bool = False, expires_at: datetime
    ) -> Download:
        """A URL anybody may use until then: an attachment with a name by RFC 5987, unless `inline`, which the caller
        grants to images and PDF only. Makes no call."""

    @abstractmethod
    def keys(self, prefix: str, *, older_than: datetime) -> Iterator[str]:
        """Every key that begins with `prefix` and was last changed before then, in the order of the keys."""

    def tidy(self, *, older_than: datetime) -> int:
        """Forget what no key names and was begun before then, such as halves of writes; how many. Called every few
        hours."""
        return 0

    @abstractmethod
    def check(self) -> tuple[bool, str]:
        """Write, read and delete a probe; a sentence that says what is wrong and how to mend it. Never raises."""


class InParts(Store):
    """A store whose one request carries so much and no more: clients send it larger files in parts.

    An *upload id* names an upload in parts from its beginning until its parts are joined or it is aborted; after that
    no address that was signed for it is good for anything. It is not shown to clients.
    """

    largest_request: ClassVar[int]
    """In bytes."""
    largest: ClassVar[int]
    """What all parts together may bring, in bytes."""
    part_sizes: ClassVar[tuple[int, int]]
    """The least and the most bytes of a part; the last one may be smaller."""
    most_parts: ClassVar[int]

    @abstractmethod
    def begin_parts(self, key: str, *, content_type: str) -> str:
        """The id of a new upload to `key`, an upload key. Nothing is at `key` before the parts are joined."""

    @abstractmethod
    def part(self, key: str, upload_id: str, number: int, *, size: int, expires_at: datetime) -> Upload:
        """A way to send one part of exactly so many bytes, as often as one likes: the last counts. Makes no call."""

    @abstractmethod
    def parts(self, key: str, upload_id: str) -> list[Part]:
        """What has arrived. RemoteMissing where it was joined already, or aborted."""

    @abstractmethod
    def join(self, key: str, upload_id: str, parts: Sequence[Part]) -> None:
        """These parts, in this order, are the object from now on; what else was sent is forgotten. RemoteMissing where
        that was done already, or the upload was aborted; ProviderUnavailable where a part was replaced meanwhile."""

    @abstractmethod
    def abort(self, key: str, upload_id: str) -> None:
        """Its parts are gone; also where there is no such upload."""

    @abstractmethod
    def unfinished(self, *, older_than: datetime) -> Iterator[tuple[str, str]]:
        """Key and upload id of whatever was begun in parts before then and is not at its end, by whomever."""
