"""The rules of the house that no linter knows (DESIGN 3, STYLE), read from the source: a new file is held too."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from config.env import PROJECT
from integrations.oauth import CONNECTION_PROVIDERS
from integrations.services.sync_runs import engines

APPS = (
    "config",
    "core",
    "workspaces",
    "entities",
    "integrations",
    "email_logs",
    "email_sync",
    "calendar_sync",
    "documents",
    "simulator",
)
PRODUCT = tuple(app for app in APPS if app != "simulator")
LONGEST_FILE = 400

PROVIDER_WORDS = re.compile(
    r"\b(gmail|google|graph|microsoft|outlook|imap|sendgrid|slack|airtable|hubspot|zapier|carbone)\b", re.IGNORECASE
)
MAY_NAME_PROVIDERS = re.compile(
    r"integrations/(oauth|providers)/|(email|calendar)_sync/providers/|/migrations/"
    r"|config/(env|settings/[a-z]+|management/commands/demo|management/demo_[a-z]+)\.py$"
)
"""Providers' own files, their registries, the settings, and the demo that connects one."""
MAY_NAME_PROVIDERS_ONCE = {
    "entities/matching.py": "one provider's addresses have dots that mean nothing and a second domain",
    "integrations/urls.py": "connections/imap is the contract's path",
    "integrations/views/connections.py": "connections/imap is the contract's path",
    "integrations/serializers/__init__.py": "the body of connections/imap",
    "integrations/services/connections.py": "the form of connections/imap",
    "integrations/services/server_discovery.py": "services are registered under the protocol's name",
    "integrations/serializers/discovery.py": "the servers of connections/imap",
    "integrations/admin/connecting.py": "the form of connections/imap",
    "integrations/autoconfig.py": "the format names protocols",
    "calendar_sync/ics.py": "vendors name their links in their own properties",
    "calendar_sync/ics_patching.py": "vendors write busy in a property of their own",
    "documents/sniffing.py": "media types are registered under vendors' names",
    "email_sync/services/connecting.py": "tries the account of connections/imap",
}

NETWORK = {
    "requests",
    "urllib.request",
    "urllib3",
    "httpx",
    "http.client",
    "socket",
    "smtplib",
    "imaplib",
    "imapclient",
    "dns.resolver",
}
MAY_USE_NETWORK = {
    "core/egress.py": {"socket"},
    "core/http/": {"httpx", "socket"},
    "core/name_records.py": {"dns.resolver"},
    "email_sync/providers/": {"imapclient", "imaplib", "smtplib", "socket"},
    "documents/scanning.py": {"socket"},  # a Unix socket is no address
    "workspaces/runtime/": {"socket"},  # is the port free; waking the supervisor
}
MAY_SLEEP = ("workspaces/runtime/embedded.py", "email_sync/parsing/bounded.py")
"""Another program's start and end give no event to wait on; one that answers a little at a time gives too many."""
MAY_READ_ENVIRONMENT = re.compile(
    r"config/(env|wsgi|celery)\.py$|manage\.py$|workspaces/runtime/(supervisor|embedded)\.py$|email_sync/parsing/bounded\.py$"
)
"""Besides config.env: the three ways in, which name the settings module, and who hands it on to a child process."""


def _is_test(path: str) -> bool:
    return "/tests/" in path or path.startswith("tests/") or path == "conftest.py"


@cache
def sources() -> dict[str, ast.Module]:
    """Path from the project → tree, of every Python file of ours."""
    roots = [PROJECT / name for name in (*APPS, "tests", "benchmarks")]
    files = [PROJECT / "manage.py", PROJECT / "conftest.py", *(file for root in roots for file in root.rglob("*.py"))]
    return {file.relative_to(PROJECT).as_posix(): ast.parse(file.read_text(), str(file)) for file in files}


def product() -> Iterator[tuple[str, ast.Module]]:
    """What runs in production, without tests, simulator and migrations."""
    for path, tree in sources().items():
        if path == "manage.py" or (path.split("/")[0] in PRODUCT and not _is_test(path)):
            yield path, tree


