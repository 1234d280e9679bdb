"""A parsing child that fails on command, for the tests of `bounded`: the real loop around a parser that a message's
first word makes hang, die, grow, or answer nonsense."""

from __future__ import annotations

import os
import signal
import sys
import time

from email_sync.parsing import child
from email_sync.records import ParsedMessage


def parse(raw: bytes, flags: int) -> ParsedMessage:
    word = raw.split(b"\n", 1)[0].removeprefix(b"Subject: ")
    wanted = not flags & 2 or b"always" in raw  # asked for the headers alone, most faults are over
    if wanted and word == b"spin":
        while True:
            pass
    if wanted and word == b"die":
        os.kill(os.getpid(), signal.SIGKILL)
    if wanted and word == b"sleep":
        time.sleep(60)
    if wanted and word == b"garble":
        sys.stdout.buffer.write(b"\xff" * 64)
        sys.stdout.buffer.flush()
    if wanted and word == b"grow":
        bytearray(2 * child.ADDRESS_SPACE)
    if word == b"once" and not os.path.exists(marker := raw.split(b"\n")[-1].decode()):
        open(marker, "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    return child.parse(raw, flags)


if __name__ == "__main__":
    child.CPU_SECONDS = 0.3
    child.main(parse)
