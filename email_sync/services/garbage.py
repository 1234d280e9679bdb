"""Python's search for cycles of garbage while mail is stored. Called by the engine around a slice."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

COLLECTED_AFTER = 20_000
"""Objects: a few megabytes, should they all be garbage."""


@contextmanager
def rare_collections() -> Iterator[None]:
    """Python looks for cycles after every 700 new objects. A page has ten thousands and hardly a cycle among them: the
    search took a sixth of a worker's time. In whatever thread it runs, it is the whole process's."""
    before = gc.get_threshold()
    gc.set_threshold(max(COLLECTED_AFTER, before[0]), *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
