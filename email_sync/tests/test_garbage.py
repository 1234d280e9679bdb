"""Python's search for cycles: rare while a slice works, as before afterwards, whatever ended it."""

from __future__ import annotations

import gc

import pytest

from email_sync.services.garbage import COLLECTED_AFTER, rare_collections


def test_rare_collections_end_with_the_slice() -> None:
    before = gc.get_threshold()
    with rare_collections():
        assert gc.get_threshold() == (max(COLLECTED_AFTER, before[0]), *before[1:])
    assert gc.get_threshold() == before


def test_rare_collections_end_with_a_slice_that_fails() -> None:
    before = gc.get_threshold()
    with pytest.raises(ValueError, match="broke"), rare_collections():
        raise ValueError("broke")
    assert gc.get_threshold() == before


def test_cycles_of_a_slice_are_collected_while_it_works() -> None:
    class Cycle:
        alive = 0

        def __init__(self) -> None:
            self.own = self
            Cycle.alive += 1

        def __del__(self) -> None:
            Cycle.alive -= 1

    with rare_collections():
        for _ in range(COLLECTED_AFTER * 2):
            Cycle()
        assert Cycle.alive <= COLLECTED_AFTER
