"""Row `search`: the 50 newest hits among 1,000,000 messages, beside `notmuch search --limit=50` among 100,000.

Ours is the time of the statements that `services.reading` sends for a page, so what a web server adds does not hide
what the index costs; notmuch's is the program's, with its start beside it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import corpus, mailbox, peers
from benchmarks.mailbox import Mailbox
from benchmarks.measuring import Report, StatementClock, percentile, say, seconds
from core.api.pagination import PageQuery
from email_sync.services.reading import InboxQuery, inbox

SEARCHES, WARM = 60, 5
RANKS = {"rare": 20_000, "medium": 1_500, "common": 40}
"""Searched words by their rank in the vocabulary."""
GOAL_MS, PHRASE_GOAL_MS = 10, 50


def measure(options: argparse.Namespace, folder: Path, report: Report) -> None:
    """The row. Missing where notmuch is not installed."""
    peers.need("notmuch")
    ours_size, theirs_size = (50_000, 3_000) if options.small else (1_000_000, 100_000)
    box = mailbox.make(ours_size, searchable=True)
    notmuch = _indexed(folder, theirs_size)
    start = report.add("notmuch: its start alone, p95", "ms", percentile(_timed(notmuch.nothing), 0.95))
    for name, q in questions():
        theirs = _timed(lambda q=q: notmuch.search(q.replace(" ", " and ") if '"' not in q else q))  # type: ignore[misc]
        ours = database_times(box, q)
        note = f"{ours_size:,} messages"
        mine = report.add(f"{name}, p95", "ms", percentile(ours, 0.95), note)
        peer = report.add(f"{name}, notmuch, p95", "ms", percentile(theirs, 0.95), f"{theirs_size:,} messages")
        report.within(f"{name}: goal", mine, PHRASE_GOAL_MS if name == "phrase" else GOAL_MS)
        report.ratio(f"{name}: ratio", mine, peer, at_most=1.0)
    assert start.value > 0


def questions() -> list[tuple[str, str]]:
    """Name and q of each search."""
    known = corpus.vocabulary()
    words = [(name, known[rank]) for name, rank in RANKS.items()]
    two = f"{known[RANKS['common']]} {known[RANKS['common'] + 5]}"
    return [*words, ("two common", two), ("phrase", f'"{two}"'), ("absent", "zzzabsent"), *nowhere(known)]


def nowhere(known: Sequence[str]) -> list[tuple[str, str]]:
    """A word of many bodies that no sender has, and a sender that is one of two thousand."""
    return [("common, but from nobody", f"from:{known[RANKS['common']]}"), ("sender", "from:person77")]


def _indexed(folder: Path, count: int) -> peers.Notmuch:
    mail = folder / "maildir"
    say(f"writing {count:,} messages")
    corpus.fill(mail, corpus.mails(count))
    notmuch = peers.Notmuch(folder, mail)
    notmuch.wipe()
    say(f"notmuch new: {seconds(notmuch.new):.0f} s")
    return notmuch


def _timed(work: Callable[[], object]) -> list[float]:
    """Milliseconds."""
    return [seconds(work) * 1000 for _ in range(WARM + SEARCHES)][WARM:]


def database_times(box: Mailbox, q: str) -> list[float]:
    """Milliseconds the database took for each of many searches."""
    own = {"user": box.connection.user, "workspace": box.connection.workspace}
    query = InboxQuery(folder="all", q=q, paging=PageQuery(limit=50))
    found = []
    for _ in range(WARM + SEARCHES):
        with StatementClock() as clock:
            inbox(query=query, **own)
        found.append(clock.milliseconds)
    return found[WARM:]
