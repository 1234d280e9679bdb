"""The embedded PostgreSQL: shared by processes, stopped by the last, never lost and never doubled."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from config.env import PROJECT
from workspaces.runtime.embedded import EmbeddedServer
from workspaces.runtime.keys import generated_or

USE = """
import sys
from pathlib import Path
from workspaces.runtime.embedded import EmbeddedServer
server = EmbeddedServer(Path(sys.argv[1]), durable=False, dies_with_parent=sys.argv[2] == "dies")
server.use()
print(server.postmaster(), flush=True)
sys.stdin.read()
"""

Users = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    EmbeddedServer(tmp_path).stop()


@pytest.fixture
def user(folder: Path) -> Iterator[Users]:
    """Starts another process that uses the server until its stdin is closed."""
    started = []

    def start(lifetime: str = "stays") -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", USE, str(folder), lifetime],
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def _postmaster(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    return int(process.stdout.readline())


def _gone(pid: int) -> bool:
    """Waits for the end of a process that is not our child."""
    for _ in range(200):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        subprocess.run(["sleep", "0.05"], check=True)
    return False


def test_server_used_by_two_processes_is_one_and_the_last_stops_it(folder: Path, user: Users) -> None:
    first, second = user(), user()
    pid = _postmaster(first)
    assert _postmaster(second) == pid
    first.communicate()
    assert EmbeddedServer(folder).answers()
    second.communicate()
    assert EmbeddedServer(folder).postmaster() is None


def test_server_whose_user_was_killed_is_joined_and_then_stopped(folder: Path, user: Users) -> None:
    first = user()
    pid = _postmaster(first)
    first.kill()
    first.wait()
    second = user()
    assert _postmaster(second) == pid
    second.communicate()
    assert EmbeddedServer(folder).postmaster() is None


def test_server_bound_to_its_parent_ends_when_the_parent_is_killed(folder: Path, user: Users) -> None:
    first = user("dies")
    pid = _postmaster(first)
    first.kill()
    first.wait()
    assert _gone(pid)


def test_server_killed_under_its_owner_is_mended_with_its_data(folder: Path) -> None:
    server = EmbeddedServer(folder)
    server.use()
    with psycopg.connect(server.url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    assert server.mend() is False
    os.kill(server.postmaster() or 0, signal.SIGKILL)
    server._process.wait()  # type: ignore[union-attr]
    assert server.mend() is True
    with psycopg.connect(server.url) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)
    server.leave()


@pytest.mark.parametrize("name", ["deep" * 30, "with space", "with, comma", 'it\'s a "quote"', "größe %20 #?"])
def test_server_in_an_awkward_folder_starts(tmp_path: Path, name: str) -> None:
    server = EmbeddedServer(tmp_path / name, durable=False)
    server.use()
    try:
        psycopg.connect(server.url).close()
        assert len(os.fsencode(server.socket_dir)) < 100
        assert server.socket_dir.stat().st_mode & 0o777 == 0o700
    finally:
        server.leave()
    assert server.socket_dir == server.data or not server.socket_dir.exists()


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """What this process takes for the folder of temporary files; its path is short."""
    with tempfile.TemporaryDirectory(prefix="patchbay-test-") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


def test_sockets_folder_of_a_killed_server_goes_when_another_starts_and_no_other_folder_does(
    tmp_path: Path, temporary: Path
) -> None:
    killed, used, young, starting = (EmbeddedServer(tmp_path / (name * 30), durable=False) for name in "kuys")
    for server in (killed, used):
        server.use()
    os.kill(killed.postmaster() or 0, signal.SIGKILL)
    killed._process.wait()  # type: ignore[union-attr]
    young.socket_dir.mkdir()
    foreign = temporary / f"patchbay-{os.geteuid()}-notes"
    foreign.mkdir()
    for folder in (killed.socket_dir, used.socket_dir, foreign):
        os.utime(folder, (0, 0))
    starting.use()
    try:
        gone = [server for server in (killed, used, young, starting) if not server.socket_dir.exists()]
        assert (gone, foreign.exists(), used.answers()) == ([killed], True, True)
        assert killed.mend()
        assert killed.answers()
    finally:
        for server in (killed, used, starting):
            server.leave()


def test_server_interrupted_while_it_was_made_is_made_anew(folder: Path) -> None:
    server = EmbeddedServer(folder, durable=False)
    server.data.mkdir()
    (server.data.with_name("postgres.fresh") / "base").mkdir(parents=True)
    server.use()
    assert server.answers()
    server.leave()


def test_generated_key_is_kept_private_and_the_same_next_time(tmp_path: Path) -> None:
    path = tmp_path / "secrets" / "vault_keys"
    key = generated_or("", path, prefix="k1:")
    assert key.startswith("k1:")
    assert len(key) > 60
    assert generated_or("", path, prefix="k1:") == key
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert list(path.parent.iterdir()) == [path]


def test_given_key_is_taken_and_nothing_is_written(tmp_path: Path) -> None:
    assert generated_or("given", tmp_path / "secrets" / "key") == "given"
    assert not (tmp_path / "secrets").exists()
