"""Where a process of tests keeps what it needs on disk: its own server, `tmp_path`, the data of products it starts.

Not in the base folder that all runs of pytest share: each that begins closes the way through it to other users, which
the embedded PostgreSQL of a run beside it needs (root starts it as a user of its own), and removes all but three.

Whoever makes a folder holds a lock on it, the kernel's. One whose lock is free belongs to a process that was killed,
and the next one removes it.
"""

from __future__ import annotations

import atexit
import fcntl
import shutil
import tempfile
from pathlib import Path
from typing import IO

PREFIX = "patchbay-test-"
LOCK = "in-use"

_held: list[IO[str]] = []


def own_folder() -> Path:
    """A new one, gone when this process ends."""
    sweep()
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    lock = (folder / "begun").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    (folder / "begun").rename(folder / LOCK)  # held before anybody can find it
    _held.append(lock)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def sweep() -> None:
    """Remove what killed processes left."""
    for lock in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/{LOCK}"):
        try:
            with lock.open("r+") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(lock.parent, ignore_errors=True)
        except OSError:
            continue  # in use, another user's, or gone meanwhile
