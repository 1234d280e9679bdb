"""A backup holds everything, is made whole or not at all, and opens again with the same keys."""

from __future__ import annotations

import os
import subprocess
from io import StringIO
from pathlib import Path

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from workspaces.models import Workspace
from workspaces.runtime.backup import program, server_version

pytestmark = pytest.mark.django_db(transaction=True)


def backup(target: Path) -> str:
    out = StringIO()
    call_command("backup", str(target), stdout=out)
    return out.getvalue()


def test_backup_restored_elsewhere_has_the_same_rows(tmp_path: Path) -> None:
    Workspace.objects.create(name="Kept")
    said = backup(tmp_path / "deep" / "hub.dump")
    assert "hub.dump" in said
    assert "keys are not in it" in said
    assert not list(tmp_path.rglob("*.part"))
    info = connection.connection.info
    address = {"host": info.host, "port": info.port, "user": info.user, "password": info.password or None}
    with psycopg.connect(**address, dbname=info.dbname, autocommit=True) as server:
        server.execute("DROP DATABASE IF EXISTS restored_copy")
        server.execute("CREATE DATABASE restored_copy")
    try:
        surroundings = {"PATH": os.defpath, "PGHOST": info.host, "PGPORT": str(info.port), "PGUSER": info.user}
        surroundings["PGPASSWORD"] = info.password
        command = [
            str(program("pg_restore", server_version())),
            "--dbname=restored_copy",
            "--no-owner",
            "--exit-on-error",
        ]
        subprocess.run([*command, str(tmp_path / "deep" / "hub.dump")], check=True, env=surroundings)
        with psycopg.connect(**address, dbname="restored_copy") as copy:
            assert copy.execute("SELECT name FROM workspaces_workspace").fetchall() == [("Kept",)]
    finally:
        with psycopg.connect(**address, dbname=info.dbname, autocommit=True) as server:
            server.execute("DROP DATABASE restored_copy")


def test_backup_never_overwrites_and_is_for_its_owner_only(tmp_path: Path) -> None:
    target = tmp_path / "hub.dump"
    backup(target)
    assert target.stat().st_mode & 0o077 == 0
    size = target.stat().st_size
    with pytest.raises(CommandError, match="is there already"):
        backup(target)
    assert target.stat().st_size == size


def test_backup_that_fails_says_why_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workspaces.runtime.backup._surroundings", lambda: {"PGHOST": "/nowhere", "PATH": os.defpath})
    with pytest.raises(CommandError, match="pg_dump stopped"):
        backup(tmp_path / "hub.dump")
    assert list(tmp_path.iterdir()) == []
