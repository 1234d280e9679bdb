"""The child process that parses: `python -m email_sync.parsing.child PARENT_PID`. Started by `bounded`, by nothing
else.

It imports no Django, holds no secret, opens nothing. Limits: 512 MiB of address space, 5 s of CPU per message (the
kernel ends the process, even inside C code), no core file. It ends with its parent and when its input ends.
"""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import signal
import sys
from collections.abc import Callable
from typing import BinaryIO

from email_sync.parsing import message, wire
from email_sync.records import ParsedMessage

CPU_SECONDS = 5.0
ADDRESS_SPACE = 512 * 1024 * 1024
OPEN_FILES = 64
COLLECTED_AFTER = 20_000
"""Objects, before Python looks for cycles among them."""
READ_AHEAD = 1024 * 1024
"""Bytes of requests taken at a time."""

HEADERS_ONLY_DEFECT = "Only the headers could be read."
_PR_SET_PDEATHSIG = 1


def parse(raw: bytes, flags: int) -> ParsedMessage:
    """What one request asks for."""
    if flags & wire.HEADERS_ONLY:
        return message.headers_only(raw, HEADERS_ONLY_DEFECT)
    return message.parse(raw, truncated=bool(flags & wire.TRUNCATED))


def serve(parser: Callable[[bytes, int], ParsedMessage], source: BinaryIO, sink: BinaryIO) -> None:
    """Answer requests one by one until the input ends; each answer leaves at once, so the parent sees who was next.
    Waiting for the next one takes no CPU, so the clock need not be stopped."""
    while len(header := source.read(wire.REQUEST.size)) == wire.REQUEST.size:
        flags, length = wire.REQUEST.unpack(header)
        raw = source.read(length)
        signal.setitimer(
            signal.ITIMER_PROF, CPU_SECONDS
        )  # SIGPROF is left at its default: it ends the process; waiting takes no CPU
        answer = wire.encode(parser(raw, flags))
        del raw
        sink.write(wire.ANSWER.pack(len(answer)) + answer)
        sink.flush()


def limit(parent: int) -> None:
    """Bind this process: memory, files, no core, and its life to the parent's."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the line above
            sys.exit(0)


def main(parser: Callable[[bytes, int], ParsedMessage] = parse) -> None:
    limit(int(sys.argv[1]))
    gc.freeze()
    gc.set_threshold(
        COLLECTED_AFTER
    )  # a message leaves no cycle behind, and what it is made of would be looked through
    with open(sys.stdin.fileno(), "rb", buffering=READ_AHEAD, closefd=False) as requests:
        serve(parser, requests, sys.stdout.buffer)


if __name__ == "__main__":
    main()