def _imported(node: ast.AST) -> set[str]:
    """Absolute names a statement imports."""
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    if isinstance(node, ast.ImportFrom) and not node.level:
        return {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return set()


def _docstrings(tree: ast.Module) -> set[int]:
    """Ids of the constants that document something: modules, classes, functions, and attributes (a bare string)."""
    return {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}


def _called(node: ast.AST) -> str:
    """`time.sleep` of `time.sleep(1)`."""
    return ast.unparse(node.func) if isinstance(node, ast.Call) else ""


def test_every_module_opens_with_a_docstring() -> None:
    silent = [path for path, tree in sources().items() if tree.body and not ast.get_docstring(tree)]
    assert silent == []


def test_no_module_is_named_for_being_useful() -> None:
    drawers = {"utils.py", "helpers.py", "util.py", "helper.py", "misc.py", "common.py"}
    assert [path for path in sources() if Path(path).name in drawers] == []


def test_no_file_is_longer_than_a_subject() -> None:
    subjects = [path for path in sources() if not _is_test(path) and "/migrations/" not in path]
    lengths = {path: len((PROJECT / path).read_text().splitlines()) for path in subjects}
    assert {path: length for path, length in lengths.items() if length > LONGEST_FILE} == {}


def test_no_import_inside_a_function_crosses_into_another_app() -> None:
    """A deferred import is the same circle in disguise. An app's own models in `ready` are not a crossing."""
    crossings = []
    for path, tree in product():
        for function in ast.walk(tree):
            if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            for node in ast.walk(function):
                apps = {name.split(".")[0] for name in _imported(node)} & set(APPS)
                if apps - {path.split("/")[0]} and not path.endswith("/apps.py"):
                    crossings.append(f"{path}:{function.lineno} imports {sorted(apps)}")
    assert crossings == []


def test_no_provider_is_named_outside_its_own_file() -> None:
    named = []
    for path, tree in product():
        if MAY_NAME_PROVIDERS.search(path) or path in MAY_NAME_PROVIDERS_ONCE:
            continue
        prose = _docstrings(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
                named += [f"{path}:{node.lineno} {node.value!r}"] if PROVIDER_WORDS.search(node.value) else []
    assert named == []


def test_exceptions_of_provider_names_are_still_needed() -> None:
    trees = sources()
    needless = [
        path
        for path in MAY_NAME_PROVIDERS_ONCE
        if path not in trees or not PROVIDER_WORDS.search((PROJECT / path).read_text())
    ]
    assert needless == []


def test_providers_know_no_database() -> None:
    """import-linter sees packages of others only as a whole, and settings are allowed."""
    knowing = [
        f"{path}:{node.lineno}"
        for path, tree in product()
        if path.startswith(
            (
                "email_sync/providers/",
                "calendar_sync/providers/",
                "documents/storage/",
                "integrations/oauth/",
                "integrations/providers/",
            )
        )
        for node in ast.walk(tree)
        if any(re.match(r"django\.db|psycopg|[a-z_]+\.models\b", name) for name in _imported(node))
    ]
    assert knowing == []


def test_the_network_is_used_only_through_the_door() -> None:
    past = []
    for path, tree in product():
        allowed = {name for prefix, names in MAY_USE_NETWORK.items() if path.startswith(prefix) for name in names}
        for node in ast.walk(tree):
            past += [f"{path}:{node.lineno} {name}" for name in _imported(node) & (NETWORK - allowed)]
    assert past == []


def test_product_code_never_sleeps() -> None:
    sleeps = [
        f"{path}:{node.lineno}"
        for path, tree in product()
        for node in ast.walk(tree)
        if path not in MAY_SLEEP and _called(node) in ("time.sleep", "sleep")
    ]
    assert sleeps == []


def test_the_environment_is_read_in_one_place() -> None:
    reads = [
        f"{path}:{node.lineno}"
        for path, tree in product()
        for node in ast.walk(tree)
        if not MAY_READ_ENVIRONMENT.match(path) and isinstance(node, ast.Attribute)
        if ast.unparse(node) in ("os.environ", "os.getenv", "os.environb")
    ]
    assert reads == []


@pytest.mark.parametrize("registry", [CONNECTION_PROVIDERS, engines()], ids=lambda registry: registry.what)
def test_every_registered_class_loads_and_carries_its_key(registry: object) -> None:
    assert registry.broken() == []  # type: ignore[attr-defined]


def test_no_unfinished_marks_are_left() -> None:
    marks = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    left = [path for path, _ in product() if marks.search((PROJECT / path).read_text())]
    assert left == []
