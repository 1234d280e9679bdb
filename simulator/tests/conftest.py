"""One simulator process for all tests of this folder, reset before each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from simulator.process import Simulator, running
from simulator.tests.factories import GmailApi, GraphApi, connect_google, connect_graph


@pytest.fixture(scope="session")
def simulator_process() -> Iterator[Simulator]:
    with running() as simulator:
        yield simulator


@pytest.fixture
def simulator(simulator_process: Simulator) -> Simulator:
    simulator_process.reset(seed=1)
    return simulator_process


@pytest.fixture
def ada(simulator: Simulator) -> GmailApi:
    """An empty mailbox, connected with the full mail scope."""
    simulator.create_account("google", "ada@hub.example", name="Ada Lovelace")
    return connect_google(simulator, "ada@hub.example")


@pytest.fixture
def kim(simulator: Simulator) -> GraphApi:
    """An empty Exchange mailbox, connected with Mail.ReadWrite and Mail.Send, asking for immutable ids."""
    simulator.create_account("microsoft", "kim@hub.example", name="Kim Larsen", aliases=["kl@hub.example"])
    return connect_graph(simulator, "kim@hub.example")
