"""Progress of a long command: one line that redraws itself on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import time
from typing import Protocol


class Out(Protocol):
    """A stream or a command's `self.stdout`."""

    def write(self, text: str, /) -> object: ...

    def flush(self) -> object: ...

    def isatty(self) -> bool: ...


class Progress:
    """Counts, rate and time left. `step` often, `close` once."""

    def __init__(self, out: Out, *, what: str, total: int) -> None:
        self.out, self.what, self.total, self.done = out, what, total, 0
        self._terminal = out.isatty()
        self._every = 0.2 if self._terminal else 5.0
        self._began = time.monotonic()
        self._shown = self._began

    def step(self, count: int = 1) -> None:
        """`count` more are done."""
        self.done += count
        if time.monotonic() - self._shown >= self._every:
            self._show(end="")

    def close(self) -> None:
        self._show(end="\n" if self._terminal else "")

    def line(self) -> str:
        """`rotated 1,200 of 10,000 (12 %), 840/s, 10 s left`."""
        rate = self.done / max(time.monotonic() - self._began, 0.001)
        left = max(self.total - self.done, 0)
        percent = f" ({100 * self.done // self.total} %)" if self.total else ""
        ahead = f", {left / rate:.0f} s left" if left and rate > 0 else ""
        return f"{self.what} {self.done:,} of {self.total:,}{percent}, {rate:,.0f}/s{ahead}"

    def _show(self, *, end: str) -> None:
        self._shown = time.monotonic()
        self.out.write(f"\r\x1b[K{self.line()}{end}" if self._terminal else f"{self.line()}\n")
        self.out.flush()
