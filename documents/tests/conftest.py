"""A store of its own for each test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from documents.tests.test_scanning import daemon  # noqa: F401 - a fixture


@pytest.fixture(autouse=True)
def _own_store(settings: Any, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path
