"""Documents in a folder of DATA_DIR, sent and fetched over signed addresses of the product itself.

An object is a file that appears whole or not at all: it is written beside and renamed. Promoting gives the same bytes a
second name (a hard link); nothing ever writes into a file that has a name, so what was looked at cannot change.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from django.conf import settings

from core.errors import HubError, ProviderUnavailable, RemoteMissing
from documents.storage.base import CHUNK, Download, Going, Stat, Store, Upload, unwatched, watched
from documents.storage.links import DownloadGrant, UploadGrant, sign_download, sign_upload

ADDRESS = "/api/v1/integrations/documents"
LEAST_FREE = 256 * 1024 * 1024
"""A disk with less is as good as full: the database lies on it too."""
_KEY = re.compile(r"[a-z0-9-]+(/[a-z0-9-]+)+")


class LocalStore(Store):
    """A folder."""

    key = "local"

    def __init__(self) -> None:
        self.root = Path(settings.DATA_DIR) / "documents"
        self.halves = Path(settings.DATA_DIR) / "documents-incoming"

    @property
    def public_endpoint(self) -> str:
        return str(settings.PUBLIC_URL)

    def upload(
        self, key: str, *, content_type: str, size: int | None, sha256: str, max_bytes: int, expires_at: datetime
    ) -> Upload:
        grant = UploadGrant(key, content_type, size, max_bytes, sha256)
        url = f"{self.public_endpoint}{ADDRESS}/content/{sign_upload(grant, expires_at)}"
        return Upload("PUT", url, expires_at, {"Content-Type": content_type})

    def download(
        self, key: str, *, file_name: str, content_type: str, inline: bool = False, expires_at: datetime
    ) -> Download:
        grant = DownloadGrant(key, file_name, content_type, inline)
        kind = "preview" if inline else "content"
        return Download(f"{self.public_endpoint}{ADDRESS}/{kind}/{sign_download(grant, expires_at)}", expires_at)

    def stat(self, key: str) -> Stat | None:
        try:
            with _in_our_words():
                found = self._path(key).stat()
        except RemoteMissing:
            return None
        moved = datetime.fromtimestamp(found.st_mtime, UTC)
        return Stat(found.st_size, "", "", moved, f"{found.st_ino:x}-{found.st_mtime_ns:x}-{found.st_size:x}")

    def read(self, key: str, *, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        with _in_our_words(), self._path(key).open("rb", buffering=0) as file:
            file.seek(start)
            left = end - start if end is not None else None
            while part := file.read(CHUNK if left is None else min(CHUNK, left)):
                left = None if left is None else left - len(part)
                yield part

    def write(self, key: str, chunks: Iterable[bytes], *, content_type: str) -> None:
        path, half = self._path(key), self.halves / secrets.token_hex(16)
        try:
            with _in_our_words():
                self.halves.mkdir(mode=0o700, parents=True, exist_ok=True)
                descriptor = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb", buffering=0) as file:
                for part in chunks:  # what fails here is the sender's
                    with _in_our_words():
                        _write_all(file.fileno(), part)
                with _in_our_words():
                    os.fsync(file.fileno())
            self._name(path, lambda: half.replace(path))
        finally:
            with suppress(OSError):
                half.unlink(missing_ok=True)

    def promote(self, upload_key: str, key: str, *, size: int | None = None, going: Going = unwatched) -> None:
        source, target = self._path(upload_key), self._path(key)
        try:
            self._name(target, lambda: os.link(source, target))
        except ProviderUnavailable:  # a file system without second names
            self.write(key, watched(self.read(upload_key), going), content_type="")

    def delete(self, key: str) -> None:
        path = self._path(key)
        with _in_our_words():
            path.unlink(missing_ok=True)
        with suppress(OSError):  # not empty
            path.parent.rmdir()
            path.parent.parent.rmdir()

    def keys(self, prefix: str, *, older_than: datetime) -> Iterator[str]:
        before = older_than.timestamp()
        for folder, folders, names in os.walk(self.root):
            folders.sort()
            for name in sorted(names):
                path = Path(folder) / name
                found = path.relative_to(self.root).as_posix()
                with suppress(FileNotFoundError):
                    if found.startswith(prefix) and path.stat().st_mtime < before:
                        yield found

    def tidy(self, *, older_than: datetime) -> int:
        before, gone = older_than.timestamp(), 0
        for half in self.halves.glob("*"):
            with suppress(FileNotFoundError):
                if half.stat().st_mtime < before:
                    half.unlink()
                    gone += 1
        return gone

    def check(self) -> tuple[bool, str]:
        key, said = f"probe/{secrets.token_hex(8)}", secrets.token_bytes(32)
        try:
            self.write(key, [said], content_type="application/octet-stream")
            found = b"".join(self.read(key))
            self.delete(key)
            free = shutil.disk_usage(self.root.parent).free
        except HubError as error:
            return False, error.message
        except OSError as error:
            return False, _words(error)
        if found != said or self.stat(key) is not None:
            return False, "The folder of documents does not give back what is written to it."
        if free < LEAST_FREE:
            return False, f"The disk of DATA_DIR is nearly full: {free // 1024**2} MiB are left."
        return True, "A test object was written, read and deleted."

    def _path(self, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise RemoteMissing
        return self.root / key

    def _name(self, path: Path, name: Callable[[], object]) -> None:
        """Give a file its name. Its folder may be removed by whoever takes out its last file, just then."""
        for last in (False, False, True):
            with _in_our_words():
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                with _in_our_words():
                    name()
            except RemoteMissing:
                if last or path.parent.exists():
                    raise
            else:
                return


def _write_all(descriptor: int, part: bytes) -> None:
    view = memoryview(part)
    while view:
        view = view[os.write(descriptor, view) :]


@contextmanager
def _in_our_words() -> Iterator[None]:
    """What the file system refuses."""
    try:
        yield
    except FileNotFoundError:
        raise RemoteMissing from None
    except OSError as error:
        raise ProviderUnavailable(_words(error)) from error


def _words(error: OSError) -> str:
    return f"The folder of documents cannot be used: {error.strerror or 'unknown error'}."
