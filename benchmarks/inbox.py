"""Row `inbox`: pages of a mailbox of 10,000 and of 1,000,000 messages over HTTP, beside a bare DRF view.

One gunicorn as `up` starts it, one connection kept open. The plans of the queries are checked by what they cost, not by
time: no scan over the table, no sort over the mailbox, as many blocks at a million as at ten thousand.
"""

from __future__ import annotations

import argparse
import http.client
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from django.conf import settings

from benchmarks import mailbox, plans
from benchmarks.corpus import vocabulary
from benchmarks.mailbox import Mailbox
from benchmarks.measuring import ROUNDS, Figure, Report, StatementClock, percentile, say
from config.env import PROJECT
from email_sync.services.reading import thread_details
from workspaces.runtime import product

REQUESTS, WARM = 300, 30
THREAD, THREADS, THREAD_GOAL_MS = 200, 100, 20
SEARCHES = 5
API = "/api/v1/integrations/email"
FIRST_PAGE = f"{API}/inbox?limit=50"
WORDS = {"rare": 20_000, "medium": 1_500, "common": 40}
"""Searched words by their rank in the vocabulary."""


def measure(options: argparse.Namespace, folder: Path, report: Report) -> None:
    """The row. AssertionError where a plan costs more than its class."""
    sizes = (10_000, 50_000) if options.small else (10_000, 1_000_000)
    small, large = (mailbox.make(size, searchable=options.search) for size in sizes)
    plans.check(report, small, large, explain=options.explain)
    for number in range(options.neighbours):
        mailbox.make(100_000, searchable=False, name=f"neighbour {number}")
    long_thread(report, large)
    with server() as port:
        _compare(report, _measured(port, small, large, options), small, large)


def long_thread(report: Report, box: Mailbox) -> None:
    """A thread of 200 messages with their bodies, in the database."""
    thread = mailbox.add_thread(box, THREAD)
    found = []
    for _ in range(THREADS):
        with StatementClock() as clock:
            assert len(thread_details(thread)) == THREAD
        found.append(clock.milliseconds)
    took = report.add(f"thread of {THREAD}, p95", "ms", percentile(found, 0.95), "in the database")
    report.within("thread: goal", took, THREAD_GOAL_MS)


@dataclass
class Samples:
    """Latencies of one request in milliseconds, a list a round."""

    path: str
    token: str
    count: int = REQUESTS
    rounds: list[list[float]] = field(default_factory=list)


def _measured(port: int, small: Mailbox, large: Mailbox, options: argparse.Namespace) -> dict[str, Samples]:
    """All requests in turns, round by round."""
    wanted = {
        "small": Samples(FIRST_PAGE, small.token),
        "bare": Samples(f"/bare/{large.connection.pk}", ""),
        "large": Samples(FIRST_PAGE, large.token),
        "deep": Samples(f"{FIRST_PAGE}&cursor={plans.deep_cursor(large)}", large.token),
        "unread": Samples(f"{FIRST_PAGE}&unread=true", large.token),
        "counts": Samples(f"{API}/folders/counts", large.token),
    }
    if options.search:
        wanted |= {
            f"q: {name}": Samples(f"{FIRST_PAGE}&q={quote(q)}", large.token, SEARCHES) for name, q in _searches()
        }
    for number in range(ROUNDS):
        say(f"round {number + 1} of {ROUNDS}")
        for samples in wanted.values():
            samples.rounds.append(latencies(port, samples))
    return wanted


def _searches() -> list[tuple[str, str]]:
    known = vocabulary()
    words = [(name, known[rank]) for name, rank in WORDS.items()]
    two = f"{known[WORDS['common']]} {known[WORDS['common'] + 5]}"
    return [*words, ("two common", two), ("phrase", f'"{two}"')]


def _compare(report: Report, found: dict[str, Samples], small: Mailbox, large: Mailbox) -> None:
    sizes = {"small": f"inbox of {small.size:,}", "large": f"inbox of {large.size:,}"}
    names = {**sizes, "bare": "bare view", "deep": "by cursor", "unread": "unread page", "counts": "folder counts"}
    p50, p95 = {}, {}
    for key, samples in found.items():
        name = names.get(key, key)
        p50[key] = report.add(f"{name}, p50", "ms", [percentile(r, 0.5) for r in samples.rounds])
        p95[key] = report.add(f"{name}, p95", "ms", [percentile(r, 0.95) for r in samples.rounds])
    _ratios(report, p50, "p50")
    _ratios(report, p95, "p95")


def _ratios(report: Report, figures: dict[str, Figure], which: str) -> None:
    report.ratio(f"large ÷ small, {which}", figures["large"], figures["small"], at_most=1.2)
    report.ratio(f"page by cursor ÷ small, {which}", figures["deep"], figures["small"], at_most=1.2)
    report.ratio(f"inbox ÷ bare view, {which}", figures["large"], figures["bare"], at_most=2.0)


# --- the server and its client ------------------------------------------------------------------------------------


@contextmanager
def server() -> Iterator[int]:
    """gunicorn as `up` starts it, with the bare view beside the product; its port."""
    [web] = [program for program in product.programs({}) if program.name == "web"]
    environment = {**os.environ, **web.environment, "DJANGO_SETTINGS_MODULE": "benchmarks.bare_settings"}
    process = subprocess.Popen([*web.command, "--log-level", "warning"], cwd=PROJECT, env=environment)
    try:
        _wait(lambda: _listens(settings.PORT))
        yield settings.PORT
    finally:
        process.terminate()
        process.wait(timeout=30)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _wait(happened: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline:
            raise TimeoutError("the server did not start")
        time.sleep(0.05)


def latencies(port: int, samples: Samples) -> list[float]:
    """One connection, one request after the other. RuntimeError for any answer but 200."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    headers = {"Authorization": f"Bearer {samples.token}"} if samples.token else {}
    found = []
    for _ in range(min(WARM, samples.count // 5) + samples.count):
        began = time.perf_counter()
        client.request("GET", samples.path, headers=headers)
        answer = client.getresponse()
        body = answer.read()
        found.append((time.perf_counter() - began) * 1000)
        if answer.status != 200:
            raise RuntimeError(f"{samples.path} answered {answer.status}: {body[:300]!r}")
    client.close()
    return found[-samples.count :]
