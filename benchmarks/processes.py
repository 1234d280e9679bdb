"""What the processes of a measurement spent, from /proc: a wall clock says little on a machine that others use too.

Called by `imap_sync`. A process counts with all its children, also those that ended.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from django.db import connection as database

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class _Process:
    parent: int
    own: float
    """CPU seconds, user and system."""
    ended: float
    """Of the children that ended."""


def cpu_seconds(pid: int, *, alone: bool = False) -> float:
    """Of a process and all below it; `alone` without those."""
    running = dict(_running())
    if alone or pid not in running:
        return running[pid].own if pid in running else 0.0
    return sum(running[one].own + running[one].ended for one in _below(pid, running))


def database_server() -> int:
    """The pid of the PostgreSQL that serves this process, where it runs on this machine; 0 elsewhere."""
    with database.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        backend = int(cursor.fetchone()[0])
    found = dict(_running()).get(backend)
    name = Path(f"/proc/{backend}/comm")
    return found.parent if found and name.read_text().startswith("postgres") else 0


def _below(pid: int, running: dict[int, _Process]) -> list[int]:
    found = [pid]
    for parent in found:
        found += [child for child, process in running.items() if process.parent == parent]
    return found


def _running() -> Iterator[tuple[int, _Process]]:
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it ended meanwhile
                continue
            user, system, ended_user, ended_system = (int(field) / _TICKS for field in fields[11:15])
            yield int(folder.name), _Process(int(fields[1]), user + system, ended_user + ended_system)
