"""Which process does a piece of work, and whether it is still there.

Called by whoever claims work under a lease. A lease says when a silent worker is given up; where worker and asker run
on the same machine the kernel knows sooner. Promised: a process is only called dead by a kernel that would see it
alive; elsewhere, and where there is no /proc, nothing is said.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from functools import cache
from pathlib import Path

MAX_NAME = 120


def me() -> str:
    """This process, as no other one ever is called; "" where that cannot be told."""
    return _name(os.getpid())


def is_dead(name: str) -> bool:
    """Whether the process of that name is known to be gone."""
    machine, _, process = name.rpartition("/")
    if not process or machine != _machine():
        return False
    pid, _, _ = process.partition("@")
    return pid.isdecimal() and _name(int(pid)) != name


def mine() -> str:
    """What the names of all processes this one can see begin with; "" where that cannot be told."""
    machine = _machine()
    return f"{machine}/" if machine else ""


def stamp() -> uuid.UUID:
    """An id that is another one each time and tells which process made it: for a column that has room for no more."""
    return uuid.UUID(bytes=_mark(me()) + os.urandom(4))


def is_of_the_dead(made: uuid.UUID) -> bool:
    """Whether the process that made a stamp is known to be gone: it was one of this machine's."""
    pid = int.from_bytes(made.bytes[4:8], "big")
    here = _mark(f"{_machine()}/{pid}@")
    return bool(_machine() and pid) and made.bytes[:4] == here[:4] and made.bytes[:12] != _mark(_name(pid))


def _mark(name: str) -> bytes:
    """Twelve bytes of a process's name: a digest of its machine, its id, a digest of its start; zeros for no name."""
    machine, _, process = name.rpartition("/")
    pid, _, began = process.partition("@")
    if not machine or not pid.isdecimal():
        return bytes(12)
    where, when = (hashlib.sha256(text.encode()).digest()[:4] for text in (machine, began))
    return where + int(pid).to_bytes(4, "big") + when


@cache
def _machine() -> str:
    """The running kernel and the namespace that process ids count in: a container has its own."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return ""


def _name(pid: int) -> str:
    """With its start time: ids are used again. A zombie works no more."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    machine = _machine()
    return f"{machine}/{pid}@{fields[19]}" if machine and fields[0] not in "ZX" else ""
