"""Fixtures of the tests of outbound mail: providers in memory, and the simulator as the real ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from email_logs.tests import postbox
from simulator.process import Simulator, running


@pytest.fixture
def postboxes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The types POSTBOX and POSTBOX_KEYED."""
    postbox.register(monkeypatch)
    yield
    postbox.forget()


@pytest.fixture(scope="session")
def simulator_process() -> Iterator[Simulator]:
    with running() as simulator:
        yield simulator


@pytest.fixture
def simulator(simulator_process: Simulator, settings: Any) -> Simulator:
    """The product's settings point there."""
    simulator_process.reset(seed=1)
    for name, value in simulator_process.env().items():
        setattr(settings, name, value.split(",") if name == "EGRESS_ALLOW_CIDRS" else value)
    return simulator_process
