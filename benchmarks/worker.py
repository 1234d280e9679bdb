"""A sync worker without Celery, in a process of its own so that its memory can be told: `python -m benchmarks.worker`.

Started by `imap_sync`. Says "ready", then for each connection id on its standard input does one whole run and answers
with a line of JSON: seconds, what the run came to, and the peak memory of itself and of its parser.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import django


def peak_mb(pid: int) -> float:
    """The most memory a process ever had. Not `ru_maxrss`, which a child inherits."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


def children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def sync(connection_id: str) -> dict[str, object]:
    """One run as a worker does it: slices until there is no more."""
    from integrations.models import Connection
    from integrations.services import sync_runs

    began = time.perf_counter()
    run = sync_runs.start(connection=Connection.objects.get(pk=connection_id), type="email", trigger="user")
    while sync_runs.execute(run.pk):
        pass
    elapsed = time.perf_counter() - began
    run.refresh_from_db()
    own = os.getpid()
    return {
        "seconds": elapsed,
        "status": run.status,
        "error": run.error_message,
        "added": run.added,
        "peak_mb": peak_mb(own),
        "parser_mb": max(map(peak_mb, children(own)), default=0.0),
    }


def main() -> None:
    django.setup()
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(sync(line.strip())), flush=True)


if __name__ == "__main__":
    main()
