"""`requirements.txt` is enough to run on, though the packages of the tests are not there.

What a library imports without declaring it is found here: kombu's Redis transport needs `packaging`, for one.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import cache
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from config.env import PROJECT

WITHOUT_THE_OTHERS = """
import sys
from importlib.abc import MetaPathFinder

class Absent(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(f"{name} is not in requirements.txt", name=name)

absent = set(sys.argv[2:])
sys.meta_path.insert(0, Absent())
import django

django.setup()
__import__(sys.argv[1])
"""
STARTED = [
    "config.wsgi",
    "config.urls",
    "config.celery",
    "gunicorn.app.wsgiapp",
    "gunicorn.workers.gthread",
    "celery.bin.worker",
    "celery.bin.beat",
    "kombu.transport.filesystem",
    "kombu.transport.redis",
    "django.core.cache.backends.redis",
    "simulator.server",
]
"""What the commands of `manage.py up`, the image and `manage.py demo` load, by whichever broker."""


def _with_their_own(names: list[str]) -> set[str]:
    """The packages that pip installs for these requirements."""
    found: set[str] = set()
    waiting = [Requirement(name) for name in names]
    while waiting:
        wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        extras = sorted(wanted.extras) or [""]
        if name in found and extras == [""]:
            continue
        found.add(name)
        for needed in map(Requirement, distribution(name).requires or ()):
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(needed)
    return found


@cache
def _absent() -> list[str]:
    """Modules that only the packages of the tests bring."""
    lines = (PROJECT / "requirements.txt").read_text().splitlines()
    installed = _with_their_own([line for line in lines if re.match(r"\w", line)])
    return [
        module
        for module, packages in packages_distributions().items()
        if not any(canonicalize_name(package) in installed for package in packages)
    ]


@pytest.mark.parametrize("module", STARTED)
def test_requirements_alone_load_what_runs(tmp_path: Path, module: str) -> None:
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "config.settings", "DATA_DIR": str(tmp_path), "ENV_FILE": ""}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_THE_OTHERS, module, *_absent()],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
