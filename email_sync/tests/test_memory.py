"""The mailbox in memory keeps the same promises as the real providers, or tests that lean on it prove nothing."""

from __future__ import annotations

import pytest

from email_sync.tests.contract import MailProviderContract
from email_sync.tests.memory import MemoryHarness


class TestMemoryContract(MailProviderContract):
    """Every promise of the contract suite."""

    @pytest.fixture
    def harness(self) -> MemoryHarness:
        return MemoryHarness()
