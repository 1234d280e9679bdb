"""`python -m benchmarks [row …]`: run rows and print their tables. Exit status 1 where a row failed or was refused."""

from __future__ import annotations

import argparse
import importlib
import signal
import sys
import tempfile
import traceback
from pathlib import Path

from benchmarks.measuring import Missing, Report
from benchmarks.surroundings import surroundings

ROWS = (
    "imap_sync", "inbox", "search", "timeline", "quota", "idle", "email_log", "outbound", "calendars", "documents",
    "console",
)  # fmt: skip


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="The product beside its baselines.")
    parser.add_argument("rows", nargs="*", metavar="row", help=f"of {', '.join(ROWS)}; default all")
    parser.add_argument("--count", type=int, help="messages of imap_sync (default 2,000; with --full 10,000)")
    parser.add_argument("--rounds", type=int, help="of imap_sync (default 3; 1 without warm-up over 20,000 messages)")
    parser.add_argument("--after-first", action="store_true", help="imap_sync: only what follows a first sync")
    parser.add_argument("--full", action="store_true", help="the goals' sizes: 1,000,000 messages; takes an hour")
    parser.add_argument("--small", action="store_true", help="small sizes: the default")
    parser.add_argument("--neighbours", type=int, default=0, help="other mailboxes of 100,000 in the tables of inbox")
    parser.add_argument("--explain", action="store_true", help="print the plans of the inbox's queries")
    parser.add_argument("--search", action="store_true", help="index all mail of inbox and time searches (slow)")
    found = parser.parse_args()
    if unknown := set(found.rows) - set(ROWS):
        parser.error(f"no such row: {', '.join(sorted(unknown))}")
    found.small = not found.full
    found.count = found.count or (2_000 if found.small else 10_000)
    return found


def main() -> int:
    chosen = options()
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # servers and folders go in either way
    results = Path(tempfile.mkdtemp(prefix="patchbay-bench-results-")) / "results.jsonl"
    failed = False
    with surroundings() as folder:
        for row in chosen.rows or ROWS:
            report = Report(row, results)
            try:
                importlib.import_module(f"benchmarks.{row}").measure(chosen, folder, report)
            except Missing as lack:
                print(f"\n{row}: {lack}")
                failed = True
            except Exception:  # noqa: BLE001 - the boundary: the other rows are still wanted
                traceback.print_exc()
                failed = True
            if report.figures:
                report.show()
    print(f"\nresults: {results}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
