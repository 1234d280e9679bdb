"""Stretches of time, half-open, and what is left of them: merging and taking away.

Used by free/busy and by whoever finds a time. Lists are in order and their stretches neither overlap nor touch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

Stretch = tuple[datetime, datetime]


def merged(stretches: Iterable[Stretch]) -> list[Stretch]:
    """All of these as one list; empty ones are nothing."""
    found: list[Stretch] = []
    for begin, end in sorted(one for one in stretches if one[0] < one[1]):
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((begin, end))
    return found


def without(stretches: Sequence[Stretch], taken: Sequence[Stretch]) -> list[Stretch]:
    """What is left of one list without another, in one pass."""
    left: list[Stretch] = []
    position = 0
    for begin, end in stretches:
        while position < len(taken) and taken[position][1] <= begin:
            position += 1
        here = position
        while here < len(taken) and taken[here][0] < end:
            if begin < taken[here][0]:
                left.append((begin, taken[here][0]))
            begin = max(begin, taken[here][1])
            here += 1
        if begin < end:
            left.append((begin, end))
    return left


def clipped(stretches: Iterable[Stretch], begin: datetime, end: datetime) -> list[Stretch]:
    """As much of them as lies between two moments."""
    inside = ((max(first, begin), min(last, end)) for first, last in stretches)
    return [(first, last) for first, last in inside if first < last]
