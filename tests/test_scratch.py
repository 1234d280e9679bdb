"""Folders of test runs: one's own while one lives, gone afterwards, whichever way one ends."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from config.env import PROJECT
from tests import scratch

MAKES_ONE = "import sys; from tests import scratch; print(scratch.own_folder(), flush=True); sys.stdin.read()"

Runs = Callable[[], tuple[subprocess.Popen[str], Path]]


@pytest.fixture
def run() -> Iterator[Runs]:
    """Starts another process with a folder of its own, which ends when its stdin is closed."""
    started = []

    def start() -> tuple[subprocess.Popen[str], Path]:
        process = subprocess.Popen(
            [sys.executable, "-c", MAKES_ONE], cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout is not None
        folder = Path(process.stdout.readline().strip())
        assert folder.is_dir()
        (folder / "data").mkdir()
        return process, folder

    yield start
    for process in started:
        process.kill()
        process.communicate()
    scratch.sweep()


def test_folder_goes_when_its_process_ends(run: Runs) -> None:
    process, folder = run()
    process.communicate()
    assert not folder.exists()


def test_folder_of_a_killed_process_is_swept_and_that_of_a_living_one_is_not(run: Runs) -> None:
    killed, left = run()
    _, used = run()
    killed.kill()
    killed.communicate()
    assert left.is_dir()
    scratch.sweep()
    assert not left.exists()
    assert (used / "data").is_dir()


def test_temporary_folders_of_tests_lie_in_the_folder_of_their_run(tmp_path: Path) -> None:
    """And so does an embedded server that a test starts in one."""
    assert any((parent / scratch.LOCK).exists() for parent in tmp_path.parents)
