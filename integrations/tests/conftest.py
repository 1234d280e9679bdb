"""Fixtures of the connection tests: the simulator as Google and Microsoft, engines that only count, accounts there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from integrations.services import sync_runs
from integrations.tests.flows import Hub
from simulator.process import Simulator, running

ADA, BOB = "ada@hub.example", "bob@hub.example"


@pytest.fixture(scope="session")
def simulator_process() -> Iterator[Simulator]:
    with running() as simulator:
        yield simulator


@pytest.fixture
def engines(settings: Any) -> Iterator[None]:
    """Email for Google and IMAP, as in the product before calendars: no engine of another app is loaded here."""
    settings.SYNC_ENGINES = {"email": "integrations.tests.engines.EmailEngine"}
    sync_runs.engines.cache_clear()
    yield
    sync_runs.engines.cache_clear()


@pytest.fixture
def with_calendar(engines: None, settings: Any) -> None:
    """Calendars too, for Google."""
    settings.SYNC_ENGINES = {**settings.SYNC_ENGINES, "calendar": "integrations.tests.engines.CalendarEngine"}
    sync_runs.engines.cache_clear()


@pytest.fixture
def simulator(simulator_process: Simulator, settings: Any, engines: None) -> Simulator:
    """Two people at Google and at Microsoft, and the product's settings pointing there."""
    simulator_process.reset(seed=1)
    for name, value in simulator_process.env().items():
        setattr(settings, name, value.split(",") if name == "EGRESS_ALLOW_CIDRS" else value)
    for vendor in ("google", "microsoft"):
        simulator_process.create_account(vendor, ADA, name="Ada Lovelace")
        simulator_process.create_account(vendor, BOB, name="Bob Burns")
    return simulator_process


@pytest.fixture
def hub(simulator: Simulator, db: None) -> Hub:
    """The product with a provider to talk to."""
    return Hub(simulator)
