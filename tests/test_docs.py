"""The pages for people speak of what is there: each file they name exists, and each link leads somewhere."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

from config.env import PROJECT

PAGES = [
    *(PROJECT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "simulator/README.md")),
    *sorted((PROJECT / "docs").rglob("*.md")),
]
FILE = re.compile(r"[\w./-]+\.(?:py|md|html|toml|yaml|txt|ini)")


@cache
def files() -> tuple[str, ...]:
    """All that belongs to the project, written or about to be."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    return tuple(listed.stdout.split("\n")) if listed.returncode == 0 else _walked()


def _walked() -> tuple[str, ...]:
    """Where there is no git: without what starts with a dot."""
    every = (path.relative_to(PROJECT) for path in PROJECT.rglob("*"))
    return tuple(str(path) for path in every if not any(part.startswith(".") for part in path.parts[:-1]))


def is_there(name: str) -> bool:
    """A page may leave out the app that it is about."""
    return any(file == name or file.endswith(f"/{name}") for file in files())


def _id(page: Path) -> str:
    return str(page.relative_to(PROJECT))


@pytest.mark.parametrize("page", PAGES, ids=_id)
def test_page_names_files_that_exist(page: Path) -> None:
    quoted = re.findall(r"`([^`\n]+)`", page.read_text())
    assert [word for word in quoted if FILE.fullmatch(word) and not is_there(word)] == []


@pytest.mark.parametrize("page", PAGES, ids=_id)
def test_page_links_to_pages_that_exist(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text())
    own = [link for link in links if not link.startswith(("http://", "https://", "mailto:"))]
    assert [link for link in own if not (page.parent / link).exists()] == []
