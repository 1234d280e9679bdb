"""Bytes of imported mail: no provider has it, so its attachments come from what was kept here.

Called by `attachments`. Promised: flat memory, whatever the mail's size: it is read in ranges into a temporary file,
looked through there, and given piece by piece.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from tempfile import TemporaryFile
from typing import IO

from django.db.models import BinaryField, F, Func

from core.errors import RemoteMissing
from email_sync.models import ImportedSource, Message
from email_sync.parsing import message as parser

RANGE = 2 * 1024 * 1024
"""Bytes asked of the database at a time; on the line they are twice as many."""


def attachment_pieces(message: Message, part_id: str) -> Iterator[bytes]:
    """The decoded bytes of one part. RemoteMissing where the message has no such part, or was not kept."""
    with TemporaryFile() as file:
        if not _put(file, message):
            raise RemoteMissing("The bytes of this message were not kept.")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as raw:
            yield from parser.attachment_pieces(raw, part_id)


def _put(file: IO[bytes], message: Message) -> int:
    """The whole message; how many bytes it has."""
    size = 0
    rows = ImportedSource.objects.filter(message=message)
    while True:
        piece = Func(F("raw"), size + 1, RANGE, function="substring", output_field=BinaryField())
        found = rows.annotate(piece=piece).values_list("piece", flat=True).first()
        if not found:
            break
        size += file.write(found)
    file.flush()
    return size
