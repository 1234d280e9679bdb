"""What `.ci/run` does about tests that fail in the crowd of a whole run: the files of a few are run once more, alone.

A file and not a test, because some files tell one story from test to test. Nothing is hidden: the run says UNSTEADY
with what the first failure said, and passes only where everything in those files passes now. `make test` and
`make test-services` themselves stay strict. Two sides: a plugin of pytest that writes down how a run ended
(`-p tests.steadiness --verdict=FILE`), and a program that judges it (`python -m tests.steadiness FILE COMMAND…`, where
COMMAND followed by a test file runs that file).
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

FEW = 3
"""More failures than that are no matter of steadiness."""


class Recorder:
    """Keeps each failed test's first failure and writes them down at the end."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.failed: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.setdefault(report.nodeid, report.longreprtext)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.failed.setdefault(report.nodeid, report.longreprtext)

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        self.file.write_text(json.dumps({"status": int(exitstatus), "failed": self.failed}))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--verdict", help="write down there how the run ended")


def pytest_configure(config: pytest.Config) -> None:
    file = config.getoption("--verdict")
    if file and not hasattr(config, "workerinput"):  # a process of xdist sees a part only
        config.pluginmanager.register(Recorder(Path(file)))


def failures(file: Path) -> dict[str, str]:
    """The failed tests, id → what it said, where that is all that went wrong; else none. A run that was interrupted or
    never began has not shown that the others pass."""
    if not file.exists():
        return {}
    verdict: dict[str, Any] = json.loads(file.read_text())
    return verdict["failed"] if verdict["status"] == pytest.ExitCode.TESTS_FAILED else {}


def passes_alone(failed: dict[str, str], again: Callable[[str], bool]) -> bool:
    """Whether so few failed that they got a second chance, and each took it. Says what happened."""
    if not failed or len(failed) > FEW:
        print(f"{len(failed)} failed tests: no second chance." if failed else "Not a matter of single tests.")
        return False
    for number, (test, words) in enumerate(failed.items(), 1):
        print(f"\n{'═' * 100}\nUNSTEADY {number} of {len(failed)}: {test}\nfirst failed with\n{'═' * 100}\n{words}\n")
    print(f"{'═' * 100}\nonce more, each of their files alone\n{'═' * 100}", flush=True)
    passed = {file: again(file) for file in dict.fromkeys(map(_file, failed))}
    for test in failed:
        print(f"UNSTEADY {'and passed alone' if passed[_file(test)] else 'and FAILED AGAIN'}: {test}", flush=True)
    return all(passed.values())


def _file(test: str) -> str:
    return test.partition("::")[0]


def main(arguments: Sequence[str]) -> int:
    """0 where the failures of the run do not stand."""
    file, *command = arguments
    failed = failures(Path(file))
    return 0 if passes_alone(failed, lambda tests: subprocess.run([*command, tests]).returncode == 0) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
