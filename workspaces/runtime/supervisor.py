"""Keeps a set of child processes alive and ends them all together. Used by `manage.py up`.

Promised: a child that dies is started again, after a pause that doubles while it keeps dying; a stop reaches the main
process of each child first, so that workers finish what they hold, and whatever is left after the grace goes by its
process group; a supervisor that is killed takes its children with it.

One thread, one selector: children's output, their deaths and our signals all arrive as readable files.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from workspaces.runtime.console import Console
from workspaces.runtime.processes import dies_with_parent

GRACE_SECONDS = 12
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
STABLE_SECONDS = 30
"""A child that ran this long is healthy: its next death is a first one again."""
CHUNK = 65536
LONGEST_LINE = 16384
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True)
class Program:
    """What to run. `orphan_signal` is what it gets if the supervisor is killed."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    orphan_signal: signal.Signals = signal.SIGTERM


class Child:
    """One program and its present process, if any."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.process: subprocess.Popen[bytes] | None = None
        self.started_at = 0.0
        self.start_at = 0.0
        """When to start it, on the monotonic clock."""
        self.deaths = 0
        self.rest = b""
        """The last line of its output while it is incomplete."""

    def start(self, folder: Path) -> IO[bytes]:
        """Start it in a session of its own, so that a Ctrl-C in the terminal reaches only the supervisor."""
        self.process = subprocess.Popen(
            self.program.command,
            cwd=folder,
            env={**os.environ, **self.program.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=dies_with_parent(self.program.orphan_signal),
        )
        self.started_at = time.monotonic()
        assert self.process.stdout is not None  # noqa: S101 - PIPE was asked for
        os.set_blocking(self.process.stdout.fileno(), False)
        return self.process.stdout

    def died(self) -> float:
        """Note the death; how long to wait before the next start."""
        self.kill_group()
        self.process = None
        now = time.monotonic()
        self.deaths = 1 if now - self.started_at > STABLE_SECONDS else self.deaths + 1
        pause: float = min(FIRST_PAUSE_SECONDS * 2 ** (self.deaths - 1), LONGEST_PAUSE_SECONDS)
        self.start_at = now + pause
        return pause

    def signal(self, number: signal.Signals) -> None:
        """To the main process alone: pool processes that get SIGTERM drop their work (reference ecosystem 6.1)."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def kill_group(self) -> None:
        """Whatever is left of its process group, the processes it started included."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)


class Supervisor:
    """Runs programs until it is told to stop. `folder` is their working directory.

    `look_after` is called after everything that happens, the death of a process that is not among ours included.
    """

    def __init__(
        self, programs: Sequence[Program], *, folder: Path, console: Console, look_after: Callable[[], None]
    ) -> None:
        self._children = [Child(program) for program in programs]
        self._folder = folder
        self._console = console
        self._look_after = look_after
        self._selector = selectors.DefaultSelector()
        self._stop_signals = 0

    def run(self) -> None:
        """Until SIGTERM or SIGINT; then stop all children. A second signal ends the grace at once."""
        with self._signals():
            try:
                while not self._stop_signals:
                    self._start_due()
                    self._turn(self._seconds_to_next_start())
                    self._look_after()
            finally:
                self._stop()

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Signals wake the selector through a socket; SIGCHLD too, so that a death is seen at once."""
        awake, wake = socket.socketpair()
        for end in (awake, wake):
            end.setblocking(False)
        self._selector.register(awake, selectors.EVENT_READ)
        numbers = (*STOP_SIGNALS, signal.SIGCHLD)
        before = {number: signal.signal(number, self._note) for number in numbers}
        fd = signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(fd)
            for number, handler in before.items():
                signal.signal(number, handler)
            self._selector.close()
            awake.close()
            wake.close()

    def _note(self, number: int, _frame: object) -> None:
        if number in STOP_SIGNALS:
            self._stop_signals += 1

    def _start_due(self) -> None:
        now = time.monotonic()
        for child in self._children:
            if child.process is None and child.start_at <= now:
                self._selector.register(child.start(self._folder), selectors.EVENT_READ, child)

    def _seconds_to_next_start(self) -> float | None:
        waiting = [child.start_at for child in self._children if child.process is None]
        return max(0.0, min(waiting) - time.monotonic()) if waiting else None

    def _turn(self, timeout: float | None) -> None:
        """Wait for something to happen, print what was said, then bury who died."""
        for key, _ in self._selector.select(timeout):
            if isinstance(key.data, Child):
                self._read(key.data)
            elif isinstance(key.fileobj, socket.socket):
                key.fileobj.recv(CHUNK)
        for child in self._children:
            if child.process is not None and child.process.poll() is not None:
                self._bury(child, child.process)

    def _read(self, child: Child) -> None:
        output = child.process.stdout if child.process is not None else None
        chunk = output.read(CHUNK) if output is not None else None
        if not chunk:
            return
        *lines, child.rest = (child.rest + chunk).split(b"\n")
        if len(child.rest) > LONGEST_LINE:
            lines, child.rest = [*lines, child.rest], b""
        for line in lines:
            self._console.line(child.program.name, line.decode(errors="replace"))

    def _bury(self, child: Child, process: subprocess.Popen[bytes]) -> None:
        self._read(child)
        if process.stdout is not None:
            self._selector.unregister(process.stdout)
            process.stdout.close()
        pause, child.rest = child.died(), b""
        if not self._stop_signals:
            ending = f"exit status {process.returncode}" if process.returncode >= 0 else f"signal {-process.returncode}"
            self._console.line("up", f"{child.program.name} ended ({ending}); starting it again in {pause:g} s")

    def _stop(self) -> None:
        self._console.line("up", "stopping")
        deadline = time.monotonic() + GRACE_SECONDS
        for child in self._children:
            child.signal(signal.SIGTERM)
        while self._alive() and self._stop_signals < 2 and (left := deadline - time.monotonic()) > 0:
            self._turn(left)
        for child in self._alive():
            self._console.line("up", f"{child.program.name} did not stop in time; killing it")
            child.kill_group()
        while self._alive():
            self._turn(1.0)

    def _alive(self) -> list[Child]:
        return [child for child in self._children if child.process is not None]
