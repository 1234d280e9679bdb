"""The programs the product is measured beside: `mbsync` pulls mail, `notmuch` indexes and searches it (Debian packages
isync and notmuch). Called by `imap_sync` and `search`."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from benchmarks.measuring import Missing

_MBSYNC = """
FSync {fsync}

IMAPAccount bench
Host 127.0.0.1
Port {port}
User {user}
Pass "{password}"
SSLType None
AuthMechs LOGIN

IMAPStore far
Account bench

MaildirStore near
Path {store}/
Inbox {store}/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Near
Expunge None
Sync Pull
SyncState *
CopyArrivalDate yes
"""
_NOTMUCH = """
[database]
path={index}
mail_root={mail}
[user]
name=Bench
primary_email=owner@bench.example
[new]
tags=unread;inbox
ignore=/[.](mbsyncstate|uidvalidity|isyncuidmap).*/
[search]
exclude_tags=
[maildir]
synchronize_flags=true
"""


def need(*programs: str) -> None:
    """Missing where one is not installed."""
    packages = {"mbsync": "isync"}
    if lacking := [program for program in programs if shutil.which(program) is None]:
        raise Missing(f"not installed: apt-get install {' '.join(packages.get(p, p) for p in lacking)}")


class Mbsync:
    """A local copy of one account. With `fsync`, its default, it waits for the disk after every message."""

    def __init__(self, folder: Path, *, port: int, user: str, password: str, fsync: bool) -> None:
        self.store = folder / "mbsync"
        self._config = folder / "mbsyncrc"
        escaped = password.replace('"', '\\"')
        words = {"fsync": "yes" if fsync else "no", "port": port, "user": user, "password": escaped}
        self._config.write_text(_MBSYNC.format(store=self.store, **words))

    def wipe(self) -> None:
        """As if never pulled."""
        shutil.rmtree(self.store, ignore_errors=True)
        self.store.mkdir()

    def pull(self) -> None:
        """Everything new since the last time."""
        subprocess.run(
            ["mbsync", "-q", "-c", str(self._config), "-a"], check=True, stderr=subprocess.DEVNULL
        )  # it warns of a password in the clear


class Notmuch:
    """An index over a tree of Maildirs."""

    def __init__(self, folder: Path, mail: Path) -> None:
        self._index = folder / "notmuch"
        config = folder / "notmuch-config"
        config.write_text(_NOTMUCH.format(index=self._index, mail=mail))
        self._environment = {**os.environ, "NOTMUCH_CONFIG": str(config)}

    def wipe(self) -> None:
        """As if never indexed."""
        shutil.rmtree(self._index, ignore_errors=True)
        self._index.mkdir()

    def new(self) -> None:
        """Index what is new."""
        self._run("new", "--quiet", "--no-hooks")

    def search(self, query: str) -> int:
        """The 50 newest messages; how many came."""
        found = self._run("search", "--limit=50", "--output=messages", "--sort=newest-first", query)
        return len(found.splitlines())

    def nothing(self) -> None:
        """What starting it costs."""
        self._run("config", "get", "user.name")

    def _run(self, *arguments: str) -> str:
        answer = subprocess.run(
            ["notmuch", *arguments], env=self._environment, check=True, capture_output=True, text=True
        )
        return answer.stdout
