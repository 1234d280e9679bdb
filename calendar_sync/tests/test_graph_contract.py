"""Microsoft's calendars pass the calendar contract, against the simulator."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from calendar_sync.providers.graph import listing
from calendar_sync.tests.contract import CalendarReadingContract, CalendarTroubleContract
from calendar_sync.tests.graph_simulator import GraphHarness
from simulator.process import Simulator, running


@pytest.fixture(scope="module")
def process() -> Iterator[Simulator]:
    with running() as simulator:
        yield simulator


@pytest.fixture
def harness(process: Simulator, settings: Any, monkeypatch: pytest.MonkeyPatch) -> GraphHarness:
    """Pages hold three events, one of them seen before."""
    settings.EGRESS_ALLOW_CIDRS = ["127.0.0.0/8"]
    monkeypatch.setattr(listing, "PAGE", 3)
    monkeypatch.setattr(listing, "REMEMBERED", 1)
    process.reset(seed=6)
    return GraphHarness(process, "ada@contract.test")


class TestGraphCalendarContract(CalendarReadingContract):
    pass


class TestGraphCalendarTrouble(CalendarTroubleContract):
    pass
