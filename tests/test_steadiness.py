"""A few tests that fail in the crowd get one more chance, in plain sight; whatever else goes wrong gets none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from config.env import PROJECT
from tests import steadiness

PYTEST = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")
SHY = """
from pathlib import Path

def test_shy():
    first = not Path("seen").exists()
    Path("seen").touch()
    assert not first, "too many people"

def test_well(): pass
"""
STUBBORN = "def test_stubborn(): assert False, 'never'"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of its own, in which pytest runs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    for name in [name for name in os.environ if name.startswith("PYTEST_")]:  # they are of the run around this one
        monkeypatch.delenv(name)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    return tmp_path


def run(folder: Path, text: str, *more: str) -> Path:
    """Runs a file of that text; where its verdict is."""
    (folder / "test_it.py").write_text(text)
    verdict = folder / "verdict.json"
    options = ("-p", "tests.steadiness", f"--verdict={verdict}", *more)
    subprocess.run([*PYTEST, *options], capture_output=True, timeout=120)
    return verdict


@pytest.mark.parametrize("more", [(), ("-p", "xdist", "-n", "2")], ids=["in one process", "in two"])
def test_test_that_passes_alone_is_forgiven_and_shown_with_its_first_failure(
    folder: Path, capfd: pytest.CaptureFixture[str], more: tuple[str, ...]
) -> None:
    verdict = run(folder, SHY, *more)
    assert list(steadiness.failures(verdict)) == ["test_it.py::test_shy"]
    assert steadiness.main([str(verdict), *PYTEST]) == 0
    told = capfd.readouterr().out
    assert "UNSTEADY 1 of 1: test_it.py::test_shy" in told
    assert "too many people" in told
    assert "UNSTEADY and passed alone: test_it.py::test_shy" in told


def test_test_that_fails_again_fails_the_run(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    verdict = run(folder, SHY + STUBBORN)
    assert steadiness.main([str(verdict), *PYTEST]) == 1
    told = capfd.readouterr().out
    assert "UNSTEADY and FAILED AGAIN: test_it.py::test_stubborn" in told


STORY = """
from pathlib import Path

told = []

def test_beginning():
    told.append("once upon a time")

def test_end():
    first = not Path("seen").exists()
    Path("seen").touch()
    assert told and not first
"""


def test_test_is_run_again_with_those_before_it_that_it_lives_on(folder: Path) -> None:
    assert steadiness.main([str(run(folder, STORY)), *PYTEST]) == 0


@pytest.mark.parametrize(
    ("text", "more"),
    [("import nothing_of_that_name", ()), ("def test_well(): pass", ()), (SHY, ("--no-such-option",))],
    ids=["does not import", "passes, so something else failed", "never began"],
)
def test_run_that_failed_otherwise_gets_no_second_chance(folder: Path, text: str, more: tuple[str, ...]) -> None:
    verdict = run(folder, text, *more)
    assert steadiness.failures(verdict) == {}
    assert steadiness.main([str(verdict), "true"]) == 1


def test_interrupted_run_gets_no_second_chance(folder: Path) -> None:
    """The others have not been seen to pass."""
    verdict = run(folder, SHY + "\ndef test_stop(): raise KeyboardInterrupt\n")
    assert steadiness.failures(verdict) == {}


def test_more_than_a_few_failures_get_no_second_chance() -> None:
    few = {f"test_{number}.py::test_it": "words" for number in range(steadiness.FEW)}
    asked: list[str] = []

    def again(test: str) -> bool:
        asked.append(test)
        return True

    assert steadiness.passes_alone(few, again)
    assert asked == [f"test_{number}.py" for number in range(steadiness.FEW)]
    asked.clear()
    assert not steadiness.passes_alone({**few, "test_more": "words"}, again)
    assert asked == []
