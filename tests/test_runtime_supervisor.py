"""The supervisor with small programs of our own: restarts, back-off, stops, orphans, output."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from config.env import PROJECT
from workspaces.runtime.console import Console
from workspaces.runtime.supervisor import STABLE_SECONDS, Child, Program

RUN = """
import sys
from pathlib import Path
from workspaces.runtime import supervisor
from workspaces.runtime.console import Console
supervisor.GRACE_SECONDS = float(sys.argv[1])
programs = [supervisor.Program(f"p{i}", [sys.executable, "-c", code]) for i, code in enumerate(sys.argv[2:])]
supervisor.Supervisor(programs, folder=Path("/"), console=Console(sys.stdout), look_after=lambda: None).run()
"""
SLEEPS = "import os, time; print('pid', os.getpid(), flush=True); time.sleep(60)"
STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
grandchild = subprocess.Popen(["sleep", "60"])
print("pid", os.getpid(), flush=True)
print("pid", grandchild.pid, flush=True)
time.sleep(60)
"""

Supervise = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def supervise() -> Iterator[Supervise]:
    started = []

    def start(*codes: str, grace: float = 1) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-u", "-c", RUN, str(grace), *map(textwrap.dedent, codes)],
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.terminate()
        process.communicate(timeout=10)


def _pid(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    for line in process.stdout:
        if "pid " in line:
            return int(line.rsplit(" ", 1)[1])
    raise AssertionError("no child said its pid")


def _ended(pid: int) -> bool:
    """Whether the process is gone within twenty seconds; it is not ours, so it cannot be waited for."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        os.sched_yield()
    return False


def test_supervisor_killed_child_is_started_again(supervise: Supervise) -> None:
    process = supervise(SLEEPS)
    first = _pid(process)
    os.kill(first, signal.SIGKILL)
    assert _pid(process) != first


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_supervisor_stop_signal_ends_all_children_with_status_0(supervise: Supervise, number: signal.Signals) -> None:
    process = supervise(SLEEPS, SLEEPS)
    pids = [_pid(process), _pid(process)]
    process.send_signal(number)
    assert process.wait(timeout=20) == 0
    assert all(_ended(pid) for pid in pids)


def test_supervisor_child_that_ignores_the_stop_goes_with_its_whole_group(supervise: Supervise) -> None:
    process = supervise(STUBBORN)
    pids = [_pid(process), _pid(process)]
    process.terminate()
    assert process.wait(timeout=20) == 0
    assert all(_ended(pid) for pid in pids)


def test_supervisor_second_stop_signal_does_not_wait(supervise: Supervise) -> None:
    process = supervise(STUBBORN, grace=60)
    _pid(process)
    process.terminate()
    assert process.stdout is not None
    assert any("stopping" in line for line in process.stdout)
    process.terminate()
    assert process.wait(timeout=20) == 0


def test_supervisor_killed_takes_its_children_along(supervise: Supervise) -> None:
    process = supervise(SLEEPS)
    pid = _pid(process)
    process.kill()
    process.wait()
    assert _ended(pid)


def test_supervisor_last_words_of_a_dead_child_are_printed_before_its_death(supervise: Supervise) -> None:
    process = supervise("print('last words', flush=True); raise SystemExit(3)")
    assert process.stdout is not None
    lines = [process.stdout.readline(), process.stdout.readline()]
    assert lines[0] == "p0        │ last words\n"
    assert "p0 ended (exit status 3); starting it again in 0.5 s" in lines[1]


def test_child_that_keeps_dying_waits_longer_and_a_stable_one_starts_over() -> None:
    child = Child(Program("web", ["true"]))
    child.started_at = time.monotonic()
    assert [child.died() for _ in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    child.started_at = time.monotonic() - STABLE_SECONDS - 1
    assert child.died() == 0.5


def test_console_without_a_terminal_prints_no_colours() -> None:
    stream = io.StringIO()
    console = Console(stream)
    console.line("web", "hello\n")
    console.box("Title", [("Log-in", "ann@example.com"), ("API token", "hub_1")])
    lines = stream.getvalue().splitlines()
    assert lines[0] == "web       │ hello"
    assert "│ Log-in     ann@example.com" in lines
    assert "\x1b" not in stream.getvalue()
