"""Timing, the result file and the table. Called by every row.

A figure is the median of `ROUNDS` after one warm-up; product and baseline take turns within a round, so that a noisy
machine hurts both. `Report` prints what a person reads and appends a JSON line per figure to a file for machines.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

ROUNDS = 3


class Missing(Exception):
    """A program that the row needs is not installed; the message says how to get it."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table. `values` are the rounds; `value` is their median."""

    name: str
    unit: str
    values: tuple[float, ...]
    note: str = ""

    @property
    def value(self) -> float:
        return statistics.median(self.values)


@dataclass
class Report:
    """The figures of one row."""

    row: str
    path: Path
    figures: list[Figure] = field(default_factory=list)
    load_before: float = field(default_factory=lambda: os.getloadavg()[0])
    """Of the machine: over 0.5 somebody else was at work, and the figures are worth less."""

    def add(self, name: str, unit: str, values: Iterable[float] | float, note: str = "") -> Figure:
        """Note a figure: a single one or one value a round."""
        rounds = (float(values),) if isinstance(values, int | float) else tuple(values)
        figure = Figure(name, unit, rounds, note)
        self.figures.append(figure)
        with self.path.open("a") as file:
            file.write(json.dumps(self._line(figure)) + "\n")
        return figure

    def _line(self, figure: Figure) -> dict[str, object]:
        return {
            "row": self.row, "figure": figure.name, "unit": figure.unit, "value": figure.value,
            "rounds": figure.values, "note": figure.note, "load_before": self.load_before,
        }  # fmt: skip

    def ratio(self, name: str, ours: Figure, baseline: Figure) -> Figure:
        """`ours` over `baseline`, of the medians."""
        return self.add(name, "×", ours.value / baseline.value, f"{ours.name} ÷ {baseline.name}")

    def show(self) -> None:
        """The table on stdout."""
        print(f"\n{self.row}  (load of the machine before: {self.load_before:.1f})")
        width = max(len(figure.name) for figure in self.figures)
        for figure in self.figures:
            spread = f"{_number(min(figure.values))}-{_number(max(figure.values))}" if len(figure.values) > 1 else ""
            print(f"  {figure.name:<{width}}  {_number(figure.value):>9} {figure.unit:<5} {spread:<16} {figure.note}")


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def percentile(samples: Iterable[float], share: float) -> float:
    """The sample below which `share` of them are."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def say(text: str) -> None:
    """Progress, a line at a time."""
    print(f"  … {text}", flush=True)
