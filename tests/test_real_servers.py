"""The list of what `make test-services` runs a second time is true: no dead name, and nobody forgotten who speaks to
the server itself."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from config.env import PROJECT
from tests import services
from tests.real_servers import AGAIN, MARK, MODULES, ONCE, modules, runs_again

SPEAKS_TO_THE_SERVER = re.compile(r"\b(connection|database)\.cursor\(\)|\.explain\(")
ONCE_IS_ENOUGH = {
    "config/tests/test_settings.py": "holds a lock that a command of our own waits for",
    "email_logs/tests/test_exporting.py": "counts the cursors that are open",
    "email_sync/tests/test_transfers.py": "reads how columns are declared",
    "integrations/tests/test_console_deliveries.py": "holds the plan our own server makes of few rows",
    "integrations/tests/test_integrations.py": "reads what a sealed column holds; its races commit",
    "workspaces/tests/test_services_tokens.py": "reads what a hashed column holds",
}
"""They speak SQL of their own, but about nothing in which servers differ."""


@pytest.mark.parametrize("module", sorted(MODULES))
def test_module_on_the_list_has_tests_of_the_database(module: str) -> None:
    assert (PROJECT / module).exists(), "it is gone, or has another name: mend tests/real_servers.py"
    assert "django_db" in (PROJECT / module).read_text()


@pytest.mark.parametrize("module", sorted(ONCE))
def test_module_that_runs_once_commits_and_exists(module: str) -> None:
    assert module not in MODULES
    assert (PROJECT / module).exists(), "it is gone, or has another name: mend tests/real_servers.py"
    assert "transaction=True" in (PROJECT / module).read_text(), "it would not run again anyway"


def test_list_names_each_module_once() -> None:
    times = Counter(module for modules in AGAIN.values() for module in modules)
    assert [module for module, count in times.items() if count > 1] == []


def test_module_that_speaks_to_the_server_itself_is_on_the_list() -> None:
    forgotten = []
    for path in PROJECT.glob("*/tests/test_*.py"):
        text = path.read_text()
        marked = re.search(r"mark\.django_db(?!\(transaction)", text) and "mark.services\n" not in text
        if marked and SPEAKS_TO_THE_SERVER.search(text):
            forgotten.append(str(path.relative_to(PROJECT)))
    assert set(forgotten) - MODULES - set(ONCE) == set(ONCE_IS_ENOUGH)


def test_tests_run_again_that_commit_or_are_on_the_list() -> None:
    listed, other = sorted(MODULES)[0], "entities/tests/test_matches_api.py"
    assert runs_again(listed, {})
    assert runs_again(other, {"transaction": True})
    assert not runs_again(other, {})
    assert not runs_again(other, {"transaction": False})
    assert not runs_again(listed, None), "no database"
    assert not runs_again(sorted(ONCE)[0], {"transaction": True})


def test_services_are_looked_for_where_tests_are_marked_and_nowhere_else() -> None:
    assert modules() >= MODULES
    assert {"tests/test_kills.py", "integrations/tests/test_tokens.py"} <= modules()
    assert "core/tests/test_ids.py" not in modules()
    assert services.where(["-n", "4", "--dist", "loadfile"]) == sorted(modules())


def test_services_are_looked_for_only_where_somebody_says() -> None:
    assert services.where(["-x", "tests/test_kills.py::test_one"]) == []
    assert services.where(["documents"]) == []


@pytest.mark.django_db(transaction=True)
def test_conftest_marks_what_runs_again(request: pytest.FixtureRequest) -> None:
    assert request.node.get_closest_marker(MARK)
