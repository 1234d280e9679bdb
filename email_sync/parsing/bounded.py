"""Parsing where it can do no harm: raw mail goes to a child process with limits, parsed mail comes back.

Called by the sync engine, from any worker process or thread. Promises: as many answers as messages, in their order, and
no error for any content. A message that kills the child or takes more than 5 s of CPU is found (the child answers one
by one, so it is the first unanswered one) and kept by its headers with a `defect`; the others never notice.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from email_sync.parsing import message, wire
from email_sync.parsing.child import CPU_SECONDS
from email_sync.records import ParsedMessage

MAX_RAW = 64 * 1024 * 1024
"""Bytes of one message handed to the child; of a longer one it gets the beginning."""
WALL_SECONDS = 60.0
"""Without any sign of life from the child for so long, it counts as stuck. Generous: CPU time is the real limit."""
_CHUNK = 1024 * 1024
_TOGETHER = 512
"""Frames a call; the kernel takes twice as many."""
_PAUSE = 0.003
"""Seconds. The child answers one by one and the pipe holds many answers: waking up for each one costs more than reading
it does."""
_PROJECT = Path(__file__).resolve().parents[2]

TOO_LONG = f"It could not be read within {CPU_SECONDS:.0f} seconds of work."
TOO_HARD = "It could not be read within the limits."


def child_command(module: str = "email_sync.parsing.child") -> list[str]:
    """How the child is started: no site-packages, no PYTHON* variables, this process named as its parent."""
    return [sys.executable, "-E", "-s", "-S", "-m", module, str(os.getpid())]


class _Child:
    """One child process and its two pipes."""

    def __init__(self, command: Sequence[str]) -> None:
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            cwd=_PROJECT,
            env={key: value for key, value in os.environ.items() if key in ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT")},
        )
        self.requests, self.answers = _pipe(self.process.stdin), _pipe(self.process.stdout)
        self.late = False
        self.ended = False

    def exchange(self, frames: Sequence[bytes], wall_seconds: float) -> Iterator[bytes]:
        """Send everything, yield each answer as it comes; ends early where the child dies or falls silent. Reads while
        it writes, since the pipes are small and both sides would wait for each other."""
        expected, pending, sent = len(frames) // 2, 0, 0
        received = bytearray()
        while expected:
            poller = select.poll()
            poller.register(self.answers, select.POLLIN)
            if pending < len(frames):
                poller.register(self.requests, select.POLLOUT)
            ready = dict(poller.poll(wall_seconds * 1000))
            if not ready:
                self.late = True
                return
            if self.requests in ready:
                pending, sent = self._send(frames, pending, sent)
            if self.answers in ready:
                chunk = os.read(self.answers, _CHUNK)
                if not chunk:
                    self.ended = True
                    return
                received += chunk
                for answer in _frames(received):
                    expected -= 1
                    yield answer
                if expected and self.requests not in ready:
                    time.sleep(_PAUSE)

    def _send(self, frames: Sequence[bytes], index: int, sent: int) -> tuple[int, int]:
        """Write what the pipe takes, in one call: after each Python's other threads have their turn. The position from
        which to go on. A closed pipe counts as all sent: the answers' end of file tells the rest."""
        try:
            sent += os.writev(self.requests, [memoryview(frames[index])[sent:], *frames[index + 1 : index + _TOGETHER]])
        except BlockingIOError:
            pass
        except BrokenPipeError:
            return len(frames), 0
        while index < len(frames) and sent >= len(frames[index]):
            index, sent = index + 1, sent - len(frames[index])
        return index, sent

    def end(self) -> bool:
        """Kill and reap; no process and no descriptor stays behind. Whether it had been taking too long."""
        if self.ended:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=5)
        self.process.kill()
        self.forget()
        return self.process.wait() == -signal.SIGPROF or self.late

    def forget(self) -> None:
        """Close our ends of the pipes only: what a forked process does with its parent's child."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


def _pipe(stream: IO[bytes] | None) -> int:
    if stream is None:
        raise TypeError("Popen was asked for both pipes")
    os.set_blocking(stream.fileno(), False)
    with contextlib.suppress(OSError, AttributeError):  # Linux only, and a busy machine may refuse: it is only slower
        fcntl.fcntl(stream.fileno(), fcntl.F_SETPIPE_SZ, _CHUNK)
    return stream.fileno()


def _frames(received: bytearray) -> Iterator[bytes]:
    """The whole answers at the front of `received`, which keeps the rest. ValueError where a length is absurd."""
    position, size = 0, wire.ANSWER.size
    while position + size <= len(received):
        (length,) = wire.ANSWER.unpack_from(received, position)
        if length > wire.MAX_ANSWER:
            raise ValueError("The parser's answer is too long.")
        if position + size + length > len(received):
            break
        yield bytes(received[position + size : position + size + length])
        position += size + length
    del received[:position]


class BoundedParser:
    """A parser in a child process, started when first needed and again after it died. Safe to share between threads."""

    def __init__(self, command: Sequence[str] | None = None, *, wall_seconds: float = WALL_SECONDS) -> None:
        self._command = command
        self._wall_seconds = wall_seconds
        self._child: _Child | None = None
        self._overran = False
        """Whether the last child that died had been taking too long."""
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start the child now, from this thread: the kernel would end it with a shorter-lived thread that did. Where it
        runs already nobody waits for what it is at."""
        if self._child is None:
            with self._lock:
                self._child = self._child or _Child(self._command or child_command())

    def parse(self, raw: bytes, *, truncated: bool = False) -> ParsedMessage:
        """One message; many are cheaper together."""
        return self.parse_many([raw], [truncated])[0]

    def parse_many(self, raws: Sequence[bytes], truncated: Sequence[bool] = ()) -> list[ParsedMessage]:
        """The messages parsed, in order. `truncated` says, message by message, that only the beginning is there."""
        flags = [wire.TRUNCATED if flag else 0 for flag in truncated] or [0] * len(raws)
        jobs = list(zip(flags, raws, strict=True))
        parsed: list[ParsedMessage] = []
        with self._lock:
            while len(parsed) < len(jobs):
                parsed.extend(self._run(jobs[len(parsed) :]))
                if len(parsed) < len(jobs):
                    parsed.append(self._alone(*jobs[len(parsed)]))
        return parsed

    def close(self) -> None:
        """End the child. The next call starts a new one."""
        with self._lock:
            self._end_child()

    def forget(self) -> None:
        """After a fork: leave the parent's child alone."""
        if self._child is not None:
            self._child.forget()
            self._child.process.returncode = 0  # it is not ours to wait for
            self._child = None

    def _run(self, jobs: Sequence[tuple[int, bytes]]) -> list[ParsedMessage]:
        """The answers up to the first message the child did not survive; then the child is gone too."""
        child = self._child = self._child or _Child(self._command or child_command())
        parsed: list[ParsedMessage] = []
        try:
            for answer in child.exchange(_requests(jobs), self._wall_seconds):
                parsed.append(wire.decode(answer))
        except (
            ValueError,
            TypeError,
            OverflowError,
            RecursionError,
        ):  # not a frame of ours: what sent it is not to be trusted any further
            self._end_child()
        else:
            if len(parsed) < len(jobs):
                self._end_child()
        return parsed

    def _alone(self, flags: int, raw: bytes) -> ParsedMessage:
        """The message whose turn it was when the child ended: once more by itself unless it took too long, for the
        child may have been killed from outside; then its headers; then nothing but the fact."""
        defect = TOO_LONG if self._overran else TOO_HARD
        if not self._overran and (again := self._run([(flags, raw)])):
            return again[0]
        by_headers = self._run([(wire.HEADERS_ONLY, raw)])
        return replace(by_headers[0], defect=defect) if by_headers else message.unreadable(defect)

    def _end_child(self) -> None:
        if self._child is not None:
            child, self._child = self._child, None
            self._overran = child.end()


def _requests(jobs: Sequence[tuple[int, bytes]]) -> list[bytes]:
    frames: list[bytes] = []
    for flags, raw in jobs:
        if len(raw) > MAX_RAW:
            flags, raw = flags | wire.TRUNCATED, raw[:MAX_RAW]
        frames += (wire.REQUEST.pack(flags, len(raw)), raw)
    return frames


_shared: dict[int, BoundedParser] = {}
_shared_lock = threading.Lock()


def shared() -> BoundedParser:
    """This process's parser. Every process of a prefork pool gets its own; it ends with the process."""
    with _shared_lock:
        parser = _shared.get(os.getpid())
        if parser is None:
            parser = _shared[os.getpid()] = BoundedParser()
            atexit.register(parser.close)
        return parser


def _after_fork() -> None:
    """A forked process must not hold the parent's pipes open, nor a lock another thread held."""
    global _shared_lock
    _shared_lock = threading.Lock()
    for parser in _shared.values():
        parser.forget()
    _shared.clear()


os.register_at_fork(after_in_child=_after_fork)
