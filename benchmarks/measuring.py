"""Timing, the result file and the table. Called by every row.

A figure is the median of `ROUNDS` after one warm-up; product and baseline take turns within a round, so that a noisy
machine hurts both. `Report` prints what a person reads and appends a JSON line per figure to a file for machines.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.db import connection as database

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

    def ratio(
        self, name: str, ours: Figure, baseline: Figure, *, at_least: float = 0, at_most: float = math.inf
    ) -> Figure:
        """`ours` over `baseline`, of the medians, and whether that is the goal."""
        value = ours.value / baseline.value
        note = f"{ours.name} ÷ {baseline.name}"
        return self.add(name, "×", value, note + _verdict(value, at_least, at_most))

    def within(self, name: str, figure: Figure, at_most: float) -> Figure:
        """A figure's share of its goal."""
        return self.add(
            name, "×", figure.value / at_most, f"of {at_most:g} {figure.unit}{_verdict(figure.value, 0, at_most)}"
        )

    def show(self) -> None:
        """The table on stdout."""
        print(f"\n{self.row}  (load of the machine before: {self.load_before:.1f})")
        width = max(len(figure.name) for figure in self.figures)
        for figure in self.figures:
            spread = f"{_number(min(figure.values))}-{_number(max(figure.values))}" if len(figure.values) > 1 else ""
            print(f"  {figure.name:<{width}}  {_number(figure.value):>9} {figure.unit:<5} {spread:<16} {figure.note}")


def _verdict(value: float, at_least: float, at_most: float) -> str:
    """ " · goal …: met", "" where none is set."""
    if not at_least and at_most == math.inf:
        return ""
    goal = f"at least {at_least:g}" if at_least else f"at most {at_most:g}"
    return f" · goal {goal}: {'met' if at_least <= value <= at_most else 'MISSED'}"


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


class StatementClock:
    """How long the statements inside it took together."""

    milliseconds = 0.0

    def __enter__(self) -> StatementClock:
        self._wrapping = database.execute_wrapper(self._time)
        self._wrapping.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._wrapping.__exit__(*error)

    def _time(self, execute: Callable[..., Any], sql: str, values: Any, many: bool, context: Any) -> Any:
        began = time.perf_counter()
        try:
            return execute(sql, values, many, context)
        finally:
            self.milliseconds += (time.perf_counter() - began) * 1000


def say(text: str) -> None:
    """Progress, a line at a time."""
    print(f"  … {text}", flush=True)
