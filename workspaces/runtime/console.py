"""What `manage.py up` prints: children's lines with their name before them, and a box for what is shown once."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TextIO

COLOURS = ("36", "35", "33", "32", "34")
"""ANSI: cyan, magenta, yellow, green, blue."""
WIDTH = 10


class Console:
    """Coloured names on a terminal, plain text in a file or a pipe."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._coloured = stream.isatty()
        self._names: list[str] = []

    def line(self, name: str, text: str) -> None:
        """One line of one child's output."""
        self._write(f"{self._label(name)} {text.rstrip()}")

    def box(self, title: str, rows: Sequence[tuple[str, str]]) -> None:
        """Labelled values in a frame; values stand whole on their line, so that they can be copied."""
        widest = max(len(label) for label, _ in rows)
        lines = [title, "", *(f"{label.ljust(widest)}  {value}" for label, value in rows)]
        rule = "─" * (max(map(len, lines)) + 2)
        self._write("\n".join([f"┌{rule}", *(f"│ {line}".rstrip() for line in lines), f"└{rule}"]))

    def _label(self, name: str) -> str:
        if name not in self._names:
            self._names.append(name)
        label = f"{name.ljust(WIDTH)}│"
        colour = COLOURS[self._names.index(name) % len(COLOURS)]
        return f"\x1b[{colour}m{label}\x1b[0m" if self._coloured else label

    def _write(self, text: str) -> None:
        with contextlib.suppress(BrokenPipeError):  # whoever read us is gone; the product goes on
            self._stream.write(text + "\n")
            self._stream.flush()
