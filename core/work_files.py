"""Work that makes or reads a file, piece by piece, with the file in the database.

A piece commits together with the place it ends at, so any worker on any machine goes on after a kill, web and worker
share no folder, and whatever removes the row removes the file (ADR 17).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from django.db import models

from core.errors import Conflict
from core.work import WorkRow, WorkStatus


class FileWork(WorkRow):
    """Abstract: the work and how large its file is. Its pieces are `FilePiece`s that call it by `pieces`."""

    size = models.PositiveBigIntegerField(default=0)
    """Bytes of the file so far."""
    chunks = models.PositiveIntegerField(default=0)
    expires_at = models.DateTimeField(null=True)
    """When the file of a finished export goes."""

    if TYPE_CHECKING:
        pieces: Any

    class Meta:
        abstract = True

    def append(self, data: bytes) -> None:
        """One more piece of the file, inside the caller's transaction; the caller saves `size` and `chunks`."""
        self.pieces.create(number=self.chunks, data=data)
        self.size, self.chunks = self.size + len(data), self.chunks + 1

    def content(self) -> Iterator[bytes]:
        """The whole file, piece by piece."""
        for number in range(self.chunks):
            yield bytes(self.pieces.values_list("data", flat=True).get(number=number))

    def require_content(self) -> None:
        """Conflict where there is no file to be had."""
        if self.status != WorkStatus.DONE:
            raise Conflict("The export is not finished.", code="not_ready")
        if not self.pieces.exists() and self.chunks:
            raise Conflict("The file has expired. Export again.", code="expired")


class FilePiece(models.Model):
    """Abstract: a piece of a file; the work it is of stands in the heir, and that a number is there once."""

    id = models.BigAutoField(primary_key=True)
    number = models.PositiveIntegerField()
    """From 0. Of an upload every piece but the last has the same size."""
    data = models.BinaryField()

    class Meta:
        abstract = True
