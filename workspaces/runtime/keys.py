"""Keys that nobody gave: made once, kept in a file that only the owner of the process can read.

Called while the settings load. Promised: two processes that start together end with the same key, a key is complete or
absent, and its file has mode 0600.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path


def generated_or(given: str, path: Path, *, prefix: str = "") -> str:
    """`given` where there is one, else the key in `path`, made now if there is none."""
    if given:
        return given
    if not path.exists():
        _make(path, prefix + secrets.token_urlsafe(48))
    return path.read_text(encoding="ascii").strip()


def _make(path: Path, text: str) -> None:
    """Write aside and link into place: `link` refuses where another process was faster, so the first key stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.parent.chmod(0o700)
    handle, name = tempfile.mkstemp(dir=path.parent)  # mkstemp gives mode 0600
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(name, path)
    except FileExistsError:
        return
    finally:
        Path(name).unlink()
