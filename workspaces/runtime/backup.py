"""A dump of the database that another machine can be started from, made with a `pg_dump` of the server's
version where there is one, else the wheel's.

Called by `manage.py backup`. Promised: the file is there whole or not at all; the password goes by the environment and
never onto a command line; the keys that open sealed values are not in it, and the caller is told where they are.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from django.db import connection

from workspaces.runtime.embedded import programs

POLL_SECONDS = 0.2


class BackupFailed(Exception):
    """`pg_dump` did not make it; the message holds its own words."""


def dump(target: Path, progress: Callable[[int], None]) -> int:
    """Write a custom-format dump (`pg_restore` reads it) to `target`; its size in bytes. `progress` hears the bytes
    written so far."""
    if target.exists():
        raise BackupFailed(f"{target} is there already; nothing was overwritten.")
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    try:
        _run(part, progress)
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
    return target.stat().st_size


def _run(part: Path, progress: Callable[[int], None]) -> None:
    connection.ensure_connection()  # starts or joins the embedded server
    command = [str(program("pg_dump", server_version())), "--format=custom", "--no-owner", "--no-privileges"]
    part.touch(mode=0o600)
    with part.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.PIPE, env=_surroundings())
        words = _watch(process, part, progress)
    if process.returncode:
        raise BackupFailed(f"pg_dump stopped with {process.returncode}: {words.strip()[-500:]}")


def _watch(process: subprocess.Popen[bytes], part: Path, progress: Callable[[int], None]) -> str:
    """Tell the progress until the end; what was said on the way."""
    while True:
        try:
            return process.communicate(timeout=POLL_SECONDS)[1].decode("utf-8", "replace")
        except subprocess.TimeoutExpired:
            progress(part.stat().st_size)


def server_version() -> int:
    """The major version of the connected server."""
    return int(connection.connection.info.server_version) // 10_000


def program(name: str, version: int) -> Path:
    """PostgreSQL's program of that version, from the wheel, the path or Debian's folder; else the wheel's, which is
    newer. An older `pg_restore` cannot read what a newer `pg_dump` wrote, so the server's own version comes first."""
    wheel = programs() / name
    found = shutil.which(name)
    for candidate in (wheel, Path(found or wheel), Path(f"/usr/lib/postgresql/{version}/bin") / name):
        if candidate.exists() and _version_of(candidate) == version:
            return candidate
    return wheel


def _version_of(program: Path) -> int:
    """`pg_dump (PostgreSQL) 15.19 (Debian …)` → 15; 0 where it does not say."""
    said = subprocess.run([str(program), "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"\(PostgreSQL\) (\d+)", said)
    return int(found[1]) if found else 0


def _surroundings() -> dict[str, str]:
    """libpq's own variables, from the connection Django really uses."""
    info = connection.connection.info
    given = {"PGHOST": info.host, "PGPORT": info.port, "PGUSER": info.user, "PGDATABASE": info.dbname}
    given["PGPASSWORD"] = info.password
    return {"PATH": os.defpath} | {name: str(value) for name, value in given.items() if value}
