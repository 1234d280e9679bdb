"""Settings that must refuse, each read by a process of its own as an operator's mistake would be."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.db import connection as database

from config.env import PROJECT, VARIABLES

READ = (
    "import json, sys; from django.conf import settings; print(json.dumps(getattr(settings, sys.argv[1]), default=str))"
)


def _run(folder: Path, *command: str, **settings: str) -> subprocess.CompletedProcess[str]:
    bare = {name: value for name, value in os.environ.items() if name not in {v.name for v in VARIABLES}}
    environment = {
        **bare,
        "ENV_FILE": "",
        "DATA_DIR": str(folder),
        "DJANGO_SETTINGS_MODULE": "config.settings",
        **settings,
    }
    return subprocess.run(
        [sys.executable, *command], cwd=PROJECT, env=environment, capture_output=True, text=True, check=False
    )


def _read(folder: Path, name: str, **settings: str) -> str:
    done = _run(folder, "-c", READ, name, **settings)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SECRET_KEY", "too-short"),
        ("SECRET_KEY", "django-insecure-" + "x1y2z3w4" * 5),
        ("VAULT_KEYS", "k1:too-short"),
        ("VAULT_KEYS", "no-colon-at-all"),
        ("DATABASE_URL", "mysql://root:hunter2@db/x"),
        ("CELERY_BROKER_URL", "http://guest:hunter2@mq"),
        ("REDIS_URL", "hunter2@cache:6379"),
        ("REDIS_URL", "redis://:hunter2@cache:port/1"),
        ("CELERY_BROKER_URL", "redis://:hunter2@mq:port/0"),
        ("PORT", "http"),
        ("MICROSOFT_TENANT", "a/b"),
        ("HUBSPOT_API_URL", "https://api.hubapi.com/crm/v3"),
    ],
)
def test_setting_that_is_wrong_stops_every_command_with_its_name_and_not_its_value(
    tmp_path: Path, name: str, value: str
) -> None:
    done = _run(tmp_path, "manage.py", "check", **{name: value})
    assert done.returncode == 1
    assert name.partition("_")[0].lower() in done.stderr.lower()
    assert value not in done.stderr
    assert "Traceback" not in done.stderr


def test_command_without_its_database_says_so_in_a_sentence(tmp_path: Path) -> None:
    address = "postgresql://ada:hunter2@127.0.0.1:1/hub"
    done = _run(tmp_path, "manage.py", "create_token", "--email", "ada@mine.test", DATABASE_URL=address)
    assert done.returncode == 1
    assert "The database does not answer (DATABASE_URL)" in done.stderr
    assert "hunter2" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ("lock_timeout", "canceling statement due to lock timeout (55P03)."),
        ("statement_timeout", "canceling statement due to statement timeout (57014)."),
    ],
)
def test_command_that_the_database_gives_up_says_why_and_not_that_nobody_answers(
    tmp_path: Path, limit: str, said: str
) -> None:
    address = urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{database.settings_dict['NAME']}").geturl()
    with database.cursor() as cursor:
        cursor.execute("LOCK TABLE workspaces_user IN ACCESS EXCLUSIVE MODE")
    waits = {"DATABASE_URL": address, "PGOPTIONS": f"-c {limit}=300"}
    done = _run(tmp_path, "manage.py", "create_token", "--email", "ada@mine.test", **waits)
    assert done.returncode == 1
    assert done.stderr == f"The database did not do what this command asked: {said}\n"


def test_data_folder_that_cannot_be_made_stops_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = _run(tmp_path / "file" / "data", "manage.py", "check")
    assert done.returncode == 1
    assert "DATA_DIR cannot be made" in done.stderr
    assert "Traceback" not in done.stderr


def test_keys_are_made_on_first_start_and_kept(tmp_path: Path) -> None:
    first = _read(tmp_path, "SECRET_KEY"), _read(tmp_path, "VAULT_KEYS")
    assert first == (_read(tmp_path, "SECRET_KEY"), _read(tmp_path, "VAULT_KEYS"))
    assert first[0] not in first[1]


def test_https_address_makes_cookies_and_transport_strict(tmp_path: Path) -> None:
    public = {"PUBLIC_URL": "https://hub.mine.test"}
    assert _read(tmp_path, "SESSION_COOKIE_SECURE", **public) == "true"
    assert _read(tmp_path, "SECURE_HSTS_SECONDS", **public) == "31536000"
    assert '"hub.mine.test"' in _read(tmp_path, "ALLOWED_HOSTS", **public)
    assert _read(tmp_path, "SESSION_COOKIE_SECURE") == "false"


def test_reading_the_settings_starts_no_database(tmp_path: Path) -> None:
    assert _run(tmp_path, "manage.py", "check").returncode == 0
    assert not (tmp_path / "postgres").exists()


def test_data_folder_is_nobody_elses(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    _read(folder, "DATA_DIR")
    assert folder.stat().st_mode & 0o777 == 0o700
