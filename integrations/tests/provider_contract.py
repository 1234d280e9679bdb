"""What every integration provider promises, tried against the simulator over HTTP.

A provider's test file subclasses `ProviderContract`, says how to make a good provider and which calls there are, and
gets these tests for its check and each of its actions; what is peculiar to the vendor it tests itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest

from core.errors import (
    CredentialsRejected,
    HubError,
    ProviderOutcomeUnknown,
    ProviderRateLimited,
    ProviderUnavailable,
)
from integrations.providers.base import Checked, IntegrationProvider
from simulator.process import Simulator

SECRET_WORD = "canary"
"""Every secret of a provider under test holds it; no error may."""


@dataclass(frozen=True)
class Call:
    """A check or an action: its name, its input, and what the simulator calls the request it makes first."""

    name: str
    operation: str
    given: Mapping[str, Any] = field(default_factory=dict)
    repeatable: bool = True
    """Whether a lost answer may be asked for again; else the outcome is unknown."""
    throttled: Mapping[str, str] = field(default_factory=lambda: {"Retry-After": "7"})
    """Headers of the vendor's 429 that ask to wait seven seconds."""
    bodiless: bool = False
    """The vendor's good answer has no body, so that nothing of it can be cut."""


class ProviderContract:
    """Subclasses set `calls` ("check" among them) and `make`."""

    calls: ClassVar[tuple[Call, ...]]

    def make(self, simulator: Simulator, **credentials: str) -> IntegrationProvider:
        """A provider whose credentials are good, other than those given."""
        raise NotImplementedError

    def run(self, simulator: Simulator, call: Call) -> Any:
        """Do it as the service does."""
        provider = self.make(simulator)
        if call.name == "check":
            return provider.check()
        return provider.perform(call.name, call.given)

    def refused(self, simulator: Simulator, call: Call, kind: type[HubError]) -> HubError:
        """The error it ends in; it tells no secret."""
        with pytest.raises(kind) as caught:
            self.run(simulator, call)
        assert SECRET_WORD not in f"{caught.value.message} {caught.value.extra} {caught.value.fields}"
        return caught.value

    def hurry(self, kind: type[IntegrationProvider], monkeypatch: pytest.MonkeyPatch) -> None:
        """Let its requests wait for a fraction of a second only."""
        monkeypatch.setattr(kind, "timeout", 0.3)

    def pytest_generate_tests(self, metafunc: Any) -> None:
        """A test per call."""
        if "call" in metafunc.fixturenames:
            metafunc.parametrize("call", self.calls, ids=[call.name for call in self.calls])

    def test_call_works(self, simulator: Simulator, call: Call) -> None:
        found = self.run(simulator, call)
        assert found.message if isinstance(found, Checked) else isinstance(found, Mapping)

    def test_call_with_a_refused_key_says_so(self, simulator: Simulator, call: Call) -> None:
        simulator.fault("status", operation=call.operation, status=401)
        assert self.refused(simulator, call, CredentialsRejected).code in ("credentials_rejected", "needs_reconnect")

    def test_call_that_is_throttled_waits_as_long_as_it_was_asked(self, simulator: Simulator, call: Call) -> None:
        simulator.fault("status", operation=call.operation, status=429, headers=dict(call.throttled))
        error = self.refused(simulator, call, ProviderRateLimited)
        assert isinstance(error, ProviderRateLimited)
        assert error.retry_after == pytest.approx(7, abs=2)

    @pytest.mark.parametrize(
        "fault",
        [("status", {"status": 500}), ("garbage", {}), ("close", {}), ("truncate", {"fraction": 0.5})],
        ids=["500", "garbage", "close", "truncate"],
    )
    def test_call_that_fails_is_unavailable_or_unknown(
        self, simulator: Simulator, call: Call, fault: tuple[str, dict[str, Any]]
    ) -> None:
        kind, how = fault
        simulator.fault(kind, operation=call.operation, **how)
        if kind == "truncate" and call.bodiless:
            assert self.run(simulator, call)
            return
        error = self.refused(simulator, call, ProviderUnavailable)
        if not call.repeatable and kind == "close":
            assert isinstance(error, ProviderOutcomeUnknown)

    def test_call_that_gets_no_answer_ends_in_time(
        self, simulator: Simulator, call: Call, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.hurry(type(self.make(simulator)), monkeypatch)
        simulator.fault("hang", operation=call.operation, seconds=3)
        error = self.refused(simulator, call, ProviderUnavailable)
        assert isinstance(error, ProviderOutcomeUnknown) or call.repeatable
