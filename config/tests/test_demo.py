"""`manage.py demo`: it makes its data anew, but never under a demo that runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from workspaces.runtime import product


def test_demo_leaves_the_data_of_a_running_demo_alone(tmp_path: Path, settings: Any) -> None:
    settings.BASE_DIR = tmp_path
    with product.alone(tmp_path / ".demo"):
        (tmp_path / ".demo" / "data").touch()
        with pytest.raises(CommandError, match="already runs"):
            call_command("demo")
    assert (tmp_path / ".demo" / "data").exists()
