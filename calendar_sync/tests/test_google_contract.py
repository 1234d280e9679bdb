"""The Google Calendar provider passes the calendar contract, against the simulator."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from calendar_sync.tests.contract import CalendarReadingContract, CalendarTroubleContract
from calendar_sync.tests.google_simulator import GoogleHarness
from simulator.process import Simulator, running


@pytest.fixture(scope="module")
def process() -> Iterator[Simulator]:
    with running() as simulator:
        yield simulator


@pytest.fixture
def harness(process: Simulator, settings: Any) -> GoogleHarness:
    settings.EGRESS_ALLOW_CIDRS = ["127.0.0.0/8"]
    process.reset(seed=6)
    return GoogleHarness(process, "ada@contract.test")


class TestGoogleCalendarContract(CalendarReadingContract):
    pass


class TestGoogleCalendarTrouble(CalendarTroubleContract):
    pass
