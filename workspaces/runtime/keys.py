"""Keys that nobody gave: made once, kept in a file that only the owner of the process can read; and weak ones refused.

Called while the settings load, so nothing here knows Django. Promised: two processes that start together end with the
same key, a key is complete or absent, and its file has mode 0600.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path

MIN_LENGTH = 32
MIN_DISTINCT = 10
EXAMPLES = ("example", "change", "secret", "insecure", "password", "default", "0123456789", "abcdefgh")


def is_weak(key: str) -> bool:
    """Too short, too uniform, or taken from a page of documentation."""
    known = any(word in key.lower() for word in EXAMPLES)
    return known or len(key) < MIN_LENGTH or len(set(key)) < MIN_DISTINCT


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
