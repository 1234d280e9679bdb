"""Surroundings of the tests that look at the whole product."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture(autouse=True)
def _static_files_are_looked_up_when_asked_for(settings: Any) -> None:
    """Every test client is a web server of its own: that each of them lists all static files first is half the time of
    a suite that makes hundreds of clients."""
    settings.WHITENOISE_AUTOREFRESH = True
